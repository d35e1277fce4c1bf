#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>

#include "core/metrics.h"
#include "crypto/tls13_kdf.h"
#include "net/parking.h"
#include "net/tls_channel.h"

#define TICKETS        2
#define PADDING        128
#define KEY_LIFETIME_S 3600

/* The broker's end is a channel as on a port, the phone's is OpenSSL; bytes are moved by hand. */
struct pair {
    SSL_CTX *server_ctx, *client_ctx;
    struct tls_channel channel;
    SSL *client;
    struct buf input, output; /* the channel's */
};

static bool make_identity(SSL_CTX *ctx)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    bool done = key && cert && X509_gmtime_adj(X509_getm_notBefore(cert), 0) &&
                X509_gmtime_adj(X509_getm_notAfter(cert), KEY_LIFETIME_S) &&
                X509_set_pubkey(cert, key) == 1 && X509_sign(cert, key, EVP_sha256()) > 0 &&
                SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    X509_free(cert);
    EVP_PKEY_free(key);
    return done;
}

static bool set_up(struct pair *pair, struct parking *parking, const char *suite)
{
    pair->server_ctx = SSL_CTX_new_ex(NULL, TLS13_KDF_PREFERRED, TLS_server_method());
    pair->client_ctx = SSL_CTX_new(TLS_client_method());
    if (!pair->server_ctx || !pair->client_ctx ||
        SSL_CTX_set_min_proto_version(pair->server_ctx, TLS1_3_VERSION) != 1 ||
        !make_identity(pair->server_ctx) || SSL_CTX_set_num_tickets(pair->server_ctx, TICKETS) != 1 ||
        !(SSL_CTX_set_mode(pair->server_ctx, SSL_MODE_RELEASE_BUFFERS) & SSL_MODE_RELEASE_BUFFERS) ||
        parking_attach(parking, pair->server_ctx, PADDING) != ERR_OK ||
        SSL_CTX_set_ciphersuites(pair->client_ctx, suite) != 1 ||
        tls_channel_init(&pair->channel, pair->server_ctx) != ERR_OK)
        return false;
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    pair->client = SSL_new(pair->client_ctx);
    if (!pair->client || !in || !out) {
        BIO_free(in);
        BIO_free(out);
        return false;
    }
    SSL_set_bio(pair->client, in, out);
    SSL_set_connect_state(pair->client);
    return true;
}

static void tear_down(struct pair *pair)
{
    tls_channel_done(&pair->channel);
    SSL_free(pair->client);
    SSL_CTX_free(pair->server_ctx);
    SSL_CTX_free(pair->client_ctx);
    buf_done(&pair->input);
    buf_done(&pair->output);
    ERR_clear_error();
}

/* What the client has to send, record by record, and back what the channel has to. */
static enum tls_event exchange(struct pair *pair)
{
    uint8_t *sent = NULL;
    long len = BIO_get_mem_data(SSL_get_wbio(pair->client), &sent);
    enum tls_event last = TLS_RECORD;
    size_t done = 0, taken = 1;
    while (taken > 0 && last != TLS_FAILED && last != TLS_PEER_DONE && done < (size_t)len) {
        last = tls_channel_step(&pair->channel, bytes_make(sent + done, (size_t)len - done), &taken,
                                &pair->input, &pair->output);
        done += taken;
    }
    BIO_reset(SSL_get_wbio(pair->client));
    struct bytes out = buf_view(&pair->output);
    if (out.len > 0 && BIO_write(SSL_get_rbio(pair->client), out.p, (int)out.len) != (int)out.len)
        last = TLS_FAILED;
    buf_done(&pair->output);
    return last;
}

static bool shake_hands(struct pair *pair)
{
    bool opened = false;
    for (int i = 0; i < 3 && !(opened && SSL_is_init_finished(pair->client)); i++) {
        SSL_do_handshake(pair->client);
        ERR_clear_error();
        opened = exchange(pair) == TLS_OPENED || opened;
    }
    return opened && SSL_is_init_finished(pair->client);
}

/* The text arrives at both ends as it left the other. */
static bool echo(struct pair *pair, const char *text)
{
    char heard[64];
    struct bytes said = bytes_of(text);
    if (SSL_write(pair->client, said.p, (int)said.len) != (int)said.len || exchange(pair) != TLS_PLAINTEXT ||
        !bytes_equal(buf_view(&pair->input), said) ||
        tls_channel_write(&pair->channel, said, &pair->output) != ERR_OK)
        return false;
    buf_done(&pair->input);
    exchange(pair);
    int n = SSL_read(pair->client, heard, sizeof heard);
    return n == (int)said.len && bytes_equal(bytes_make(heard, said.len), said);
}

static bool update_keys(struct pair *pair)
{
    return SSL_key_update(pair->client, SSL_KEY_UPDATE_REQUESTED) == 1 &&
           SSL_do_handshake(pair->client) == 1 && exchange(pair) == TLS_RECORD &&
           echo(pair, "the key is new on both sides");
}

static bool close_both(struct pair *pair)
{
    char none;
    SSL_shutdown(pair->client);
    if (exchange(pair) != TLS_PEER_DONE)
        return false;
    tls_channel_shutdown(&pair->channel, &pair->output);
    exchange(pair);
    return SSL_read(pair->client, &none, 1) <= 0 && SSL_get_shutdown(pair->client) & SSL_RECEIVED_SHUTDOWN;
}

/* Both keys of a connection are parked, once as the handshake left them, once after key updates by OpenSSL. */
static enum err try_suite(struct parking *parking, const char *suite, bool update_before)
{
    struct pair pair = {0};
    if (!set_up(&pair, parking, suite)) {
        tear_down(&pair);
        return ERR_NOMEM;
    }
    bool works = shake_hands(&pair) && echo(&pair, "one") && echo(&pair, "two") &&
                 (!update_before || update_keys(&pair)) && tls_channel_park(&pair.channel) == PARK_DONE &&
                 echo(&pair, "three") && echo(&pair, "four") && update_keys(&pair) && close_both(&pair);
    tear_down(&pair);
    return works ? ERR_OK : ERR_CRYPTO;
}

enum err parking_self_test(struct parking *parking)
{
    for (size_t i = 0; i < TRAFFIC_SUITE_COUNT; i++) {
        TRY(try_suite(parking, traffic_suites[i].name, false));
        TRY(try_suite(parking, traffic_suites[i].name, true));
    }
    return ERR_OK;
}

static enum err new_and_tested(const struct parking_options *options, void (*on_mismatch)(void *arg),
                               void *arg, struct parking **ret)
{
    struct parking *parking = parking_new(options, on_mismatch, arg);
    enum err e = parking ? parking_self_test(parking) : ERR_NOMEM;
    if (e == ERR_OK)
        *ret = parking;
    else
        parking_free(parking);
    return e;
}

enum err parking_start(const struct parking_options *options, void (*on_mismatch)(void *arg), void *arg,
                       struct parking **ret)
{
    struct parking_options plain = *options;
    enum err e = new_and_tested(options, on_mismatch, arg, ret);
    if (e == ERR_OK || options->secrets != SECRETS_KDF)
        return e;
    METRIC_ADD(KDF_REFUSED, 1);
    tls13_kdf_unload();
    plain.secrets = SECRETS_KEYLOG;
    return new_and_tested(&plain, on_mismatch, arg, ret);
}

bool parking_version_known(void)
{
#define VERSION(text) text,
    static const char *const versions[] = {
#include "net/parking_version.def"
    };
#undef VERSION
    const char *running = OpenSSL_version(OPENSSL_VERSION_STRING);
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
        if (strcmp(running, versions[i]) == 0)
            return true;
    return false;
}
