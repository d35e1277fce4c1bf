#include "net/http1.h"

#include <http_parser.h>
#include <stdlib.h>
#include <string.h>

#include "net/http1_write.h"
#include "net/http_headers.h"
#include "net/http_scan.h"

/*
 *     HEAD --whole head--> ASKED --http_read_body()--> BODY --whole body--> HELD --answered--> HEAD
 *       \___________________\____ refused ________\__ "close" ___> DONE (the stream closes)
 */
enum phase {
    HEAD,  /* waiting for a request, or for the rest of its head */
    ASKED, /* on_head was called */
    BODY,
    HELD, /* on_request was called */
    DONE,
};

/* One request: the exchange, the views into its head, and the head, in one allocation. */
struct request {
    struct http_exchange ex;
    struct http1 *connection;
    struct deferral reap; /* frees it after the turn in which it ended */
    http_parser parser;
    struct http_head head;
    struct http_chunk_scan chunks;
    struct buf body;
    struct deferral proceed; /* after http_read_body() */
    size_t body_max;
    bool announced;               /* on_head was called, and on_request not yet */
    bool complete, keep_alive;    /* never set for one that is too large or refused, so that it closes */
    bool ahead;                   /* so much was sent behind it that reading stopped */
    struct http_header headers[]; /* then the bytes of the head */
};

struct http1 {
    struct loop *loop;
    struct stream *stream;
    size_t input_max; /* the stream's */
    const struct http_limits *limits;
    const struct http_handlers *handlers;
    void *arg;
    http1_closed_fn on_closed;
    loop_fn on_trusted;
    void *owner;
    struct timer deadline; /* of the phase */
    enum phase phase;
    bool head_begun; /* the deadline is the head's, not that of an idle connection */
    bool draining;
    bool trusted;
    struct client_certificate *certificate; /* the peer's, or NULL */
    enum close_reason reason;               /* why it ends when it does not go on after an answer */
    struct http_head_search search;
    struct request *request; /* at hand, or NULL */
};

static void reap(void *arg)
{
    struct request *r = arg;
    buf_done(&r->body);
    free(r);
}

static void drop_request(struct http1 *c)
{
    if (c->request) {
        deferral_cancel(&c->request->proceed);
        loop_defer(c->loop, &c->request->reap);
    }
    c->request = NULL;
}

static void finish(struct http1 *c, enum close_reason reason)
{
    c->phase = DONE;
    if (c->request)
        c->request->announced = false;
    timer_cancel(&c->deadline);
    drop_request(c);
    stream_close(c->stream, reason);
}

static void cut(struct http1 *c, enum close_reason reason)
{
    c->phase = DONE;
    if (c->request)
        c->request->announced = false;
    timer_cancel(&c->deadline);
    drop_request(c);
    stream_abort(c->stream, reason);
}

/* Its handler is told that nothing comes of what it has seen the head of. */
static void withdraw(struct http1 *c)
{
    if (!c->request || !c->request->announced)
        return;
    c->request->announced = false;
    c->handlers->on_gone(&c->request->ex, c->arg);
}

/* What cannot be queued ends the connection. True if it could. */
static bool write_or_abort(struct http1 *c, enum err written, struct buf *out)
{
    if (written == ERR_OK)
        written = stream_write(c->stream, buf_view(out));
    buf_done(out);
    if (written == ERR_LIMIT)
        stream_abort(c->stream, CLOSE_QUEUE_FULL);
    else if (written != ERR_OK)
        stream_abort(c->stream, written == ERR_NOMEM ? CLOSE_NOMEM : CLOSE_INTERNAL);
    return written == ERR_OK;
}

static const struct http_version_ops http1_ops;

static void on_proceed(void *arg);

static struct request *request_new(struct http1 *c, struct bytes block, size_t header_count)
{
    size_t views = header_count * sizeof(struct http_header);
    struct request *r = calloc(1, sizeof(*r) + views + block.len);
    if (!r)
        return NULL;
    r->connection = c;
    r->ex.stream = c->stream;
    r->ex.ops = &http1_ops;
    r->ex.certificate = c->certificate;
    r->body_max = c->limits->body_max;
    deferral_init(&r->reap, reap, r);
    deferral_init(&r->proceed, on_proceed, r);
    http_parser_init(&r->parser, HTTP_REQUEST);
    r->parser.data = r;
    memcpy((uint8_t *)r->headers + views, block.p, block.len);
    return r;
}

/* Its answer is the last one. */
static void refuse(struct http1 *c, enum bad_request why)
{
    if (!c->request)
        c->request = request_new(c, bytes_of(""), 0);
    if (!c->request) {
        cut(c, CLOSE_NOMEM);
        return;
    }
    timer_cancel(&c->deadline);
    withdraw(c);
    c->phase = HELD;
    c->request->keep_alive = false;
    c->reason = bad_request_status(why) == 408 ? CLOSE_REQUEST_TIMEOUT : CLOSE_PROTOCOL;
    http_refuse(&c->request->ex, why, c->handlers, c->arg);
}

static int on_body(http_parser *parser, const char *at, size_t len)
{
    struct request *r = parser->data;
    return buf_append(&r->body, bytes_make(at, len)) == ERR_OK ? 0 : -1;
}

static int on_message_complete(http_parser *parser)
{
    struct request *r = parser->data;
    r->complete = true;
    r->keep_alive = http_should_keep_alive(parser);
    return 0;
}

static const http_parser_settings parser_settings = {
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* What the scan has let pass must please the parser too. False: the connection is being closed. */
static bool parse(struct http1 *c, struct bytes in)
{
    http_parser *parser = &c->request->parser;
    size_t n = http_parser_execute(parser, &parser_settings, (const char *)in.p, in.len);
    enum http_errno error = HTTP_PARSER_ERRNO(parser);
    if (error == HPE_OK && n == in.len)
        return true;
    if (error == HPE_CB_body) {
        withdraw(c);
        cut(c, CLOSE_NOMEM);
    } else {
        refuse(c, error == HPE_INVALID_METHOD ? BAD_REQUEST_HTTP_METHOD : BAD_REQUEST_PARSER);
    }
    return false;
}

static void dispatch(struct http1 *c, bool too_large)
{
    struct request *r = c->request;
    timer_cancel(&c->deadline);
    c->phase = HELD;
    r->announced = false;
    if (too_large) {
        bad_request_count(BAD_REQUEST_BODY_TOO_LARGE);
        buf_done(&r->body);
    }
    r->ex.too_large = too_large;
    r->ex.body = buf_view(&r->body);
    c->handlers->on_request(&r->ex, c->arg);
}

/* How many of the bytes that wait belong to this body, and are good. */
static enum bad_request scan_body(struct http1 *c, struct bytes in, size_t *len)
{
    struct request *r = c->request;
    if (r->head.chunked)
        return http_scan_chunks(in, r->body_max, &r->chunks, len);
    uint64_t left = r->head.length - buf_len(&r->body);
    *len = in.len < left ? in.len : (size_t)left;
    return BAD_REQUEST_NONE;
}

static void take_body(struct http1 *c)
{
    struct bytes in = stream_input(c->stream);
    size_t len = 0;
    enum bad_request no = scan_body(c, in, &len);
    if (no) {
        refuse(c, no);
        return;
    }
    if (c->request->chunks.total > c->request->body_max) {
        dispatch(c, true);
        return;
    }
    if (!parse(c, bytes_make(in.p, len)))
        return;
    stream_consume(c->stream, len);
    if (c->request->complete)
        dispatch(c, false);
}

static void await_body(struct http1 *c)
{
    c->phase = BODY;
    timer_start(&c->deadline, c->limits->body_ms);
    if (stream_input(c->stream).len > 0) {
        take_body(c);
    } else if (c->request->head.expects_continue) {
        struct buf out = {0};
        enum err e = buf_append(&out, bytes_of("HTTP/1.1 100 Continue\r\n\r\n"));
        write_or_abort(c, e, &out);
    }
}

static void proceed(struct http1 *c)
{
    struct request *r = c->request;
    if (r->head.length > r->body_max)
        dispatch(c, true);
    else if (r->complete)
        dispatch(c, false);
    else
        await_body(c);
}

static void on_proceed(void *arg)
{
    struct request *r = arg;
    if (r->connection->phase == ASKED)
        proceed(r->connection);
}

static void take_head(struct http1 *c, struct bytes in)
{
    size_t header_count = c->search.lines - 1;
    struct request *r = c->request = request_new(c, in, header_count);
    if (!r) {
        cut(c, CLOSE_NOMEM);
        return;
    }
    stream_consume(c->stream, in.len);
    struct bytes block = bytes_make(r->headers + header_count, in.len);
    enum bad_request no = http_scan_head(block, r->headers, &r->head);
    if (no) {
        refuse(c, no);
        return;
    }
    r->ex.method = r->head.method;
    r->ex.path = r->head.path;
    r->ex.query = r->head.query;
    r->ex.headers = r->headers;
    r->ex.header_count = r->head.header_count;
    if (!parse(c, block))
        return;
    if (!c->handlers->on_head) {
        proceed(c);
        return;
    }
    timer_cancel(&c->deadline);
    c->phase = ASKED;
    r->announced = true;
    c->handlers->on_head(&r->ex, c->arg);
}

static void find_head(struct http1 *c)
{
    struct bytes in = stream_input(c->stream);
    size_t len = 0;
    if (!c->head_begun) {
        c->head_begun = true;
        timer_start(&c->deadline, c->limits->head_ms);
    }
    enum bad_request no = http_scan_find_head(in, c->limits, &c->search, &len);
    if (no)
        refuse(c, no);
    else if (len)
        take_head(c, bytes_make(in.p, len));
}

/* Behind a held request: the stream stops reading at its limit. */
static void watch_ahead(struct http1 *c)
{
    if (c->request->ahead || stream_input(c->stream).len < c->input_max)
        return;
    c->request->ahead = true;
    bad_request_count(BAD_REQUEST_PIPELINING);
}

/* Only one request is taken up: what else waits is read when on_read comes again, after the answer. */
static void on_read(struct stream *s, void *arg)
{
    (void)s;
    struct http1 *c = arg;
    if (c->phase == HEAD)
        find_head(c);
    else if (c->phase == BODY)
        take_body(c);
    if (c->phase == HELD)
        watch_ahead(c);
}

static void on_deadline(void *arg)
{
    struct http1 *c = arg;
    if (c->phase == HEAD && stream_input(c->stream).len == 0)
        finish(c, CLOSE_IDLE);
    else
        refuse(c, c->phase == HEAD ? BAD_REQUEST_SLOW_HEADERS : BAD_REQUEST_SLOW_BODY);
}

static void on_drain(struct stream *s, void *arg)
{
    (void)s;
    struct http1 *c = arg;
    if (c->phase == HELD && c->request->ex.started && c->handlers->on_drain)
        c->handlers->on_drain(&c->request->ex, c->arg);
}

static void on_closed(struct stream *s, enum close_reason reason, void *arg)
{
    (void)s;
    struct http1 *c = arg;
    timer_cancel(&c->deadline);
    withdraw(c);
    if (c->phase == HELD)
        c->handlers->on_gone(&c->request->ex, c->arg);
    drop_request(c);
    c->on_closed(c, reason, c->owner);
    free(c->certificate);
    free(c);
}

/* The stream is open already, so on_open does not come. */
static const struct stream_handlers http1_stream_handlers = {
    .on_read = on_read,
    .on_drain = on_drain,
    .on_closed = on_closed,
};

static struct request *request_of(struct http_exchange *ex)
{
    return CONTAINER_OF(ex, struct request, ex);
}

/* RFC 9110, 9.3.2; asked of the head's own view, since the exchange may have forgotten its request. */
static bool wants_no_body(const struct request *r)
{
    return bytes_equal(r->head.method, bytes_of("HEAD"));
}

static bool must_close(const struct request *r)
{
    return !r->keep_alive || r->connection->draining;
}

static void end_exchange(struct http1 *c, bool close)
{
    if (close) {
        finish(c, c->draining ? CLOSE_DRAINED : c->reason);
        return;
    }
    c->request->announced = false;
    drop_request(c);
    c->phase = HEAD;
    c->head_begun = false;
    c->search = (struct http_head_search){0};
    timer_start(&c->deadline, http_idle_ms(c->limits, c->trusted));
    stream_resume_read(c->stream); /* on_read comes for what was sent ahead */
}

static bool send_answer(struct request *r, struct http1_answer *answer)
{
    struct buf out = {0};
    answer->without_body = wants_no_body(r);
    answer->close = must_close(r);
    return write_or_abort(r->connection, http1_write_answer(answer, &out), &out);
}

static void respond(struct http_exchange *ex, unsigned status, const struct http_header *headers,
                    size_t count, struct bytes body)
{
    struct request *r = request_of(ex);
    struct http1_answer answer = {.status = status, .headers = headers, .header_count = count, .body = body};
    bool close = must_close(r);
    end_exchange(r->connection, !send_answer(r, &answer) || close);
}

static void start(struct http_exchange *ex, unsigned status, const struct http_header *headers, size_t count)
{
    struct http1_answer answer = {
        .status = status, .headers = headers, .header_count = count, .framing = HTTP1_CHUNKED};
    send_answer(request_of(ex), &answer);
}

static enum err send_part(struct http_exchange *ex, struct bytes part)
{
    struct request *r = request_of(ex);
    struct buf out = {0};
    if (wants_no_body(r))
        return ERR_OK;
    enum err e = http1_write_chunk(part, &out);
    if (e != ERR_OK)
        stream_abort(r->connection->stream, CLOSE_NOMEM);
    else
        e = stream_write(r->connection->stream, buf_view(&out));
    buf_done(&out);
    return e;
}

static void finish_stream(struct http_exchange *ex)
{
    struct request *r = request_of(ex);
    struct buf out = {0};
    bool sent = true;
    if (!wants_no_body(r))
        sent = write_or_abort(r->connection, http1_write_chunk((struct bytes){0}, &out), &out);
    end_exchange(r->connection, !sent || must_close(r));
}

static void read_body(struct http_exchange *ex, size_t body_max)
{
    struct request *r = request_of(ex);
    if (body_max < r->body_max)
        r->body_max = body_max;
    loop_defer(r->connection->loop, &r->proceed);
}

static void trust(struct http_exchange *ex)
{
    struct http1 *c = request_of(ex)->connection;
    if (c->trusted)
        return;
    c->trusted = true;
    c->on_trusted(c->owner);
}

static void forget_request(struct http_exchange *ex)
{
    buf_done(&request_of(ex)->body);
}

static void abort_exchange(struct http_exchange *ex, enum close_reason reason)
{
    cut(request_of(ex)->connection, reason);
}

static const struct http_version_ops http1_ops = {
    .respond = respond,
    .start = start,
    .send = send_part,
    .finish = finish_stream,
    .read_body = read_body,
    .trust = trust,
    .forget_request = forget_request,
    .abort = abort_exchange,
};

struct http1 *http1_accept(struct loop *loop, struct stream *s, const struct stream_limits *reading,
                           const struct http_limits *limits, const struct http_handlers *handlers, void *arg,
                           http1_closed_fn closed, loop_fn on_trusted, void *owner)
{
    struct http1 *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    *c = (struct http1){.loop = loop,
                        .stream = s,
                        .input_max = reading->input_max,
                        .reason = CLOSE_LOCAL,
                        .limits = limits,
                        .handlers = handlers,
                        .arg = arg,
                        .on_closed = closed,
                        .on_trusted = on_trusted,
                        .owner = owner,
                        .trusted = !handlers->on_head,
                        .head_begun = true};
    c->certificate = http_take_certificate(s);
    timer_init(&c->deadline, loop, on_deadline, c);
    timer_start(&c->deadline, limits->head_ms);
    stream_set_handlers(s, &http1_stream_handlers, c);
    return c;
}

void http1_drain(struct http1 *c)
{
    c->draining = true;
    if (c->phase == HEAD && stream_input(c->stream).len == 0)
        finish(c, CLOSE_DRAINED);
}
