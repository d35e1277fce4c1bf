/* cli/p256_recover.h: a key found from what it signed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/p256_recover.h"

static const char message_text[] = "a message";

struct signed_message {
    uint8_t key[P256_PUBLIC_BYTES], signature[P256_SIGNATURE_BYTES];
    char thumbprint[P256_THUMBPRINT_SIZE];
};

static struct signed_message sign(void)
{
    struct signed_message it;
    struct p256_key *key;
    assert_int_equal(p256_key_new(&key), ERR_OK);
    assert_int_equal(p256_key_public(key, it.key), ERR_OK);
    assert_int_equal(p256_thumbprint(it.key, it.thumbprint), ERR_OK);
    assert_int_equal(p256_sign(key, bytes_of(message_text), it.signature), ERR_OK);
    p256_key_free(key);
    return it;
}

static enum err recover(const struct signed_message *it, const char *message, uint8_t out[P256_PUBLIC_BYTES])
{
    return p256_recover(it->thumbprint, bytes_of(message), it->signature, out);
}

static void key_is_found_from_its_thumbprint(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) { /* each of its two candidates in half of them */
        struct signed_message it = sign();
        uint8_t found[P256_PUBLIC_BYTES];
        assert_int_equal(recover(&it, message_text, found), ERR_OK);
        assert_memory_equal(found, it.key, sizeof found);
    }
}

static void what_the_key_did_not_sign_finds_nothing(void **state)
{
    (void)state;
    struct signed_message it = sign(), other = sign();
    uint8_t found[P256_PUBLIC_BYTES] = {0};
    assert_int_equal(recover(&it, "another message", found), ERR_BAD_SIGNATURE);
    assert_int_equal(p256_recover(other.thumbprint, bytes_of(message_text), it.signature, found),
                     ERR_BAD_SIGNATURE);
    assert_int_equal(p256_recover("", bytes_of(message_text), it.signature, found), ERR_BAD_SIGNATURE);
    for (size_t i = 0; i < P256_SIGNATURE_BYTES; i++) {
        it.signature[i] ^= 1;
        assert_int_equal(recover(&it, message_text, found), ERR_BAD_SIGNATURE);
        it.signature[i] ^= 1;
    }
    assert_int_equal(found[0], 0); /* untouched */
    assert_int_equal(recover(&it, message_text, found), ERR_OK);
}

static void signature_out_of_range_is_none(void **state)
{
    (void)state;
    static const uint8_t order[] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
                                    0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
                                    0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    struct signed_message it = sign();
    uint8_t found[P256_PUBLIC_BYTES];
    for (size_t half = 0; half < P256_SIGNATURE_BYTES; half += sizeof order) {
        struct signed_message changed = it;
        memset(changed.signature + half, 0, sizeof order);
        assert_int_equal(recover(&changed, message_text, found), ERR_BAD_SIGNATURE);
        memcpy(changed.signature + half, order, sizeof order);
        assert_int_equal(recover(&changed, message_text, found), ERR_BAD_SIGNATURE);
        memset(changed.signature + half, 0xff, sizeof order);
        assert_int_equal(recover(&changed, message_text, found), ERR_BAD_SIGNATURE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_is_found_from_its_thumbprint),
        cmocka_unit_test(what_the_key_did_not_sign_finds_nothing),
        cmocka_unit_test(signature_out_of_range_is_none),
    };
    return cmocka_run_group_tests_name("cli_p256_recover", tests, NULL, NULL);
}
