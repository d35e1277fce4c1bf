/**
 * HTTP server, whichever version the peer speaks: connections in, exchanges out. By ALPN that is HTTP/2
 * (http2.h), else HTTP/1.1 (http1.h); what is here does not show which, but for http_has_trailers().
 *
 * Life of an exchange: on_head, http_read_body(), on_request, then one of
 *     http_respond()                                   the whole answer at once
 *     http_start(), http_send() ..., http_finish()     a stream; or http_finish_with_trailers()
 *     http_abort()                                     cut
 *     on_gone                                          the peer went away first, or was cut
 * at once, from any later callback, or from on_head on. After either of them the exchange is no more.
 */
#ifndef NANOPUSH_NET_HTTP_H
#define NANOPUSH_NET_HTTP_H

#include "base/buf.h"
#include "core/loop.h"
#include "net/bad_request.h"
#include "net/stream.h"

struct http_header {
    struct bytes name, value; /* the name as the peer wrote it */
};

struct http_exchange;

/** What a version of HTTP does for http_respond() and its like. */
struct http_version_ops {
    void (*respond)(struct http_exchange *ex, unsigned status, const struct http_header *headers,
                    size_t count, struct bytes body);
    void (*start)(struct http_exchange *ex, unsigned status, const struct http_header *headers, size_t count);
    enum err (*send)(struct http_exchange *ex, struct bytes part);
    void (*finish)(struct http_exchange *ex);
    /* NULL where the version has no use for trailers: finish is called instead. */
    void (*finish_with_trailers)(struct http_exchange *ex, const struct http_header *trailers, size_t count);
    void (*read_body)(struct http_exchange *ex, size_t body_max);
    void (*trust)(struct http_exchange *ex);
    void (*forget_request)(struct http_exchange *ex);
    void (*abort)(struct http_exchange *ex, enum close_reason reason);
};

/** One request and its answer. All views are valid as long as the exchange, or until http_forget_request(). */
struct http_exchange {
    struct bytes method, path,
        query; /* as sent, not percent-decoded; query without '?', empty if there is none */
    const struct http_header *headers;
    size_t header_count;
    struct bytes body;
    bool too_large; /* the body passed limits.body_max and is empty here: answer; HTTP/1.1 closes then */
    bool started;   /* http_start() was called */
    void *user;     /* the handlers' own, NULL at first */
    const struct client_certificate *certificate; /* that the peer has shown; NULL: none */
    struct stream *stream;                        /* for stream_peer(), stream_peer_uid(); not for writing */
    const struct http_version_ops *ops;
};

struct http_limits {
    size_t request_line_max; /* bytes, 414 above; of the path in HTTP/2 */
    size_t head_max;         /* request line and headers together, 431 above; below the stream's input_max.
                                In HTTP/2 as RFC 9113, 6.5.2 counts: 32 bytes more a header */
    size_t header_count_max; /* 431 above */
    size_t body_max;         /* bytes after chunked decoding; above: too_large */
    unsigned head_ms;        /* from on_open or a request's first byte to its last header */
    unsigned body_ms;        /* from there to the end of the body */
    unsigned idle_ms;        /* between two requests */
    unsigned stall_ms;       /* HTTP/2: an answer waits, and the peer grants its stream no window */
    unsigned rest_ms;        /* HTTP/2: for the rest of a request that was answered before its end */
    unsigned streams_max;    /* HTTP/2: requests at a time on one connection */
    /* In place of these, while nobody on the connection has shown who it is: http_trust() */
    unsigned strangers_idle_ms, strangers_streams_max;
    unsigned strangers_max; /* such connections of one address; 0: no limit */
    unsigned control_burst; /* HTTP/2: frames that do nothing, at once, */
    unsigned control_per_s; /* and how many a second more */
    unsigned resets_per_s;  /* HTTP/2: streams that end before their answer; at once: 2 * streams_max */
};

/** 8 KiB, 16 KiB, 64 headers, 64 KiB body; 10 s, 30 s, 75 s, 20 s; 1,000 streams; 1,000 and 100 frames; 100 resets. */
extern const struct http_limits http_limits_default;

struct http_handlers {
    /**
     * The head of a request is there; nothing of its body is parsed, and no more of it read than comes along, before
     * http_read_body() is called for it, now or later. Or answer it at once, so that a body is never read. Where this is
     * NULL every body is read, and every peer trusted.
     */
    void (*on_head)(struct http_exchange *ex, void *arg);
    /** A request is there, with its whole body, or without one. */
    void (*on_request)(struct http_exchange *ex, void *arg);
    /**
     * The peer is gone, or its body is no good, while the exchange that was handed over was not; exactly once, never after
     * it was. Do not answer.
     */
    void (*on_gone)(struct http_exchange *ex, void *arg);
    /** A started exchange's send queue, having been long, is short again. May be NULL. */
    void (*on_drain)(struct http_exchange *ex, void *arg);
    /**
     * What came is no request: answer it, with http_respond() and before this returns. An HTTP/1.1 connection
     * closes after it. In @p ex may be headers, as far as they were read, and nothing else. May be NULL: the
     * answer is the status, without a body.
     * @param why  has a status; it is counted already.
     */
    void (*on_bad_request)(struct http_exchange *ex, enum bad_request why, void *arg);
};

struct http_server_options {
    SSL_CTX *tls; /* NULL: plain. A reference is taken */
    struct stream_limits stream;
    struct http_limits http;
    /** The handshake of a connection that http_server_accept() took has ended, well or not. May be NULL. */
    void (*on_connection_settled)(void *arg);
    /**
     * A connection that http_server_accept() took has ended; for listener_release() and metrics. May be
     * NULL.
     */
    void (*on_connection_closed)(enum close_reason reason, void *arg);
};

struct http_server;

/**
 * @param options   copied.
 * @param handlers  kept; must outlive the server.
 * @param arg       for all callbacks.
 * @return NULL when memory is out.
 */
struct http_server *http_server_new(struct loop *loop, const struct http_server_options *options,
                                    const struct http_handlers *handlers, void *arg);

/** Free; there must be no connection left (http_server_connections()). NULL is allowed. */
void http_server_free(struct http_server *server);

/**
 * Serve the accepted connection @p fd of @p peer, which is taken over.
 * @return ERR_OK; ERR_LIMIT: its address has strangers_max already; ERR_NOMEM. On error it is closed, and no callback
 * comes.
 */
MUST_CHECK enum err http_server_accept(struct http_server *server, int fd, const struct address *peer);

/**
 * Use @p tls for connections accepted from now on. A reference is taken. Only where the server had one
 * before.
 */
void http_server_set_tls(struct http_server *server, SSL_CTX *tls);

/** Other limits from now on, for connections that are open too. */
void http_server_set_limits(struct http_server *server, const struct stream_limits *stream,
                            const struct http_limits *http);

/** Close idle connections now, and others when their exchange is over. For an open connection there is no way back. */
void http_server_drain(struct http_server *server);

/** Serve connections that are accepted from now on. */
void http_server_drain_undo(struct http_server *server);

/** Cut all connections; on_gone comes for what is held, on_connection_closed for each. */
void http_server_abort(struct http_server *server, enum close_reason reason);

size_t http_server_connections(const struct http_server *server);

/** True if @p name is @p wanted, in any case. */
bool http_name_is(struct bytes name, const char *wanted);

/** Value of the first header of that name, in any case; NULL if there is none. */
const struct bytes *http_find_header(const struct http_exchange *ex, const char *name);

/**
 * Answer and end the exchange, whatever happens to the answer: there is no on_gone afterwards. Framing, Date
 * and Connection headers are added; do not pass them. HEAD, 204 and 304 are sent without @p body.
 * @param headers  no control bytes in them: otherwise the connection is cut instead.
 */
void http_respond(struct http_exchange *ex, unsigned status, const struct http_header *headers, size_t count,
                  struct bytes body);

/** Send status and headers of a streamed answer. Once an exchange. A failure shows as on_gone. */
void http_start(struct http_exchange *ex, unsigned status, const struct http_header *headers, size_t count);

/**
 * Send a part of a started answer; an empty one sends nothing.
 * @return ERR_OK; ERR_LIMIT if the peer reads too slowly (nothing sent: http_abort(), or try again in
 * on_drain); ERR_CLOSED if it is gone, ERR_NOMEM, ERR_CRYPTO: on_gone follows.
 */
MUST_CHECK enum err http_send(struct http_exchange *ex, struct bytes part);

/** End a started answer and the exchange. */
void http_finish(struct http_exchange *ex);

/** True if the peer sees what http_finish_with_trailers() sends: HTTP/2. */
bool http_has_trailers(const struct http_exchange *ex);

/** As http_finish(), with headers after the body; without http_has_trailers() they are left out. */
void http_finish_with_trailers(struct http_exchange *ex, const struct http_header *trailers, size_t count);

/**
 * Read the body of a request whose head was handed over: on_request follows, never within this call.
 * @param body_max  bytes, above which it is too_large; the limits' body_max counts, too.
 */
void http_read_body(struct http_exchange *ex, size_t body_max);

/** The peer has shown who it is: from now on its connection has the limits of those who have, and is no stranger. */
void http_trust(struct http_exchange *ex);

/**
 * The request was read and is not needed any more: its views become empty and its memory is given back, which
 * counts where many exchanges are held for long.
 */
void http_forget_request(struct http_exchange *ex);

/** Cut the exchange short, so that the peer sees that the answer is not whole; ends it, without on_gone. */
void http_abort(struct http_exchange *ex, enum close_reason reason);

#endif
