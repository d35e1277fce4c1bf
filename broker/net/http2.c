#include "net/http2.h"

#include <stdlib.h>

#include "base/clock.h"
#include "net/http2_exchange.h"

#define RECORD_BYTES 16384 /* what one TLS record holds */

/*
 * Frames that do nothing by themselves: a client that measures its bandwidth sends a PING for each answer, one with a
 * small window a WINDOW_UPDATE for each part of it. So an answer gives some of them back.
 */
#define CONTROL_PER_FRAME 8
#define ACKS_MAX          100 /* PING and SETTINGS that a peer who does not read has unanswered */

/* nghttp2 counts one again for each part in which its 9 bytes of frame header come: so it is at least 4, of 16 KiB. */
#define CONTINUATIONS_MAX (4 * 9)

/* Everybody on one connection may go away at once, twice. */
#define RESETS_BURST(streams) (2 * (streams))

void http2_wake(struct http2 *c)
{
    loop_defer(c->loop, &c->turn);
}

void http2_terminate(struct http2 *c, uint32_t code, enum close_reason reason, enum bad_request why)
{
    if (c->terminated)
        return;
    bad_request_count(why);
    c->terminated = true;
    c->reason = reason;
    if (nghttp2_session_terminate_session(c->session, code))
        stream_abort(c->stream, CLOSE_NOMEM);
    http2_wake(c);
}

static void calm(struct http2 *c, enum bad_request why)
{
    http2_terminate(c, NGHTTP2_ENHANCE_YOUR_CALM, CLOSE_PROTOCOL, why);
}

/* ---- what nghttp2 says ---- */

static struct http2_exchange *exchange_of(struct http2 *c, int32_t id)
{
    return nghttp2_session_get_stream_user_data(c->session, id);
}

/* DATA counts with its content, HEADERS as a request, RST_STREAM as a reset; what else comes is charged. */
static bool does_nothing(struct http2 *c, const nghttp2_frame_hd *hd)
{
    switch (hd->type) {
    case NGHTTP2_HEADERS:
        return false;
    case NGHTTP2_DATA:
        return hd->length == 0;
    case NGHTTP2_RST_STREAM:
        return exchange_of(c, hd->stream_id) == NULL;
    default:
        return true;
    }
}

static enum bad_request flood_of(uint8_t type)
{
    switch (type) {
    case NGHTTP2_PING:
        return BAD_REQUEST_PING_FLOOD;
    case NGHTTP2_SETTINGS:
        return BAD_REQUEST_SETTINGS_FLOOD;
    case NGHTTP2_DATA:
        return BAD_REQUEST_DATA_FLOOD;
    case NGHTTP2_WINDOW_UPDATE:
        return BAD_REQUEST_WINDOW_FLOOD;
    default:
        return BAD_REQUEST_FRAME_FLOOD;
    }
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
    struct http2 *c = arg;
    (void)session;
    c->frame_type = hd->type;
    if (does_nothing(c, hd) && !http2_budget_take(&c->control, clock_mono_ms()))
        calm(c, flood_of(hd->type));
    return c->terminated ? NGHTTP2_ERR_CALLBACK_FAILURE : 0; /* what else came is not looked at */
}

static bool begins_request(const nghttp2_frame *frame)
{
    return frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http2 *c = arg;
    if (!begins_request(frame))
        return 0;
    struct http2_exchange *x = http2_exchange_new(c, frame->hd.stream_id);
    if (!x)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, x)) {
        http2_exchange_close(x);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
}

/* A stream that cannot be held is not processed at all: the peer may send it again (RFC 9113, 8.7). */
static void refuse_stream(struct http2 *c, int32_t id)
{
    bad_request_count(BAD_REQUEST_REQUESTS_TOO_LARGE);
    if (nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM))
        stream_abort(c->stream, CLOSE_NOMEM);
    struct http2_exchange *x = exchange_of(c, id);
    nghttp2_session_set_stream_user_data(c->session, id, NULL);
    http2_exchange_close(x);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
    struct http2 *c = arg;
    struct http2_exchange *x = exchange_of(c, frame->hd.stream_id);
    (void)session, (void)flags;
    if (x && begins_request(frame) &&
        http2_exchange_add_header(x, bytes_make(name, name_len), bytes_make(value, value_len)) != ERR_OK)
        refuse_stream(c, frame->hd.stream_id);
    return 0;
}

/* nghttp2 would leave a malformed header out, and go on. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                             size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                             void *arg)
{
    (void)session, (void)frame, (void)name, (void)name_len, (void)value, (void)value_len, (void)flags,
        (void)arg;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t len,
                         void *arg)
{
    struct http2 *c = arg;
    struct http2_exchange *x = exchange_of(c, id);
    (void)session, (void)flags;
    if (x && http2_exchange_add_body(x, bytes_make(p, len)) != ERR_OK)
        refuse_stream(c, id);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http2 *c = arg;
    (void)session;
    bool end_of_stream = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct http2_exchange *x = frame->hd.stream_id ? exchange_of(c, frame->hd.stream_id) : NULL;
    if (frame->hd.type == NGHTTP2_SETTINGS && !c->greeted) {
        c->greeted = true;
        if (list_empty(&c->exchanges))
            timer_start(&c->idle, http_idle_ms(c->limits, c->trusted));
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
        c->reason = CLOSE_PEER_CLOSED;
    } else if (x && begins_request(frame)) {
        http2_exchange_take_head(x, end_of_stream);
    } else if (x && end_of_stream && (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)) {
        http2_exchange_take_end(x);
    }
    return 0;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http2 *c = arg;
    (void)session;
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR && !c->terminated)
        bad_request_count(BAD_REQUEST_CONNECTION_ERROR); /* nghttp2 says it by itself */
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    struct http2_exchange *x = exchange_of(c, frame->hd.stream_id);
    http2_budget_give(&c->control, CONTROL_PER_FRAME);
    if (x && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        http2_answer_sent(x);
    return 0;
}

static void charge_reset(struct http2 *c)
{
    if (!http2_budget_take(&c->resets, clock_mono_ms()))
        calm(c, BAD_REQUEST_RAPID_RESET);
}

/* A stream beyond the limit never begins, so it does not close. */
static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int code, void *arg)
{
    struct http2 *c = arg;
    (void)session;
    if (code == NGHTTP2_ERR_REFUSED_STREAM)
        bad_request_count(BAD_REQUEST_STREAMS_TOO_MANY);
    if (!exchange_of(c, frame->hd.stream_id))
        charge_reset(c);
    return 0;
}

/* Charged is not only the peer's RST_STREAM, but also what it makes this side reset. */
static int on_stream_closed(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct http2 *c = arg;
    (void)session;
    struct http2_exchange *x = exchange_of(c, id);
    if (x && x->phase <= HTTP2_BODY && code == NGHTTP2_PROTOCOL_ERROR)
        bad_request_count(BAD_REQUEST_MALFORMED);
    if (!x || !x->sent)
        charge_reset(c);
    if (x)
        http2_exchange_close(x);
    return 0;
}

static int session_new(struct http2 *c)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int e = nghttp2_session_callbacks_new(&callbacks);
    if (!e)
        e = nghttp2_option_new(&option);
    if (!e) {
        nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_closed);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_max_outbound_ack(option, ACKS_MAX);
        nghttp2_option_set_max_continuations(option, CONTINUATIONS_MAX);
        /* Its own limit would count clients that reset what was answered; on_stream_closed() tells them apart. */
        nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);
        e = nghttp2_session_server_new2(&c->session, callbacks, c, option);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return e;
}

int http2_submit_settings(struct http2 *c)
{
    unsigned streams = c->limits->streams_max;
    if (!c->trusted && c->limits->strangers_streams_max < streams)
        streams = c->limits->strangers_streams_max;
    c->resets.burst = RESETS_BURST(streams);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)c->limits->head_max},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    return nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
                                   sizeof settings / sizeof *settings);
}

/* ---- what the stream says ---- */

/* True while there may be more to send in this turn. */
static bool send_record(struct http2 *c)
{
    struct buf out = {0};
    const uint8_t *p = NULL;
    ssize_t n = 0;
    enum err e = ERR_OK;
    while (e == ERR_OK && buf_len(&out) < RECORD_BYTES && (n = nghttp2_session_mem_send(c->session, &p)) > 0)
        e = buf_append(&out, bytes_make(p, (size_t)n));
    bool more = n > 0;
    if (n < 0)
        e = ERR_NOMEM;
    if (e == ERR_OK)
        e = stream_write(c->stream, buf_view(&out));
    buf_done(&out);
    if (e != ERR_OK && e != ERR_CLOSED)
        stream_abort(c->stream, e == ERR_LIMIT ? CLOSE_QUEUE_FULL : CLOSE_NOMEM);
    return more && e == ERR_OK;
}

/* nghttp2 knows when GOAWAY was said and nothing is left to do. */
static void settle(struct http2 *c)
{
    if (!nghttp2_session_want_write(c->session) && !nghttp2_session_want_read(c->session))
        stream_close(c->stream, c->reason);
}

/*
 * Beyond write_low the rest stays in the exchanges, where it counts against their limits; and from a peer that does not
 * read nothing is read, or what nghttp2 has to answer would pile up.
 */
static void on_turn(void *arg)
{
    struct http2 *c = arg;
    while (stream_queued(c->stream) <= c->writing->write_low && send_record(c))
        ;
    if (stream_queued(c->stream) > c->writing->write_low)
        stream_pause_read(c->stream);
    else
        settle(c);
}

static void on_drain(struct stream *s, void *arg)
{
    stream_resume_read(s);
    http2_wake(arg);
}

static void on_read(struct stream *s, void *arg)
{
    struct http2 *c = arg;
    struct bytes in = stream_input(s);
    ssize_t n = nghttp2_session_mem_recv(c->session, in.p, in.len);
    if (n == NGHTTP2_ERR_NOMEM)
        stream_abort(s, CLOSE_NOMEM);
    else if (n == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS)
        calm(c, BAD_REQUEST_CONTINUATION_FLOOD);
    else if (n == NGHTTP2_ERR_FLOODED)
        calm(c, flood_of(c->frame_type)); /* more of them than answers may wait */
    else if (n < 0)
        http2_terminate(c, NGHTTP2_PROTOCOL_ERROR, CLOSE_PROTOCOL, BAD_REQUEST_CONNECTION_ERROR);
    stream_consume(s, in.len);
    http2_wake(c);
}

static void on_idle(void *arg)
{
    http2_terminate(arg, NGHTTP2_NO_ERROR, CLOSE_IDLE, BAD_REQUEST_NONE);
}

static void on_closed(struct stream *s, enum close_reason reason, void *arg)
{
    (void)s;
    struct http2 *c = arg;
    while (!list_empty(&c->exchanges))
        http2_exchange_close(CONTAINER_OF(c->exchanges.next, struct http2_exchange, node));
    timer_cancel(&c->idle);
    deferral_cancel(&c->turn);
    nghttp2_session_del(c->session);
    c->on_closed(c, reason, c->owner);
    free(c->certificate);
    free(c);
}

/* The stream is open already, so on_open does not come. */
static const struct stream_handlers http2_stream_handlers = {
    .on_read = on_read,
    .on_drain = on_drain,
    .on_closed = on_closed,
};

/* ---- life ---- */

struct http2 *http2_accept(struct loop *loop, struct stream *s, const struct stream_limits *writing,
                           const struct http_limits *limits, const struct http_handlers *handlers, void *arg,
                           http2_closed_fn closed, loop_fn on_trusted, void *owner)
{
    struct http2 *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    *c = (struct http2){.loop = loop,
                        .stream = s,
                        .writing = writing,
                        .limits = limits,
                        .handlers = handlers,
                        .arg = arg,
                        .on_closed = closed,
                        .on_trusted = on_trusted,
                        .owner = owner,
                        .control = {.burst = limits->control_burst, .per_s = limits->control_per_s},
                        .resets = {.per_s = limits->resets_per_s},
                        .reason = CLOSE_PROTOCOL};
    c->trusted = !handlers->on_head;
    list_init(&c->exchanges);
    deferral_init(&c->turn, on_turn, c);
    timer_init(&c->idle, loop, on_idle, c);
    if (session_new(c) || http2_submit_settings(c)) {
        nghttp2_session_del(c->session);
        free(c);
        return NULL;
    }
    c->certificate = http_take_certificate(s);
    timer_start(&c->idle, limits->head_ms);
    stream_set_handlers(s, &http2_stream_handlers, c);
    http2_wake(c);
    return c;
}

void http2_drain(struct http2 *c)
{
    if (c->terminated)
        return;
    c->reason = CLOSE_DRAINED;
    if (nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(c->session), NGHTTP2_NO_ERROR, NULL, 0))
        stream_abort(c->stream, CLOSE_NOMEM);
    http2_wake(c);
}
