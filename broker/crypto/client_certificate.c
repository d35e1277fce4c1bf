#include "crypto/client_certificate.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "crypto/openssl_calls.h"

#define CHAIN_MAX_BYTES (32 * 1024) /* that a client may send */

/* The result stays in the SSL as its verify result; whatever it is, the handshake goes on. */
static int verify(X509_STORE_CTX *store, void *arg)
{
    (void)arg;
    if (X509_verify_cert(store) <= 0 && X509_STORE_CTX_get_error(store) == X509_V_OK)
        X509_STORE_CTX_set_error(store, X509_V_ERR_UNSPECIFIED);
    ERR_clear_error();
    return 1;
}

enum err tls_ask_client_certificate(SSL_CTX *ctx, const char *ca_path, struct buf *why)
{
    ERR_clear_error();
    if (ca_path && SSL_CTX_load_verify_file(ctx, ca_path) != 1) {
        const char *reason = ERR_reason_error_string(ERR_peek_error());
        enum err e = buf_printf(why, "portals' CA %s: %s", ca_path, reason ? reason : "cannot be read");
        return openssl_failed(e == ERR_OK ? ERR_CONFIG : e);
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, verify, NULL);
    SSL_CTX_set_max_cert_list(ctx, CHAIN_MAX_BYTES);
    return ERR_OK;
}

/* @return false if it is not a name by itself: 1 to 64 of a-z 0-9 and "-". */
static bool copy_name(const char *in, size_t len, char out[CLIENT_CERTIFICATE_NAME_SIZE])
{
    if (len == 0 || len >= CLIENT_CERTIFICATE_NAME_SIZE)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!(in[i] >= 'a' && in[i] <= 'z') && !(in[i] >= '0' && in[i] <= '9') && in[i] != '-')
            return false;
    memcpy(out, in, len);
    out[len] = '\0';
    return true;
}

static void read_uri(const ASN1_IA5STRING *uri, struct client_certificate *ret)
{
    static const char scheme[] = "nanopush://";
    const char *text = (const char *)ASN1_STRING_get0_data(uri);
    size_t len = (size_t)ASN1_STRING_length(uri);
    if (len < sizeof scheme || memcmp(text, scheme, sizeof scheme - 1) != 0)
        return;
    const char *name = text + sizeof scheme - 1, *end = text + len;
    const char *slash = memchr(name, '/', (size_t)(end - name));
    if (!slash || !copy_name(name, (size_t)(slash - name), ret->organisation) ||
        !copy_name(slash + 1, (size_t)(end - slash - 1), ret->portal))
        ret->organisation[0] = ret->portal[0] = '\0';
}

/* An extension that is there twice, or cannot be parsed, names nobody. */
static void read_names(X509 *cert, struct client_certificate *ret)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    const ASN1_IA5STRING *uri = NULL;
    unsigned uris = 0;
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        uri = name->d.uniformResourceIdentifier;
        uris++;
    }
    if (uris == 1)
        read_uri(uri, ret);
    GENERAL_NAMES_free(names);
}

static bool read_time(const ASN1_TIME *time, int64_t *unix_s)
{
    struct tm at;
    if (ASN1_TIME_to_tm(time, &at) != 1)
        return false;
    *unix_s = (int64_t)timegm(&at);
    return true;
}

enum err client_certificate_read(X509 *cert, bool trusted, struct client_certificate *ret)
{
    struct client_certificate read = {.trusted = trusted};
    unsigned len = 0;
    if (X509_digest(cert, EVP_sha256(), read.fingerprint, &len) != 1 || len != SHA256_BYTES)
        return openssl_failed(ERR_CRYPTO);
    if (!read_time(X509_get0_notBefore(cert), &read.from_unix_s) ||
        !read_time(X509_get0_notAfter(cert), &read.until_unix_s))
        return openssl_failed(ERR_MALFORMED);
    read_names(cert, &read);
    *ret = read;
    return openssl_failed(ERR_OK);
}

enum err client_certificate_of(SSL *ssl, struct client_certificate *ret)
{
    X509 *cert = SSL_get0_peer_certificate(ssl);
    if (!cert)
        return ERR_NOT_FOUND;
    return client_certificate_read(cert, SSL_get_verify_result(ssl) == X509_V_OK, ret);
}

enum err client_certificate_file_fingerprint(const char *path, uint8_t ret[SHA256_BYTES])
{
    struct client_certificate read;
    FILE *file = fopen(path, "re");
    if (!file)
        return ERR_IO;
    X509 *cert = PEM_read_X509(file, NULL, openssl_no_passphrase, NULL);
    fclose(file);
    enum err e = cert ? client_certificate_read(cert, false, &read) : openssl_failed(ERR_MALFORMED);
    X509_free(cert);
    if (e == ERR_OK)
        memcpy(ret, read.fingerprint, SHA256_BYTES);
    return e;
}
