/*
 * crypto/ticket: resumption between servers that share a secret, in memory, against a client of OpenSSL's own, on a
 * virtual clock.
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
#include "crypto/ticket.h"
#include "crypto/tls.h"

#define START_UNIX_S ((int64_t)41234 * TICKET_PERIOD_S + 3600) /* an hour into a period */

static char dir[] = "/tmp/test_ticket.XXXXXX", chain[64], key[64];
static struct secret *secret, *other_secret;
static const uint8_t anchor[SHA256_BYTES] = {1}, other_anchor[SHA256_BYTES] = {2};
static int64_t now_s;

static int64_t now_unix_s(void)
{
    return now_s;
}

static struct secret *make_secret(const char *name)
{
    char path[64];
    struct secret *made = NULL;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(secret_create(path), ERR_OK);
    assert_int_equal(secret_load(path, &made), ERR_OK);
    unlink(path);
    return made;
}

static int make_files(void **state)
{
    (void)state;
    const char *const sans[] = {"localhost"};
    if (!mkdtemp(dir))
        return 1;
    snprintf(chain, sizeof chain, "%s/leaf.pem", dir);
    snprintf(key, sizeof key, "%s/leaf.key", dir);
    secret = make_secret("a");
    other_secret = make_secret("b");
    return authority_ensure(dir, "t") != ERR_OK || authority_ensure_leaf(dir, "t", "leaf", sans, 1) != ERR_OK;
}

static int remove_files(void **state)
{
    (void)state;
    static const char *const names[] = {"leaf.pem", "leaf.key", "t-ca.pem", "t-ca.key"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    secret_free(secret);
    secret_free(other_secret);
    return rmdir(dir);
}

static int set_clock(void **state)
{
    (void)state;
    now_s = START_UNIX_S;
    return 0;
}

struct server {
    SSL_CTX *ctx;
    struct ticket_ring *ring;
};

static struct server server_open(const struct secret *of, const uint8_t *under)
{
    static const char *const device[] = {TLS_ALPN_DEVICE};
    struct server server = {.ring = ticket_ring_new()};
    struct buf why = {0};
    assert_non_null(server.ring);
    assert_int_equal(ticket_ring_turn(server.ring, of, under, now_s), ERR_OK);
    assert_int_equal(tls_server_new(chain, key, device, 1, true, &server.ctx, &why), ERR_OK);
    assert_int_equal(ticket_enable(server.ctx, server.ring, now_unix_s), ERR_OK);
    buf_done(&why);
    return server;
}

static void server_close(struct server *server)
{
    SSL_CTX_free(server->ctx);
    ticket_ring_free(server->ring);
}

static SSL_SESSION *tickets[4]; /* that the last connection was given */
static int ticket_count;

static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    assert_true(ticket_count < 4);
    tickets[ticket_count++] = session;
    return 1;
}

static void forget_tickets(void)
{
    while (ticket_count)
        SSL_SESSION_free(tickets[--ticket_count]);
}

enum result { REFUSED, FULL, RESUMED };

/* The tickets that came are in tickets[]. @p session NULL: a full handshake. */
static enum result connect_to(const struct server *server, SSL_SESSION *session, bool early_data)
{
    BIO *client_bio, *server_bio;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_ticket);
    SSL *client = SSL_new(ctx), *peer = SSL_new(server->ctx);
    assert_int_equal(BIO_new_bio_pair(&client_bio, 32768, &server_bio, 32768), 1);
    SSL_set_bio(client, client_bio, client_bio);
    SSL_set_bio(peer, server_bio, server_bio);
    SSL_set_connect_state(client);
    SSL_set_accept_state(peer);
    assert_int_equal(SSL_set_alpn_protos(client, (const uint8_t *)"\12nanopush/1", 11), 0);
    if (session) {
        SSL_SESSION *copy = SSL_SESSION_dup(session); /* OpenSSL's client would take a ticket only once */
        assert_int_equal(SSL_set_session(client, copy), 1);
        SSL_SESSION_free(copy);
    }
    size_t written;
    if (early_data)
        assert_int_equal(SSL_write_early_data(client, "early", 5, &written), 1);
    forget_tickets();
    int client_done = 0, peer_done = 0;
    uint8_t bytes[16];
    for (int i = 0; i < 10 && (client_done != 1 || peer_done != 1); i++) {
        client_done = SSL_do_handshake(client);
        peer_done = SSL_do_handshake(peer);
    }
    assert_true(SSL_read(client, bytes, sizeof bytes) <= 0); /* takes the tickets */
    assert_true(SSL_read(peer, bytes, sizeof bytes) <= 0);   /* and early data never comes out */
    bool done = client_done == 1 && peer_done == 1;
    assert_true(!done || SSL_session_reused(client) == SSL_session_reused(peer));
    enum result result = !done ? REFUSED : SSL_session_reused(peer) ? RESUMED : FULL;
    ERR_clear_error();
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN); /* else OpenSSL holds the session to be bad */
    SSL_free(client);
    SSL_free(peer);
    SSL_CTX_free(ctx);
    return result;
}

/* One ticket of a full handshake with @p server, the caller's to free. */
static SSL_SESSION *full_ticket(const struct server *server)
{
    assert_int_equal(connect_to(server, NULL, false), FULL);
    assert_int_equal(ticket_count, 1);
    ticket_count = 0;
    return tickets[0];
}

static bool resumes(const struct server *server, SSL_SESSION *session)
{
    enum result result = connect_to(server, session, false);
    assert_int_not_equal(result, REFUSED);
    return result == RESUMED;
}

static void one_ticket_a_handshake_resumed_or_not(void **state)
{
    (void)state;
    struct server server = server_open(secret, anchor);
    SSL_SESSION *ticket = full_ticket(&server);
    assert_int_equal(SSL_SESSION_get_ticket_lifetime_hint(ticket), TICKET_DAY_S);
    assert_int_equal(SSL_SESSION_get_max_early_data(ticket), 0);
    for (int i = 0; i < 3; i++) {
        assert_true(resumes(&server, ticket));
        assert_int_equal(ticket_count, 1);
        SSL_SESSION_free(ticket);
        ticket = tickets[0];
        ticket_count = 0;
    }
    SSL_SESSION_free(ticket);
    server_close(&server);
}

static void a_ticket_is_good_at_every_server_of_the_secret_and_anchor(void **state)
{
    (void)state;
    struct server one = server_open(secret, anchor), two = server_open(secret, anchor),
                  stranger = server_open(other_secret, anchor), moved = server_open(secret, other_anchor);
    SSL_SESSION *ticket = full_ticket(&one);
    assert_true(resumes(&two, ticket));
    assert_false(resumes(&stranger, ticket));
    assert_int_equal(ticket_count, 1); /* and has one of its own instead */
    assert_false(resumes(&moved, ticket));
    forget_tickets();
    SSL_SESSION_free(ticket);
    server_close(&one);
    server_close(&two);
    server_close(&stranger);
    server_close(&moved);
}

static void a_ticket_lives_until_the_end_of_the_next_period(void **state)
{
    (void)state;
    struct server server = server_open(secret, anchor);
    SSL_SESSION *ticket = full_ticket(&server);
    static const struct {
        int64_t later_s;
        bool good;
    } rows[] = {
        {0, true},
        {TICKET_PERIOD_S - 3601, true},      /* last second of its period */
        {2 * TICKET_PERIOD_S - 3601, true},  /* last of the next one */
        {2 * TICKET_PERIOD_S - 3600, false}, /* 23 hours after the handshake */
        {-3601, true},                       /* a machine whose clock is behind */
        {-TICKET_PERIOD_S - 3601, false},
        {40 * TICKET_PERIOD_S, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        now_s = START_UNIX_S + rows[i].later_s;
        assert_int_equal(ticket_ring_turn(server.ring, secret, anchor, now_s), ERR_OK);
        if (resumes(&server, ticket) != rows[i].good)
            fail_msg("%lld s later it is %s", (long long)rows[i].later_s, rows[i].good ? "bad" : "good");
    }
    forget_tickets();
    SSL_SESSION_free(ticket);
    server_close(&server);
}

static void a_day_after_the_full_handshake_comes_the_next_one(void **state)
{
    (void)state;
    struct server server = server_open(secret, anchor);
    SSL_SESSION *ticket = full_ticket(&server);
    int64_t start_s = now_s;
    bool resumed = true;
    while (resumed && now_s < start_s + 2 * TICKET_DAY_S) { /* a phone that comes back every two hours */
        now_s += 2 * 3600;
        assert_int_equal(ticket_ring_turn(server.ring, secret, anchor, now_s), ERR_OK);
        resumed = resumes(&server, ticket);
        assert_int_equal(ticket_count, 1);
        SSL_SESSION_free(ticket);
        ticket = tickets[0];
        ticket_count = 0;
    }
    assert_int_equal(now_s - start_s, TICKET_DAY_S);
    now_s += 2 * 3600;
    assert_true(resumes(&server, ticket));
    forget_tickets();
    SSL_SESSION_free(ticket);
    server_close(&server);
}

static void a_ticket_with_any_other_bit_is_none(void **state)
{
    (void)state;
    struct server server = server_open(secret, anchor);
    SSL_SESSION *ticket = full_ticket(&server);
    const uint8_t *original;
    size_t len, der_len = (size_t)i2d_SSL_SESSION(ticket, NULL);
    uint8_t *der = malloc(der_len), *at = der;
    i2d_SSL_SESSION(ticket, &at);
    SSL_SESSION_get0_ticket(ticket, &original, &len);
    uint8_t *in_der = NULL;
    for (size_t i = 0; i + len <= der_len && !in_der; i++)
        if (memcmp(der + i, original, len) == 0)
            in_der = der + i;
    assert_non_null(in_der);
    for (size_t i = 0; i < len; i += 7) {
        const uint8_t *from = der;
        in_der[i] ^= (uint8_t)(1u << i % 8);
        SSL_SESSION *bent = d2i_SSL_SESSION(NULL, &from, (long)der_len);
        assert_non_null(bent);
        assert_false(resumes(&server, bent));
        SSL_SESSION_free(bent);
        in_der[i] ^= (uint8_t)(1u << i % 8);
    }
    assert_true(resumes(&server, ticket));
    forget_tickets();
    free(der);
    SSL_SESSION_free(ticket);
    server_close(&server);
}

static void early_data_is_refused_and_never_read(void **state)
{
    (void)state;
    struct server server = server_open(secret, anchor);
    SSL_SESSION *ticket = full_ticket(&server);
    assert_int_equal(SSL_SESSION_set_max_early_data(ticket, 16384), 1); /* a client that lies to itself */
    assert_int_equal(connect_to(&server, ticket, true), REFUSED);
    forget_tickets();
    SSL_SESSION_free(ticket);
    server_close(&server);
}

static void without_a_key_for_the_time_handshakes_are_full_and_give_none(void **state)
{
    (void)state;
    struct server server = server_open(secret, anchor);
    SSL_SESSION *ticket = full_ticket(&server);
    now_s += 4 * TICKET_PERIOD_S; /* and nobody turned the ring */
    assert_false(resumes(&server, ticket));
    for (int i = 0; i < ticket_count; i++) /* OpenSSL sends an empty one then, which no client uses */
        assert_int_equal(SSL_SESSION_has_ticket(tickets[i]), 0);
    forget_tickets();
    SSL_SESSION_free(ticket);
    server_close(&server);
}

static void the_ring_needs_the_root_only_when_a_period_begins(void **state)
{
    (void)state;
    struct secret *forgetful = make_secret("c");
    struct ticket_ring *ring = ticket_ring_new();
    assert_int_equal(ticket_ring_turn(ring, forgetful, anchor, now_s), ERR_OK);
    secret_forget_root(forgetful);
    assert_int_equal(ticket_ring_turn(ring, forgetful, anchor, now_s + 3600), ERR_OK);
    assert_int_equal(ticket_ring_turn(ring, forgetful, anchor, now_s + TICKET_PERIOD_S), ERR_BAD_STATE);
    ticket_ring_free(ring);
    secret_free(forgetful);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, set_clock)
    const struct CMUnitTest tests[] = {
        TEST(one_ticket_a_handshake_resumed_or_not),
        TEST(a_ticket_is_good_at_every_server_of_the_secret_and_anchor),
        TEST(a_ticket_lives_until_the_end_of_the_next_period),
        TEST(a_day_after_the_full_handshake_comes_the_next_one),
        TEST(a_ticket_with_any_other_bit_is_none),
        TEST(early_data_is_refused_and_never_read),
        TEST(without_a_key_for_the_time_handshakes_are_full_and_give_none),
        TEST(the_ring_needs_the_root_only_when_a_period_begins),
    };
    return cmocka_run_group_tests_name("ticket", tests, make_files, remove_files);
}
