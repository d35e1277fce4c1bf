/* clients/device/keys.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "device/internal.h"

static void thumbprint_is_that_of_rfc_9449(void **state)
{
    (void)state;
    uint8_t point[NP_KEY_BYTES] = {4};
    char thumbprint[THUMBPRINT_SIZE];
    assert_true(np_base64url_decode("l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs", 43, point + 1, 32));
    assert_true(np_base64url_decode("9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA", 43, point + 33, 32));
    assert_int_equal(np_key_thumbprint(point, thumbprint), NP_OK);
    assert_string_equal(thumbprint, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

/* As a broker would: raw r||s back to DER, the point to a key. */
static bool verifies(const uint8_t *point, const char *message, const uint8_t *signature)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char[]){"P-256"}, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)point, NP_KEY_BYTES),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *from = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *key = NULL;
    assert_int_equal(EVP_PKEY_fromdata_init(from), 1);
    assert_int_equal(EVP_PKEY_fromdata(from, &key, EVP_PKEY_PUBLIC_KEY, params), 1);
    ECDSA_SIG *numbers = ECDSA_SIG_new();
    uint8_t *der = NULL;
    ECDSA_SIG_set0(numbers, BN_bin2bn(signature, 32, NULL), BN_bin2bn(signature + 32, 32, NULL));
    int len = i2d_ECDSA_SIG(numbers, &der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
    bool ok = EVP_DigestVerify(ctx, der, (size_t)len, (const uint8_t *)message, strlen(message)) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    ECDSA_SIG_free(numbers);
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(from);
    return ok;
}

static void signature_of_a_key_verifies(void **state)
{
    (void)state;
    struct np_key *key = NULL;
    struct np_signer signer;
    uint8_t signature[NP_SIGNATURE_BYTES];
    assert_int_equal(np_key_generate(&key), NP_OK);
    assert_int_equal(np_key_signer(key, &signer), NP_OK);
    for (int i = 0; i < 300; i++) { /* one in 128 has a number that is shorter than its width */
        assert_int_equal(signer.sign((const uint8_t *)"abc", 3, signature, signer.arg), NP_OK);
        assert_true(verifies(signer.public_key, "abc", signature));
    }
    assert_false(verifies(signer.public_key, "abd", signature));
    np_key_free(key);
}

static void key_survives_its_pem(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *passphrase = i ? "1234" : NULL;
        struct np_key *key = NULL, *again = NULL;
        struct np_signer signer, signer_again;
        char *pem = NULL;
        assert_int_equal(np_key_generate(&key), NP_OK);
        assert_int_equal(np_key_to_pem(key, passphrase, &pem), NP_OK);
        assert_true(!strstr(pem, "ENCRYPTED") == !passphrase);
        assert_int_equal(np_key_from_pem(pem, passphrase, &again), NP_OK);
        assert_int_equal(np_key_signer(key, &signer), NP_OK);
        assert_int_equal(np_key_signer(again, &signer_again), NP_OK);
        assert_memory_equal(signer.public_key, signer_again.public_key, NP_KEY_BYTES);
        np_key_free(again);
        if (passphrase) {
            assert_int_equal(np_key_from_pem(pem, "1235", &again), NP_MALFORMED);
            assert_int_equal(np_key_from_pem(pem, NULL, &again), NP_MALFORMED);
        }
        np_text_free(pem);
        np_key_free(key);
    }
}

static void pem_of_another_kind_is_refused(void **state)
{
    (void)state;
    struct np_key *key = NULL;
    static const char ed25519[] = "-----BEGIN PRIVATE KEY-----\n"
                                  "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
                                  "-----END PRIVATE KEY-----\n"; /* RFC 8410, 10.3 */
    assert_int_equal(np_key_from_pem(ed25519, NULL, &key), NP_INVALID);
    assert_int_equal(np_key_from_pem("", NULL, &key), NP_MALFORMED);
    assert_null(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thumbprint_is_that_of_rfc_9449),
        cmocka_unit_test(signature_of_a_key_verifies),
        cmocka_unit_test(key_survives_its_pem),
        cmocka_unit_test(pem_of_another_kind_is_refused),
    };
    return cmocka_run_group_tests_name("device_keys", tests, NULL, NULL);
}
