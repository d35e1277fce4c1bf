/**
 * What one message costs at the server's TLS end: opened and echoed, by OpenSSL alone, by a channel with its SSL object,
 * and by a parked one. Everything is in memory; only serve() is what is compared.
 *
 *     record_bench plain|live|parked MESSAGES BYTES [SUITE]      prints nanoseconds a message
 *     valgrind --tool=callgrind --toggle-collect=serve record_bench ...      counts its instructions
 */
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "net/tls_channel.h"

#define MESSAGE_MAX_BYTES 16384

static struct tls_channel channel;
static SSL *client, *plain; /* the second in place of the channel */
static struct buf input, output;

static void check(bool is_so, const char *what)
{
    if (is_so)
        return;
    fprintf(stderr, "record_bench: %s\n", what);
    exit(1);
}

static SSL_CTX *make_server(struct parking *parking)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    check(X509_sign(cert, key, EVP_sha256()) > 0 && SSL_CTX_use_certificate(ctx, cert) == 1 &&
              SSL_CTX_use_PrivateKey(ctx, key) == 1,
          "identity");
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    check(!parking || parking_attach(parking, ctx, 128) == ERR_OK, "parking");
    SSL_CTX_set_block_padding(ctx, 128);
    return ctx;
}

static SSL *make_ssl(SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    return ssl;
}

/* What is compared. */
__attribute__((noinline)) static void serve(struct bytes in)
{
    if (plain) {
        static uint8_t text[MESSAGE_MAX_BYTES];
        BIO_write(SSL_get_rbio(plain), in.p, (int)in.len);
        int n = SSL_read(plain, text, sizeof text);
        if (n > 0)
            SSL_write(plain, text, n);
        return;
    }
    size_t taken = 1;
    while (in.len > 0 && taken > 0) {
        tls_channel_step(&channel, in, &taken, &input, &output);
        in = bytes_make(in.p + taken, in.len - taken);
    }
    if (buf_len(&input) > 0)
        check(tls_channel_write(&channel, buf_view(&input), &output) == ERR_OK, "write");
    buf_consume(&input, buf_len(&input));
}

/* What the client has to send, to the server, and its answer back. */
static void exchange(void)
{
    uint8_t *p = NULL;
    long len = BIO_get_mem_data(SSL_get_wbio(client), &p);
    serve(bytes_make(p, (size_t)len));
    BIO_reset(SSL_get_wbio(client));
    if (plain) {
        SSL_do_handshake(plain);
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

int main(int argc, char **argv)
{
    check(argc >= 4, "plain|live|parked MESSAGES BYTES [SUITE]");
    bool park = strcmp(argv[1], "parked") == 0;
    long messages = strtol(argv[2], NULL, 10);
    size_t len = strtoul(argv[3], NULL, 10);
    struct parking *parking = park ? parking_new(&parking_options_default, NULL, NULL) : NULL;
    SSL_CTX *server_ctx = make_server(parking), *client_ctx = SSL_CTX_new(TLS_client_method());
    check(len > 0 && len <= MESSAGE_MAX_BYTES, "length");
    if (argc > 4)
        check(SSL_CTX_set_ciphersuites(client_ctx, argv[4]) == 1, "suite");
    client = make_ssl(client_ctx);
    SSL_set_connect_state(client);
    if (strcmp(argv[1], "plain") == 0) {
        plain = make_ssl(server_ctx);
        SSL_set_accept_state(plain);
    } else {
        check(tls_channel_init(&channel, server_ctx) == ERR_OK, "channel");
    }
    for (int i = 0; i < 3; i++) {
        SSL_do_handshake(client);
        exchange();
    }
    ERR_clear_error();
    echo(len);
    check(!park || tls_channel_park(&channel) == PARK_DONE, "parking");
    int64_t spent_us = -clock_mono_us();
    for (long i = 0; i < messages; i++)
        echo(len);
    spent_us += clock_mono_us();
    printf("%s: %.0f ns a message, the client's part included\n", argv[1],
           (double)spent_us * 1000 / (double)messages);
    return 0;
}
