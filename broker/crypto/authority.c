#include "crypto/authority.h"

#include <limits.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <time.h>

#include "base/buf.h"
#include "crypto/certificate.h"
#include "crypto/keyfile.h"
#include "crypto/openssl_calls.h"

#define DAY_S (24 * 60 * 60)

/* The files of one certificate. */
struct paths {
    char cert[PATH_MAX], key[PATH_MAX];
};

/* A certificate and its key; either may be NULL. */
struct pair {
    X509 *cert;
    EVP_PKEY *key;
};

static enum err make_paths(const char *dir, const char *name, const char *suffix, struct paths *ret)
{
    int cert_len = snprintf(ret->cert, sizeof ret->cert, "%s/%s%s.pem", dir, name, suffix);
    int key_len = snprintf(ret->key, sizeof ret->key, "%s/%s%s.key", dir, name, suffix);
    return cert_len < 0 || cert_len >= PATH_MAX || key_len < 0 || key_len >= PATH_MAX ? ERR_TOO_BIG : ERR_OK;
}

static void pair_done(struct pair *pair)
{
    X509_free(pair->cert);
    EVP_PKEY_free(pair->key);
}

static enum err load_cert(const char *path, X509 **ret)
{
    struct buf text = {0};
    TRY(keyfile_read(path, KEYFILE_PUBLIC, AUTHORITY_FILE_MAX_BYTES, &text));
    BIO *bio = BIO_new_mem_buf(buf_view(&text).p, (int)buf_len(&text));
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, openssl_no_passphrase, NULL) : NULL;
    BIO_free(bio);
    buf_done(&text);
    if (!cert)
        return openssl_failed(ERR_MALFORMED);
    *ret = cert;
    return ERR_OK;
}

static enum err load_key(const char *path, EVP_PKEY **ret)
{
    struct buf text = {0};
    TRY(keyfile_read(path, KEYFILE_PRIVATE, AUTHORITY_FILE_MAX_BYTES, &text));
    BIO *bio = BIO_new_mem_buf(buf_view(&text).p, (int)buf_len(&text));
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, openssl_no_passphrase, NULL) : NULL;
    BIO_free(bio);
    buf_done(&text);
    if (!key)
        return openssl_failed(ERR_MALFORMED);
    *ret = key;
    return ERR_OK;
}

static enum err create_key(const char *path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_mem());
    enum err e = ERR_CRYPTO;
    if (key && bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1) {
        char *text;
        long len = BIO_get_mem_data(bio, &text);
        e = keyfile_create(path, KEYFILE_PRIVATE, bytes_make(text, (size_t)len));
    }
    BIO_free(bio); /* cleanses */
    EVP_PKEY_free(key);
    return openssl_failed(e);
}

/* Reads back what it created: another process may have been first. */
static enum err ensure_key(const char *path, EVP_PKEY **ret)
{
    enum err e = load_key(path, ret);
    if (e != ERR_NOT_FOUND)
        return e;
    e = create_key(path);
    if (e != ERR_OK && e != ERR_EXISTS)
        return e;
    return load_key(path, ret);
}

static enum err append_pem(X509 *cert, struct buf *ret)
{
    BIO *bio = BIO_new(BIO_s_mem());
    enum err e = ERR_CRYPTO;
    if (bio && PEM_write_bio_X509(bio, cert) == 1) {
        char *text;
        long len = BIO_get_mem_data(bio, &text);
        e = buf_append(ret, bytes_make(text, (size_t)len));
    }
    BIO_free(bio);
    return openssl_failed(e);
}

static enum err check_fit(const struct pair *pair)
{
    return X509_check_private_key(pair->cert, pair->key) == 1 ? ERR_OK : openssl_failed(ERR_CONFIG);
}

static enum err create_ca(const struct paths *paths, const char *name)
{
    char common_name[CERTIFICATE_NAME_MAX + 1];
    struct pair ca = {0};
    struct buf pem = {0};
    int len = snprintf(common_name, sizeof common_name, "nanopush %s CA", name);
    if (len < 0 || (size_t)len >= sizeof common_name)
        return ERR_TOO_BIG;
    enum err e = ensure_key(paths->key, &ca.key);
    if (e == ERR_OK)
        e = certificate_new_ca(ca.key, common_name, time(NULL), &ca.cert);
    if (e == ERR_OK)
        e = append_pem(ca.cert, &pem);
    if (e == ERR_OK)
        e = keyfile_create(paths->cert, KEYFILE_PUBLIC, buf_view(&pem));
    buf_done(&pem);
    pair_done(&ca);
    return e == ERR_EXISTS ? ERR_OK : e; /* by another process, for the same key */
}

enum err authority_ensure(const char *dir, const char *name)
{
    struct paths paths;
    struct pair ca = {0};
    TRY(make_paths(dir, name, "-ca", &paths));
    enum err e = load_cert(paths.cert, &ca.cert);
    if (e == ERR_NOT_FOUND)
        return create_ca(&paths, name);
    if (e == ERR_OK)
        e = load_key(paths.key, &ca.key);
    if (e == ERR_OK)
        e = check_fit(&ca);
    pair_done(&ca);
    return e;
}

static bool will_do(const struct pair *leaf, X509 *ca, const char *const *sans, size_t count)
{
    time_t soon = time(NULL) + AUTHORITY_RENEW_DAYS * DAY_S;
    if (X509_cmp_time(X509_get0_notAfter(leaf->cert), &soon) <= 0)
        return false;
    if (check_fit(leaf) != ERR_OK || !certificate_issued_by(leaf->cert, ca))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!certificate_has_san(leaf->cert, sans[i]))
            return false;
    }
    return true;
}

static enum err issue(const char *path, const struct certificate_leaf *leaf)
{
    X509 *cert;
    struct buf pem = {0};
    TRY(certificate_new_leaf(leaf, time(NULL), &cert));
    enum err e = append_pem(cert, &pem);
    if (e == ERR_OK)
        e = append_pem(leaf->ca, &pem);
    if (e == ERR_OK)
        e = keyfile_replace(path, KEYFILE_PUBLIC, buf_view(&pem));
    buf_done(&pem);
    X509_free(cert);
    return e;
}

/* The CA's key is read only where there is something to sign. */
static enum err ensure_leaf_cert(const struct paths *ca_paths, struct pair *ca,
                                 const struct paths *leaf_paths, struct pair *own,
                                 struct certificate_leaf *request)
{
    enum err e = load_cert(leaf_paths->cert, &own->cert);
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return e;
    if (own->cert && will_do(own, ca->cert, request->sans, request->san_count))
        return ERR_OK;
    TRY(load_key(ca_paths->key, &ca->key));
    TRY(check_fit(ca));
    request->key = own->key;
    request->ca = ca->cert;
    request->ca_key = ca->key;
    return issue(leaf_paths->cert, request);
}

enum err authority_ensure_leaf(const char *dir, const char *ca_name, const char *leaf,
                               const char *const *sans, size_t count)
{
    struct paths ca_paths, leaf_paths;
    struct pair ca = {0}, own = {0};
    char common_name[CERTIFICATE_NAME_MAX + 1];
    struct certificate_leaf request = {.common_name = common_name, .sans = sans, .san_count = count};
    TRY(make_paths(dir, ca_name, "-ca", &ca_paths));
    TRY(make_paths(dir, leaf, "", &leaf_paths));
    int len = snprintf(common_name, sizeof common_name, "nanopush %s", leaf);
    if (len < 0 || (size_t)len >= sizeof common_name)
        return ERR_TOO_BIG;
    enum err e = load_cert(ca_paths.cert, &ca.cert);
    if (e == ERR_OK)
        e = ensure_key(leaf_paths.key, &own.key);
    if (e == ERR_OK)
        e = ensure_leaf_cert(&ca_paths, &ca, &leaf_paths, &own, &request);
    pair_done(&ca);
    pair_done(&own);
    return e;
}

enum err authority_spki_sha256(const char *pem_path, uint8_t out[SHA256_BYTES])
{
    X509 *cert;
    uint8_t *der = NULL;
    TRY(load_cert(pem_path, &cert));
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    enum err e = len > 0 ? sha256(bytes_make(der, (size_t)len), out) : openssl_failed(ERR_CRYPTO);
    OPENSSL_free(der);
    X509_free(cert);
    return e;
}
