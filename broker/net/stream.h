/**
 * One connection, plain or TLS, server or client side: bytes in, bytes out, limits, deadlines and one orderly
 * end.
 *
 *     socket --> raw --> record framer --> TLS --> input  --> stream_input(), stream_consume()
 *     socket <-------------- output <----- TLS <------------- stream_write()
 *
 * TLS records are framed here and OpenSSL is fed whole ones, so that at rest it never holds half a record: the SSL
 * object can then be freed, and the connection goes on with its keys (stream_park()). For that reason nobody outside
 * sees it; what is needed of it is asked for with stream_export() and stream_alpn(). An idle connection holds no buffer
 * and no timer: 72 bytes here, and 136 of keys.
 *
 * States: CONNECTING -> HANDSHAKE -> OPEN -> CLOSING (flushing) -> LINGERING (for the peer's end) -> CLOSED.
 *
 * All callbacks come from the loop, never from within a call to a stream_ function.
 */
#ifndef NANOPUSH_NET_STREAM_H
#define NANOPUSH_NET_STREAM_H

#include <sys/types.h>

#include "base/bytes.h"
#include "core/loop.h"
#include "crypto/client_certificate.h"
#include "crypto/tls.h"
#include "net/address.h"
#include "net/close_reason.h"

struct stream;

enum stream_role {
    STREAM_SERVER, /* an accepted descriptor */
    STREAM_CLIENT, /* connected, or connecting as by address_connect() */
};

/** input_max must exceed the largest unit that the owner consumes only as a whole: it would wait for ever. */
struct stream_limits {
    unsigned handshake_ms; /* from stream_new() to on_open */
    unsigned record_ms;    /* for the rest of a TLS record of which a part is there */
    unsigned stall_ms;     /* the peer takes not one byte of what is queued */
    unsigned flush_ms;     /* from stream_close() until all is sent */
    unsigned linger_ms;    /* after that, for the peer's own end */
    size_t input_max;      /* reading stops while so many plaintext bytes wait, or up to 16 KiB more */
    size_t write_low;      /* on_drain when the queue falls to this or less after it was above */
    size_t write_max;      /* stream_write() refuses above this */
};

/** 10 s handshake, record 10 s, stall 20 s, flush 20 s, linger 2 s, input 32 KiB, low 64 KiB, write 1 MiB. */
extern const struct stream_limits stream_limits_default;

struct stream_handlers {
    /** Connected, and the handshake is done. First of all callbacks, unless on_closed comes instead. */
    void (*on_open)(struct stream *s, void *arg);
    /**
     * There is new plaintext in stream_input(). Not called while reading is paused, nor after
     * stream_close().
     */
    void (*on_read)(struct stream *s, void *arg);
    /** The send queue fell to limits.write_low. May be NULL. */
    void (*on_drain)(struct stream *s, void *arg);
    /** The last callback, exactly once, whoever ended it. The stream is freed after this turn: forget it. */
    void (*on_closed)(struct stream *s, enum close_reason reason, void *arg);
};

/**
 * Make a stream on @p fd.
 *
 * @param fd        non-blocking socket; owned from here on, closed on failure too.
 * @param tls       NULL for a plain stream; a context of tls_server_new() or, for STREAM_CLIENT, of tls_client_new(); a
 *                  reference is taken.
 * @param limits    kept; must outlive the stream.
 * @param handlers  kept; must outlive the stream.
 * @return NULL when memory is out or the kernel refuses; no callback then.
 */
struct stream *stream_new(struct loop *loop, int fd, SSL_CTX *tls, enum stream_role role,
                          const struct stream_limits *limits, const struct stream_handlers *handlers,
                          void *arg);

/**
 * Hand the stream over to another owner, as a protocol is chosen in on_open. @p handlers as in
 * stream_new().
 */
void stream_set_handlers(struct stream *s, const struct stream_handlers *handlers, void *arg);

/** Plaintext received and not consumed; valid until the callback returns or stream_consume(). */
struct bytes stream_input(const struct stream *s);

/** Drop @p n bytes from the front of stream_input(), at most all. */
void stream_consume(struct stream *s, size_t n);

/**
 * Queue a copy of @p out; sent at the end of this turn, together with what else is written in it. One call
 * makes one TLS record (or more above 16 KiB), so whole messages should come in one call.
 * @return ERR_OK; ERR_LIMIT if the queue would pass limits.write_max (nothing queued: the caller closes with
 *         QUEUE_FULL, or waits for on_drain); ERR_BAD_STATE before on_open; ERR_CLOSED once the stream is
 * closing, on whichever side's wish; ERR_NOMEM, ERR_CRYPTO (the stream is aborted; on_closed follows).
 */
MUST_CHECK enum err stream_write(struct stream *s, struct bytes out);

/** Bytes queued and not taken by the kernel. */
size_t stream_queued(const struct stream *s);

/**
 * Let the stream give up its SSL object (14 KB) for its keys and counters (136 bytes) as soon as it can: net/parking.h.
 * From then on stream_export() is ERR_BAD_STATE and stream_alpn() empty, so their results are taken first. Nothing else
 * changes; on a stream that cannot be parked nothing does. Once is enough.
 */
void stream_park(struct stream *s);

/**
 * Close in order: no more on_read; what is queued is sent within limits.flush_ms, close_notify with it, then
 * the peer's end is awaited for limits.linger_ms, so that a reset does not destroy what it has not read. Then
 * on_closed. Once closing, later calls change nothing: the first reason stays.
 */
void stream_close(struct stream *s, enum close_reason reason);

/** Close now; what is queued is lost. on_closed follows, deferred, with the first reason given. */
void stream_abort(struct stream *s, enum close_reason reason);

/** Stop reading and on_read. The peer's end is not noticed while it is paused. */
void stream_pause_read(struct stream *s);

/** Read again; if input waits, on_read comes for it (deferred), also where reading was not paused. */
void stream_resume_read(struct stream *s);

/**
 * TLS exporter (RFC 8446, 7.5) without context: the channel binding.
 * @return ERR_OK; ERR_UNSUPPORTED on a plain stream; ERR_BAD_STATE unless open; ERR_CRYPTO.
 */
MUST_CHECK enum err stream_export(const struct stream *s, const char *label, uint8_t out[TLS_EXPORT_BYTES]);

/** Application protocol that was agreed on (RFC 7301); empty if none. Valid as long as the stream. */
struct bytes stream_alpn(const struct stream *s);

/** True where the handshake was a resumption, by a ticket. From on_open on, while that runs. */
bool stream_resumed(const struct stream *s);

/** The certificate that a client has shown; to be asked within on_open, as the rest of a handshake. @return ERR_OK; ERR_NOT_FOUND: none; ERR_BAD_STATE unless open; ERR_MALFORMED; ERR_CRYPTO. */
MUST_CHECK enum err stream_client_certificate(const struct stream *s, struct client_certificate *ret);

/** What OpenSSL said when TLS failed, for a log line; NULL if it did not. Static. */
const char *stream_tls_error(const struct stream *s);

/** The peer's address. @return ERR_OK; ERR_IO if it is gone. */
MUST_CHECK enum err stream_peer(const struct stream *s, struct address *ret);

/**
 * User id of the process at the other end of a unix socket. @return ERR_OK; ERR_UNSUPPORTED on other
 * sockets.
 */
MUST_CHECK enum err stream_peer_uid(const struct stream *s, uid_t *ret);

#endif
