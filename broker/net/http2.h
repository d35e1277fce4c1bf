/**
 * HTTP/2 (RFC 9113) on a stream, by nghttp2: as many requests at a time as limits.streams_max. Prior knowledge
 * or ALPN, no upgrade; no push, no priorities; no CONNECT. Trailers of requests are ignored.
 *
 * What a peer does wrong is answered where it was done:
 *
 *     a request with a defect that an answer can name      400, 408, 431, and too_large
 *     a malformed one (RFC 9113, 8.1.1)                    RST_STREAM PROTOCOL_ERROR
 *     more bytes of requests than are held                 RST_STREAM REFUSED_STREAM
 *     an answer that it does not read                      RST_STREAM ENHANCE_YOUR_CALM
 *     many frames that do nothing, many streams reset,
 *     headers that do not end                              GOAWAY ENHANCE_YOUR_CALM
 *     a broken connection, or more streams than it was
 *     told that it may have                                GOAWAY with nghttp2's code
 *
 * From a peer that does not read nothing is read. Frames of unknown types cost no more than their bytes.
 */
#ifndef NANOPUSH_NET_HTTP2_H
#define NANOPUSH_NET_HTTP2_H

#include "net/http.h"

struct http2;

/** The connection has ended; after on_gone, if that came. @p c is freed when it returns. */
typedef void (*http2_closed_fn)(struct http2 *c, enum close_reason reason, void *owner);

/**
 * Serve HTTP/2 on @p s, within its on_open: its handlers are replaced.
 * @param writing           the limits that @p s was made with; kept, as the next two.
 * @param limits, handlers  must outlive the connection.
 * @param arg               for the handlers.
 * @param on_closed  called at the end.
 * @param on_trusted  called when the peer has shown who it is (http_trust()), once, from within that call.
 * @param owner  handed to both.
 * @return NULL when memory is out (the stream is as it was).
 */
struct http2 *http2_accept(struct loop *loop, struct stream *s, const struct stream_limits *writing,
                           const struct http_limits *limits, const struct http_handlers *handlers, void *arg,
                           http2_closed_fn on_closed, loop_fn on_trusted, void *owner);

/** Take no more requests (GOAWAY), and close when those at hand are answered. */
void http2_drain(struct http2 *c);

#endif
