/*
 * crypto/p256 against the example of RFC 7515, A.3, and against itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "crypto/p256.h"

/* RFC 7515, A.3 */
#define RFC_X         "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define RFC_Y         "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define RFC_SIGNATURE "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
#define RFC_INPUT                                                                                            \
    "eyJhbGciOiJFUzI1NiJ9."                                                                                  \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb2"                     \
    "90Ijp0cnVlfQ"
#define RFC_THUMBPRINT "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"

/* The order of the group, SP 800-186, 3.2.1.3. */
#define ORDER "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"

static void decode(const char *text, uint8_t *out, size_t len)
{
    size_t got;
    assert_int_equal(base64url_decode(bytes_of(text), out, len, &got), ERR_OK);
    assert_int_equal(got, len);
}

static void rfc_public(uint8_t out[P256_PUBLIC_BYTES])
{
    out[0] = 4;
    decode(RFC_X, out + 1, 32);
    decode(RFC_Y, out + 33, 32);
}

static void test_rfc7515_example(void **state)
{
    (void)state;
    uint8_t pub[P256_PUBLIC_BYTES], sig[P256_SIGNATURE_BYTES];
    char thumbprint[P256_THUMBPRINT_SIZE];
    rfc_public(pub);
    decode(RFC_SIGNATURE, sig, sizeof sig);
    assert_int_equal(p256_check_public(bytes_make(pub, sizeof pub)), ERR_OK);
    assert_int_equal(p256_verify(pub, bytes_of(RFC_INPUT), sig), ERR_OK);
    assert_int_equal(p256_thumbprint(pub, thumbprint), ERR_OK);
    assert_string_equal(thumbprint, RFC_THUMBPRINT);
}

static void test_any_changed_bit_is_refused(void **state)
{
    (void)state;
    uint8_t pub[P256_PUBLIC_BYTES], sig[P256_SIGNATURE_BYTES];
    rfc_public(pub);
    decode(RFC_SIGNATURE, sig, sizeof sig);
    for (unsigned bit = 0; bit < 8 * sizeof sig; bit++) {
        sig[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(p256_verify(pub, bytes_of(RFC_INPUT), sig), ERR_BAD_SIGNATURE);
        sig[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(p256_verify(pub, bytes_of(RFC_INPUT "."), sig), ERR_BAD_SIGNATURE);
    assert_int_equal(p256_verify(pub, bytes_of(NULL), sig), ERR_BAD_SIGNATURE);
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_degenerate_signatures(void **state)
{
    (void)state;
    uint8_t pub[P256_PUBLIC_BYTES], good[P256_SIGNATURE_BYTES], order[32];
    rfc_public(pub);
    decode(RFC_SIGNATURE, good, sizeof good);
    assert_int_equal(hex_decode(bytes_of(ORDER), order, sizeof order), ERR_OK);
    const uint8_t zero[32] = {0}, one[32] = {[31] = 1};
    const uint8_t *halves[] = {zero, one, order, good, good + 32};
    for (size_t r = 0; r < 5; r++) {
        for (size_t s = 0; s < 5; s++) {
            uint8_t sig[P256_SIGNATURE_BYTES];
            memcpy(sig, halves[r], 32);
            memcpy(sig + 32, halves[s], 32);
            enum err expected = r == 3 && s == 4 ? ERR_OK : ERR_BAD_SIGNATURE;
            assert_int_equal(p256_verify(pub, bytes_of(RFC_INPUT), sig), expected);
        }
    }
}

static void test_public_key_forms(void **state)
{
    (void)state;
    uint8_t pub[P256_PUBLIC_BYTES + 1] = {0}, sig[P256_SIGNATURE_BYTES];
    rfc_public(pub);
    decode(RFC_SIGNATURE, sig, sizeof sig);
    for (size_t len = 0; len <= sizeof pub; len++) {
        enum err expected = len == P256_PUBLIC_BYTES ? ERR_OK : ERR_MALFORMED;
        assert_int_equal(p256_check_public(bytes_make(pub, len)), expected);
    }
    for (int first = 0; first < 256; first++) { /* compressed and hybrid among them */
        pub[0] = (uint8_t)first;
        assert_int_equal(p256_check_public(bytes_make(pub, P256_PUBLIC_BYTES)),
                         first == 4 ? ERR_OK : ERR_MALFORMED);
    }
    pub[0] = 4;
    pub[64] ^= 1;
    assert_int_equal(p256_check_public(bytes_make(pub, P256_PUBLIC_BYTES)), ERR_INVALID);
    assert_int_equal(p256_verify(pub, bytes_of(RFC_INPUT), sig), ERR_INVALID);
    memset(pub + 1, 0, 64); /* nor the origin, nor coordinates that are no field elements */
    assert_int_equal(p256_check_public(bytes_make(pub, P256_PUBLIC_BYTES)), ERR_INVALID);
    memset(pub + 1, 0xff, 64);
    assert_int_equal(p256_check_public(bytes_make(pub, P256_PUBLIC_BYTES)), ERR_INVALID);
    assert_int_equal(ERR_peek_error(), 0);
}

/* The key to verify with is one object for all: neither another key nor a bad one may stay in it. */
static void test_keys_do_not_mix(void **state)
{
    (void)state;
    struct p256_key *a, *b;
    uint8_t pub_a[P256_PUBLIC_BYTES], pub_b[P256_PUBLIC_BYTES], sig_a[P256_SIGNATURE_BYTES],
        sig_b[P256_SIGNATURE_BYTES];
    const struct bytes message = bytes_of("message");
    assert_int_equal(p256_key_new(&a), ERR_OK);
    assert_int_equal(p256_key_new(&b), ERR_OK);
    assert_int_equal(p256_key_public(a, pub_a), ERR_OK);
    assert_int_equal(p256_key_public(b, pub_b), ERR_OK);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(p256_sign(a, message, sig_a), ERR_OK);
        assert_int_equal(p256_sign(b, message, sig_b), ERR_OK);
        assert_int_equal(p256_verify(pub_a, message, sig_a), ERR_OK);
        assert_int_equal(p256_verify(pub_b, message, sig_a), ERR_BAD_SIGNATURE);
        assert_int_equal(p256_verify(pub_b, message, sig_b), ERR_OK);
        pub_b[40] ^= 1;
        assert_int_equal(p256_verify(pub_b, message, sig_b), ERR_INVALID);
        pub_b[40] ^= 1;
        assert_int_equal(p256_verify(pub_a, message, sig_b), ERR_BAD_SIGNATURE);
    }
    p256_key_free(a);
    p256_key_free(b);
    p256_key_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc7515_example),       cmocka_unit_test(test_any_changed_bit_is_refused),
        cmocka_unit_test(test_degenerate_signatures), cmocka_unit_test(test_public_key_forms),
        cmocka_unit_test(test_keys_do_not_mix),
    };
    return cmocka_run_group_tests_name("p256", tests, NULL, NULL);
}
