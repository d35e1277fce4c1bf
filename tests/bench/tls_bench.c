/**
 * What a connection costs at the server's TLS end, in memory: its handshake, messages that are opened and echoed, its end.
 * By OpenSSL alone, by a channel that keeps its SSL object, and by ones that are parked after the first message, their
 * keys taken from the keylog callback or from our own KDF. Only serve() is what is compared.
 *
 *     tls_bench plain|live|keylog|kdf CONNECTIONS MESSAGES BYTES [resumed] [cleanse] [SUITE]      prints microseconds
 *     valgrind --tool=callgrind --toggle-collect=serve tls_bench ...      counts instructions
 *
 * Costs of one handshake or message are differences of two runs. With "resumed" the first handshake alone is a full one;
 * with "cleanse" OpenSSL's memory is overwritten when it is freed, as in the broker.
 */
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "crypto/openssl_memory.h"
#include "crypto/tls13_kdf.h"
#include "net/tls_channel.h"

#define MESSAGE_MAX_BYTES 16384
#define PADDING           128

enum step { BEGIN, RECEIVE, PARK, END };

static SSL_CTX *server_ctx, *client_ctx;
static bool is_plain, parks, resumes;
static struct tls_channel channel;
static SSL *client, *plain; /* the second in place of the channel */
static SSL_SESSION *session;
static struct buf input, output;

static void check(bool is_so, const char *what)
{
    if (is_so)
        return;
    fprintf(stderr, "tls_bench: %s\n", what);
    exit(1);
}

static void make_server(struct parking *parking)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    server_ctx = SSL_CTX_new_ex(NULL, parking ? TLS13_KDF_PREFERRED : NULL, TLS_server_method());
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    check(X509_sign(cert, key, EVP_sha256()) > 0 && SSL_CTX_use_certificate(server_ctx, cert) == 1 &&
              SSL_CTX_use_PrivateKey(server_ctx, key) == 1,
          "identity");
    SSL_CTX_set_mode(server_ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(server_ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(server_ctx, 1);
    check(!parking || parking_attach(parking, server_ctx, PADDING) == ERR_OK, "parking");
    SSL_CTX_set_block_padding(server_ctx, PADDING);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static SSL *make_ssl(SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    return ssl;
}

static void serve_plain(enum step step, struct bytes in)
{
    static uint8_t text[MESSAGE_MAX_BYTES];
    int n = 0;
    switch (step) {
    case BEGIN:
        plain = make_ssl(server_ctx);
        SSL_set_accept_state(plain);
        return;
    case RECEIVE:
        BIO_write(SSL_get_rbio(plain), in.p, (int)in.len);
        n = SSL_read(plain, text, sizeof text); /* shakes hands, too */
        if (n > 0)
            SSL_write(plain, text, n);
        return;
    case PARK:
        return;
    case END:
        SSL_free(plain);
        return;
    }
}

static void serve_channel(enum step step, struct bytes in)
{
    size_t taken = 1;
    switch (step) {
    case BEGIN:
        check(tls_channel_init(&channel, server_ctx) == ERR_OK, "channel");
        return;
    case RECEIVE:
        while (in.len > 0 && taken > 0) {
            tls_channel_step(&channel, in, &taken, &input, &output);
            in = bytes_make(in.p + taken, in.len - taken);
        }
        if (buf_len(&input) > 0)
            check(tls_channel_write(&channel, buf_view(&input), &output) == ERR_OK, "write");
        buf_consume(&input, buf_len(&input));
        return;
    case PARK:
        check(!parks || tls_channel_park(&channel) == PARK_DONE, "parking");
        return;
    case END:
        tls_channel_done(&channel);
        return;
    }
}

/* What is compared. */
__attribute__((noinline)) static void serve(enum step step, struct bytes in)
{
    if (is_plain)
        serve_plain(step, in);
    else
        serve_channel(step, in);
}

/* What the client has to send, to the server, and its answer back. */
static void exchange(void)
{
    uint8_t *p = NULL;
    long len = BIO_get_mem_data(SSL_get_wbio(client), &p);
    serve(RECEIVE, bytes_make(p, (size_t)len));
    BIO_reset(SSL_get_wbio(client));
    if (is_plain) {
        len = BIO_get_mem_data(SSL_get_wbio(plain), &p);
        BIO_write(SSL_get_rbio(client), p, (int)len);
        BIO_reset(SSL_get_wbio(plain));
    } else {
        BIO_write(SSL_get_rbio(client), buf_view(&output).p, (int)buf_len(&output));
        buf_consume(&output, buf_len(&output));
    }
}

static void echo(size_t len)
{
    static uint8_t said[MESSAGE_MAX_BYTES], heard[MESSAGE_MAX_BYTES];
    check(SSL_write(client, said, (int)len) == (int)len, "client's write");
    exchange();
    check(SSL_read(client, heard, sizeof heard) == (int)len, "echo");
}

static int on_session(SSL *ssl, SSL_SESSION *s)
{
    (void)ssl;
    SSL_SESSION_free(session);
    session = s;
    return 1; /* it is ours */
}

static void connect_once(long messages, size_t len)
{
    serve(BEGIN, (struct bytes){0});
    client = make_ssl(client_ctx);
    SSL_set_connect_state(client);
    if (resumes && session)
        SSL_set_session(client, session);
    bool resumed = resumes && session;
    for (int i = 0; i < 2; i++) {
        SSL_do_handshake(client);
        exchange();
    }
    ERR_clear_error();
    echo(len);
    check((bool)SSL_session_reused(client) == resumed, "resumption");
    serve(PARK, (struct bytes){0});
    for (long i = 0; i < messages; i++)
        echo(len);
    serve(END, (struct bytes){0});
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* else its session is given up */
    SSL_free(client);
}

int main(int argc, char **argv)
{
    check(argc >= 5, "plain|live|keylog|kdf CONNECTIONS MESSAGES BYTES [resumed] [cleanse] [SUITE]");
    long connections = strtol(argv[2], NULL, 10), messages = strtol(argv[3], NULL, 10);
    size_t len = strtoul(argv[4], NULL, 10);
    const char *suite = NULL;
    for (int i = 5; i < argc; i++) {
        if (strcmp(argv[i], "cleanse") == 0)
            check(openssl_memory_cleanse() == ERR_OK, "cleanse");
        else if (strcmp(argv[i], "resumed") == 0)
            resumes = true;
        else
            suite = argv[i];
    }
    check(len > 0 && len <= MESSAGE_MAX_BYTES, "length");
    struct parking_options options = parking_options_default;
    is_plain = strcmp(argv[1], "plain") == 0;
    parks = strcmp(argv[1], "keylog") == 0 || strcmp(argv[1], "kdf") == 0;
    if (strcmp(argv[1], "keylog") == 0)
        options.secrets = SECRETS_KEYLOG;
    make_server(parks ? parking_new(&options, NULL, NULL) : NULL);
    client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(client_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client_ctx, on_session);
    check(!suite || SSL_CTX_set_ciphersuites(client_ctx, suite) == 1, "suite");
    int64_t spent_us = -clock_mono_us();
    for (long i = 0; i < connections; i++)
        connect_once(messages, len);
    spent_us += clock_mono_us();
    printf("%s: %.1f us a connection, the client's part included\n", argv[1],
           (double)spent_us / (double)connections);
    return 0;
}
