#include "internal.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define SCRYPT_N 16384 /* 16 MiB: OpenSSL's reader refuses more than 32 */
#define SCRYPT_R 8
#define SCRYPT_P 1

struct np_key {
    EVP_PKEY *pkey;
};

static enum np_error wrap(EVP_PKEY *pkey, struct np_key **ret)
{
    struct np_key *key = malloc(sizeof *key);
    if (!key) {
        EVP_PKEY_free(pkey);
        return NP_NOMEM;
    }
    key->pkey = pkey;
    *ret = key;
    return NP_OK;
}

enum np_error np_key_generate(struct np_key **ret)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    return pkey ? wrap(pkey, ret) : NP_CRYPTO;
}

void np_key_free(struct np_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pkey);
    free(key);
}

/* DER of ECDSA-Sig-Value (RFC 3279, 2.2.3) to r||s of fixed width. */
static bool signature_to_raw(const uint8_t *der, size_t len, uint8_t *ret)
{
    ECDSA_SIG *parsed = d2i_ECDSA_SIG(NULL, &der, (long)len);
    if (!parsed)
        return false;
    bool ok = BN_bn2binpad(ECDSA_SIG_get0_r(parsed), ret, 32) == 32 &&
              BN_bn2binpad(ECDSA_SIG_get0_s(parsed), ret + 32, 32) == 32;
    ECDSA_SIG_free(parsed);
    return ok;
}

static enum np_error sign(const uint8_t *message, size_t len, uint8_t *signature, void *arg)
{
    struct np_key *key = arg;
    uint8_t der[80];
    size_t der_len = sizeof der;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) == 1 &&
              EVP_DigestSign(ctx, der, &der_len, message, len) == 1 &&
              signature_to_raw(der, der_len, signature);
    EVP_MD_CTX_free(ctx);
    return ok ? NP_OK : NP_CRYPTO;
}

enum np_error np_key_signer(struct np_key *key, struct np_signer *ret)
{
    struct np_signer signer = {.sign = sign, .arg = key};
    size_t len = 0;
    if (EVP_PKEY_get_octet_string_param(key->pkey, OSSL_PKEY_PARAM_PUB_KEY, signer.public_key,
                                        sizeof signer.public_key, &len) != 1 ||
        len != NP_KEY_BYTES || signer.public_key[0] != POINT_CONVERSION_UNCOMPRESSED)
        return NP_CRYPTO;
    *ret = signer;
    return NP_OK;
}

static bool write_encrypted(BIO *to, PKCS8_PRIV_KEY_INFO *plain, const char *passphrase)
{
    uint8_t salt[16];
    if (RAND_bytes(salt, sizeof salt) != 1)
        return false;
    X509_ALGOR *pbe =
        PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), salt, sizeof salt, NULL, SCRYPT_N, SCRYPT_R, SCRYPT_P);
    if (!pbe)
        return false;
    X509_SIG *sealed = PKCS8_set0_pbe(passphrase, (int)strlen(passphrase), plain, pbe);
    if (!sealed) {
        X509_ALGOR_free(pbe);
        return false;
    }
    bool ok = PEM_write_bio_PKCS8(to, sealed) == 1;
    X509_SIG_free(sealed);
    return ok;
}

enum np_error np_key_to_pem(const struct np_key *key, const char *passphrase, char **ret)
{
    PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(key->pkey);
    BIO *bio = BIO_new(BIO_s_secmem());
    bool ok = plain && bio &&
              (passphrase ? write_encrypted(bio, plain, passphrase)
                          : PEM_write_bio_PKCS8_PRIV_KEY_INFO(bio, plain) == 1);
    char *text = NULL, *pem = NULL;
    long len = ok ? BIO_get_mem_data(bio, &text) : 0;
    if (ok)
        pem = malloc((size_t)len + 1);
    if (pem) {
        memcpy(pem, text, (size_t)len);
        pem[len] = '\0';
        *ret = pem;
    }
    BIO_free(bio);
    PKCS8_PRIV_KEY_INFO_free(plain);
    return !ok ? NP_CRYPTO : pem ? NP_OK : NP_NOMEM;
}

/* OpenSSL's own callback would ask on the terminal. */
static int passphrase_for_pem(char *ret, int size, int writing, void *arg)
{
    const char *passphrase = arg;
    (void)writing;
    size_t len = passphrase ? strlen(passphrase) : 0;
    if (!passphrase || len > (size_t)size)
        return -1;
    memcpy(ret, passphrase, len);
    return (int)len;
}

enum np_error np_key_from_pem(const char *pem, const char *passphrase, struct np_key **ret)
{
    size_t len = strlen(pem);
    BIO *bio = len < INT32_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
    if (!bio)
        return NP_NOMEM;
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, passphrase_for_pem, (void *)passphrase);
    BIO_free(bio);
    if (!pkey)
        return NP_MALFORMED;
    char group[32];
    size_t group_len = 0;
    if (EVP_PKEY_get_group_name(pkey, group, sizeof group, &group_len) != 1 ||
        strcmp(group, "prime256v1") != 0) {
        EVP_PKEY_free(pkey);
        return NP_INVALID;
    }
    return wrap(pkey, ret);
}

void np_text_free(char *text)
{
    if (text)
        OPENSSL_cleanse(text, strlen(text));
    free(text);
}

enum np_error np_sha256(const void *p, size_t len, uint8_t ret[SHA256_BYTES])
{
    return EVP_Digest(p, len, ret, NULL, EVP_sha256(), NULL) == 1 ? NP_OK : NP_CRYPTO;
}

enum np_error np_hmac_sha256(const void *key, size_t key_len, const void *p, size_t len,
                             uint8_t ret[SHA256_BYTES])
{
    return HMAC(EVP_sha256(), key, (int)key_len, p, len, ret, NULL) ? NP_OK : NP_CRYPTO;
}

enum np_error np_key_thumbprint(const uint8_t public_key[NP_KEY_BYTES], char ret[THUMBPRINT_SIZE])
{
    struct np_buf jwk = {0}, text = {0};
    np_buf_add_text(&jwk, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"");
    np_buf_add_base64url(&jwk, public_key + 1, 32);
    np_buf_add_text(&jwk, "\",\"y\":\"");
    np_buf_add_base64url(&jwk, public_key + 33, 32);
    np_buf_add_text(&jwk, "\"}");
    uint8_t digest[SHA256_BYTES];
    enum np_error error = jwk.error ? jwk.error : np_sha256(jwk.p, jwk.len, digest);
    if (error == NP_OK) {
        np_buf_add_base64url(&text, digest, sizeof digest);
        error = text.error;
    }
    if (error == NP_OK) {
        memcpy(ret, text.p, THUMBPRINT_SIZE - 1);
        ret[THUMBPRINT_SIZE - 1] = '\0';
    }
    np_buf_done(&jwk);
    np_buf_done(&text);
    return error;
}
