/*
 * crypto/digest against the published vectors: FIPS 180-4, RFC 4231, RFC 5869.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "crypto/digest.h"

static void assert_hex(const uint8_t *got, const char *hex)
{
    uint8_t expected[128];
    size_t len = strlen(hex) / 2;
    assert_true(len <= sizeof expected);
    assert_int_equal(hex_decode(bytes_of(hex), expected, len), ERR_OK);
    assert_memory_equal(got, expected, len);
}

static void test_sha256(void **state)
{
    (void)state;
    uint8_t out[SHA256_BYTES];
    assert_int_equal(sha256(bytes_of("abc"), out), ERR_OK);
    assert_hex(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(sha256(bytes_of(NULL), out), ERR_OK);
    assert_hex(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void test_hmac(void **state)
{
    (void)state;
    uint8_t out[SHA256_BYTES], key[131];
    const struct bytes whole = bytes_of("what do ya want for nothing?");
    const struct bytes parts[] = {bytes_of("what do ya"), bytes_of(""), bytes_of(NULL),
                                  bytes_of(" want for nothing?")};
    const char *expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_int_equal(hmac_sha256(bytes_of("Jefe"), &whole, 1, out), ERR_OK);
    assert_hex(out, expected);
    assert_int_equal(hmac_sha256(bytes_of("Jefe"), parts, 4, out), ERR_OK);
    assert_hex(out, expected);

    memset(key, 0xaa, sizeof key); /* longer than a block, so hashed first */
    const struct bytes long_key = bytes_of("Test Using Larger Than Block-Size Key - Hash Key First");
    assert_int_equal(hmac_sha256(bytes_make(key, sizeof key), &long_key, 1, out), ERR_OK);
    assert_hex(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void test_hmac_of_nothing_is_not_the_key_before(void **state)
{
    (void)state;
    uint8_t out[SHA256_BYTES];
    assert_int_equal(hmac_sha256(bytes_of("Jefe"), NULL, 0, out), ERR_OK);
    assert_int_equal(hmac_sha256(bytes_of(NULL), NULL, 0, out), ERR_OK);
    assert_hex(out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void test_hkdf(void **state)
{
    (void)state;
    uint8_t root[22], out[42];
    memset(root, 0x0b, sizeof root);
    assert_int_equal(hkdf_sha256(bytes_make(root, sizeof root), "", out, sizeof out),
                     ERR_OK); /* RFC 5869, A.3 */
    assert_hex(out, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
                    "9d201395faa4b61a96c8");
    uint8_t labelled[42];
    assert_int_equal(hkdf_sha256(bytes_make(root, sizeof root), "label", labelled, sizeof labelled), ERR_OK);
    assert_memory_not_equal(labelled, out, sizeof out);
}

static void test_hkdf_bounds(void **state)
{
    (void)state;
    static uint8_t out[255 * SHA256_BYTES + 1];
    const struct bytes root = bytes_of("root");
    assert_int_equal(hkdf_sha256(root, "l", out, sizeof out - 1), ERR_OK);
    assert_int_equal(hkdf_sha256(root, "l", out, sizeof out), ERR_INVALID);
    assert_int_equal(hkdf_sha256(root, "l", out, 0), ERR_INVALID);
    assert_int_equal(hkdf_sha256(bytes_of(""), "l", out, 32), ERR_INVALID);
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_random(void **state)
{
    (void)state;
    uint8_t a[32] = {0}, b[32] = {0};
    assert_int_equal(random_bytes(a, sizeof a), ERR_OK);
    assert_int_equal(random_bytes(b, sizeof b), ERR_OK);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(random_bytes(a, 0), ERR_OK);
    assert_int_equal(random_bytes(a, SIZE_MAX), ERR_CRYPTO);
}

static void test_lp(void **state)
{
    (void)state;
    static uint8_t longest[LP_MAX_BYTES + 1];
    struct buf b = {0};
    assert_int_equal(lp_append(&b, bytes_of("ab")), ERR_OK);
    assert_int_equal(lp_append(&b, bytes_of(NULL)), ERR_OK);
    assert_int_equal(buf_len(&b), 6);
    assert_memory_equal(buf_view(&b).p, "\0\2ab\0\0", 6);

    assert_int_equal(lp_append(&b, bytes_make(longest, LP_MAX_BYTES + 1)), ERR_TOO_BIG);
    assert_int_equal(buf_len(&b), 6);
    assert_int_equal(lp_append(&b, bytes_make(longest, LP_MAX_BYTES)), ERR_OK);
    assert_int_equal(buf_len(&b), 6 + 2 + LP_MAX_BYTES);
    assert_memory_equal(buf_view(&b).p + 6, "\xff\xff", 2);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_hmac_of_nothing_is_not_the_key_before),
        cmocka_unit_test(test_hkdf),
        cmocka_unit_test(test_hkdf_bounds),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_lp),
    };
    return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
