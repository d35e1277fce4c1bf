#include "crypto/p256.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "crypto/openssl_calls.h"

#define COORDINATE_BYTES 32
#define DER_MAX_BYTES    72 /* SEQUENCE of two INTEGERs of up to 33 bytes */

struct p256_key {
    EVP_PKEY *pkey;
};

/* The one context of every verification, and its one key, which the public point is put into: parsing the parameters and
 * copying the group for a new EVP_PKEY each time adds a third to the price, and a new context walks all names of
 * algorithms that OpenSSL knows. NULL when OpenSSL fails. */
static EVP_PKEY_CTX *verification(void)
{
    static EVP_PKEY_CTX *kept;
    EVP_PKEY *key = NULL;
    if (kept)
        return kept;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (ctx && EVP_PKEY_paramgen_init(ctx) == 1 && EVP_PKEY_CTX_set_group_name(ctx, "P-256") == 1 &&
        EVP_PKEY_paramgen(ctx, &key) == 1)
        kept = EVP_PKEY_CTX_new(key, NULL);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key); /* the context holds it */
    return kept;
}

static enum err set_public(EVP_PKEY *key, struct bytes pub)
{
    if (pub.len != P256_PUBLIC_BYTES || pub.p[0] != POINT_CONVERSION_UNCOMPRESSED)
        return ERR_MALFORMED;
    if (EVP_PKEY_set1_encoded_public_key(key, pub.p, pub.len) != 1)
        return openssl_failed(ERR_INVALID);
    return ERR_OK;
}

enum err p256_check_public(struct bytes pub)
{
    EVP_PKEY_CTX *ctx = verification();
    return ctx ? set_public(EVP_PKEY_CTX_get0_pkey(ctx), pub) : openssl_failed(ERR_CRYPTO);
}

enum err p256_thumbprint(const uint8_t pub[P256_PUBLIC_BYTES], char out[P256_THUMBPRINT_SIZE])
{
    char x[BASE64URL_SIZE(COORDINATE_BYTES)], y[sizeof x], jwk[sizeof x + sizeof y + 48];
    uint8_t digest[SHA256_BYTES];
    base64url_encode(bytes_make(pub + 1, COORDINATE_BYTES), x);
    base64url_encode(bytes_make(pub + 1 + COORDINATE_BYTES, COORDINATE_BYTES), y);
    snprintf(jwk, sizeof jwk, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", x, y);
    TRY(sha256(bytes_of(jwk), digest));
    base64url_encode(bytes_make(digest, sizeof digest), out);
    return ERR_OK;
}

/* Raw r || s to the DER form that OpenSSL verifies. */
static enum err raw_to_der(const uint8_t sig[P256_SIGNATURE_BYTES], uint8_t der[DER_MAX_BYTES],
                           size_t *der_len)
{
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(sig, COORDINATE_BYTES, NULL);
    BIGNUM *s = BN_bin2bn(sig + COORDINATE_BYTES, COORDINATE_BYTES, NULL);
    if (!pair || !r || !s) {
        ECDSA_SIG_free(pair);
        BN_free(r);
        BN_free(s);
        return openssl_failed(ERR_NOMEM);
    }
    ECDSA_SIG_set0(pair, r, s); /* takes both, and cannot fail with neither NULL */
    int len = i2d_ECDSA_SIG(pair, &der);
    ECDSA_SIG_free(pair);
    if (len <= 0)
        return openssl_failed(ERR_CRYPTO);
    *der_len = (size_t)len;
    return ERR_OK;
}

enum err p256_verify(const uint8_t pub[P256_PUBLIC_BYTES], struct bytes message,
                     const uint8_t sig[P256_SIGNATURE_BYTES])
{
    uint8_t digest[SHA256_BYTES], der[DER_MAX_BYTES];
    size_t der_len;
    EVP_PKEY_CTX *ctx = verification();
    if (!ctx)
        return openssl_failed(ERR_CRYPTO);
    TRY(set_public(EVP_PKEY_CTX_get0_pkey(ctx), bytes_make(pub, P256_PUBLIC_BYTES)));
    TRY(sha256(message, digest));
    TRY(raw_to_der(sig, der, &der_len));
    if (EVP_PKEY_verify_init(ctx) != 1)
        return openssl_failed(ERR_CRYPTO);
    if (EVP_PKEY_verify(ctx, der, der_len, digest, sizeof digest) != 1)
        return openssl_failed(ERR_BAD_SIGNATURE); /* negative results are refusals, too */
    return ERR_OK;
}

enum err p256_key_new(struct p256_key **ret)
{
    struct p256_key *key = malloc(sizeof *key);
    if (!key)
        return ERR_NOMEM;
    key->pkey = EVP_EC_gen("P-256");
    if (!key->pkey) {
        free(key);
        return openssl_failed(ERR_CRYPTO);
    }
    *ret = key;
    return ERR_OK;
}

void p256_key_free(struct p256_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pkey); /* cleanses the scalar */
    free(key);
}

enum err p256_key_public(const struct p256_key *key, uint8_t out[P256_PUBLIC_BYTES])
{
    size_t len;
    if (EVP_PKEY_get_octet_string_param(key->pkey, OSSL_PKEY_PARAM_PUB_KEY, out, P256_PUBLIC_BYTES, &len) !=
            1 ||
        len != P256_PUBLIC_BYTES)
        return openssl_failed(ERR_CRYPTO);
    return ERR_OK;
}

/* DER as OpenSSL signs to raw r || s. */
static enum err der_to_raw(const uint8_t *der, size_t der_len, uint8_t sig[P256_SIGNATURE_BYTES])
{
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)der_len);
    bool done =
        pair && BN_bn2binpad(ECDSA_SIG_get0_r(pair), sig, COORDINATE_BYTES) == COORDINATE_BYTES &&
        BN_bn2binpad(ECDSA_SIG_get0_s(pair), sig + COORDINATE_BYTES, COORDINATE_BYTES) == COORDINATE_BYTES;
    ECDSA_SIG_free(pair);
    return done ? ERR_OK : openssl_failed(ERR_CRYPTO);
}

enum err p256_sign(const struct p256_key *key, struct bytes message, uint8_t sig[P256_SIGNATURE_BYTES])
{
    uint8_t digest[SHA256_BYTES], der[DER_MAX_BYTES];
    size_t der_len = sizeof der;
    TRY(sha256(message, digest));
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key->pkey, NULL);
    if (!ctx)
        return openssl_failed(ERR_NOMEM);
    bool done = EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_sign(ctx, der, &der_len, digest, sizeof digest) == 1;
    EVP_PKEY_CTX_free(ctx);
    return done ? der_to_raw(der, der_len, sig) : openssl_failed(ERR_CRYPTO);
}
