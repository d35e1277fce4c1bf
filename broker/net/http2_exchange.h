/**
 * One stream of an HTTP/2 connection: its request as it comes in, the exchange, its answer as it goes out; and what
 * the connection shares with its streams. Internal to net/.
 *
 *     HEAD --headers--> ASKED --http_read_body()--> BODY --end of stream--> HELD --answered--> ANSWERED --all sent--> (closed)
 *       \__________________\_____ refused _______________________/
 *
 * nghttp2 says when a stream is closed; whatever the phase was then, the exchange ends. Its memory is given back after
 * the turn.
 */
#ifndef NANOPUSH_NET_HTTP2_EXCHANGE_H
#define NANOPUSH_NET_HTTP2_EXCHANGE_H

#include <nghttp2/nghttp2.h>

#include "net/http2.h"
#include "net/http2_budget.h"
#include "net/http_headers.h"
#include "net/http_scan.h"

struct http2 {
    struct loop *loop;
    struct stream *stream;
    const struct stream_limits *writing;
    const struct http_limits *limits;
    const struct http_handlers *handlers;
    void *arg;
    http2_closed_fn on_closed;
    loop_fn on_trusted;
    void *owner;
    nghttp2_session *session;
    struct deferral turn; /* takes out of the session what it has to say */
    struct timer idle;    /* armed while there is no exchange */
    struct list exchanges;
    size_t request_bytes;                   /* of memory, for heads and bodies, in all exchanges */
    size_t answer_bytes;                    /* not handed to nghttp2 yet, in all exchanges */
    struct http2_budget control;            /* of frames that do nothing */
    struct http2_budget resets;             /* of streams that end before their answer */
    enum close_reason reason;               /* why it ends, once the session wants to */
    uint8_t frame_type;                     /* of the frame that came last */
    bool greeted;                           /* the peer's first SETTINGS are there */
    struct client_certificate *certificate; /* the peer's, or NULL */
    bool trusted;                           /* http_trust(): somebody has shown who it is */
    bool terminated;                        /* GOAWAY was said because of what the peer did, or did not do */
};

/** Tell the peer what it may do. @return what nghttp2 returns. */
int http2_submit_settings(struct http2 *c);

/** Something was submitted to the session: it is sent at the end of this turn. */
void http2_wake(struct http2 *c);

/** End the connection with GOAWAY @p code, and count @p why. The first reason stays. */
void http2_terminate(struct http2 *c, uint32_t code, enum close_reason reason, enum bad_request why);

enum http2_phase {
    HTTP2_HEAD,
    HTTP2_ASKED, /* on_head was called */
    HTTP2_BODY,
    HTTP2_HELD,     /* on_request was called */
    HTTP2_ANSWERED, /* the exchange is over, its answer not sent */
};

struct http2_exchange {
    struct http_exchange ex;
    struct http2 *connection;
    struct list node;
    struct timer deadline; /* of the request; from the answer on, of a peer that grants no window */
    struct deferral reap;
    struct deferral proceed;     /* after http_read_body() */
    struct http_headers headers; /* the request's; once the answer is finished, its trailers */
    struct buf body;
    struct buf out;       /* of the answer's body, not handed to nghttp2 */
    size_t request_bytes; /* of memory, its part of the connection's */
    uint32_t head_size;   /* as RFC 9113 counts it */
    int32_t id;
    enum http2_phase phase;
    enum bad_request refused; /* why its head is */
    uint64_t length;          /* of the body, as declared */
    size_t body_max;
    bool announced; /* on_head was called, and on_request not yet */
    bool too_large; /* its body is */
    bool whole;     /* the request is */
    bool is_head, expects_continue;
    bool finished; /* the answer is, all that is left of it being in out and headers */
    bool sent, above_low;
};

/** A stream begins. @return NULL when memory is out. */
struct http2_exchange *http2_exchange_new(struct http2 *c, int32_t id);

/** A header of its request, in order, pseudo-headers too. @return ERR_OK; ERR_NOMEM; ERR_LIMIT of the connection. */
MUST_CHECK enum err http2_exchange_add_header(struct http2_exchange *x, struct bytes name,
                                              struct bytes value);

/** The request's headers are complete. */
void http2_exchange_take_head(struct http2_exchange *x, bool end_of_stream);

/** A part of the body. @return as http2_exchange_add_header(). */
MUST_CHECK enum err http2_exchange_add_body(struct http2_exchange *x, struct bytes part);

/** http_read_body(). */
void http2_exchange_read_body(struct http2_exchange *x, size_t body_max);

/** The request is complete. */
void http2_exchange_take_end(struct http2_exchange *x);

/** The stream or the connection is closed: on_gone, if it is due. @p x is freed after this turn: forget it. */
void http2_exchange_close(struct http2_exchange *x);

/** Count what the request has of memory now among its connection's. */
void http2_exchange_count_request(struct http2_exchange *x);

/** Cut it: RST_STREAM @p code, at the end of this turn. */
void http2_exchange_reset(struct http2_exchange *x, uint32_t code);

/* http2_answer.c */

extern const struct http_version_ops http2_ops;

/** The answer's last frame was handed to the connection. */
void http2_answer_sent(struct http2_exchange *x);

#endif
