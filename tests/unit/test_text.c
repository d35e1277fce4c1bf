/** domain/text: what may be shown on a phone, and what a name is. Every code point, against Unicode's own lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "domain/text.h"
#include "store/key.h"

static size_t utf8_write(uint32_t point, char *out)
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    unsigned more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const uint8_t leads[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(leads[more] | point >> 6 * more);
    for (unsigned i = 1; i <= more; i++)
        out[i] = (char)(0x80 | (point >> 6 * (more - i) & 0x3f));
    return more + 1;
}

/* Unicode 15: general category Cc, Zl, Zp, and the property Bidi_Control. */
static bool forbidden(uint32_t point)
{
    static const uint32_t others[] = {0x2028, 0x2029, 0x061c, 0x200e, 0x200f, 0x202a, 0x202b,
                                      0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (point == others[i])
            return true;
    return point <= 0x1f || (point >= 0x7f && point <= 0x9f);
}

static void every_code_point(void **state)
{
    (void)state;
    for (uint32_t point = 0; point <= 0x10ffff; point++) {
        if (point >= 0xd800 && point <= 0xdfff)
            continue;
        char text[8] = "ab";
        size_t len = 1 + utf8_write(point, text + 1);
        text[len++] = 'c'; /* in the middle, so that the step over it is tested as well */
        enum err expected = forbidden(point) ? ERR_INVALID : ERR_OK;
        if (text_check(bytes_make(text, len), len) != expected)
            fail_msg("U+%04X", point);
    }
}

static void length_is_in_bytes_and_checked_first(void **state)
{
    (void)state;
    struct bytes text = bytes_of("J\xc3\xb6rg"); /* 5 bytes */
    assert_int_equal(text_check(text, 5), ERR_OK);
    assert_int_equal(text_check(text, 4), ERR_TOO_BIG);
    assert_int_equal(text_check(bytes_of("\xff\xff"), 1), ERR_TOO_BIG);
    assert_int_equal(text_check(bytes_of(""), 0), ERR_OK);
    assert_int_equal(text_check(bytes_of(NULL), 0), ERR_OK);
}

static void what_is_not_utf8_is_invalid(void **state)
{
    (void)state;
    static const char text[] = "a\xf0\x9f\x94\x91";
    for (size_t len = 0; len < sizeof text; len++)
        assert_int_equal(text_check(bytes_make(text, len), 16), len < 2 || len == 5 ? ERR_OK : ERR_INVALID);
    assert_int_equal(text_check(bytes_of("\xc0\x8a"), 16), ERR_INVALID); /* an over-long line feed */
    assert_int_equal(text_check(bytes_of("\xed\xa0\x80"), 16), ERR_INVALID);
}

static void names_of_the_registry(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "7", "acme", "acme-test-2", "a--b"};
    static const char *const bad[] = {"",    "-",   "-a",  "a-",   "Acme", "a b",      "a.b",   "a_b",
                                      "a/b", "a{b", "a}b", "a\nb", "a:b",  "\xc3\xb6", " acme", "acme "};
    char longest[NAME_MAX_LEN + 2];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(text_is_name(bytes_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (text_is_name(bytes_of(bad[i])))
            fail_msg("'%s' is a name", bad[i]);
    memset(longest, 'a', sizeof longest);
    assert_true(text_is_name(bytes_make(longest, NAME_MAX_LEN)));
    assert_false(text_is_name(bytes_make(longest, NAME_MAX_LEN + 1)));
    assert_false(text_is_name(bytes_make("a\0b", 3)));
    assert_false(text_is_name(bytes_of(NULL)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point),
        cmocka_unit_test(length_is_in_bytes_and_checked_first),
        cmocka_unit_test(what_is_not_utf8_is_invalid),
        cmocka_unit_test(names_of_the_registry),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
