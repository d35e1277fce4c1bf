#include <stdio.h>
#include <string.h>

#include "net/http2_exchange.h"

#define ANSWERS_MAX_BYTES                                                                                    \
    (4 * 1024 * 1024) /* in all exchanges of a connection; beyond: http_send() says ERR_LIMIT */
#define ANSWER_MAX_BYTES (256 * 1024) /* of one stream */
#define ANSWER_LOW_BYTES (64 * 1024)  /* on_drain, having been above */
#define SENT_HEADERS_MAX 24

/* In this phase a deadline means that the peer takes nothing of what waits. */
static void watch_stall(struct http2_exchange *x, bool progress)
{
    if (x->sent || (buf_len(&x->out) == 0 && !x->finished))
        timer_cancel(&x->deadline);
    else if (progress || !timer_armed(&x->deadline))
        timer_start(&x->deadline, x->connection->limits->stall_ms);
}

static enum err queue(struct http2_exchange *x, struct bytes part)
{
    TRY(buf_append(&x->out, part));
    x->connection->answer_bytes += part.len;
    if (buf_len(&x->out) > ANSWER_LOW_BYTES)
        x->above_low = true;
    return ERR_OK;
}

static size_t dequeue(struct http2_exchange *x, uint8_t *at, size_t room)
{
    struct bytes out = buf_view(&x->out);
    size_t len = out.len < room ? out.len : room;
    if (len == 0)
        return 0;
    memcpy(at, out.p, len);
    buf_consume(&x->out, len);
    x->connection->answer_bytes -= len;
    if (x->above_low && buf_len(&x->out) <= ANSWER_LOW_BYTES) {
        x->above_low = false;
        if (x->phase == HTTP2_HELD && x->connection->handlers->on_drain)
            x->connection->handlers->on_drain(&x->ex, x->connection->arg);
    }
    return len;
}

static size_t name_values(struct http_headers *list, nghttp2_nv *nv)
{
    size_t count = http_headers_count(list);
    const struct http_header *headers = http_headers_view(list);
    for (size_t i = 0; i < count; i++)
        nv[i] = (nghttp2_nv){.name = (uint8_t *)headers[i].name.p,
                             .namelen = headers[i].name.len,
                             .value = (uint8_t *)headers[i].value.p,
                             .valuelen = headers[i].value.len};
    return count;
}

static int submit_trailers(struct http2_exchange *x)
{
    nghttp2_nv nv[SENT_HEADERS_MAX];
    size_t count = name_values(&x->headers, nv);
    return nghttp2_submit_trailer(x->connection->session, x->id, nv, count);
}

/* nghttp2 asks for as much of the body as the peer's windows let through. */
static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *at, size_t room, uint32_t *flags,
                           nghttp2_data_source *source, void *arg)
{
    struct http2_exchange *x = source->ptr;
    (void)session, (void)id, (void)arg;
    size_t len = dequeue(x, at, room);
    watch_stall(x, len > 0);
    if (buf_len(&x->out) == 0 && x->finished) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (http_headers_count(&x->headers) > 0) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            if (submit_trailers(x))
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
    } else if (len == 0) {
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)len;
}

static enum err add_sendable(struct http_headers *list, struct bytes name, struct bytes value)
{
    const struct http_header header = {name, value};
    if (!http_header_sendable(&header) || http_headers_count(list) == SENT_HEADERS_MAX)
        return ERR_INVALID;
    return http_headers_add(list, name, value);
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* In HTTP/2 names are in lower case (RFC 9113, 8.2). */
static enum err add_all(struct http_headers *list, const struct http_header *headers, size_t count)
{
    enum err e = ERR_OK;
    for (size_t i = 0; i < count && e == ERR_OK; i++)
        e = add_sendable(list, headers[i].name, headers[i].value);
    struct http_header *added = http_headers_view(list);
    for (size_t i = 0; i < http_headers_count(list); i++)
        for (size_t j = 0; j < added[i].name.len; j++)
            ((uint8_t *)added[i].name.p)[j] = lower(added[i].name.p[j]);
    return e;
}

/* @p length is the body's where it is known, else 0. */
static enum err submit_head(struct http2_exchange *x, unsigned status, const struct http_header *headers,
                            size_t count, size_t length, bool has_body)
{
    char digits[4], date[HTTP_DATE_SIZE], length_text[24];
    struct http_headers list = {0};
    nghttp2_nv nv[SENT_HEADERS_MAX + 1];
    nghttp2_data_provider body = {.source = {.ptr = x}, .read_callback = read_answer};
    snprintf(digits, sizeof digits, "%03u", status % 1000);
    snprintf(length_text, sizeof length_text, "%zu", length);
    http_format_date(date);
    nv[0] =
        (nghttp2_nv){.name = (uint8_t *)":status", .namelen = 7, .value = (uint8_t *)digits, .valuelen = 3};
    enum err e = add_all(&list, headers, count);
    if (e == ERR_OK)
        e = add_sendable(&list, bytes_of("date"), bytes_of(date));
    if (e == ERR_OK && length > 0)
        e = add_sendable(&list, bytes_of("content-length"), bytes_of(length_text));
    if (e == ERR_OK && nghttp2_submit_response(x->connection->session, x->id, nv,
                                               1 + name_values(&list, nv + 1), has_body ? &body : NULL))
        e = ERR_NOMEM;
    http_headers_done(&list);
    return e;
}

/* The handlers are done with it. What cannot be sent cuts it, so that the peer sees that it is not whole. */
static void end(struct http2_exchange *x, enum err e)
{
    x->phase = HTTP2_ANSWERED;
    x->announced = false;
    x->finished = true;
    if (e != ERR_OK)
        http2_exchange_reset(x, NGHTTP2_INTERNAL_ERROR);
    watch_stall(x, true);
    http2_wake(x->connection);
}

static struct http2_exchange *exchange_of(struct http_exchange *ex)
{
    return CONTAINER_OF(ex, struct http2_exchange, ex);
}

static void read_body(struct http_exchange *ex, size_t body_max)
{
    http2_exchange_read_body(exchange_of(ex), body_max);
}

static void trust(struct http_exchange *ex)
{
    struct http2 *c = exchange_of(ex)->connection;
    if (c->trusted)
        return;
    c->trusted = true;
    c->on_trusted(c->owner);
    if (http2_submit_settings(c))
        stream_abort(c->stream, CLOSE_NOMEM);
    http2_wake(c);
}

static void forget_request(struct http_exchange *ex)
{
    struct http2_exchange *x = exchange_of(ex);
    http_headers_done(&x->headers);
    buf_done(&x->body);
    http2_exchange_count_request(x);
}

static void respond(struct http_exchange *ex, unsigned status, const struct http_header *headers,
                    size_t count, struct bytes body)
{
    struct http2_exchange *x = exchange_of(ex);
    bool has_body = body.len > 0 && !x->is_head && !http_never_has_body(status);
    size_t length = http_never_has_body(status) ? 0 : body.len;
    enum err e = has_body ? queue(x, body) : ERR_OK;
    if (e == ERR_OK)
        e = submit_head(x, status, headers, count, length, has_body);
    http_forget_request(ex); /* only now: body and headers may be views of it */
    end(x, e);
}

/* A failure must show as on_gone, so the phase stays. */
static void start(struct http_exchange *ex, unsigned status, const struct http_header *headers, size_t count)
{
    struct http2_exchange *x = exchange_of(ex);
    if (submit_head(x, status, headers, count, 0, true) != ERR_OK)
        http2_exchange_reset(x, NGHTTP2_INTERNAL_ERROR);
    http2_wake(x->connection);
}

static void resume(struct http2_exchange *x)
{
    int e = nghttp2_session_resume_data(x->connection->session, x->id);
    if (nghttp2_is_fatal(e))
        stream_abort(x->connection->stream, CLOSE_NOMEM);
    http2_wake(x->connection);
}

static enum err send_part(struct http_exchange *ex, struct bytes part)
{
    struct http2_exchange *x = exchange_of(ex);
    if (x->is_head)
        return ERR_OK;
    if (x->connection->terminated)
        return ERR_CLOSED;
    if (buf_len(&x->out) + part.len > ANSWER_MAX_BYTES ||
        x->connection->answer_bytes + part.len > ANSWERS_MAX_BYTES)
        return ERR_LIMIT;
    enum err e = queue(x, part);
    if (e != ERR_OK)
        http2_exchange_reset(x, NGHTTP2_INTERNAL_ERROR);
    watch_stall(x, false);
    resume(x);
    return e;
}

static void finish_with_trailers(struct http_exchange *ex, const struct http_header *trailers, size_t count)
{
    struct http2_exchange *x = exchange_of(ex);
    struct http_headers list = {0};
    enum err e = add_all(&list, trailers, count);
    http_forget_request(ex);
    x->headers = list;
    end(x, e);
    resume(x);
}

static void finish(struct http_exchange *ex)
{
    finish_with_trailers(ex, NULL, 0);
}

static void abort_exchange(struct http_exchange *ex, enum close_reason reason)
{
    struct http2_exchange *x = exchange_of(ex);
    x->phase = HTTP2_ANSWERED;
    x->announced = false;
    timer_cancel(&x->deadline);
    http2_exchange_reset(x, reason == CLOSE_QUEUE_FULL ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_INTERNAL_ERROR);
}

const struct http_version_ops http2_ops = {
    .respond = respond,
    .start = start,
    .send = send_part,
    .finish = finish,
    .finish_with_trailers = finish_with_trailers,
    .read_body = read_body,
    .trust = trust,
    .forget_request = forget_request,
    .abort = abort_exchange,
};

/*
 * The rest of a request that was answered early is of no use (RFC 9113, 8.1), and is thrown away. It may end by itself:
 * there are clients that take a stream which is cut below a body that they still send for one without an answer.
 */
void http2_answer_sent(struct http2_exchange *x)
{
    x->sent = true;
    timer_cancel(&x->deadline);
    if (!x->whole)
        timer_start(&x->deadline, x->connection->limits->rest_ms);
}
