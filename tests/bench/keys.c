#include "keys.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#define DER_MAX_BYTES 72

enum err keys_generate(struct key_pair *ret)
{
    size_t len;
    BIGNUM *scalar = NULL;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    bool done =
        key &&
        EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, ret->pub, sizeof ret->pub, &len) == 1 &&
        len == sizeof ret->pub && EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &scalar) == 1 &&
        BN_bn2binpad(scalar, ret->scalar, sizeof ret->scalar) == sizeof ret->scalar;
    BN_clear_free(scalar);
    EVP_PKEY_free(key);
    return done ? ERR_OK : ERR_CRYPTO;
}

static EVP_PKEY *private_key(const struct key_pair *key)
{
    static EVP_PKEY_CTX *ctx;
    EVP_PKEY *ret = NULL;
    uint8_t scalar[KEYS_PRIVATE_BYTES]; /* OSSL_PARAM wants the machine's byte order */
    for (size_t i = 0; i < sizeof scalar; i++)
        scalar[i] = key->scalar[sizeof scalar - 1 - i];
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char[]){"P-256"}, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)key->pub, sizeof key->pub),
        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, scalar, sizeof scalar),
        OSSL_PARAM_construct_end(),
    };
    if (!ctx)
        ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &ret, EVP_PKEY_KEYPAIR, (OSSL_PARAM *)params) != 1)
        return NULL;
    return ret;
}

/* DER, as OpenSSL signs, to raw r || s. */
static bool to_raw(const uint8_t *der, size_t len, uint8_t sig[P256_SIGNATURE_BYTES])
{
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)len);
    int half = P256_SIGNATURE_BYTES / 2;
    bool done = pair && BN_bn2binpad(ECDSA_SIG_get0_r(pair), sig, half) == half &&
                BN_bn2binpad(ECDSA_SIG_get0_s(pair), sig + half, half) == half;
    ECDSA_SIG_free(pair);
    return done;
}

enum err keys_sign(const struct key_pair *key, struct bytes message, uint8_t sig[P256_SIGNATURE_BYTES])
{
    static EVP_MD_CTX *md;
    uint8_t der[DER_MAX_BYTES];
    size_t len = sizeof der;
    EVP_PKEY *pkey = private_key(key);
    if (!md)
        md = EVP_MD_CTX_new();
    bool done = pkey && md && EVP_DigestSignInit_ex(md, NULL, "SHA256", NULL, NULL, pkey, NULL) == 1 &&
                EVP_DigestSign(md, der, &len, message.p, message.len) == 1 && to_raw(der, len, sig);
    if (md)
        EVP_MD_CTX_reset(md);
    EVP_PKEY_free(pkey);
    return done ? ERR_OK : ERR_CRYPTO;
}
