/*
 * crypto/tls: handshakes in memory, against a client of OpenSSL's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "crypto/authority.h"
#include "crypto/tls.h"

static char dir[] = "/tmp/test_tls.XXXXXX", chain[64], key[64], other_key[64];
static const char *const device[] = {TLS_ALPN_DEVICE}, *const http[] = {"h2", "http/1.1"};

static int make_files(void **state)
{
    (void)state;
    const char *const sans[] = {"localhost"};
    if (!mkdtemp(dir))
        return 1;
    snprintf(chain, sizeof chain, "%s/leaf.pem", dir);
    snprintf(key, sizeof key, "%s/leaf.key", dir);
    snprintf(other_key, sizeof other_key, "%s/t-ca.key", dir);
    return authority_ensure(dir, "t") != ERR_OK || authority_ensure_leaf(dir, "t", "leaf", sans, 1) != ERR_OK;
}

static int remove_files(void **state)
{
    (void)state;
    char ca[64];
    snprintf(ca, sizeof ca, "%s/t-ca.pem", dir);
    unlink(ca);
    unlink(other_key);
    unlink(chain);
    unlink(key);
    return rmdir(dir);
}

static SSL_CTX *server_new(const char *const *protocols, size_t count, bool required)
{
    SSL_CTX *ctx;
    struct buf why = {0};
    assert_int_equal(tls_server_new(chain, key, protocols, count, required, &ctx, &why), ERR_OK);
    assert_null(why.p);
    return ctx;
}

/* Two ends joined in memory; the client's settings may still change before handshake(). */
struct ends {
    SSL_CTX *client_ctx;
    SSL *client, *server;
    int client_alert; /* what the client was told, or -1 */
};

static struct ends *watched; /* OpenSSL's information callback has no argument of ours */

static void on_info(const SSL *ssl, int where, int code)
{
    if (ssl == watched->client && (where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
        watched->client_alert = code & 0xff;
}

static void join(struct ends *ends, SSL_CTX *server_ctx, const char *alpn_wire)
{
    BIO *client_bio, *server_bio;
    ends->client_alert = -1;
    ends->client_ctx = SSL_CTX_new(TLS_client_method());
    ends->client = SSL_new(ends->client_ctx);
    ends->server = SSL_new(server_ctx);
    assert_int_equal(BIO_new_bio_pair(&client_bio, 32768, &server_bio, 32768), 1);
    SSL_set_bio(ends->client, client_bio, client_bio);
    SSL_set_bio(ends->server, server_bio, server_bio);
    SSL_set_connect_state(ends->client);
    SSL_set_accept_state(ends->server);
    if (alpn_wire)
        assert_int_equal(
            SSL_set_alpn_protos(ends->client, (const uint8_t *)alpn_wire, (unsigned)strlen(alpn_wire)), 0);
    watched = ends;
    SSL_set_info_callback(ends->client, on_info);
}

static bool handshake(struct ends *ends)
{
    int client = 0, server = 0;
    for (int i = 0; i < 10 && (client != 1 || server != 1); i++) {
        client = SSL_do_handshake(ends->client);
        server = SSL_do_handshake(ends->server);
    }
    uint8_t byte; /* a client that is done learns of the server's alert, and of tickets, by reading */
    SSL_read(ends->client, &byte, 1);
    ERR_clear_error();
    return client == 1 && server == 1;
}

static void ends_done(struct ends *ends)
{
    SSL_free(ends->client);
    SSL_free(ends->server);
    SSL_CTX_free(ends->client_ctx);
}

static void test_handshake(void **state)
{
    (void)state;
    struct ends ends;
    SSL_CTX *ctx = server_new(device, 1, true);
    join(&ends, ctx, "\12nanopush/1");
    assert_true(handshake(&ends));
    assert_string_equal(SSL_get_version(ends.server), "TLSv1.3");
    assert_string_equal(SSL_get_cipher_name(ends.server),
                        "TLS_AES_128_GCM_SHA256"); /* the client's first is not */
    assert_int_equal(SSL_get_negotiated_group(ends.server), NID_X25519);
    STACK_OF(X509) *sent = SSL_get_peer_cert_chain(ends.client);
    assert_int_equal(sk_X509_num(sent), 2);
    assert_int_equal(SSL_SESSION_is_resumable(SSL_get0_session(ends.client)), 0); /* no ticket came */
    assert_int_equal(SSL_CTX_get_max_early_data(ctx), 0);
    assert_true(SSL_CTX_get_mode(ctx) & SSL_MODE_RELEASE_BUFFERS);
    ends_done(&ends);
    SSL_CTX_free(ctx);
}

static void test_groups_and_versions(void **state)
{
    (void)state;
    struct ends ends;
    SSL_CTX *ctx = server_new(http, 2, false);
    const struct {
        const char *groups;
        int version;
        bool accepted;
    } rows[] = {
        {"P-256", TLS1_3_VERSION, true},
        {"X448:X25519", TLS1_3_VERSION, true},
        {"P-384", TLS1_3_VERSION, false},
        {"X25519", TLS1_2_VERSION, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        join(&ends, ctx, NULL);
        SSL_set1_groups_list(ends.client, rows[i].groups);
        SSL_set_max_proto_version(ends.client, rows[i].version);
        assert_int_equal(handshake(&ends), rows[i].accepted);
        if (!rows[i].accepted)
            assert_int_not_equal(ends.client_alert, -1);
        ends_done(&ends);
    }
    SSL_CTX_free(ctx);
}

static void test_alpn(void **state)
{
    (void)state;
    const struct {
        const char *const *protocols;
        size_t count;
        bool required;
        const char *offered, *chosen; /* chosen NULL: refused; "": accepted without */
    } rows[] = {
        {device, 1, true, "\12nanopush/1", "nanopush/1"},
        {device, 1, true, "\2h2\12nanopush/1", "nanopush/1"},
        {device, 1, true, "\2h2", NULL},
        {device, 1, true, "\12nanopush/2", NULL},
        {device, 1, true, NULL, NULL},
        {http, 2, false, "\10http/1.1\2h2", "h2"},
        {http, 2, false, "\10http/1.1", "http/1.1"},
        {http, 2, false, "\12nanopush/1", NULL},
        {http, 2, false, NULL, ""},
        {NULL, 0, false, "\2h2", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ends ends;
        const uint8_t *chosen;
        unsigned len;
        SSL_CTX *ctx = server_new(rows[i].protocols, rows[i].count, rows[i].required);
        join(&ends, ctx, rows[i].offered);
        assert_int_equal(handshake(&ends), rows[i].chosen != NULL);
        if (rows[i].chosen) {
            SSL_get0_alpn_selected(ends.server, &chosen, &len);
            assert_int_equal(len, strlen(rows[i].chosen));
            if (len)
                assert_memory_equal(chosen, rows[i].chosen, len);
        } else {
            assert_int_equal(ends.client_alert, SSL_AD_NO_APPLICATION_PROTOCOL);
        }
        ends_done(&ends);
        SSL_CTX_free(ctx);
    }
}

static void test_export(void **state)
{
    (void)state;
    struct ends ends, others;
    uint8_t client[TLS_EXPORT_BYTES], server[TLS_EXPORT_BYTES], other[TLS_EXPORT_BYTES];
    SSL_CTX *ctx = server_new(device, 1, true);
    join(&ends, ctx, "\12nanopush/1");
    assert_int_equal(tls_export(ends.server, "EXPORTER-nanopush-v1", server), ERR_BAD_STATE);
    assert_true(handshake(&ends));
    assert_int_equal(tls_export(ends.server, "EXPORTER-nanopush-v1", server), ERR_OK);
    assert_int_equal(tls_export(ends.client, "EXPORTER-nanopush-v1", client), ERR_OK);
    assert_memory_equal(server, client, sizeof server);
    assert_int_equal(tls_export(ends.server, "EXPORTER-other", other), ERR_OK);
    assert_memory_not_equal(server, other, sizeof server);
    join(&others, ctx, "\12nanopush/1");
    assert_true(handshake(&others));
    assert_int_equal(tls_export(others.server, "EXPORTER-nanopush-v1", other), ERR_OK);
    assert_memory_not_equal(server, other, sizeof server);
    ends_done(&ends);
    ends_done(&others);
    SSL_CTX_free(ctx);
}

static void refuse(const char *chain_path, const char *key_path, enum err expected, const char *says)
{
    SSL_CTX *ctx;
    struct buf why = {0};
    assert_int_equal(tls_server_new(chain_path, key_path, device, 1, true, &ctx, &why), expected);
    assert_int_equal(buf_append_byte(&why, '\0'), ERR_OK);
    const char *text = (const char *)buf_view(&why).p;
    if (!strstr(text, says) || strchr(text, '\n'))
        fail_msg("\"%s\" does not say \"%s\" in one line", text, says);
    assert_int_equal(ERR_peek_error(), 0);
    buf_done(&why);
}

static void test_refused_files(void **state)
{
    (void)state;
    refuse("/nonexistent.pem", key, ERR_CONFIG, "certificate /nonexistent.pem: No such file");
    refuse(key, key, ERR_CONFIG, "certificate ");
    refuse(chain, "/nonexistent.key", ERR_CONFIG, "private key /nonexistent.key: No such file");
    refuse(chain, chain, ERR_CONFIG, "private key ");
    refuse(chain, other_key, ERR_CONFIG, "key values mismatch");
}

static void test_refused_protocols(void **state)
{
    (void)state;
    char longest[TLS_ALPN_NAME_MAX + 2] = {0};
    memset(longest, 'a', TLS_ALPN_NAME_MAX + 1);
    const char *const too_long[] = {longest}, *const allowed[] = {longest + 1}, *const empty[] = {"h2", ""};
    const char *many[TLS_ALPN_NAMES_MAX + 1];
    for (size_t i = 0; i <= TLS_ALPN_NAMES_MAX; i++)
        many[i] = longest + 1;
    SSL_CTX *ctx;
    struct buf why = {0};
    assert_int_equal(tls_server_new(chain, key, too_long, 1, false, &ctx, &why), ERR_INVALID);
    assert_int_equal(tls_server_new(chain, key, empty, 2, false, &ctx, &why), ERR_INVALID);
    assert_int_equal(tls_server_new(chain, key, many, TLS_ALPN_NAMES_MAX + 1, false, &ctx, &why),
                     ERR_INVALID);
    assert_int_equal(tls_server_new(chain, key, NULL, 0, true, &ctx, &why), ERR_INVALID);
    assert_true(buf_len(&why) > 0);
    buf_done(&why);
    SSL_CTX_free(server_new(allowed, 1, true));
    SSL_CTX_free(server_new(many, TLS_ALPN_NAMES_MAX, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake),     cmocka_unit_test(test_groups_and_versions),
        cmocka_unit_test(test_alpn),          cmocka_unit_test(test_export),
        cmocka_unit_test(test_refused_files), cmocka_unit_test(test_refused_protocols),
    };
    return cmocka_run_group_tests_name("tls", tests, make_files, remove_files);
}
