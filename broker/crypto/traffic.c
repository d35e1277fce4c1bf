#include "crypto/traffic.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hkdf.h"

#define SUITE(ident, id, name, cipher, digest, secret_bytes, key_bytes)                                      \
    [TRAFFIC_##ident] = {id, secret_bytes, key_bytes, name, cipher, digest},
const struct traffic_suite traffic_suites[TRAFFIC_SUITE_COUNT] = {
#include "crypto/traffic_suite.def"
};
#undef SUITE

struct traffic_ciphers {
    EVP_CIPHER_CTX *seal[TRAFFIC_SUITE_COUNT], *open[TRAFFIC_SUITE_COUNT];
};

const struct traffic_suite *traffic_suite_find(uint16_t id)
{
    for (size_t i = 0; i < TRAFFIC_SUITE_COUNT; i++)
        if (traffic_suites[i].id == id)
            return &traffic_suites[i];
    return NULL;
}

/* ---- derivation ---- */

enum err traffic_expand(const struct traffic_suite *suite, const uint8_t *secret, const char *label,
                        uint8_t *out, size_t len)
{
    const struct hkdf *h = hkdf_find(suite->digest);
    return h ? hkdf_expand_label(h, bytes_make(secret, suite->secret_bytes), bytes_of(label),
                                 (struct bytes){0}, out, len)
             : ERR_NOMEM;
}

/* ---- records ---- */

static bool bind(EVP_CIPHER_CTX *ctx, size_t suite, bool sealing)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, traffic_suites[suite].cipher, NULL);
    bool bound = ctx && cipher && EVP_CipherInit_ex2(ctx, cipher, NULL, NULL, sealing, NULL) == 1;
    EVP_CIPHER_free(cipher); /* the context has its own reference */
    return bound;
}

struct traffic_ciphers *traffic_ciphers_new(void)
{
    struct traffic_ciphers *c = calloc(1, sizeof *c);
    bool bound = c != NULL;
    for (size_t i = 0; bound && i < TRAFFIC_SUITE_COUNT; i++) {
        c->seal[i] = EVP_CIPHER_CTX_new();
        c->open[i] = EVP_CIPHER_CTX_new();
        bound = bind(c->seal[i], i, true) && bind(c->open[i], i, false);
    }
    if (bound)
        return c;
    ERR_clear_error();
    traffic_ciphers_free(c);
    return NULL;
}

void traffic_ciphers_free(struct traffic_ciphers *ciphers)
{
    if (!ciphers)
        return;
    for (size_t i = 0; i < TRAFFIC_SUITE_COUNT; i++) {
        EVP_CIPHER_CTX_free(ciphers->seal[i]);
        EVP_CIPHER_CTX_free(ciphers->open[i]);
    }
    free(ciphers);
}

static size_t index_of(const struct traffic_suite *suite)
{
    return (size_t)(suite - traffic_suites);
}

void traffic_ciphers_forget(struct traffic_ciphers *ciphers, const struct traffic_suite *suite)
{
    static const uint8_t nothing[TRAFFIC_KEY_MAX_BYTES];
    size_t i = index_of(suite);
    if (EVP_EncryptInit_ex(ciphers->seal[i], NULL, NULL, nothing, nothing) != 1 ||
        EVP_DecryptInit_ex(ciphers->open[i], NULL, NULL, nothing, nothing) != 1)
        ERR_clear_error();
}

/* Nothing of a record that went wrong is left for the next one. */
static void reset(EVP_CIPHER_CTX *ctx, size_t suite, bool sealing)
{
    if (EVP_CIPHER_CTX_reset(ctx) == 1)
        (void)bind(ctx, suite, sealing); /* unbound, it refuses every record from now on */
    ERR_clear_error();
}

static void make_nonce(const uint8_t *iv, uint64_t sequence, uint8_t nonce[TRAFFIC_IV_BYTES])
{
    memcpy(nonce, iv, TRAFFIC_IV_BYTES);
    for (int i = 0; i < 8; i++)
        nonce[TRAFFIC_IV_BYTES - 1 - i] ^= (uint8_t)(sequence >> (8 * i));
}

enum err traffic_seal(struct traffic_ciphers *ciphers, const struct traffic_suite *suite,
                      struct traffic_key key, uint64_t sequence, const uint8_t header[TRAFFIC_HEADER_BYTES],
                      uint8_t *text, size_t len)
{
    uint8_t nonce[TRAFFIC_IV_BYTES];
    EVP_CIPHER_CTX *ctx = ciphers->seal[index_of(suite)];
    int ignored = 0, made = 0, rest = 0;
    make_nonce(key.iv, sequence, nonce);
    if (EVP_EncryptInit_ex(ctx, NULL, NULL, key.key, nonce) == 1 &&
        EVP_EncryptUpdate(ctx, NULL, &ignored, header, TRAFFIC_HEADER_BYTES) == 1 &&
        EVP_EncryptUpdate(ctx, text, &made, text, (int)len) == 1 &&
        EVP_EncryptFinal_ex(ctx, text + made, &rest) == 1 && (size_t)(made + rest) == len &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TRAFFIC_TAG_BYTES, text + len) == 1)
        return ERR_OK;
    reset(ctx, index_of(suite), true);
    return ERR_CRYPTO;
}

enum err traffic_open(struct traffic_ciphers *ciphers, const struct traffic_suite *suite,
                      struct traffic_key key, uint64_t sequence, const uint8_t header[TRAFFIC_HEADER_BYTES],
                      struct bytes sealed, uint8_t *text)
{
    uint8_t nonce[TRAFFIC_IV_BYTES];
    EVP_CIPHER_CTX *ctx = ciphers->open[index_of(suite)];
    int ignored = 0, made = 0, rest = 0;
    if (sealed.len < TRAFFIC_TAG_BYTES)
        return ERR_DENIED;
    size_t len = sealed.len - TRAFFIC_TAG_BYTES;
    make_nonce(key.iv, sequence, nonce);
    if (EVP_DecryptInit_ex(ctx, NULL, NULL, key.key, nonce) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TRAFFIC_TAG_BYTES, (void *)(sealed.p + len)) == 1 &&
        EVP_DecryptUpdate(ctx, NULL, &ignored, header, TRAFFIC_HEADER_BYTES) == 1 &&
        EVP_DecryptUpdate(ctx, text, &made, sealed.p, (int)len) == 1 &&
        EVP_DecryptFinal_ex(ctx, text + made, &rest) == 1 && (size_t)(made + rest) == len)
        return ERR_OK;
    bytes_cleanse(text, len);
    reset(ctx, index_of(suite), false);
    return ERR_DENIED;
}
