/**
 * HTTP/2 connections: the first byte says how the rest is cut into pieces and how requests are answered; preface and
 * SETTINGS are said before. Whatever comes, a connection ends exactly once, and an exchange ends in an answer or in
 * on_gone.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/http2.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);

#define HELD_MAX 64

static struct loop *loop;
static struct stream_limits stream_limits;
static struct http_limits limits;
static struct http_exchange *held[HELD_MAX];
static size_t held_count;
static unsigned closed;
static bool holding;

static void check(bool is_so)
{
    if (!is_so)
        abort();
}

static void on_request(struct http_exchange *ex, void *arg)
{
    (void)arg;
    check(ex->method.len && ex->path.len && ex->path.p[0] == '/' && ex->header_count >= 1);
    check(http_find_header(ex, "Host") && ex->body.len <= 100 && (!ex->too_large || ex->body.len == 0));
    if (holding && held_count < HELD_MAX)
        held[held_count++] = ex;
    else
        http_respond(ex, 200, NULL, 0, ex->body);
}

static void on_gone(struct http_exchange *ex, void *arg)
{
    (void)arg;
    size_t i = 0;
    while (i < held_count && held[i] != ex)
        i++;
    check(i < held_count);
    held[i] = held[--held_count];
}

static const struct http_handlers handlers = {.on_request = on_request, .on_gone = on_gone};

static void on_http2_closed(struct http2 *c, enum close_reason reason, void *owner)
{
    (void)c, (void)owner;
    check(reason < CLOSE_REASON_COUNT);
    closed++;
}

static void on_open(struct stream *s, void *arg)
{
    (void)arg;
    check(http2_accept(loop, s, &stream_limits, &limits, &handlers, NULL, on_http2_closed, NULL, NULL) !=
          NULL);
}

static void on_stream_closed(struct stream *s, enum close_reason reason, void *arg)
{
    (void)s, (void)reason, (void)arg;
    check(false);
}

static const struct stream_handlers opening = {.on_open = on_open, .on_closed = on_stream_closed};

static void stop(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static void turns(int count)
{
    for (int i = 0; i < count; i++) {
        struct deferral end;
        deferral_init(&end, stop, NULL);
        loop_defer(loop, &end);
        loop_run(loop);
    }
}

static void answer_all(void)
{
    const struct http_header trailer = {bytes_of("grpc-status"), bytes_of("0")};
    while (held_count > 0) {
        struct http_exchange *ex = held[--held_count];
        http_forget_request(ex);
        http_start(ex, 200, NULL, 0);
        if (http_send(ex, bytes_of("part")) == ERR_OK)
            http_finish_with_trailers(ex, &trailer, 1);
        else
            http_abort(ex, CLOSE_QUEUE_FULL);
    }
}

static void say(int fd, const void *p, size_t len)
{
    if (send(fd, p, len, MSG_NOSIGNAL) < 0)
        return; /* closed */
    turns(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
    static const char greeting[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    int fds[2];
    if (!loop) {
        loop = loop_new();
        stream_limits = stream_limits_default;
        limits = http_limits_default;
        limits.body_max = 100;
        limits.streams_max = 50;
    }
    if (len < 1 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds))
        return 0;
    size_t piece = p[0] & 0x7f ? p[0] & 0x7f : len;
    holding = p[0] & 0x80;
    closed = 0;
    check(stream_new(loop, fds[0], NULL, STREAM_SERVER, &stream_limits, &opening, NULL) != NULL);
    turns(2);
    say(fds[1], greeting, sizeof greeting - 1);
    for (size_t at = 1; at < len; at += piece)
        say(fds[1], p + at, len - at < piece ? len - at : piece);
    if (len % 2)
        answer_all();
    turns(2);
    close(fds[1]);
    turns(6);
    check(held_count == 0 && closed == 1);
    return 0;
}
