/**
 * An HTTP/2 connection over a socket pair, without TLS: the broker's end as it is, the peer's made of frames by hand, so
 * that it can be as wrong as a test wants. What the broker sends is cut into frames again.
 */
#ifndef NANOPUSH_TESTS_UNIT_HTTP2_FIXTURE_H
#define NANOPUSH_TESTS_UNIT_HTTP2_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/http2.h"

#define PREFACE    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define FRAMES_MAX 4096
#define FRAME_HEAD 9

enum {
    DATA,
    HEADERS,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    PUSH_PROMISE,
    PING,
    GOAWAY,
    WINDOW_UPDATE,
    CONTINUATION
};
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };

enum reply {
    ECHO,   /* "METHOD path?query body" */
    HOLD,   /* answer nothing */
    STREAM, /* start, and leave the rest to the test */
};

struct frame {
    uint8_t type, flags;
    uint32_t id, len;
    const uint8_t *payload; /* in heard_bytes */
    char text[600];         /* of HEADERS: "name: value\n" ... */
};

static struct loop *loop;
static struct stream *broker_end;
static struct http2 *connection;
static struct stream_limits stream_limits;
static struct http_limits limits;
static int peer_fd;
static nghttp2_hd_inflater *inflater;
static struct frame heard[FRAMES_MAX];
static size_t heard_count;

static struct {
    enum reply reply;
    unsigned requests, gone, drained, bad, closed;
    enum close_reason reason;
    struct http_exchange *held[2000];
    size_t held_count;
    bool too_large;
} seen;

/* ---- the broker's end ---- */

static void on_request(struct http_exchange *ex, void *arg)
{
    struct buf out = {0};
    const struct http_header header = {bytes_of("X-Test"), bytes_of("yes")};
    assert_ptr_equal(arg, &seen);
    seen.requests++;
    seen.too_large = ex->too_large;
    if (seen.reply == ECHO) {
        assert_int_equal(buf_printf(&out, "%.*s %.*s?%.*s ", (int)ex->method.len, (const char *)ex->method.p,
                                    (int)ex->path.len, (const char *)ex->path.p, (int)ex->query.len,
                                    (const char *)ex->query.p),
                         ERR_OK);
        assert_int_equal(buf_append(&out, ex->body), ERR_OK);
        http_respond(ex, 200, &header, 1, buf_view(&out));
    } else {
        if (seen.reply == STREAM)
            http_start(ex, 200, &header, 1);
        seen.held[seen.held_count++] = ex;
    }
    buf_done(&out);
}

static void on_gone(struct http_exchange *ex, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < seen.held_count; i++)
        if (seen.held[i] == ex) {
            seen.held[i] = seen.held[--seen.held_count];
            seen.gone++;
            return;
        }
    fail_msg("on_gone for an exchange that is not held");
}

static void on_drain(struct http_exchange *ex, void *arg)
{
    (void)ex, (void)arg;
    seen.drained++;
}

static void on_bad_request(struct http_exchange *ex, enum bad_request why, void *arg)
{
    struct buf body = {0};
    const struct http_header header = {bytes_of("Content-Type"), bytes_of("application/json")};
    (void)arg;
    seen.bad++;
    assert_int_equal(buf_printf(&body, "{\"message\":\"%s\"}", bad_request_text(why)), ERR_OK);
    http_respond(ex, bad_request_status(why), &header, 1, buf_view(&body));
    buf_done(&body);
}

static const struct http_handlers handlers = {
    .on_request = on_request, .on_gone = on_gone, .on_drain = on_drain, .on_bad_request = on_bad_request};

static void on_http2_closed(struct http2 *c, enum close_reason reason, void *owner)
{
    (void)owner;
    assert_ptr_equal(c, connection);
    connection = NULL;
    seen.closed++;
    seen.reason = reason;
}

static void on_open(struct stream *s, void *arg)
{
    (void)arg;
    connection =
        http2_accept(loop, s, &stream_limits, &limits, &handlers, &seen, on_http2_closed, NULL, NULL);
    assert_non_null(connection);
}

static void on_stream_closed(struct stream *s, enum close_reason reason, void *arg)
{
    (void)s, (void)reason, (void)arg;
    fail_msg("closed before it was open");
}

static const struct stream_handlers opening = {.on_open = on_open, .on_closed = on_stream_closed};

static void stop(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static void turns(void)
{
    for (int i = 0; i < 6; i++) {
        struct deferral end;
        deferral_init(&end, stop, NULL);
        loop_defer(loop, &end);
        loop_run(loop);
    }
}

static inline void run_for(unsigned ms)
{
    struct timer end;
    timer_init(&end, loop, stop, NULL);
    timer_start(&end, ms);
    loop_run(loop);
}

/** The exchange that is held, of which a test has one; it is the test's then. */
static inline struct http_exchange *take_held(void)
{
    assert_int_equal(seen.held_count, 1);
    seen.held_count = 0;
    return seen.held[0];
}

/* ---- the peer's end ---- */

static void say(const void *p, size_t len)
{
    const uint8_t *at = p;
    while (len > 0) {
        ssize_t n = send(peer_fd, at, len < 16384 ? len : 16384, MSG_NOSIGNAL);
        if (n < 0)
            return; /* full, or closed: a test sees it by what the broker said */
        at += n;
        len -= (size_t)n;
        turns();
    }
}

static void append_frame(struct buf *out, uint8_t type, uint8_t flags, uint32_t id, struct bytes payload)
{
    const uint8_t head[FRAME_HEAD] = {
        (uint8_t)(payload.len >> 16), (uint8_t)(payload.len >> 8), (uint8_t)payload.len, type,       flags,
        (uint8_t)(id >> 24),          (uint8_t)(id >> 16),         (uint8_t)(id >> 8),   (uint8_t)id};
    assert_int_equal(buf_append(out, bytes_make(head, sizeof head)), ERR_OK);
    assert_int_equal(buf_append(out, payload), ERR_OK);
}

static void say_frame(uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t len)
{
    struct buf out = {0};
    append_frame(&out, type, flags, id, bytes_make(payload, len));
    say(buf_view(&out).p, buf_len(&out));
    buf_done(&out);
}

static void append_length(struct buf *out, size_t len)
{
    assert_int_equal(buf_append_byte(out, len < 127 ? (uint8_t)len : 127), ERR_OK);
    if (len < 127)
        return;
    for (len -= 127; len >= 128; len >>= 7)
        assert_int_equal(buf_append_byte(out, (uint8_t)(len | 128)), ERR_OK);
    assert_int_equal(buf_append_byte(out, (uint8_t)len), ERR_OK);
}

/** A header as HPACK's literal without indexing (RFC 7541, 6.2.2). */
static void append_header(struct buf *out, const char *name, const char *value)
{
    assert_int_equal(buf_append_byte(out, 0), ERR_OK);
    append_length(out, strlen(name));
    assert_int_equal(buf_append(out, bytes_of(name)), ERR_OK);
    append_length(out, strlen(value));
    assert_int_equal(buf_append(out, bytes_of(value)), ERR_OK);
}

/** A request's four pseudo-headers. */
static void append_request(struct buf *out, const char *method, const char *path)
{
    append_header(out, ":method", method);
    append_header(out, ":scheme", "https");
    append_header(out, ":authority", "a");
    append_header(out, ":path", path);
}

/** Send a request's head with one more header, unless that is NULL. */
static void say_head(uint32_t id, uint8_t flags, const char *method, const char *name, const char *value)
{
    struct buf block = {0};
    append_request(&block, method, "/p?q");
    if (name)
        append_header(&block, name, value);
    say_frame(HEADERS, flags | END_HEADERS, id, buf_view(&block).p, buf_len(&block));
    buf_done(&block);
}

static inline void say_get(uint32_t id)
{
    say_head(id, END_STREAM, "GET", NULL, NULL);
}

static inline void say_window(uint32_t id, uint32_t count)
{
    const uint8_t payload[4] = {(uint8_t)(count >> 24), (uint8_t)(count >> 16), (uint8_t)(count >> 8),
                                (uint8_t)count};
    say_frame(WINDOW_UPDATE, 0, id, payload, sizeof payload);
}

static inline void say_setting(uint16_t setting, uint32_t value)
{
    const uint8_t payload[6] = {(uint8_t)(setting >> 8), (uint8_t)setting,      (uint8_t)(value >> 24),
                                (uint8_t)(value >> 16),  (uint8_t)(value >> 8), (uint8_t)value};
    say_frame(SETTINGS, 0, 0, payload, sizeof payload);
}

static void inflate(struct frame *f)
{
    const uint8_t *at = f->payload;
    size_t left = f->len, len = 0;
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t n = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, at, left, 1);
        assert_true(n >= 0);
        at += n;
        left -= (size_t)n;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            len += (size_t)snprintf(f->text + len, sizeof f->text - len, "%s: %s\n", (char *)nv.name,
                                    (char *)nv.value);
        assert_true(len < sizeof f->text);
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            break;
    }
    nghttp2_hd_inflate_end_headers(inflater);
}

/** Take up all that the broker has sent since the last call: heard, heard_count. */
static void hear(void)
{
    static uint8_t heard_bytes[4 * 1024 * 1024];
    size_t len = 0, at = 0;
    ssize_t n = 0;
    while (len < sizeof heard_bytes &&
           (n = recv(peer_fd, heard_bytes + len, sizeof heard_bytes - len, MSG_DONTWAIT)) > 0) {
        len += (size_t)n;
        turns();
    }
    for (heard_count = 0; at < len; heard_count++) {
        struct frame *f = &heard[heard_count];
        const uint8_t *p = heard_bytes + at;
        assert_true(heard_count < FRAMES_MAX && len - at >= FRAME_HEAD);
        *f = (struct frame){.len = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2],
                            .type = p[3],
                            .flags = p[4],
                            .id = (uint32_t)p[5] << 24 | (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8],
                            .payload = p + FRAME_HEAD};
        at += FRAME_HEAD + f->len;
        assert_true(at <= len);
        if (f->type == HEADERS)
            inflate(f);
    }
}

/** The first heard frame of that type on that stream, or NULL. */
static const struct frame *find(uint8_t type, uint32_t id)
{
    for (size_t i = 0; i < heard_count; i++)
        if (heard[i].type == type && heard[i].id == id)
            return &heard[i];
    return NULL;
}

/** The error code of the first RST_STREAM on that stream; GOAWAY's for 0; -1: there is none. */
static inline int error_of(uint32_t id)
{
    const struct frame *f = find(id ? RST_STREAM : GOAWAY, id);
    const uint8_t *p = f ? f->payload + (id ? 0 : 4) : NULL;
    return p ? (int)((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]) : -1;
}

/** The stream was answered with that status, and with that body unless it is NULL. */
static inline void expect_answer(uint32_t id, const char *status, const char *body)
{
    char line[32];
    const struct frame *f = find(HEADERS, id);
    snprintf(line, sizeof line, ":status: %s\n", status);
    if (!f || !strstr(f->text, line))
        fail_msg("stream %u: %s instead of %s", id, f ? f->text : "nothing", line);
    f = find(DATA, id);
    if (body && (!f || f->len != strlen(body) || memcmp(f->payload, body, f->len) != 0))
        fail_msg("stream %u: another body than %s: %.*s", id, body, f ? (int)f->len : 0,
                 f ? (const char *)f->payload : "");
}

/** The broker has closed the connection, for that reason. */
static inline void expect_closed(enum close_reason reason)
{
    uint8_t c;
    assert_int_equal(recv(peer_fd, &c, 1, MSG_DONTWAIT), 0);
    close(peer_fd);
    peer_fd = -1;
    turns();
    assert_int_equal(seen.closed, 1);
    assert_int_equal(seen.reason, reason);
}

/* ---- life ---- */

static int set_up(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    stream_limits = stream_limits_default;
    limits = http_limits_default;
    connection = NULL;
    peer_fd = -1;
    loop = loop_new();
    return loop ? nghttp2_hd_inflate_new(&inflater) : -1;
}

static void hang_up(void)
{
    if (peer_fd >= 0)
        close(peer_fd);
    peer_fd = -1;
    turns();
    if (connection)
        stream_abort(broker_end, CLOSE_LOCAL);
    turns();
    assert_null(connection);
    assert_int_equal(seen.held_count, 0);
}

static int tear_down(void **state)
{
    (void)state;
    hang_up();
    nghttp2_hd_inflate_del(inflater);
    loop_free(loop);
    return 0;
}

/** Connect; nothing is said yet. A connection that there was is hung up. */
static void open_connection(void)
{
    int fds[2];
    hang_up();
    nghttp2_hd_inflate_del(inflater);
    assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    peer_fd = fds[1];
    broker_end = stream_new(loop, fds[0], NULL, STREAM_SERVER, &stream_limits, &opening, NULL);
    assert_non_null(broker_end);
    turns();
}

/** Connect, and say what a client says first; the broker's SETTINGS are in heard. */
static void start(void)
{
    open_connection();
    say(PREFACE, strlen(PREFACE));
    say_frame(SETTINGS, 0, 0, NULL, 0);
    say_frame(SETTINGS, ACK, 0, NULL, 0);
    hear();
}

#endif
