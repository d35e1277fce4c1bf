#include "crypto/tls.h"

#include <openssl/x509v3.h>

#include <stdlib.h>
#include <string.h>

#include "crypto/openssl_calls.h"
#include "crypto/tls13_kdf.h"

#define CIPHER_SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS        "X25519:P-256"

/* Owned by the SSL_CTX, as its application data under alpn_index(). */
struct alpn {
    unsigned len;
    uint8_t wire[TLS_ALPN_NAMES_MAX * (1 + TLS_ALPN_NAME_MAX)]; /* each name behind its length */
};

static void free_alpn(void *parent, void *alpn, CRYPTO_EX_DATA *all, int index, long argl, void *argp)
{
    (void)parent, (void)all, (void)index, (void)argl, (void)argp;
    free(alpn);
}

static int alpn_index(void)
{
    static int index = -1;
    if (index < 0)
        index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_alpn);
    return index;
}

static enum err make_alpn(const char *const *protocols, size_t count, struct alpn **ret)
{
    if (count > TLS_ALPN_NAMES_MAX)
        return ERR_INVALID;
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(protocols[i]);
        if (len == 0 || len > TLS_ALPN_NAME_MAX)
            return ERR_INVALID;
    }
    struct alpn *alpn = calloc(1, sizeof *alpn);
    if (!alpn)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(protocols[i]);
        alpn->wire[alpn->len] = (uint8_t)len;
        memcpy(alpn->wire + alpn->len + 1, protocols[i], len);
        alpn->len += 1 + (unsigned)len;
    }
    *ret = alpn;
    return ERR_OK;
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *offered, unsigned offered_len, void *arg)
{
    const struct alpn *alpn = arg;
    unsigned char *chosen;
    (void)ssl;
    if (SSL_select_next_proto(&chosen, out_len, alpn->wire, alpn->len, offered, offered_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* OpenSSL sends no_application_protocol */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* select_alpn() is not called for a client that sends no ALPN at all, and a check after the handshake would
 * come too late for an alert that the client understands: TLS 1.3 clients are done by then. */
static int require_alpn(SSL *ssl, int *alert, void *arg)
{
    const unsigned char *offered;
    size_t len;
    (void)arg;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &offered, &len) ==
        1)
        return SSL_CLIENT_HELLO_SUCCESS;
    *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
    return SSL_CLIENT_HELLO_ERROR;
}

static enum err set_alpn(SSL_CTX *ctx, const char *const *protocols, size_t count, bool required)
{
    struct alpn *alpn;
    if (count == 0)
        return required ? ERR_INVALID : ERR_OK;
    TRY(make_alpn(protocols, count, &alpn));
    if (SSL_CTX_set_ex_data(ctx, alpn_index(), alpn) != 1) {
        free(alpn);
        return openssl_failed(ERR_CRYPTO);
    }
    SSL_CTX_set_alpn_select_cb(ctx, select_alpn, alpn);
    if (required)
        SSL_CTX_set_client_hello_cb(ctx, require_alpn, NULL);
    return ERR_OK;
}

static enum err set_policy(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx,
                        SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_passwd_cb(ctx, openssl_no_passphrase);
    bool done = SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
                SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
                SSL_CTX_set_ciphersuites(ctx, CIPHER_SUITES) == 1 &&
                SSL_CTX_set1_groups_list(ctx, GROUPS) == 1 && SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
                SSL_CTX_set_max_early_data(ctx, 0) == 1 && SSL_CTX_set_recv_max_early_data(ctx, 0) == 1;
    return done ? ERR_OK : openssl_failed(ERR_CRYPTO);
}

/* The first entry is the cause; what follows only says which functions passed it on. */
static const char *openssl_reason(void)
{
    unsigned long code = ERR_peek_error();
    const char *reason =
        ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
    return reason ? reason : "unknown reason";
}

static enum err refuse_file(const char *what, const char *path, struct buf *why)
{
    enum err e = buf_printf(why, "%s %s: %s", what, path, openssl_reason());
    return openssl_failed(e == ERR_OK ? ERR_CONFIG : e);
}

static enum err load_files(SSL_CTX *ctx, const char *chain_path, const char *key_path, struct buf *why)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, chain_path) != 1)
        return refuse_file("certificate", chain_path, why);
    if (SSL_CTX_use_PrivateKey_file(ctx, key_path, SSL_FILETYPE_PEM) != 1)
        return refuse_file("private key", key_path, why);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return refuse_file("private key", key_path, why);
    return ERR_OK;
}

static enum err configure(SSL_CTX *ctx, const char *const *protocols, size_t count, bool alpn_required,
                          struct buf *why)
{
    enum err e = set_policy(ctx);
    if (e == ERR_OK)
        e = set_alpn(ctx, protocols, count, alpn_required);
    if (e != ERR_OK)
        TRY(buf_printf(why, "TLS settings: %s", err_text(e)));
    return e;
}

enum err tls_server_new(const char *chain_path, const char *key_path, const char *const *protocols,
                        size_t count, bool alpn_required, SSL_CTX **ret, struct buf *why)
{
    SSL_CTX *ctx = SSL_CTX_new_ex(NULL, TLS13_KDF_PREFERRED, TLS_server_method());
    if (!ctx)
        return openssl_failed(ERR_NOMEM);
    enum err e = configure(ctx, protocols, count, alpn_required, why);
    if (e == ERR_OK)
        e = load_files(ctx, chain_path, key_path, why);
    if (e == ERR_OK)
        *ret = ctx;
    else
        SSL_CTX_free(ctx);
    return e;
}

static enum err trust(SSL_CTX *ctx, const char *ca_path, const char *name, struct buf *why)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);
    TRY(set_policy(ctx));
    ERR_clear_error();
    if (SSL_CTX_load_verify_locations(ctx, ca_path, NULL) != 1)
        return refuse_file("CA file", ca_path, why);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    bool named =
        X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1 || X509_VERIFY_PARAM_set1_host(param, name, 0) == 1;
    return openssl_failed(named ? ERR_OK : ERR_CRYPTO);
}

enum err tls_client_new(const char *ca_path, const char *name, const char *chain_path, const char *key_path,
                        SSL_CTX **ret, struct buf *why)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx)
        return openssl_failed(ERR_NOMEM);
    enum err e = trust(ctx, ca_path, name, why);
    if (e == ERR_OK && chain_path[0])
        e = load_files(ctx, chain_path, key_path, why);
    if (e == ERR_OK)
        *ret = ctx;
    else
        SSL_CTX_free(ctx);
    return e;
}

enum err tls_export(SSL *ssl, const char *label, uint8_t out[TLS_EXPORT_BYTES])
{
    if (!SSL_is_init_finished(ssl))
        return ERR_BAD_STATE;
    if (SSL_export_keying_material(ssl, out, TLS_EXPORT_BYTES, label, strlen(label), NULL, 0, 0) != 1)
        return openssl_failed(ERR_CRYPTO);
    return ERR_OK;
}
