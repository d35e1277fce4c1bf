/**
 * HTTP/1.1 (RFC 9112) on a stream, one request at a time: while an exchange is held, what the peer sends
 * ahead waits in the stream, which stops reading at its input_max. Not HTTP/1.0, no upgrade, no trailers, no
 * absolute-form targets.
 *
 * The peer's going away is noticed while an exchange is held, except behind a full input_max of requests sent
 * ahead.
 */
#ifndef NANOPUSH_NET_HTTP1_H
#define NANOPUSH_NET_HTTP1_H

#include "net/http.h"

struct http1;

/** The connection has ended; after on_gone, if that came. @p c is freed when it returns. */
typedef void (*http1_closed_fn)(struct http1 *c, enum close_reason reason, void *owner);

/**
 * Serve HTTP/1.1 on @p s, within its on_open: its handlers are replaced.
 * @param reading           the limits that @p s was made with.
 * @param limits, handlers  kept; must outlive the connection.
 * @param arg               for the handlers.
 * @param on_closed  called at the end.
 * @param on_trusted  called when the peer has shown who it is (http_trust()), once, from within that call.
 * @param owner  handed to both.
 * @return NULL when memory is out (the stream is as it was).
 */
struct http1 *http1_accept(struct loop *loop, struct stream *s, const struct stream_limits *reading,
                           const struct http_limits *limits, const struct http_handlers *handlers, void *arg,
                           http1_closed_fn on_closed, loop_fn on_trusted, void *owner);

/** Close when the exchange at hand is over, or now if there is none. */
void http1_drain(struct http1 *c);

#endif
