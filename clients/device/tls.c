#include "internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ALPN_PROTOCOL  "nanopush/1"
#define EXPORTER_LABEL "EXPORTER-nanopush-v1"
#define PADDING_BYTES  128 /* so that the length of a record does not tell an approval from a refusal */

struct np_tls {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO_METHOD *socket;
    int fd;
    bool end_of_stream;
    int socket_errno;
    uint8_t pins[NP_PINS_MAX][NP_PIN_BYTES];
    size_t pin_count;
    STACK_OF(X509) * anchors; /* of the peer's chain, those that are pinned */
    uint8_t used_pin[NP_PIN_BYTES], resumed_pin[NP_PIN_BYTES]; /* the second of the session that is offered */
    struct np_buf session;                                     /* DER of the last one that the peer gave */
    enum np_error error;
    char text[128];
};

/* The socket, with MSG_NOSIGNAL: a library must not let SIGPIPE end its app. -------------------------- */

static int socket_read(BIO *bio, char *p, size_t size, size_t *len)
{
    struct np_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t got = recv(tls->fd, p, size, 0);
    if (got > 0) {
        *len = (size_t)got;
        return 1;
    }
    tls->end_of_stream = got == 0;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        BIO_set_retry_read(bio);
    else if (got < 0)
        tls->socket_errno = errno;
    return 0;
}

static int socket_write(BIO *bio, const char *p, size_t len, size_t *written)
{
    struct np_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t put = send(tls->fd, p, len, MSG_NOSIGNAL);
    if (put >= 0) {
        *written = (size_t)put;
        return 1;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        BIO_set_retry_write(bio);
    else
        tls->socket_errno = errno;
    return 0;
}

static long socket_control(BIO *bio, int command, long number, void *pointer)
{
    struct np_tls *tls = BIO_get_data(bio);
    (void)number, (void)pointer;
    if (command == BIO_CTRL_EOF)
        return tls->end_of_stream;
    return command == BIO_CTRL_FLUSH;
}

static bool use_socket(struct np_tls *tls)
{
    tls->socket = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "nanopush socket");
    if (!tls->socket || BIO_meth_set_read_ex(tls->socket, socket_read) != 1 ||
        BIO_meth_set_write_ex(tls->socket, socket_write) != 1 ||
        BIO_meth_set_ctrl(tls->socket, socket_control) != 1)
        return false;
    BIO *bio = BIO_new(tls->socket);
    if (!bio)
        return false;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    return true;
}

/* Trust ----------------------------------------------------------------------------------------------- */

static bool spki_sha256(X509 *certificate, uint8_t ret[NP_PIN_BYTES])
{
    uint8_t *der = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    bool ok = len > 0 && np_sha256(der, (size_t)len, ret) == NP_OK;
    OPENSSL_free(der);
    return ok;
}

static bool is_pinned(const struct np_tls *tls, const uint8_t key[NP_PIN_BYTES])
{
    for (size_t i = 0; i < tls->pin_count; i++)
        if (memcmp(tls->pins[i], key, NP_PIN_BYTES) == 0)
            return true;
    return false;
}

/* Collect the pinned CAs of the peer's chain; its first certificate is the server's own and never one of
 * them. */
static bool collect_anchors(struct np_tls *tls, STACK_OF(X509) * chain)
{
    tls->anchors = sk_X509_new_null();
    if (!tls->anchors)
        return false;
    for (int i = 1; i < sk_X509_num(chain); i++) {
        X509 *certificate = sk_X509_value(chain, i);
        uint8_t key[NP_PIN_BYTES];
        if (X509_check_ca(certificate) != 1 || !spki_sha256(certificate, key) || !is_pinned(tls, key))
            continue;
        if (!sk_X509_push(tls->anchors, certificate))
            return false;
        X509_up_ref(certificate);
    }
    return sk_X509_num(tls->anchors) > 0;
}

/* In place of X509_verify_cert(): the same, with the pinned CAs of this very chain as the only trust anchors.
 */
static int verify_chain(X509_STORE_CTX *x509, void *arg)
{
    struct np_tls *tls = arg;
    if (tls->anchors || !collect_anchors(tls, X509_STORE_CTX_get0_untrusted(x509))) {
        X509_STORE_CTX_set_error(x509, X509_V_ERR_CERT_UNTRUSTED);
        return 0;
    }
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(x509);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN); /* a pinned CA need not be a root */
    X509_VERIFY_PARAM_set_depth(param, 0); /* it issued the server's certificate itself */
    X509_STORE_CTX_set0_trusted_stack(x509, tls->anchors);
    if (X509_verify_cert(x509) != 1)
        return 0;
    STACK_OF(X509) *verified = X509_STORE_CTX_get0_chain(x509);
    return spki_sha256(sk_X509_value(verified, sk_X509_num(verified) - 1), tls->used_pin);
}

static bool use_name(struct np_tls *tls, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(tls->ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1)
        return true; /* RFC 6066, 3: an address is not sent as server name */
    ERR_clear_error();
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return SSL_set1_host(tls->ssl, name) == 1 && SSL_set_tlsext_host_name(tls->ssl, name) == 1;
}

/* Sessions: a resumed one shows no certificate, so it counts for the pin that the full handshake was made under. */

/* OpenSSL's own object does not outlive the connection well, so its bytes are taken at once. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct np_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    int len = i2d_SSL_SESSION(session, NULL);
    np_buf_done(&tls->session);
    uint8_t *to = len > 0 ? np_buf_reserve(&tls->session, (size_t)len) : NULL;
    if (to && i2d_SSL_SESSION(session, &to) == len)
        tls->session.len = (size_t)len;
    return 0; /* the object stays OpenSSL's */
}

static void keep_sessions(struct np_tls *tls)
{
    SSL_CTX_set_session_cache_mode(tls->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(tls->ctx, on_new_session);
    SSL_CTX_set_app_data(tls->ctx, tls);
}

struct np_buf *np_tls_session(struct np_tls *tls)
{
    return &tls->session;
}

enum np_error np_tls_resume(struct np_tls *tls, const uint8_t pin[NP_PIN_BYTES], const uint8_t *der,
                            size_t len)
{
    const uint8_t *at = der;
    if (!SSL_in_before(tls->ssl))
        return NP_BAD_STATE;
    if (!is_pinned(tls, pin))
        return NP_INVALID;
    SSL_SESSION *session = d2i_SSL_SESSION(NULL, &at, (long)len);
    bool ok = session && at == der + len && SSL_SESSION_get_protocol_version(session) == TLS1_3_VERSION &&
              SSL_SESSION_is_resumable(session) && SSL_set_session(tls->ssl, session) == 1;
    SSL_SESSION_free(session);
    ERR_clear_error();
    memcpy(tls->resumed_pin, pin, NP_PIN_BYTES);
    return ok ? NP_OK : NP_MALFORMED;
}

/* Life ------------------------------------------------------------------------------------------------ */

static bool set_up(struct np_tls *tls, const char *server_name)
{
    static const uint8_t alpn[] = "\x0a" ALPN_PROTOCOL; /* its length in front */
    tls->ctx = SSL_CTX_new(TLS_client_method());
    if (!tls->ctx || SSL_CTX_set_min_proto_version(tls->ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_block_padding(tls->ctx, PADDING_BYTES) != 1)
        return false;
    SSL_CTX_set_session_cache_mode(tls->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(tls->ctx, verify_chain, tls);
    SSL_CTX_set_mode(tls->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    tls->ssl = SSL_new(tls->ctx);
    if (!tls->ssl || SSL_set_alpn_protos(tls->ssl, alpn, sizeof alpn - 1) != 0 ||
        !use_name(tls, server_name) || !use_socket(tls))
        return false;
    SSL_set_connect_state(tls->ssl);
    return true;
}

enum np_error np_tls_new(const struct np_endpoint *endpoint, bool sessions, int fd, struct np_tls **ret)
{
    struct np_tls *tls = calloc(1, sizeof *tls);
    if (!tls)
        return NP_NOMEM;
    tls->fd = fd;
    tls->pin_count = endpoint->pin_count;
    memcpy(tls->pins, endpoint->pins, endpoint->pin_count * sizeof *tls->pins);
    if (!set_up(tls, endpoint->server_name)) {
        np_tls_free(tls);
        return NP_CRYPTO;
    }
    if (sessions)
        keep_sessions(tls);
    *ret = tls;
    return NP_OK;
}

void np_tls_free(struct np_tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    SSL_CTX_free(tls->ctx);
    BIO_meth_free(tls->socket);
    sk_X509_pop_free(tls->anchors, X509_free);
    np_buf_done(&tls->session);
    free(tls);
}

static void fail(struct np_tls *tls, enum np_error error, const char *text)
{
    tls->error = error;
    snprintf(tls->text, sizeof tls->text, "%s", text);
}

static enum np_tls_result explain(struct np_tls *tls, int result)
{
    long verified = SSL_get_verify_result(tls->ssl);
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return NP_TLS_WAIT_READ;
    case SSL_ERROR_WANT_WRITE:
        return NP_TLS_WAIT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        fail(tls, NP_CLOSED, "the broker closed the connection");
        break;
    default:
        if (tls->socket_errno)
            fail(tls, NP_IO, strerror(tls->socket_errno));
        else if (tls->end_of_stream)
            fail(tls, NP_CLOSED, "the connection ended without a word");
        else if (verified != X509_V_OK)
            fail(tls, NP_UNTRUSTED, X509_verify_cert_error_string(verified));
        else
            fail(tls, NP_IO, reason ? reason : "TLS failed");
    }
    ERR_clear_error();
    return NP_TLS_FAILED;
}

static bool alpn_agreed(struct np_tls *tls)
{
    const uint8_t *selected = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(tls->ssl, &selected, &len);
    return len == strlen(ALPN_PROTOCOL) && memcmp(selected, ALPN_PROTOCOL, len) == 0;
}

enum np_tls_result np_tls_handshake(struct np_tls *tls)
{
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    if (result != 1)
        return explain(tls, result);
    if (!alpn_agreed(tls)) {
        fail(tls, NP_UNTRUSTED, "the peer does not speak nanopush/1");
        return NP_TLS_FAILED;
    }
    if (SSL_session_reused(tls->ssl))
        memcpy(tls->used_pin, tls->resumed_pin, NP_PIN_BYTES);
    return NP_TLS_OK;
}

bool np_tls_resumed(const struct np_tls *tls)
{
    return SSL_session_reused(tls->ssl) == 1;
}

enum np_tls_result np_tls_read(struct np_tls *tls, uint8_t *p, size_t size, size_t *len)
{
    ERR_clear_error();
    int result = SSL_read_ex(tls->ssl, p, size, len);
    return result == 1 ? NP_TLS_OK : explain(tls, result);
}

enum np_tls_result np_tls_write(struct np_tls *tls, const uint8_t *p, size_t len, size_t *written)
{
    ERR_clear_error();
    int result = SSL_write_ex(tls->ssl, p, len, written);
    return result == 1 ? NP_TLS_OK : explain(tls, result);
}

void np_tls_close(struct np_tls *tls)
{
    ERR_clear_error();
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

enum np_error np_tls_failure(const struct np_tls *tls, const char **text)
{
    *text = tls->text;
    return tls->error;
}

enum np_error np_tls_export(struct np_tls *tls, uint8_t exporter[EXPORTER_BYTES], uint8_t pin[NP_PIN_BYTES])
{
    if (SSL_export_keying_material(tls->ssl, exporter, EXPORTER_BYTES, EXPORTER_LABEL, strlen(EXPORTER_LABEL),
                                   NULL, 0, 0) != 1)
        return NP_CRYPTO;
    memcpy(pin, tls->used_pin, NP_PIN_BYTES);
    return NP_OK;
}
