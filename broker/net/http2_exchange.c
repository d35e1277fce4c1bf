#include "net/http2_exchange.h"

#include <stdlib.h>

#define HEADER_OVERHEAD_BYTES 32                /* RFC 9113, 6.5.2 */
#define CONTENT_TYPE_MAX      64                /* of one that is looked at in a refused head */
#define REQUESTS_MAX_BYTES    (4 * 1024 * 1024) /* in all exchanges of a connection; beyond: REFUSED_STREAM */
#define STRANGERS_MAX_BYTES   (512 * 1024)      /* the same, while it is not trusted */

static void reap(void *arg)
{
    struct http2_exchange *x = arg;
    http_headers_done(&x->headers);
    buf_done(&x->body);
    buf_done(&x->out);
    free(x);
}

void http2_exchange_reset(struct http2_exchange *x, uint32_t code)
{
    struct http2 *c = x->connection;
    if (nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, x->id, code))
        stream_abort(c->stream, CLOSE_NOMEM);
    http2_wake(c);
}

void http2_exchange_count_request(struct http2_exchange *x)
{
    size_t now = http_headers_bytes(&x->headers) + x->body.cap;
    x->connection->request_bytes += now - x->request_bytes;
    x->request_bytes = now;
}

static bool has_too_much(const struct http2 *c)
{
    return c->request_bytes > (c->trusted ? REQUESTS_MAX_BYTES : STRANGERS_MAX_BYTES);
}

/* Its handler is told that nothing comes of what it has seen the head of. */
static void withdraw(struct http2_exchange *x)
{
    if (!x->announced)
        return;
    x->announced = false;
    x->connection->handlers->on_gone(&x->ex, x->connection->arg);
}

static void refuse(struct http2_exchange *x, enum bad_request why)
{
    timer_cancel(&x->deadline);
    withdraw(x);
    x->phase = HTTP2_HELD;
    http_refuse(&x->ex, why, x->connection->handlers, x->connection->arg);
}

static void dispatch(struct http2_exchange *x, bool too_large)
{
    struct http2 *c = x->connection;
    timer_cancel(&x->deadline);
    x->phase = HTTP2_HELD;
    x->announced = false;
    if (too_large) {
        bad_request_count(BAD_REQUEST_BODY_TOO_LARGE);
        buf_done(&x->body);
        http2_exchange_count_request(x);
    }
    x->ex.too_large = too_large;
    x->ex.body = buf_view(&x->body);
    c->handlers->on_request(&x->ex, c->arg);
}

static void on_deadline(void *arg)
{
    struct http2_exchange *x = arg;
    switch (x->phase) {
    case HTTP2_HEAD:
        http2_terminate(x->connection, NGHTTP2_ENHANCE_YOUR_CALM, CLOSE_REQUEST_TIMEOUT,
                        BAD_REQUEST_SLOW_HEADERS);
        break;
    case HTTP2_BODY:
        refuse(x, BAD_REQUEST_SLOW_BODY);
        break;
    case HTTP2_ANSWERED:
        if (x->sent) {
            http2_exchange_reset(x, NGHTTP2_NO_ERROR);
            break;
        }
        /* fall through */
    default:
        bad_request_count(BAD_REQUEST_UNREAD);
        http2_exchange_reset(x, NGHTTP2_ENHANCE_YOUR_CALM);
    }
}

static void on_proceed(void *arg);

struct http2_exchange *http2_exchange_new(struct http2 *c, int32_t id)
{
    struct http2_exchange *x = calloc(1, sizeof(*x));
    if (!x)
        return NULL;
    x->connection = c;
    x->id = id;
    x->ex.stream = c->stream;
    x->ex.ops = &http2_ops;
    x->ex.certificate = c->certificate;
    timer_init(&x->deadline, c->loop, on_deadline, x);
    timer_start(&x->deadline, c->limits->head_ms);
    x->body_max = c->limits->body_max;
    deferral_init(&x->reap, reap, x);
    deferral_init(&x->proceed, on_proceed, x);
    list_init(&x->node);
    list_append(&c->exchanges, &x->node);
    timer_cancel(&c->idle);
    return x;
}

/* It says in which form a refusal is to be answered. */
static bool is_first_content_type(struct http2_exchange *x, struct bytes name, struct bytes value)
{
    if (value.len > CONTENT_TYPE_MAX || !bytes_equal(name, bytes_of("content-type")))
        return false;
    const struct http_header *headers = http_headers_view(&x->headers);
    for (size_t i = 0; i < http_headers_count(&x->headers); i++)
        if (bytes_equal(headers[i].name, name))
            return false;
    return true;
}

enum err http2_exchange_add_header(struct http2_exchange *x, struct bytes name, struct bytes value)
{
    struct http2 *c = x->connection;
    x->head_size += (uint32_t)(name.len + value.len + HEADER_OVERHEAD_BYTES);
    if (x->refused)
        ; /* why it is, is known */
    else if (x->head_size > c->limits->head_max)
        x->refused = BAD_REQUEST_HEADERS_TOO_LARGE;
    else if (http_headers_count(&x->headers) >= c->limits->header_count_max)
        x->refused = BAD_REQUEST_HEADERS_TOO_MANY;
    else if (bytes_equal(name, bytes_of(":path")) && value.len > c->limits->request_line_max)
        x->refused = BAD_REQUEST_TARGET_TOO_LONG;
    if (x->refused && !is_first_content_type(x, name, value))
        return ERR_OK; /* it is only decoded, which it must be */
    enum err e = http_headers_add(&x->headers, name, value);
    http2_exchange_count_request(x);
    if (e == ERR_OK && has_too_much(c))
        e = ERR_LIMIT;
    return e;
}

/* nghttp2 has checked which pseudo-headers there are, that they come first, and Content-Length. */
static enum bad_request read_head(struct http2_exchange *x, uint64_t *length)
{
    enum bad_request no = BAD_REQUEST_NONE;
    struct http_header *headers = http_headers_view(&x->headers);
    size_t count = http_headers_count(&x->headers), pseudo_count = 0;
    struct bytes authority = {0}, host = {0};
    for (size_t i = 0; i < count && !no; i++) {
        struct bytes name = headers[i].name, value = headers[i].value;
        pseudo_count += name.p[0] == ':';
        if (bytes_equal(name, bytes_of(":method")))
            x->ex.method = value;
        else if (bytes_equal(name, bytes_of(":path")))
            no = http_scan_target(value, &x->ex.path, &x->ex.query);
        else if (bytes_equal(name, bytes_of(":authority")))
            authority = value;
        else if (bytes_equal(name, bytes_of("host")))
            host = value;
        else if (bytes_equal(name, bytes_of("content-length")) && !http_scan_length(value, length))
            no = BAD_REQUEST_CONTENT_LENGTH;
        else if (bytes_equal(name, bytes_of("expect")) && !http_name_is(value, "100-continue"))
            no = BAD_REQUEST_EXPECT;
        else if (bytes_equal(name, bytes_of("expect")))
            x->expects_continue = true;
    }
    x->is_head = bytes_equal(x->ex.method, bytes_of("HEAD"));
    if (!no && x->ex.path.len == 0)
        no = BAD_REQUEST_TARGET;
    if (!no && (!http_is_host(authority.p ? authority : host) ||
                (authority.p && host.p && !bytes_equal(authority, host))))
        no = BAD_REQUEST_HOST;
    /* Handlers look for Host: the authority takes the place of a pseudo-header. */
    if (authority.p && !host.p)
        headers[--pseudo_count] = (struct http_header){bytes_of("host"), authority};
    x->ex.headers = headers + pseudo_count;
    x->ex.header_count = count - pseudo_count;
    return no;
}

static void send_continue(struct http2_exchange *x)
{
    const nghttp2_nv nv = {
        .name = (uint8_t *)":status", .namelen = 7, .value = (uint8_t *)"100", .valuelen = 3};
    if (nghttp2_submit_headers(x->connection->session, NGHTTP2_FLAG_NONE, x->id, NULL, &nv, 1, NULL) < 0)
        stream_abort(x->connection->stream, CLOSE_NOMEM);
}

static void proceed(struct http2_exchange *x)
{
    if (x->too_large || x->length > x->body_max || buf_len(&x->body) > x->body_max) {
        dispatch(x, true);
    } else if (x->whole) {
        dispatch(x, false);
    } else {
        x->phase = HTTP2_BODY;
        timer_start(&x->deadline, x->connection->limits->body_ms);
        if (x->expects_continue)
            send_continue(x);
    }
}

static void on_proceed(void *arg)
{
    struct http2_exchange *x = arg;
    if (x->phase != HTTP2_ASKED)
        return;
    proceed(x);
    http2_wake(x->connection);
}

void http2_exchange_read_body(struct http2_exchange *x, size_t body_max)
{
    if (body_max < x->body_max)
        x->body_max = body_max;
    loop_defer(x->connection->loop, &x->proceed);
}

void http2_exchange_take_head(struct http2_exchange *x, bool end_of_stream)
{
    struct http2 *c = x->connection;
    enum bad_request no = read_head(x, &x->length);
    x->whole = end_of_stream;
    if (x->refused || no) {
        refuse(x, x->refused ? x->refused : no);
    } else if (!c->handlers->on_head) {
        proceed(x);
    } else {
        timer_cancel(&x->deadline);
        x->phase = HTTP2_ASKED;
        x->announced = true;
        c->handlers->on_head(&x->ex, c->arg);
    }
}

enum err http2_exchange_add_body(struct http2_exchange *x, struct bytes part)
{
    struct http2 *c = x->connection;
    if ((x->phase != HTTP2_BODY && x->phase != HTTP2_ASKED) || x->too_large)
        return ERR_OK;
    if (buf_len(&x->body) + part.len > x->body_max) {
        x->too_large = true;
        if (x->phase == HTTP2_BODY)
            dispatch(x, true);
        return ERR_OK;
    }
    TRY(buf_append(&x->body, part));
    http2_exchange_count_request(x);
    return has_too_much(c) ? ERR_LIMIT : ERR_OK;
}

void http2_exchange_take_end(struct http2_exchange *x)
{
    x->whole = true;
    if (x->phase == HTTP2_BODY)
        dispatch(x, false);
}

void http2_exchange_close(struct http2_exchange *x)
{
    struct http2 *c = x->connection;
    bool held = x->phase == HTTP2_HELD;
    x->phase = HTTP2_ANSWERED;
    timer_cancel(&x->deadline);
    deferral_cancel(&x->proceed);
    list_remove(&x->node);
    withdraw(x);
    if (held)
        c->handlers->on_gone(&x->ex, c->arg);
    c->request_bytes -= x->request_bytes;
    c->answer_bytes -= buf_len(&x->out);
    if (list_empty(&c->exchanges))
        timer_start(&c->idle, c->greeted ? http_idle_ms(c->limits, c->trusted) : c->limits->head_ms);
    loop_defer(c->loop, &x->reap);
}
