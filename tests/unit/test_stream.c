/**
 * Streams against a peer in the same process: a socket pair, and an OpenSSL client whose bytes the test moves
 * by hand, in whatever pieces it likes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crypto/tls13_kdf.h"
#include "net/parking.h"
#include "net/stream.h"

#define LABEL               "EXPORTER-test"

#define CLOSE_NOTIFY_BYTES  24  /* on the wire, without padding */
#define SERVER_FLIGHT_BYTES 600 /* no more than a server's first one */

static struct loop *loop;
static SSL_CTX *server_ctx, *client_ctx;

static int peer_fd;
static SSL *peer;
static struct stream *stream; /* NULL once closed */
static struct stream_limits limits;

static struct {
    unsigned opened, read, drained, closed;
    enum close_reason reason;
    struct buf received;
    bool echo, keep_input, abort_on_open, abort_on_read;
    bool parking; /* what is said only serves to get the stream parked */
} seen;

/* NULL in the first run of all tests; in the second TLS streams are parked as soon as they are open. */
static struct parking *parking;

/* This program is linked with --wrap=send. Of what the stream sends from now on the kernel takes so many bytes, then for
 * once nothing. */
static struct {
    bool armed, full;
    size_t bytes;
} shortened;

ssize_t __wrap_send(int fd, const void *p, size_t len, int flags);
ssize_t __real_send(int fd, const void *p, size_t len, int flags);

ssize_t __wrap_send(int fd, const void *p, size_t len, int flags)
{
    if (fd == peer_fd || !shortened.armed)
        return __real_send(fd, p, len, flags);
    if (shortened.full) {
        shortened.armed = shortened.full = false;
        errno = EAGAIN;
        return -1;
    }
    shortened.full = true;
    return __real_send(fd, p, len < shortened.bytes ? len : shortened.bytes, flags);
}

static void on_open(struct stream *s, void *arg)
{
    assert_ptr_equal(arg, &seen);
    assert_ptr_equal(s, stream);
    assert_int_equal(seen.opened + seen.read + seen.closed, 0);
    seen.opened++;
    if (seen.abort_on_open)
        stream_abort(s, CLOSE_LOCAL);
}

static void on_read(struct stream *s, void *arg)
{
    (void)arg;
    if (seen.parking) {
        stream_consume(s, stream_input(s).len);
        return;
    }
    seen.read++;
    assert_int_equal(seen.closed, 0);
    if (seen.abort_on_read)
        stream_abort(s, CLOSE_LOCAL);
    if (seen.keep_input)
        return;
    struct bytes in = stream_input(s);
    assert_int_equal(buf_append(&seen.received, in), ERR_OK);
    if (seen.echo)
        assert_int_equal(stream_write(s, in), ERR_OK);
    stream_consume(s, in.len);
}

static void on_drain(struct stream *s, void *arg)
{
    (void)s, (void)arg;
    seen.drained++;
}

static void on_closed(struct stream *s, enum close_reason reason, void *arg)
{
    (void)s, (void)arg;
    seen.closed++;
    seen.reason = reason;
    stream = NULL;
}

static const struct stream_handlers handlers = {on_open, on_read, on_drain, on_closed};

static void stop(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

/* One turn that does not sleep. */
static void turn(void)
{
    struct deferral end;
    deferral_init(&end, stop, NULL);
    loop_defer(loop, &end);
    loop_run(loop);
}

static void run_for(unsigned ms)
{
    struct timer end;
    timer_init(&end, loop, stop, NULL);
    timer_start(&end, ms);
    loop_run(loop);
}

static void make_identity(SSL_CTX *ctx)
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

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *in,
                       unsigned in_len, void *arg)
{
    (void)ssl, (void)arg;
    *out = in + 1; /* the first that is offered */
    *len = in[0];
    return in_len > in[0] ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int group_set_up(void **state)
{
    (void)state;
    server_ctx = SSL_CTX_new_ex(NULL, TLS13_KDF_PREFERRED, TLS_server_method());
    client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(server_ctx, TLS1_3_VERSION);
    SSL_CTX_set_mode(server_ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_num_tickets(server_ctx, 1);
    SSL_CTX_set_alpn_select_cb(server_ctx, select_alpn, NULL);
    make_identity(server_ctx);
    return 0;
}

static int parked_group_set_up(void **state)
{
    group_set_up(state);
    parking = parking_new(&parking_options_default, NULL, NULL);
    return parking && parking_attach(parking, server_ctx, 1) == ERR_OK ? 0 : -1;
}

static int group_tear_down(void **state)
{
    (void)state;
    parking_free(parking);
    SSL_CTX_free(server_ctx);
    SSL_CTX_free(client_ctx);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    limits = stream_limits_default;
    loop = loop_new();
    stream = NULL;
    peer = NULL;
    peer_fd = -1;
    return loop ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    if (stream)
        stream_abort(stream, CLOSE_LOCAL);
    turn();
    turn();
    assert_int_equal(seen.closed, 1);
    SSL_free(peer);
    if (peer_fd >= 0)
        close(peer_fd);
    buf_done(&seen.received);
    loop_free(loop);
    return 0;
}

static void start_on(int fd, SSL_CTX *tls, enum stream_role role)
{
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    stream = stream_new(loop, fd, tls, role, &limits, &handlers, &seen);
    assert_non_null(stream);
    assert_int_equal(seen.opened, 0); /* never inside the call */
}

static void start(SSL_CTX *tls)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    peer_fd = fds[1];
    start_on(fds[0], tls, STREAM_SERVER);
}

/* A pair of TCP sockets, for what unix sockets do otherwise. */
static void start_tcp(SSL_CTX *tls)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(any);
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&any, sizeof(any)), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&any, &len), 0);
    peer_fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(peer_fd, (struct sockaddr *)&any, sizeof(any)), 0);
    start_on(accept(listening, NULL, NULL), tls, STREAM_SERVER);
    close(listening);
}

static void peer_write(const void *p, size_t len)
{
    assert_int_equal(send(peer_fd, p, len, MSG_NOSIGNAL), len);
}

static void start_plain(void)
{
    start(NULL);
    turn();
    assert_int_equal(seen.opened, 1);
}

static void peer_new(int max_version)
{
    peer = SSL_new(client_ctx);
    SSL_set_max_proto_version(peer, max_version);
    SSL_set_alpn_protos(peer, (const unsigned char *)"\x04test", 5);
    SSL_set_bio(peer, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(peer);
}

/* What the client has to send, in pieces of @p piece bytes, the loop turning after each. */
static void peer_send(size_t piece)
{
    char part[4096];
    int n = 0;
    if (piece > sizeof(part))
        piece = sizeof(part);
    while ((n = BIO_read(SSL_get_wbio(peer), part, (int)piece)) > 0) {
        if (send(peer_fd, part, (size_t)n, MSG_NOSIGNAL) < 0)
            return; /* closed by the stream: what the test is about */
        turn();
    }
}

static void peer_receive(void)
{
    char part[4096];
    ssize_t n = 0;
    while ((n = recv(peer_fd, part, sizeof(part), MSG_DONTWAIT)) > 0)
        BIO_write(SSL_get_rbio(peer), part, (int)n);
}

static bool shake_hands(size_t piece)
{
    for (int i = 0; i < 20; i++) {
        int done = SSL_do_handshake(peer);
        int error = SSL_get_error(peer, done);
        peer_send(piece);
        turn();
        peer_receive();
        if (done == 1)
            return true;
        if (error != SSL_ERROR_WANT_READ)
            return false;
    }
    return false;
}

static size_t parked_count(void)
{
    return parking ? parking->shelves[TRAFFIC_AES_128_GCM].slab.taken +
                         parking->shelves[TRAFFIC_AES_256_GCM].slab.taken
                   : 0;
}

static void start_tls(size_t piece)
{
    start(server_ctx);
    peer_new(TLS1_3_VERSION);
    assert_true(shake_hands(piece));
    turn();
    assert_int_equal(seen.opened, 1);
    if (!parking)
        return;
    seen.parking = true;
    stream_park(stream);
    assert_int_equal(SSL_write(peer, "park", 4), 4);
    peer_send(4096);
    turn();
    seen.parking = false;
    assert_int_equal(parked_count(), 1);
}

static void peer_say(const char *text, size_t piece)
{
    assert_int_equal(SSL_write(peer, text, (int)strlen(text)), strlen(text));
    peer_send(piece);
    turn();
}

static void expect_heard(const char *text)
{
    char heard[64] = "";
    peer_receive();
    assert_int_equal(SSL_read(peer, heard, sizeof(heard) - 1), strlen(text));
    assert_string_equal(heard, text);
}

static void expect_received(const char *text)
{
    assert_true(bytes_equal(buf_view(&seen.received), bytes_of(text)));
}

static void expect_closed(enum close_reason reason)
{
    turn();
    turn();
    assert_int_equal(seen.closed, 1);
    assert_string_equal(close_reason_label(seen.reason), close_reason_label(reason));
}

/* The client meets the end with this alert. */
static void expect_alert(int description)
{
    char c = 0;
    ERR_clear_error();
    peer_receive();
    assert_true(SSL_read(peer, &c, 1) <= 0);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_AD_REASON_OFFSET + description);
    ERR_clear_error();
}

static size_t fill_queue(void)
{
    static const char block[10000];
    size_t blocks = 0;
    while (stream_write(stream, bytes_make(block, sizeof(block))) == ERR_OK) {
        blocks++;
        turn();
    }
    return blocks * sizeof(block);
}

static void drain_peer(void)
{
    char part[65536];
    while (recv(peer_fd, part, sizeof(part), MSG_DONTWAIT) > 0)
        turn();
}

static void plain_bytes_are_echoed(void **state)
{
    (void)state;
    seen.echo = true;
    start_plain();
    char heard[8] = "";
    peer_write("hello", 5);
    turn();
    turn();
    assert_int_equal(recv(peer_fd, heard, sizeof(heard), 0), 5);
    assert_string_equal(heard, "hello");
    assert_int_equal(stream_queued(stream), 0);
    uint8_t out[TLS_EXPORT_BYTES];
    assert_int_equal(stream_export(stream, LABEL, out), ERR_UNSUPPORTED);
    assert_int_equal(stream_alpn(stream).len, 0);
    assert_null(stream_tls_error(stream));
}

static void writing_needs_an_open_stream(void **state)
{
    (void)state;
    start(NULL);
    assert_int_equal(stream_write(stream, bytes_of("x")), ERR_BAD_STATE);
    turn();
    assert_int_equal(stream_write(stream, bytes_of("")), ERR_OK);
    stream_close(stream, CLOSE_DRAINED);
    assert_int_equal(stream_write(stream, bytes_of("x")), ERR_CLOSED);
}

static void tls_bytes_are_echoed_and_both_sides_export_the_same(void **state)
{
    (void)state;
    seen.echo = true;
    start_tls(4096);
    peer_say("hello", 4096);
    expect_heard("hello");
    uint8_t ours[TLS_EXPORT_BYTES], theirs[TLS_EXPORT_BYTES];
    if (parking) {
        assert_int_equal(stream_export(stream, LABEL, ours), ERR_BAD_STATE);
        assert_int_equal(stream_alpn(stream).len, 0);
        return;
    }
    assert_int_equal(stream_export(stream, LABEL, ours), ERR_OK);
    SSL_export_keying_material(peer, theirs, sizeof(theirs), LABEL, strlen(LABEL), NULL, 0, 0);
    assert_memory_equal(ours, theirs, sizeof(ours));
    assert_true(bytes_equal(stream_alpn(stream), bytes_of("test")));
}

static void records_may_come_byte_by_byte(void **state)
{
    (void)state;
    seen.echo = true;
    start_tls(1);
    peer_say("hello", 1);
    expect_heard("hello");
}

static void records_may_come_in_pieces_across_their_borders(void **state)
{
    (void)state;
    for (size_t piece = 2; piece < 40; piece++) {
        set_up(state);
        seen.echo = true;
        start_tls(piece);
        assert_int_equal(SSL_write(peer, "one", 3), 3);
        assert_int_equal(SSL_write(peer, "two", 3), 3);
        peer_say("three", piece);
        expect_received("onetwothree");
        if (piece < 39)
            tear_down(state);
    }
}

static void hello_cut_at_each_byte_is_no_handshake(void **state)
{
    (void)state;
    char hello[1024];
    peer_new(TLS1_3_VERSION);
    SSL_do_handshake(peer);
    int len = BIO_read(SSL_get_wbio(peer), hello, sizeof(hello));
    SSL_free(peer);
    for (int cut = 0; cut < len; cut++) {
        set_up(state);
        start(server_ctx);
        peer_write(hello, (size_t)cut);
        shutdown(peer_fd, SHUT_WR);
        expect_closed(CLOSE_PEER_CLOSED);
        assert_int_equal(seen.opened, 0);
        if (cut < len - 1)
            tear_down(state);
    }
}

static void other_protocols_on_a_tls_port_are_cut_off(void **state)
{
    (void)state;
    start(server_ctx);
    peer_write("G", 1);
    expect_closed(CLOSE_NOT_TLS);
    assert_int_equal(seen.opened, 0);
}

static void tls_version_of_another_kind_is_cut_off(void **state)
{
    (void)state;
    start(server_ctx);
    peer_write("\x16\x02", 2);
    expect_closed(CLOSE_NOT_TLS);
}

static void tls12_client_gets_an_alert(void **state)
{
    (void)state;
    start(server_ctx);
    peer_new(TLS1_2_VERSION);
    assert_false(shake_hands(4096));
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
    ERR_clear_error();
    assert_string_equal(stream_tls_error(stream), "unsupported protocol");
    close(peer_fd);
    peer_fd = -1;
    expect_closed(CLOSE_HANDSHAKE_FAILED);
}

static void record_announced_too_long_gets_an_alert(void **state)
{
    (void)state;
    start_tls(4096);
    peer_write("\x17\x03\x03\x41\x01", 5);
    turn();
    turn();
    expect_alert(SSL_AD_RECORD_OVERFLOW);
    shutdown(peer_fd, SHUT_WR);
    expect_closed(CLOSE_PROTOCOL);
}

static void record_of_unknown_type_gets_an_alert(void **state)
{
    (void)state;
    start_tls(4096);
    peer_write("\x18\x03\x03\x00\x20", 5);
    turn();
    turn();
    expect_alert(SSL_AD_UNEXPECTED_MESSAGE);
    shutdown(peer_fd, SHUT_WR);
    expect_closed(CLOSE_PROTOCOL);
}

static void record_that_does_not_open_gets_an_alert(void **state)
{
    (void)state;
    char record[5 + 32] = "\x17\x03\x03\x00\x20";
    start_tls(4096);
    peer_write(record, sizeof(record));
    turn();
    turn();
    expect_alert(SSL_AD_BAD_RECORD_MAC);
    assert_int_equal(seen.closed, 0); /* lingers, so that the alert is not lost in a reset */
    shutdown(peer_fd, SHUT_WR);
    expect_closed(CLOSE_PROTOCOL);
}

static void key_updates_are_followed_and_answered(void **state)
{
    (void)state;
    seen.echo = true;
    start_tls(4096);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(SSL_key_update(peer, SSL_KEY_UPDATE_REQUESTED), 1);
        peer_say("hello", 7);
        expect_heard("hello");
    }
}

static void flood_of_key_updates_is_ended(void **state)
{
    (void)state;
    start_tls(4096);
    for (int i = 0; i < 33; i++) {
        assert_int_equal(seen.closed, 0);
        SSL_key_update(peer, SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_do_handshake(peer);
        peer_send(4096);
    }
    shutdown(peer_fd, SHUT_WR);
    expect_closed(CLOSE_PROTOCOL);
}

static void close_notify_is_answered_after_what_is_queued(void **state)
{
    (void)state;
    seen.echo = true;
    start_tls(4096);
    assert_int_equal(SSL_write(peer, "bye", 3), 3);
    SSL_shutdown(peer);
    peer_send(4096);
    turn();
    expect_heard("bye");
    assert_int_equal(SSL_shutdown(peer), 1);
    close(peer_fd);
    peer_fd = -1;
    expect_closed(CLOSE_PEER_CLOSED);
}

static void half_close_is_the_end_but_the_answer_is_sent(void **state)
{
    (void)state;
    char heard[8] = "";
    seen.echo = true;
    start_plain();
    peer_write("bye", 3);
    shutdown(peer_fd, SHUT_WR);
    expect_closed(CLOSE_PEER_CLOSED);
    assert_int_equal(recv(peer_fd, heard, sizeof(heard), 0), 3);
    assert_int_equal(recv(peer_fd, heard, sizeof(heard), 0), 0);
}

static void half_close_amid_a_full_queue_ends_when_it_is_sent(void **state)
{
    (void)state;
    start_plain();
    fill_queue();
    shutdown(peer_fd, SHUT_WR);
    turn();
    turn();
    assert_int_equal(seen.closed, 0);
    drain_peer();
    expect_closed(CLOSE_PEER_CLOSED);
}

static void reset_ends_the_stream(void **state)
{
    (void)state;
    start_tcp(NULL);
    turn();
    setsockopt(peer_fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(peer_fd);
    peer_fd = -1;
    expect_closed(CLOSE_PEER_RESET);
}

/* The kernel reports a reset whether it is asked or not; the paused stream must not be woken by it for ever.
 */
static void reset_of_a_paused_stream_does_not_spin(void **state)
{
    (void)state;
    start_tcp(NULL);
    turn();
    stream_pause_read(stream);
    setsockopt(peer_fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(peer_fd);
    peer_fd = -1;
    struct timespec before, after;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    run_for(100);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    assert_true((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec < 50000000);
    assert_int_equal(seen.closed, 0);
    stream_resume_read(stream);
    turn();
    expect_closed(CLOSE_PEER_RESET);
}

static void writing_to_a_closed_peer_ends_the_stream(void **state)
{
    (void)state;
    start_plain();
    stream_pause_read(stream);
    close(peer_fd);
    peer_fd = -1;
    assert_int_equal(stream_write(stream, bytes_of("x")), ERR_OK);
    expect_closed(CLOSE_PEER_RESET);
}

static void slow_reader_meets_the_limit_and_drains(void **state)
{
    (void)state;
    limits.write_max = 100000;
    limits.write_low = 20000;
    start_plain();
    fill_queue();
    assert_true(stream_queued(stream) <= limits.write_max);
    assert_true(stream_queued(stream) > limits.write_low);
    assert_int_equal(seen.drained, 0);
    drain_peer();
    assert_int_equal(seen.drained, 1);
    assert_int_equal(stream_queued(stream), 0);
    assert_int_equal(stream_write(stream, bytes_of("x")), ERR_OK);
}

static void slow_tls_reader_meets_the_limit(void **state)
{
    (void)state;
    limits.write_max = 100000;
    start_tls(4096);
    assert_true(fill_queue() > 0);
    stream_abort(stream, CLOSE_QUEUE_FULL);
    expect_closed(CLOSE_QUEUE_FULL);
}

static void write_above_the_limit_at_once_is_refused(void **state)
{
    (void)state;
    static const char block[101];
    limits.write_max = 100;
    start_plain();
    assert_int_equal(stream_write(stream, bytes_make(block, 101)), ERR_LIMIT);
    assert_int_equal(stream_queued(stream), 0);
    assert_int_equal(stream_write(stream, bytes_make(block, 100)), ERR_OK);
}

static void peer_that_takes_nothing_is_cut_off(void **state)
{
    (void)state;
    limits.stall_ms = 20;
    start_plain();
    fill_queue();
    run_for(60);
    expect_closed(CLOSE_WRITE_STALLED);
}

static void silent_handshake_times_out(void **state)
{
    (void)state;
    limits.handshake_ms = 20;
    start(server_ctx);
    peer_write("\x16\x03\x01", 3);
    run_for(60);
    expect_closed(CLOSE_HANDSHAKE_TIMEOUT);
}

static void part_of_a_record_times_out_but_silence_does_not(void **state)
{
    (void)state;
    limits.record_ms = 20;
    start_tls(4096);
    run_for(60);
    assert_int_equal(seen.closed, 0);
    for (int i = 0; i < 5 && !seen.closed; i++) {
        peer_write(&"\x17\x03\x03\x01\x00\x00"[i], 1); /* trickling does not help */
        run_for(10);
    }
    expect_closed(CLOSE_RECORD_TIMEOUT);
}

static void peer_that_does_not_close_is_waited_for_so_long(void **state)
{
    (void)state;
    limits.linger_ms = 20;
    start_plain();
    stream_close(stream, CLOSE_DRAINED);
    turn();
    turn();
    assert_int_equal(seen.closed, 0);
    run_for(40);
    expect_closed(CLOSE_DRAINED);
}

static void flushing_has_its_deadline(void **state)
{
    (void)state;
    limits.flush_ms = 20;
    start_plain();
    fill_queue();
    stream_close(stream, CLOSE_DRAINED);
    run_for(60);
    expect_closed(CLOSE_DRAINED);
}

static void close_sends_all_that_is_queued_first(void **state)
{
    (void)state;
    char part[65536];
    size_t sent = 0, got = 0;
    ssize_t n = 0;
    start_plain();
    sent = fill_queue();
    stream_close(stream, CLOSE_LOCAL);
    stream_close(stream, CLOSE_DRAINED); /* the first reason stays */
    peer_write("ignored", 7);
    while ((n = recv(peer_fd, part, sizeof(part), MSG_DONTWAIT)) > 0) {
        got += (size_t)n;
        turn();
    }
    assert_int_equal(n, 0);
    assert_int_equal(got, sent);
    assert_int_equal(seen.read, 0);
    shutdown(peer_fd, SHUT_WR);
    expect_closed(CLOSE_LOCAL);
}

static void input_waits_in_the_kernel_when_nobody_consumes_it(void **state)
{
    (void)state;
    static char block[8000];
    size_t sent = 0;
    limits.input_max = 1000;
    seen.keep_input = true;
    start_tls(4096);
    for (int i = 0; i < 100; i++) {
        if (SSL_write(peer, block, sizeof(block)) != (int)sizeof(block))
            break;
        sent += sizeof(block);
    }
    char part[4096];
    int n = 0;
    while ((n = BIO_read(SSL_get_wbio(peer), part, sizeof(part))) > 0) {
        ssize_t taken = 0;
        for (int at = 0; at < n; at += (int)taken) {
            taken = send(peer_fd, part + at, (size_t)(n - at), MSG_NOSIGNAL);
            if (taken < 0) { /* full, as it should be: only now the owner begins to consume */
                assert_int_equal(errno, EAGAIN);
                assert_true(stream_input(stream).len < limits.input_max + 16384);
                seen.keep_input = false;
                stream_resume_read(stream);
                taken = 0;
            }
            turn();
        }
    }
    assert_false(seen.keep_input);
    for (int i = 0; i < 50; i++)
        turn();
    assert_int_equal(buf_len(&seen.received) + stream_input(stream).len, sent);
}

static void consuming_outside_of_callbacks_makes_room_again(void **state)
{
    (void)state;
    limits.input_max = 4;
    seen.keep_input = true;
    start_tls(4096);
    assert_int_equal(SSL_write(peer, "full", 4), 4);
    peer_say("next", 4096);
    turn();
    assert_int_equal(stream_input(stream).len, 4);
    stream_consume(stream, 4);
    turn();
    turn();
    assert_true(bytes_equal(stream_input(stream), bytes_of("next")));
    assert_int_equal(seen.read, 2);
}

static void paused_stream_is_not_read_and_resumes_with_what_waits(void **state)
{
    (void)state;
    start_tls(4096);
    stream_pause_read(stream);
    peer_say("hello", 4096);
    turn();
    assert_int_equal(seen.read, 0);
    stream_resume_read(stream);
    assert_int_equal(seen.read, 0);
    turn();
    turn();
    expect_received("hello");
}

static void resuming_calls_on_read_again_for_what_was_left(void **state)
{
    (void)state;
    seen.keep_input = true;
    start_plain();
    peer_write("hello", 5);
    turn();
    turn();
    assert_int_equal(seen.read, 1);
    stream_resume_read(stream);
    turn();
    turn();
    assert_int_equal(seen.read, 2);
    stream_consume(stream, 5);
    stream_resume_read(stream);
    turn();
    turn();
    assert_int_equal(seen.read, 2);
}

static void abort_within_callbacks_is_safe(void **state)
{
    (void)state;
    seen.abort_on_read = true;
    start_tls(4096);
    seen.keep_input = true;
    peer_say("hello", 4096);
    expect_closed(CLOSE_LOCAL);
    tear_down(state);
    set_up(state);
    seen.abort_on_open = true;
    start(server_ctx);
    peer_new(TLS1_3_VERSION);
    SSL_do_handshake(peer);
    peer_send(4096);
    peer_receive();
    assert_int_equal(SSL_do_handshake(peer), 1);
    peer_say("hello", 4096); /* arrives together with the client's Finished */
    expect_closed(CLOSE_LOCAL);
    assert_int_equal(seen.read, 0);
}

static void client_stream_connects(void **state)
{
    (void)state;
    struct address any, bound;
    int fd = -1, listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(address_parse("127.0.0.1:0", &any), ERR_OK);
    assert_int_equal(bind(listening, (struct sockaddr *)&any.storage, any.len), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(address_of_socket(listening, &bound), ERR_OK);
    assert_int_equal(address_connect(&bound, &fd), ERR_OK);
    start_on(fd, NULL, STREAM_CLIENT);
    run_for(5);
    assert_int_equal(seen.opened, 1);
    assert_int_equal(stream_write(stream, bytes_of("x")), ERR_OK);
    turn();
    peer_fd = accept(listening, NULL, NULL);
    char c = 0;
    assert_int_equal(recv(peer_fd, &c, 1, 0), 1);
    close(listening);
}

static void client_stream_tells_that_nobody_listens(void **state)
{
    (void)state;
    struct address any, bound;
    int fd = -1, bound_fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(address_parse("127.0.0.1:0", &any), ERR_OK);
    assert_int_equal(bind(bound_fd, (struct sockaddr *)&any.storage, any.len), 0);
    assert_int_equal(address_of_socket(bound_fd, &bound), ERR_OK);
    assert_int_equal(address_connect(&bound, &fd), ERR_OK);
    start_on(fd, NULL, STREAM_CLIENT);
    run_for(5);
    expect_closed(CLOSE_CONNECT_FAILED);
    assert_int_equal(seen.opened, 0);
    close(bound_fd);
}

static void peers_identity_is_known(void **state)
{
    (void)state;
    uid_t uid = 12345;
    struct address a;
    start_plain();
    assert_int_equal(stream_peer_uid(stream, &uid), ERR_OK);
    assert_int_equal(uid, getuid());
    assert_int_equal(stream_peer(stream, &a), ERR_OK);
    assert_true(address_is_unix(&a));
    tear_down(state);
    set_up(state);
    start_tcp(NULL);
    turn();
    assert_int_equal(stream_peer_uid(stream, &uid), ERR_UNSUPPORTED);
    stream_abort(stream, CLOSE_LOCAL);
    assert_int_equal(stream_peer(stream, &a), ERR_IO);
}

/* All that the peer says, the stream's wish to be parked standing from the start, cut in two anywhere. */
static void stream_cut_at_each_byte_around_parking_loses_nothing(void **state)
{
    size_t len = 1;
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t said[1024];
        set_up(state);
        seen.echo = true;
        start(server_ctx);
        peer_new(TLS1_3_VERSION);
        assert_true(shake_hands(4096));
        stream_park(stream);
        SSL_write(peer, "one", 3);
        SSL_key_update(peer, SSL_KEY_UPDATE_REQUESTED);
        SSL_write(peer, "two", 3);
        SSL_write(peer, "three", 5);
        SSL_key_update(peer, SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_write(peer, "four", 4);
        len = (size_t)BIO_read(SSL_get_wbio(peer), said, sizeof said);
        peer_write(said, cut);
        turn();
        turn();
        peer_write(said + cut, len - cut);
        turn();
        turn();
        expect_received("onetwothreefour");
        assert_int_equal(parked_count(), parking ? 1 : 0);
        peer_receive();
        char heard[64];
        size_t n = 0, all = 0;
        while (SSL_read_ex(peer, heard + all, sizeof heard - all, &n) == 1)
            all += n;
        assert_true(bytes_equal(bytes_make(heard, all), bytes_of("onetwothreefour")));
        if (cut < len - 1)
            tear_down(state);
    }
}

/* What the stream answers, its own key update among it, and the close, cut in two at each byte by the kernel. */
static void writes_cut_short_at_each_byte_lose_nothing(void **state)
{
    size_t len = 2;
    for (size_t cut = 1; cut < len; cut++) {
        char heard[64];
        size_t n = 0, all = 0;
        set_up(state);
        seen.echo = true;
        start_tls(4096);
        peer_receive();
        assert_int_equal(SSL_read(peer, heard, sizeof heard), -1); /* its tickets are out of the way */
        shortened.armed = true;
        shortened.bytes = cut;
        SSL_write(peer, "one", 3);
        SSL_key_update(peer, SSL_KEY_UPDATE_REQUESTED);
        SSL_write(peer, "two", 3);
        uint8_t said[512];
        peer_write(said, (size_t)BIO_read(SSL_get_wbio(peer), said, sizeof said));
        for (int i = 0; i < 4; i++)
            turn();
        assert_false(shortened.armed);
        assert_int_equal(stream_queued(stream), 0);
        stream_close(stream, CLOSE_LOCAL);
        turn();
        peer_receive();
        len = BIO_ctrl_pending(SSL_get_rbio(peer));
        while (SSL_read_ex(peer, heard + all, sizeof heard - all, &n) == 1)
            all += n;
        assert_true(bytes_equal(bytes_make(heard, all), bytes_of("onetwo")));
        assert_true(SSL_get_shutdown(peer) & SSL_RECEIVED_SHUTDOWN);
        len -= CLOSE_NOTIFY_BYTES;
        if (cut < len - 1)
            tear_down(state);
    }
}

static void handshakes_answer_may_be_cut_short_at_each_byte(void **state)
{
    for (size_t cut = 1; cut < SERVER_FLIGHT_BYTES; cut++) {
        set_up(state);
        seen.echo = true;
        start(server_ctx);
        peer_new(TLS1_3_VERSION);
        shortened.armed = true;
        shortened.bytes = cut;
        assert_true(shake_hands(4096));
        assert_false(shortened.armed);
        peer_say("here", 4096);
        expect_heard("here");
        if (cut + 1 < SERVER_FLIGHT_BYTES)
            tear_down(state);
    }
}

/* The kernel takes what is sealed in pieces; each goes out once, and in order. */
static void short_writes_send_each_record_once(void **state)
{
    (void)state;
    static uint8_t said[300000], heard[300000];
    int small = 1;
    size_t all = 0, n = 0;
    for (size_t i = 0; i < sizeof said; i++)
        said[i] = (uint8_t)(i % 251);
    start_tls(4096);
    setsockopt(peer_fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (size_t at = 0; at < sizeof said; at += 1000)
        assert_int_equal(stream_write(stream, bytes_make(said + at, 1000)), ERR_OK);
    for (int piece = 1; all < sizeof said; piece = piece % 97 + 1) {
        uint8_t part[97];
        ssize_t got = recv(peer_fd, part, (size_t)piece, MSG_DONTWAIT);
        if (got > 0)
            BIO_write(SSL_get_rbio(peer), part, (int)got);
        else
            turn();
        while (SSL_read_ex(peer, heard + all, sizeof heard - all, &n) == 1)
            all += n;
    }
    assert_memory_equal(said, heard, sizeof said);
    assert_int_equal(stream_queued(stream), 0);
}

/* The answers to key updates are queued too: a peer that does not read them meets the limit. */
static void answers_that_are_not_read_meet_the_limit(void **state)
{
    (void)state;
    limits.write_max = 4096;
    start_tls(4096);
    for (int i = 0; i < 20000 && !seen.closed; i++) {
        SSL_key_update(peer, SSL_KEY_UPDATE_REQUESTED);
        SSL_write(peer, "x", 1);
        peer_send(4096);
    }
    expect_closed(CLOSE_QUEUE_FULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(plain_bytes_are_echoed),
        TEST(writing_needs_an_open_stream),
        TEST(tls_bytes_are_echoed_and_both_sides_export_the_same),
        TEST(records_may_come_byte_by_byte),
        cmocka_unit_test_teardown(records_may_come_in_pieces_across_their_borders, tear_down),
        cmocka_unit_test_teardown(hello_cut_at_each_byte_is_no_handshake, tear_down),
        TEST(other_protocols_on_a_tls_port_are_cut_off),
        TEST(tls_version_of_another_kind_is_cut_off),
        TEST(tls12_client_gets_an_alert),
        TEST(record_announced_too_long_gets_an_alert),
        TEST(record_of_unknown_type_gets_an_alert),
        TEST(record_that_does_not_open_gets_an_alert),
        TEST(key_updates_are_followed_and_answered),
        TEST(flood_of_key_updates_is_ended),
        TEST(close_notify_is_answered_after_what_is_queued),
        TEST(half_close_is_the_end_but_the_answer_is_sent),
        TEST(half_close_amid_a_full_queue_ends_when_it_is_sent),
        TEST(reset_ends_the_stream),
        TEST(reset_of_a_paused_stream_does_not_spin),
        TEST(writing_to_a_closed_peer_ends_the_stream),
        TEST(slow_reader_meets_the_limit_and_drains),
        TEST(slow_tls_reader_meets_the_limit),
        TEST(write_above_the_limit_at_once_is_refused),
        TEST(peer_that_takes_nothing_is_cut_off),
        TEST(silent_handshake_times_out),
        TEST(part_of_a_record_times_out_but_silence_does_not),
        TEST(peer_that_does_not_close_is_waited_for_so_long),
        TEST(flushing_has_its_deadline),
        TEST(close_sends_all_that_is_queued_first),
        TEST(input_waits_in_the_kernel_when_nobody_consumes_it),
        TEST(consuming_outside_of_callbacks_makes_room_again),
        TEST(paused_stream_is_not_read_and_resumes_with_what_waits),
        TEST(resuming_calls_on_read_again_for_what_was_left),
        TEST(abort_within_callbacks_is_safe),
        TEST(client_stream_connects),
        TEST(client_stream_tells_that_nobody_listens),
        TEST(peers_identity_is_known),
        cmocka_unit_test_teardown(stream_cut_at_each_byte_around_parking_loses_nothing, tear_down),
        cmocka_unit_test_teardown(writes_cut_short_at_each_byte_lose_nothing, tear_down),
        cmocka_unit_test_teardown(handshakes_answer_may_be_cut_short_at_each_byte, tear_down),
        TEST(short_writes_send_each_record_once),
        TEST(answers_that_are_not_read_meet_the_limit),
    };
    int failed = cmocka_run_group_tests_name("stream", tests, group_set_up, group_tear_down);
    return failed +
           cmocka_run_group_tests_name("stream, parked", tests, parked_group_set_up, group_tear_down);
}
