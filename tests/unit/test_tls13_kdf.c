/**
 * Our TLS13-KDF against OpenSSL's own, what is told to whom, and what becomes of parking when ours is wrong: this program
 * is linked with --wrap=hkdf_extract.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>

#include "core/metrics.h"
#include "crypto/hkdf.h"
#include "tls_pair.h"

#define OUT_MAX_BYTES 64

static bool broken;

enum err __wrap_hkdf_extract(const struct hkdf *h, struct bytes salt, struct bytes input, uint8_t *out);
enum err __real_hkdf_extract(const struct hkdf *h, struct bytes salt, struct bytes input, uint8_t *out);

enum err __wrap_hkdf_extract(const struct hkdf *h, struct bytes salt, struct bytes input, uint8_t *out)
{
    enum err e = __real_hkdf_extract(h, salt, input, out);
    out[0] ^= broken;
    return e;
}

/* One derivation as libssl asks for it. Members that are NULL are left out. */
struct question {
    const char *digest, *prefix, *label;
    int mode;
    struct bytes key, salt, data;
    size_t len;
};

static int ask(const char *properties, const struct question *q, uint8_t out[OUT_MAX_BYTES])
{
    OSSL_PARAM params[8], *p = params;
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, properties);
    int mode = q->mode;
    assert_non_null(kdf);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    EVP_KDF_free(kdf);
    assert_non_null(ctx);
    *p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
    *p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)q->digest, 0);
    *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, (char *)q->prefix, strlen(q->prefix));
    *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, (char *)q->label, strlen(q->label));
    if (q->key.p)
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)q->key.p, q->key.len);
    if (q->salt.p)
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)q->salt.p, q->salt.len);
    if (q->data.p)
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_DATA, (void *)q->data.p, q->data.len);
    *p = OSSL_PARAM_construct_end();
    int result = EVP_KDF_derive(ctx, out, q->len, params);
    EVP_KDF_CTX_free(ctx);
    ERR_clear_error();
    return result;
}

static void expect_as_openssl(const struct question *q)
{
    uint8_t ours[OUT_MAX_BYTES] = {1}, theirs[OUT_MAX_BYTES] = {2};
    assert_int_equal(ask("provider=default", q, theirs), 1);
    assert_int_equal(ask("provider=" TLS13_KDF_PROVIDER, q, ours), 1);
    assert_memory_equal(ours, theirs, q->len);
}

static uint8_t random_text[OUT_MAX_BYTES * 4];

static void new_random_text(void)
{
    for (size_t i = 0; i < sizeof random_text; i++)
        random_text[i] = (uint8_t)rand();
}

static void expansions_are_those_of_openssl(void **state)
{
    (void)state;
    static const char *const labels[] = {"key",          "iv",          "finished",
                                         "c ap traffic", "traffic upd", "res binder"};
    for (size_t i = 0; i < 600; i++) {
        bool wide = i % 2;
        size_t bytes = wide ? 48 : 32;
        new_random_text();
        struct question q = {.digest = wide ? "SHA384" : "SHA256",
                             .prefix = "tls13 ",
                             .label = labels[i % 6],
                             .mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY,
                             .key = bytes_make(random_text, bytes),
                             .len = 1 + (size_t)rand() % bytes};
        if (i % 3)
            q.data = bytes_make(random_text + 64, i % 3 == 1 ? bytes : 0);
        expect_as_openssl(&q);
    }
}

static void secrets_are_those_of_openssl(void **state)
{
    (void)state;
    for (size_t i = 0; i < 400; i++) {
        bool wide = i % 2;
        size_t bytes = wide ? 48 : 32;
        new_random_text();
        struct question q = {.digest = wide ? "SHA2-384" : "SHA2-256",
                             .prefix = "tls13 ",
                             .label = "derived",
                             .mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY,
                             .len = bytes};
        if (i & 2)
            q.salt = bytes_make(random_text, bytes);
        if (i & 4)
            q.key = bytes_make(random_text + 64, 1 + (size_t)rand() % 133); /* as long as a P-521 point */
        expect_as_openssl(&q);
    }
}

static void what_is_not_tls_is_refused(void **state)
{
    (void)state;
    uint8_t out[OUT_MAX_BYTES];
    const struct question good = {.digest = "SHA256",
                                  .prefix = "tls13 ",
                                  .label = "key",
                                  .mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY,
                                  .key = bytes_make(random_text, 32),
                                  .len = 16};
    struct question bad[8];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        bad[i] = good;
    bad[0].digest = "SHA512";
    bad[1].prefix = "dtls13";
    bad[2].mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND;
    bad[3].key.len = 31;
    bad[4].key.p = NULL;
    bad[5].len = 33;
    bad[6].len = 0;
    bad[7].mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY; /* of 16 bytes */
    assert_int_equal(ask("provider=" TLS13_KDF_PROVIDER, &good, out), 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_not_equal(ask("provider=" TLS13_KDF_PROVIDER, &bad[i], out), 1);
}

static unsigned told;

static void on_expansion(struct bytes secret, struct bytes label, struct bytes made, void *arg)
{
    assert_ptr_equal(arg, &told);
    assert_int_equal(secret.len, 32);
    assert_true(bytes_equal(label, bytes_of("key")));
    assert_int_equal(made.len, 16);
    told++;
}

static void expansions_are_told_to_the_observer_alone(void **state)
{
    (void)state;
    uint8_t out[OUT_MAX_BYTES];
    struct question q = {.digest = "SHA256",
                         .prefix = "tls13 ",
                         .label = "key",
                         .mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY,
                         .key = bytes_make(random_text, 32),
                         .len = 16};
    told = 0;
    tls13_kdf_observe(on_expansion, &told);
    assert_int_equal(ask("provider=" TLS13_KDF_PROVIDER, &q, out), 1);
    assert_int_equal(ask("provider=default", &q, out), 1);
    assert_int_equal(told, 1);
    q.len = 33; /* what fails is not told */
    assert_int_not_equal(ask("provider=" TLS13_KDF_PROVIDER, &q, out), 1);
    tls13_kdf_observe(NULL, NULL);
    q.len = 16;
    assert_int_equal(ask("provider=" TLS13_KDF_PROVIDER, &q, out), 1);
    assert_int_equal(told, 1);
}

/* Ours is used by contexts that prefer it, and by those only while it is there. */
static void it_may_come_and_go_between_connections(void **state)
{
    (void)state;
    struct tls_pair pair;
    struct parking *parking = parking_new(&parking_options_default, NULL, NULL);
    for (int i = 0; i < 4; i++) {
        bool here = i % 2 == 0;
        if (here)
            assert_int_equal(tls13_kdf_load(), ERR_OK);
        else
            tls13_kdf_unload();
        pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
        pair_echo(&pair, 20, 16384);
        assert_int_equal(tls_channel_park(&pair.channel), here ? PARK_DONE : PARK_LATER);
        pair_echo(&pair, 20, 16384);
        pair_close(&pair);
    }
    assert_int_equal(tls13_kdf_load(), ERR_OK);
    assert_int_equal(tls13_kdf_load(), ERR_OK);
    parking_free(parking);
}

static void wrong_one_is_found_out_and_left(void **state)
{
    (void)state;
    struct tls_pair pair;
    struct parking *parking = NULL;
    assert_int_equal(parking_start(&parking_options_default, NULL, NULL, &parking), ERR_OK);
    assert_int_equal(parking->options.secrets, SECRETS_KDF);
    parking_free(parking);
    broken = true;
    assert_int_equal(parking_start(&parking_options_default, NULL, NULL, &parking), ERR_OK);
    assert_int_equal(parking->options.secrets, SECRETS_KEYLOG);
    pair_open(&pair, parking, TRAFFIC_AES_256_GCM, 1); /* though the context prefers ours */
    pair_park(&pair);
    pair_echo(&pair, 20, 16384);
    pair_close(&pair);
    broken = false;
    parking_free(parking);
    assert_int_equal(tls13_kdf_load(), ERR_OK);
}

static int load(void **state)
{
    (void)state;
    srand(5);
    return tls13_kdf_load() == ERR_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expansions_are_those_of_openssl),
        cmocka_unit_test(secrets_are_those_of_openssl),
        cmocka_unit_test(what_is_not_tls_is_refused),
        cmocka_unit_test(expansions_are_told_to_the_observer_alone),
        cmocka_unit_test(it_may_come_and_go_between_connections),
        cmocka_unit_test(wrong_one_is_found_out_and_left),
    };
    return cmocka_run_group_tests_name("tls13_kdf", tests, load, NULL);
}
