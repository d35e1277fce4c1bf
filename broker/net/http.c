#include "net/http.h"

#include <openssl/ssl.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "net/address_count.h"
#include "net/http1.h"
#include "net/http2.h"
#include "net/http_headers.h"

struct http_server {
    struct loop *loop;
    struct http_server_options options;
    const struct http_handlers *handlers;
    void *arg;
    struct list connections;
    size_t connection_count;
    struct address_counts strangers;
    bool draining;
};

struct connection {
    struct list node;
    struct http_server *server;
    struct stream *stream;
    struct http1 *http1; /* one of the two, once the stream is open */
    struct http2 *http2;
    struct address_key from; /* what strangers counts it as; nothing, once it is trusted */
};

const struct http_limits http_limits_default = {
    .request_line_max = 8 * 1024,
    .head_max = 16 * 1024,
    .header_count_max = 64,
    .body_max = 64 * 1024,
    .head_ms = 10 * 1000,
    .body_ms = 30 * 1000,
    .idle_ms = 75 * 1000,
    .stall_ms = 20 * 1000,
    .rest_ms = 1000,
    .streams_max = 1000,
    .strangers_idle_ms = 15 * 1000,
    .strangers_streams_max = 100,
    .control_burst = 1000,
    .control_per_s = 100,
    .resets_per_s = 100,
};

static void forget(struct connection *c, enum close_reason reason)
{
    struct http_server *server = c->server;
    list_remove(&c->node);
    server->connection_count--;
    address_counts_give(&server->strangers, &c->from);
    free(c);
    if (server->options.on_connection_closed)
        server->options.on_connection_closed(reason, server->arg);
}

static void settle(struct http_server *server)
{
    if (server->options.on_connection_settled)
        server->options.on_connection_settled(server->arg);
}

static void on_trusted(void *owner)
{
    struct connection *c = owner;
    address_counts_give(&c->server->strangers, &c->from);
    c->from = (struct address_key){0};
}

static void on_http1_closed(struct http1 *http1, enum close_reason reason, void *owner)
{
    (void)http1;
    forget(owner, reason);
}

static void on_http2_closed(struct http2 *http2, enum close_reason reason, void *owner)
{
    (void)http2;
    forget(owner, reason);
}

static void drain(struct connection *c)
{
    if (c->http1)
        http1_drain(c->http1);
    if (c->http2)
        http2_drain(c->http2);
}

static void on_open(struct stream *s, void *arg)
{
    struct connection *c = arg;
    struct http_server *server = c->server;
    const struct http_server_options *options = &server->options;
    settle(server);
    if (bytes_equal(stream_alpn(s), bytes_of("h2")))
        c->http2 = http2_accept(server->loop, s, &options->stream, &options->http, server->handlers,
                                server->arg, on_http2_closed, on_trusted, c);
    else
        c->http1 = http1_accept(server->loop, s, &options->stream, &options->http, server->handlers,
                                server->arg, on_http1_closed, on_trusted, c);
    stream_park(s);
    if (!c->http1 && !c->http2)
        stream_abort(s, CLOSE_NOMEM);
    else if (server->draining)
        drain(c);
}

static void on_closed(struct stream *s, enum close_reason reason, void *arg)
{
    struct connection *c = arg;
    (void)s;
    settle(c->server);
    forget(c, reason);
}

/* Until on_open hands the stream over: on_read cannot come before. */
static const struct stream_handlers opening_handlers = {
    .on_open = on_open,
    .on_closed = on_closed,
};

struct http_server *http_server_new(struct loop *loop, const struct http_server_options *options,
                                    const struct http_handlers *handlers, void *arg)
{
    struct http_server *server = calloc(1, sizeof(*server));
    if (!server)
        return NULL;
    *server = (struct http_server){.loop = loop, .options = *options, .handlers = handlers, .arg = arg};
    list_init(&server->connections);
    if (options->tls)
        SSL_CTX_up_ref(options->tls);
    return server;
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    SSL_CTX_free(server->options.tls);
    address_counts_done(&server->strangers);
    free(server);
}

enum err http_server_accept(struct http_server *server, int fd, const struct address *peer)
{
    struct connection *c = calloc(1, sizeof(*c));
    const struct address_key from = address_key_of(peer);
    enum err e = c ? ERR_OK : ERR_NOMEM;
    if (c && !address_counts_take(&server->strangers, &from, server->options.http.strangers_max))
        e = ERR_LIMIT;
    if (e != ERR_OK) {
        close(fd);
        free(c);
        return e;
    }
    c->server = server;
    c->from = from;
    c->stream = stream_new(server->loop, fd, server->options.tls, STREAM_SERVER, &server->options.stream,
                           &opening_handlers, c);
    if (!c->stream) {
        address_counts_give(&server->strangers, &from);
        free(c);
        return ERR_NOMEM;
    }
    list_init(&c->node);
    list_append(&server->connections, &c->node);
    server->connection_count++;
    return ERR_OK;
}

void http_server_set_tls(struct http_server *server, SSL_CTX *tls)
{
    SSL_CTX_up_ref(tls);
    SSL_CTX_free(server->options.tls);
    server->options.tls = tls;
}

void http_server_set_limits(struct http_server *server, const struct stream_limits *stream,
                            const struct http_limits *http)
{
    server->options.stream = *stream;
    server->options.http = *http;
}

void http_server_drain(struct http_server *server)
{
    server->draining = true;
    LIST_EACH (at, &server->connections)
        drain(CONTAINER_OF(at, struct connection, node));
}

void http_server_drain_undo(struct http_server *server)
{
    server->draining = false;
}

void http_server_abort(struct http_server *server, enum close_reason reason)
{
    LIST_EACH (at, &server->connections)
        stream_abort(CONTAINER_OF(at, struct connection, node)->stream, reason);
}

size_t http_server_connections(const struct http_server *server)
{
    return server->connection_count;
}

bool http_name_is(struct bytes name, const char *wanted)
{
    struct bytes want = bytes_of(wanted);
    return name.len == want.len && strncasecmp((const char *)name.p, wanted, want.len) == 0;
}

const struct bytes *http_find_header(const struct http_exchange *ex, const char *name)
{
    for (size_t i = 0; i < ex->header_count; i++)
        if (http_name_is(ex->headers[i].name, name))
            return &ex->headers[i].value;
    return NULL;
}

void http_refuse(struct http_exchange *ex, enum bad_request why, const struct http_handlers *handlers,
                 void *arg)
{
    bad_request_count(why);
    if (handlers->on_bad_request)
        handlers->on_bad_request(ex, why, arg);
    else
        http_respond(ex, bad_request_status(why), NULL, 0, (struct bytes){0});
}

void http_respond(struct http_exchange *ex, unsigned status, const struct http_header *headers, size_t count,
                  struct bytes body)
{
    ex->ops->respond(ex, status, headers, count, body);
}

void http_start(struct http_exchange *ex, unsigned status, const struct http_header *headers, size_t count)
{
    ex->started = true;
    ex->ops->start(ex, status, headers, count);
}

enum err http_send(struct http_exchange *ex, struct bytes part)
{
    return part.len ? ex->ops->send(ex, part) : ERR_OK;
}

void http_finish(struct http_exchange *ex)
{
    ex->ops->finish(ex);
}

bool http_has_trailers(const struct http_exchange *ex)
{
    return ex->ops->finish_with_trailers != NULL;
}

void http_finish_with_trailers(struct http_exchange *ex, const struct http_header *trailers, size_t count)
{
    if (http_has_trailers(ex))
        ex->ops->finish_with_trailers(ex, trailers, count);
    else
        ex->ops->finish(ex);
}

void http_read_body(struct http_exchange *ex, size_t body_max)
{
    ex->ops->read_body(ex, body_max);
}

void http_trust(struct http_exchange *ex)
{
    ex->ops->trust(ex);
}

void http_forget_request(struct http_exchange *ex)
{
    ex->method = ex->path = ex->query = ex->body = (struct bytes){0};
    ex->headers = NULL;
    ex->header_count = 0;
    ex->ops->forget_request(ex);
}

void http_abort(struct http_exchange *ex, enum close_reason reason)
{
    ex->ops->abort(ex, reason);
}
