/** base/bytes: views, hex, strict base64url, UTF-8, and comparing secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

static void views_measure_and_compare(void **state)
{
    (void)state;
    assert_int_equal(bytes_of("abc").len, 3);
    assert_int_equal(bytes_of("").len, 0);
    assert_int_equal(bytes_of(NULL).len, 0);
    assert_true(bytes_equal(bytes_of("abc"), bytes_make("abcd", 3)));
    assert_true(bytes_equal(bytes_of(NULL), bytes_of("")));
    assert_false(bytes_equal(bytes_of("abc"), bytes_of("abd")));
    assert_false(bytes_equal(bytes_of("abc"), bytes_of("ab")));
    assert_false(bytes_equal(bytes_of("abc"), bytes_of("abcd")));
    assert_true(bytes_equal(bytes_make("a\0b", 3), bytes_make("a\0b", 3)));
    assert_false(bytes_equal(bytes_make("a\0b", 3), bytes_make("a\0c", 3)));
}

static void secrets_differ_by_any_bit(void **state)
{
    (void)state;
    uint8_t a[33], b[33];
    memset(a, 0x5a, sizeof a);
    memcpy(b, a, sizeof b);
    assert_true(bytes_equal_secret(bytes_make(a, sizeof a), bytes_make(b, sizeof b)));
    for (size_t bit = 0; bit < 8 * sizeof b; bit++) {
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(bytes_equal_secret(bytes_make(a, sizeof a), bytes_make(b, sizeof b)));
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_false(bytes_equal_secret(bytes_make(a, 32), bytes_make(b, 33)));
    assert_false(bytes_equal_secret(bytes_make(a, 33), bytes_make(b, 32)));
    assert_true(bytes_equal_secret(bytes_make(NULL, 0), bytes_make(a, 0)));
    assert_false(bytes_equal_secret(bytes_make(NULL, 0), bytes_make(a, 1)));
}

static void cleansed_bytes_are_zero(void **state)
{
    (void)state;
    uint8_t secret[] = {1, 2, 3, 4};
    bytes_cleanse(secret, 3);
    assert_memory_equal(secret, "\0\0\0\4", 4);
    bytes_cleanse(NULL, 0);
}

static void hex_both_ways(void **state)
{
    (void)state;
    uint8_t all[256], back[256];
    char text[HEX_SIZE(256)];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    hex_encode(bytes_make(all, sizeof all), text);
    assert_int_equal(strlen(text), 512);
    assert_int_equal(text[2 * 0xa7], 'a');
    assert_int_equal(text[2 * 0xa7 + 1], '7');
    assert_int_equal(hex_decode(bytes_of(text), back, sizeof back), ERR_OK);
    assert_memory_equal(all, back, sizeof all);
    assert_int_equal(hex_decode(bytes_of("0aBCdEfF"), back, 4), ERR_OK);
    assert_memory_equal(back, "\x0a\xbc\xde\xff", 4);
    hex_encode(bytes_make(NULL, 0), text);
    assert_string_equal(text, "");
    assert_int_equal(hex_decode(bytes_of(""), back, 0), ERR_OK);
}

static void hex_of_other_lengths_or_characters_is_refused(void **state)
{
    (void)state;
    uint8_t out[2];
    static const char good[] = "0123abcdef";
    for (size_t len = 0; len < sizeof good; len++)
        assert_int_equal(hex_decode(bytes_make(good, len), out, 2), len == 4 ? ERR_OK : ERR_MALFORMED);
    for (unsigned c = 0; c < 256; c++)
        for (size_t at = 0; at < 4; at++) {
            char text[4] = {'0', '0', '0', '0'};
            text[at] = (char)c;
            bool digit = c && strchr("0123456789abcdefABCDEF", (int)c);
            assert_int_equal(hex_decode(bytes_make(text, 4), out, 2), digit ? ERR_OK : ERR_MALFORMED);
        }
}

/* RFC 4648, 10, without padding, and the two characters that base64 has otherwise. */
static const struct {
    const char *in, *text;
} base64url_pairs[] = {
    {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
    {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xfe", "-__-"},
};

static void base64url_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof base64url_pairs / sizeof *base64url_pairs; i++) {
        struct bytes in = bytes_of(base64url_pairs[i].in);
        char text[BASE64URL_SIZE(8)];
        uint8_t out[8];
        size_t len = 99;
        base64url_encode(in, text);
        assert_string_equal(text, base64url_pairs[i].text);
        assert_int_equal(strlen(text) + 1, BASE64URL_SIZE(in.len));
        assert_int_equal(base64url_decode(bytes_of(text), out, in.len, &len), ERR_OK);
        assert_true(bytes_equal(bytes_make(out, len), in));
        if (in.len)
            assert_int_equal(base64url_decode(bytes_of(text), out, in.len - 1, &len), ERR_TOO_BIG);
    }
}

static enum err decode(const char *text)
{
    uint8_t out[64];
    size_t len;
    return base64url_decode(bytes_of(text), out, sizeof out, &len);
}

static void base64url_has_one_form(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "Z",    "A",       "AAAAA",      "Zm9vY",    /* no whole byte */
        "Zg==", "Zg=",     "Zm8=",       "Zg=g",     /* padding */
        "+_-_", "/___",                              /* the other alphabet */
        " Zm9", "Zm 9v",   "Zm9v\n",     "Zm9v\r\n", /* white space */
        "Zh",   "Zv",      "Zm9",        "Zm9vYh",   /* unused bits that are not zero */
        "Zm.v", "Zm9v.Zm", "\xc3\xa9Zm",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (decode(wrong[i]) != ERR_MALFORMED)
            fail_msg("'%s' is accepted", wrong[i]);
    for (unsigned c = 0; c < 256; c++) {
        const char text[] = {'A', 'A', (char)c, 'A'};
        uint8_t out[3];
        size_t len;
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '_';
        assert_int_equal(base64url_decode(bytes_make(text, 4), out, 3, &len),
                         letter ? ERR_OK : ERR_MALFORMED);
    }
}

static void base64url_carries_every_byte(void **state)
{
    (void)state;
    srandom(7);
    for (size_t len = 0; len < 100; len++) {
        uint8_t in[100], out[100];
        char text[BASE64URL_SIZE(100)];
        size_t out_len;
        for (size_t i = 0; i < len; i++)
            in[i] = (uint8_t)random();
        base64url_encode(bytes_make(in, len), text);
        assert_int_equal(base64url_decode(bytes_of(text), out, sizeof out, &out_len), ERR_OK);
        assert_true(bytes_equal(bytes_make(in, len), bytes_make(out, out_len)));
    }
}

static void utf8_is_recognised(void **state)
{
    (void)state;
    static const char *const good[] = {
        "",
        "plain",
        "\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "J\xc3\xb6rg \xe2\x82\xac \xf0\x9f\x94\x91",
    };
    static const char *const bad[] = {
        "\x80",             /* continuation without lead */
        "\xc0\x80",         /* over-long NUL */
        "\xc1\xbf",         /* over-long */
        "\xe0\x9f\xbf",     /* over-long */
        "\xf0\x8f\xbf\xbf", /* over-long */
        "\xed\xa0\x80",     /* first surrogate */
        "\xed\xbf\xbf",     /* last surrogate */
        "\xf4\x90\x80\x80", /* above U+10FFFF */
        "\xf5\x80\x80\x80", /* leads that do not exist */
        "\xff",
        "a\xc3(",
        "\xe2\x82(",
        "\xf0\x9f\x94(",
        "\xe2(\xac",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(utf8_valid(bytes_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (utf8_valid(bytes_of(bad[i])))
            fail_msg("sequence %zu is accepted", i);
    assert_true(utf8_valid(bytes_make("a\0b", 3)));
}

static void utf8_that_is_cut_is_invalid(void **state)
{
    (void)state;
    static const char text[] = "a\xc3\xb6\xe2\x82\xac\xf0\x9f\x94\x91";
    static const bool whole[sizeof text] = {[0] = true, [1] = true, [3] = true, [6] = true, [10] = true};
    for (size_t len = 0; len < sizeof text; len++) {
        uint8_t *exact = malloc(len + 1); /* so that a sanitizer sees a read behind the end */
        assert_non_null(exact);
        uint8_t *at = exact + 1;
        memcpy(at, text, len);
        assert_int_equal(utf8_valid(bytes_make(at, len)), whole[len]);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_measure_and_compare),
        cmocka_unit_test(secrets_differ_by_any_bit),
        cmocka_unit_test(cleansed_bytes_are_zero),
        cmocka_unit_test(hex_both_ways),
        cmocka_unit_test(hex_of_other_lengths_or_characters_is_refused),
        cmocka_unit_test(base64url_both_ways),
        cmocka_unit_test(base64url_has_one_form),
        cmocka_unit_test(base64url_carries_every_byte),
        cmocka_unit_test(utf8_is_recognised),
        cmocka_unit_test(utf8_that_is_cut_is_invalid),
    };
    return cmocka_run_group_tests_name("bytes", tests, NULL, NULL);
}
