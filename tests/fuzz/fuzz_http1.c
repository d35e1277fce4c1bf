/**
 * HTTP/1.1 connections: the first byte says how the rest is cut into pieces and how requests are answered.
 * Whatever comes, a connection ends exactly once, and an exchange ends in an answer or in on_gone.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);

static struct loop *loop;
static struct http_server *server;
static struct http_exchange *held;
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
    check(!held && ex->method.len && ex->path.len && ex->path.p[0] == '/' && ex->header_count >= 1);
    check(http_find_header(ex, "Host") && ex->body.len <= 100 && (!ex->too_large || ex->body.len == 0));
    if (holding)
        held = ex;
    else
        http_respond(ex, 200, NULL, 0, ex->body);
}

static void on_gone(struct http_exchange *ex, void *arg)
{
    (void)arg;
    check(ex == held);
    held = NULL;
}

static void on_connection_closed(enum close_reason reason, void *arg)
{
    (void)arg;
    check(reason < CLOSE_REASON_COUNT);
    closed++;
}

static const struct http_handlers handlers = {.on_request = on_request, .on_gone = on_gone};

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

static void set_up(void)
{
    struct http_server_options options = {.stream = stream_limits_default,
                                          .http = http_limits_default,
                                          .on_connection_closed = on_connection_closed};
    options.http.body_max = 100;
    loop = loop_new();
    server = http_server_new(loop, &options, &handlers, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
    int fds[2];
    if (!server)
        set_up();
    if (len < 1 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds))
        return 0;
    size_t piece = p[0] & 0x7f ? p[0] & 0x7f : len;
    holding = p[0] & 0x80;
    closed = 0;
    check(http_server_accept(server, fds[0], &(struct address){0}) == ERR_OK);
    for (size_t at = 1; at < len; at += piece) {
        send(fds[1], p + at, len - at < piece ? len - at : piece, MSG_NOSIGNAL);
        turns(2);
    }
    if (held) {
        struct http_exchange *ex = held;
        held = NULL;
        holding = false;
        http_start(ex, 200, NULL, 0);
        http_finish(ex);
        turns(2);
    }
    close(fds[1]);
    turns(6);
    check(!held && closed == 1 && http_server_connections(server) == 0);
    return 0;
}
