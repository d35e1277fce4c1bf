#include "crypto/digest.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>

#include "crypto/openssl_calls.h"

enum err sha256(struct bytes in, uint8_t out[SHA256_BYTES])
{
    static EVP_MD *md; /* fetching is half the price of a short digest */
    if (!md)
        md = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!md || EVP_Digest(in.p, in.len, out, NULL, md, NULL) != 1)
        return openssl_failed(ERR_CRYPTO);
    return ERR_OK;
}

enum err hmac_sha256(struct bytes key, const struct bytes *parts, size_t part_count,
                     uint8_t out[SHA256_BYTES])
{
    static EVP_MAC *mac;
    static char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    if (!mac)
        mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (!mac)
        return openssl_failed(ERR_CRYPTO);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    if (!ctx)
        return ERR_NOMEM;
    /* A NULL key would mean "the one set before" to OpenSSL, an empty one must not. */
    const uint8_t *key_bytes = key.p ? key.p : (const uint8_t *)"";
    bool done = EVP_MAC_init(ctx, key_bytes, key.len, params) == 1;
    for (size_t i = 0; done && i < part_count; i++)
        done = EVP_MAC_update(ctx, parts[i].p, parts[i].len) == 1;
    size_t len = 0;
    done = done && EVP_MAC_final(ctx, out, &len, SHA256_BYTES) == 1 && len == SHA256_BYTES;
    EVP_MAC_CTX_free(ctx);
    return done ? ERR_OK : openssl_failed(ERR_CRYPTO);
}

enum err hkdf_sha256(struct bytes root, const char *label, uint8_t *out, size_t len)
{
    static EVP_KDF *kdf;
    static char digest[] = "SHA256";
    if (root.len == 0 || len == 0 || len > 255 * SHA256_BYTES)
        return ERR_INVALID;
    if (!kdf)
        kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    if (!kdf)
        return openssl_failed(ERR_CRYPTO);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    if (!ctx)
        return ERR_NOMEM;
    /* OSSL_PARAM has no const form; the library only reads these. */
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)root.p, root.len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)label, strlen(label)),
        OSSL_PARAM_construct_end(),
    };
    bool done = EVP_KDF_derive(ctx, out, len, params) == 1;
    EVP_KDF_CTX_free(ctx);
    return done ? ERR_OK : openssl_failed(ERR_CRYPTO);
}

enum err random_bytes(uint8_t *out, size_t len)
{
    if (len > INT_MAX || RAND_priv_bytes(out, (int)len) != 1)
        return openssl_failed(ERR_CRYPTO);
    return ERR_OK;
}

enum err lp_append(struct buf *b, struct bytes in)
{
    if (in.len > LP_MAX_BYTES)
        return ERR_TOO_BIG;
    uint8_t *at = buf_reserve(b, 2 + in.len);
    if (!at)
        return ERR_NOMEM;
    at[0] = (uint8_t)(in.len >> 8);
    at[1] = (uint8_t)in.len;
    if (in.len)
        memcpy(at + 2, in.p, in.len);
    buf_commit(b, 2 + in.len);
    return ERR_OK;
}
