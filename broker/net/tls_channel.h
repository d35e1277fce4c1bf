/**
 * The TLS half of a stream, without its socket: records in, plaintext out, and back. Server side. It is either live, with
 * an SSL object, or parked (net/parking.h); who uses it need not know which.
 *
 *     one whole record --> tls_channel_step() --> plaintext, appended to the caller's input
 *     the caller's output <-- tls_channel_write(), alerts, answers to key updates
 */
#ifndef NANOPUSH_NET_TLS_CHANNEL_H
#define NANOPUSH_NET_TLS_CHANNEL_H

#include <openssl/ssl.h>

#include "base/buf.h"
#include "crypto/client_certificate.h"
#include "crypto/tls.h"
#include "net/close_reason.h"
#include "net/parking.h"
#include "net/tls_event.h"

struct tls_live;

/** At most one is set; neither: no TLS. Zero-initialised is valid. */
struct tls_channel {
    struct tls_live *live;
    struct parked *parked;
};

/** @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err tls_channel_init(struct tls_channel *c, SSL_CTX *tls);

/** The same as client: the name that @p tls checks (tls_client_new()) is named to the server (RFC 6066, 3). */
MUST_CHECK enum err tls_channel_init_client(struct tls_channel *c, SSL_CTX *tls);

/** A client's first step, once connected: the handshake begins, in @p output. */
enum tls_event tls_channel_begin(struct tls_channel *c, struct buf *input, struct buf *output);

/** Free all. */
void tls_channel_done(struct tls_channel *c);

/**
 * Process the record at the front of @p in. Not after TLS_FAILED or TLS_PEER_DONE.
 * @param[out] taken  bytes of @p in that are done with; 0: a whole record does not wait there, and the event is
 *                    TLS_RECORD.
 */
enum tls_event tls_channel_step(struct tls_channel *c, struct bytes in, size_t *taken, struct buf *input,
                                struct buf *output);

/** Seal @p out, not empty, into the output. Only after TLS_OPENED. @return ERR_OK; ERR_NOMEM; ERR_CRYPTO. */
MUST_CHECK enum err tls_channel_write(struct tls_channel *c, struct bytes out, struct buf *output);

/** Append close_notify to the output, if the handshake is done and the channel has not failed. */
void tls_channel_shutdown(struct tls_channel *c, struct buf *output);

/** Give up the SSL object, if this is a moment for it. PARK_REFUSED for a channel that cannot be parked at all. */
enum park_result tls_channel_park(struct tls_channel *c);

/** As tls_export(). ERR_BAD_STATE when parked: what is needed of a handshake is asked for before. */
MUST_CHECK enum err tls_channel_export(const struct tls_channel *c, const char *label,
                                       uint8_t out[TLS_EXPORT_BYTES]);

/** As client_certificate_of(). ERR_BAD_STATE when parked. */
MUST_CHECK enum err tls_channel_certificate(const struct tls_channel *c, struct client_certificate *ret);

/** True if the handshake was one of resumption (RFC 8446, 2.2); false when parked. */
bool tls_channel_resumed(const struct tls_channel *c);

/** Protocol agreed on (RFC 7301); empty if none, and when parked. Valid until the channel is parked or done. */
struct bytes tls_channel_alpn(const struct tls_channel *c);

/** Why it failed; valid after TLS_FAILED. */
enum close_reason tls_channel_failure(const struct tls_channel *c);

/** The same in OpenSSL's words, for a log line; NULL for nothing. Static. */
const char *tls_channel_error(const struct tls_channel *c);

#endif
