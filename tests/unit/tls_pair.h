/**
 * A TLS 1.3 connection in memory: at one end a channel as on a port, at the other OpenSSL, which is the reference. The
 * phone's keys are known here, so that a test can also seal what OpenSSL never would.
 */
#ifndef NANOPUSH_TESTS_TLS_PAIR_H
#define NANOPUSH_TESTS_TLS_PAIR_H

#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>

#include "crypto/tls13_kdf.h"
#include "net/record.h"
#include "net/tls_channel.h"

struct tls_pair {
    SSL_CTX *server_ctx, *client_ctx;
    struct tls_channel channel;
    SSL *client, *server;     /* the second is the channel's, until it is parked */
    struct buf input, output; /* the channel's */
    const struct traffic_suite *suite;
    struct traffic_ciphers *ciphers;
    uint8_t secret[TRAFFIC_SECRET_MAX_BYTES]; /* the phone's, as the handshake left it */
    uint64_t sealed;                          /* records that the phone has made with it */
};

static struct tls_pair *pair_of_keylog;

static void pair_on_keylog(const SSL *ssl, const char *line)
{
    (void)ssl;
    if (strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0)
        assert_int_equal(hex_decode(bytes_of(strrchr(line, ' ') + 1), pair_of_keylog->secret,
                                    pair_of_keylog->suite->secret_bytes),
                         ERR_OK);
}

static void pair_on_message(int writing, int version, int type, const void *p, size_t len, SSL *ssl,
                            void *arg)
{
    (void)version, (void)len, (void)ssl, (void)arg;
    if (writing && type == SSL3_RT_HEADER && *(const uint8_t *)p == RECORD_APPLICATION_DATA)
        pair_of_keylog->sealed++;
}

static void pair_on_info(const SSL *ssl, int where, int result)
{
    (void)where, (void)result;
    pair_of_keylog->server = (SSL *)ssl;
}

static void pair_make_identity(SSL_CTX *ctx)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    assert_non_null(key);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* What the phone has to send goes in, in pieces of @p piece; false once the channel is at its end. */
static bool pair_to_channel(struct tls_pair *pair, struct bytes sent, size_t piece)
{
    struct buf raw = {0};
    bool going = true;
    for (size_t at = 0; at < sent.len && going; at += piece) {
        size_t n = sent.len - at < piece ? sent.len - at : piece, taken = 1;
        assert_int_equal(buf_append(&raw, bytes_make(sent.p + at, n)), ERR_OK);
        while (going && taken > 0) {
            enum tls_event event =
                tls_channel_step(&pair->channel, buf_view(&raw), &taken, &pair->input, &pair->output);
            buf_consume(&raw, taken);
            going = event != TLS_FAILED && event != TLS_PEER_DONE;
        }
    }
    buf_done(&raw);
    return going;
}

static void pair_to_client(struct tls_pair *pair)
{
    struct bytes out = buf_view(&pair->output);
    if (out.len)
        assert_int_equal(BIO_write(SSL_get_rbio(pair->client), out.p, (int)out.len), out.len);
    buf_done(&pair->output);
}

/* Both ways, once. */
static bool pair_exchange(struct tls_pair *pair, size_t piece)
{
    uint8_t *sent = NULL;
    long len = BIO_get_mem_data(SSL_get_wbio(pair->client), &sent);
    bool going = pair_to_channel(pair, bytes_make(sent, (size_t)len), piece);
    BIO_reset(SSL_get_wbio(pair->client));
    pair_to_client(pair);
    return going;
}

static void pair_open(struct tls_pair *pair, struct parking *parking, enum traffic_suite_index suite,
                      unsigned padding)
{
    *pair = (struct tls_pair){.suite = &traffic_suites[suite]};
    pair_of_keylog = pair;
    pair->ciphers = traffic_ciphers_new();
    pair->server_ctx = SSL_CTX_new_ex(NULL, TLS13_KDF_PREFERRED, TLS_server_method());
    pair->client_ctx = SSL_CTX_new(TLS_client_method());
    pair_make_identity(pair->server_ctx);
    SSL_CTX_set_num_tickets(pair->server_ctx, 1);
    SSL_CTX_set_mode(pair->server_ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_info_callback(pair->server_ctx, pair_on_info);
    SSL_CTX_set_keylog_callback(pair->client_ctx, pair_on_keylog);
    SSL_CTX_set_msg_callback(pair->client_ctx, pair_on_message);
    assert_int_equal(SSL_CTX_set_ciphersuites(pair->client_ctx, pair->suite->name), 1);
    if (parking)
        assert_int_equal(parking_attach(parking, pair->server_ctx, padding), ERR_OK);
    assert_int_equal(tls_channel_init(&pair->channel, pair->server_ctx), ERR_OK);
    pair->client = SSL_new(pair->client_ctx);
    SSL_set_bio(pair->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(pair->client);
    for (int i = 0; i < 3; i++) {
        SSL_do_handshake(pair->client);
        if (SSL_is_init_finished(pair->client))
            pair->sealed = 0;
        assert_true(pair_exchange(pair, 16384));
    }
    assert_true(SSL_is_init_finished(pair->client));
    ERR_clear_error();
}

static void pair_close(struct tls_pair *pair)
{
    tls_channel_done(&pair->channel);
    SSL_free(pair->client);
    SSL_CTX_free(pair->server_ctx);
    SSL_CTX_free(pair->client_ctx);
    traffic_ciphers_free(pair->ciphers);
    buf_done(&pair->input);
    buf_done(&pair->output);
    ERR_clear_error();
}

static void pair_fill(uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(i * 7 + len);
}

/* @p len bytes arrive at both ends as they left the other. */
static void pair_echo(struct tls_pair *pair, size_t len, size_t piece)
{
    static uint8_t said[65536], heard[65536];
    size_t got = 0, n = 0;
    pair_fill(said, len);
    assert_int_equal(SSL_write(pair->client, said, (int)len), len);
    assert_true(pair_exchange(pair, piece));
    assert_true(bytes_equal(buf_view(&pair->input), bytes_make(said, len)));
    assert_int_equal(tls_channel_write(&pair->channel, buf_view(&pair->input), &pair->output), ERR_OK);
    buf_done(&pair->input);
    pair_to_client(pair);
    while (got < len && SSL_read_ex(pair->client, heard + got, sizeof heard - got, &n) == 1)
        got += n;
    assert_int_equal(got, len);
    assert_memory_equal(heard, said, len);
}

static void pair_park(struct tls_pair *pair)
{
    pair_echo(pair, 20, 16384);
    assert_int_equal(tls_channel_park(&pair->channel), PARK_DONE);
    assert_non_null(pair->channel.parked);
    assert_null(pair->channel.live);
}

/* Appends to @p out a record that the phone's key protects: @p inner with its type and padding. */
static inline void pair_seal(struct tls_pair *pair, struct bytes inner, struct buf *out)
{
    uint8_t key[TRAFFIC_KEY_MAX_BYTES], iv[TRAFFIC_IV_BYTES], header[RECORD_HEADER_BYTES];
    struct traffic_key k = {key, iv};
    assert_int_equal(traffic_expand(pair->suite, pair->secret, "key", key, pair->suite->key_bytes), ERR_OK);
    assert_int_equal(traffic_expand(pair->suite, pair->secret, "iv", iv, sizeof iv), ERR_OK);
    record_header(RECORD_APPLICATION_DATA, inner.len + TRAFFIC_TAG_BYTES, header);
    assert_int_equal(buf_append(out, bytes_make(header, sizeof header)), ERR_OK);
    uint8_t *at = buf_reserve(out, inner.len + TRAFFIC_TAG_BYTES);
    if (inner.len)
        memcpy(at, inner.p, inner.len);
    assert_int_equal(traffic_seal(pair->ciphers, pair->suite, k, pair->sealed++, header, at, inner.len),
                     ERR_OK);
    buf_commit(out, inner.len + TRAFFIC_TAG_BYTES);
}

/* The alert that OpenSSL finds in what the channel sent; -1 for none. */
static inline int pair_alert(struct tls_pair *pair)
{
    char c;
    pair_to_client(pair);
    ERR_clear_error();
    while (SSL_read(pair->client, &c, 1) == 1)
        ;
    int reason = ERR_GET_REASON(ERR_peek_error());
    ERR_clear_error();
    if (SSL_get_shutdown(pair->client) & SSL_RECEIVED_SHUTDOWN && reason == 0)
        return SSL_AD_CLOSE_NOTIFY;
    return reason > SSL_AD_REASON_OFFSET ? reason - SSL_AD_REASON_OFFSET : -1;
}

#endif
