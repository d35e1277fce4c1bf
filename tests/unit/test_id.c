/** base/id: the one form that ids have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/id.h"

#define GOOD "00112233445566778899aabbccddeeff-0123456789abcdef0123"

static void made_ids_are_valid_and_know_their_tag(void **state)
{
    (void)state;
    static const uint8_t bits[ID_RANDOM_BYTES] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                                  0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
    char id[ID_SIZE];
    memset(id, 'x', sizeof id);
    id_make(bits, "0123456789abcdef0123", id);
    assert_string_equal(id, GOOD);
    assert_int_equal(strlen(id), ID_LEN);
    assert_true(id_valid(bytes_of(id)));
    assert_ptr_equal(id_tag(id), id + 33);
    assert_string_equal(id_tag(id), "0123456789abcdef0123");
}

static void other_lengths_are_no_ids(void **state)
{
    (void)state;
    static const char longer[] = GOOD "0";
    for (size_t len = 0; len < sizeof longer; len++)
        assert_int_equal(id_valid(bytes_make(longer, len)), len == ID_LEN);
    assert_false(id_valid(bytes_of(NULL)));
    assert_false(id_valid(bytes_make(longer, sizeof longer)));
}

static void other_characters_are_no_ids(void **state)
{
    (void)state;
    for (size_t at = 0; at < ID_LEN; at++)
        for (unsigned c = 0; c < 256; c++) {
            char id[] = GOOD;
            id[at] = (char)c;
            bool good = at == 32 ? c == '-' : c && strchr("0123456789abcdef", (int)c) != NULL;
            if (id_valid(bytes_make(id, ID_LEN)) != good)
                fail_msg("character %#x at %zu", c, at);
        }
}

static void packed_and_unpacked_an_id_is_the_same(void **state)
{
    (void)state;
    uint8_t packed[ID_BYTES], untouched[ID_BYTES] = {1, 2, 3};
    char text[ID_SIZE];
    assert_true(id_pack(bytes_of(GOOD), packed));
    id_unpack(packed, text);
    assert_string_equal(text, GOOD);
    memcpy(packed, untouched, sizeof packed);
    assert_false(id_pack(bytes_of("x" GOOD), packed));
    assert_false(id_pack(bytes_of(""), packed));
    assert_memory_equal(packed, untouched, sizeof packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_ids_are_valid_and_know_their_tag),
        cmocka_unit_test(other_lengths_are_no_ids),
        cmocka_unit_test(other_characters_are_no_ids),
        cmocka_unit_test(packed_and_unpacked_an_id_is_the_same),
    };
    return cmocka_run_group_tests_name("id", tests, NULL, NULL);
}
