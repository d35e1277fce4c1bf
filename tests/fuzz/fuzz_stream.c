/**
 * TLS record framer and OpenSSL behind it. An even first byte: the rest comes from a peer that has not shaken
 * hands; an odd one: it comes after a real handshake. Cut into pieces either way.
 */
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "net/record.h"
#include "net/tls_channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);

static SSL_CTX *server_ctx, *client_ctx;

static void check(bool is_so)
{
    if (!is_so)
        abort();
}

static void set_up(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    server_ctx = SSL_CTX_new(TLS_server_method());
    client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(server_ctx, TLS1_3_VERSION);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    check(X509_sign(cert, key, EVP_sha256()) > 0);
    SSL_CTX_use_certificate(server_ctx, cert);
    SSL_CTX_use_PrivateKey(server_ctx, key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static struct buf raw, input, output; /* the channel's */

/* Steps as a stream does. False once the channel is at its end. */
static bool step_all(struct tls_channel *c)
{
    for (;;) {
        size_t taken = 0;
        enum tls_event event = tls_channel_step(c, buf_view(&raw), &taken, &input, &output);
        buf_consume(&raw, taken);
        if (event == TLS_FAILED)
            check(tls_channel_failure(c) < CLOSE_REASON_COUNT);
        if (event == TLS_FAILED || event == TLS_PEER_DONE)
            return false;
        if (taken == 0) {
            check(buf_len(&raw) < RECORD_HEADER_BYTES + RECORD_BODY_MAX_BYTES);
            return true;
        }
    }
}

static void shake_hands(struct tls_channel *c)
{
    char part[4096];
    int n = 0;
    SSL *client = SSL_new(client_ctx);
    SSL_set_bio(client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(client);
    for (int i = 0; i < 4; i++) {
        SSL_do_handshake(client);
        while ((n = BIO_read(SSL_get_wbio(client), part, sizeof(part))) > 0)
            check(buf_append(&raw, bytes_make(part, (size_t)n)) == ERR_OK);
        check(step_all(c));
        BIO_write(SSL_get_rbio(client), buf_view(&output).p, (int)buf_len(&output));
        buf_done(&output);
    }
    SSL_free(client);
    ERR_clear_error();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
    struct tls_channel c = {0};
    if (!server_ctx)
        set_up();
    if (len < 1)
        return 0;
    check(tls_channel_init(&c, server_ctx) == ERR_OK);
    if (p[0] & 1)
        shake_hands(&c);
    size_t piece = p[0] / 2 ? p[0] / 2 : len;
    bool going = true;
    for (size_t at = 1; at < len && going; at += piece) {
        size_t n = len - at < piece ? len - at : piece;
        check(buf_append(&raw, bytes_make(p + at, n)) == ERR_OK);
        going = step_all(&c);
    }
    check(buf_len(&input) == 0); /* nobody can forge a record */
    tls_channel_shutdown(&c, &output);
    check(ERR_peek_error() == 0);
    tls_channel_done(&c);
    buf_done(&raw);
    buf_done(&input);
    buf_done(&output);
    return 0;
}
