/**
 * A TLS 1.3 connection that has given up its SSL object: keys, counters, and what may come after a handshake. Server
 * side. Takes whole records and makes whole records; knows no socket. net/parking.h says how one comes to be.
 *
 *     one record --> parked_step() --> plaintext, appended to the caller's input
 *                                 '--> answers and alerts --> the caller's output <-- parked_write()
 *
 * What it refuses, it refuses with the alert that RFC 8446 names; all records that do not open meet the same one.
 * A record is sealed once: what was appended to the output is sent or lost, never made again.
 */
#ifndef NANOPUSH_NET_PARKED_H
#define NANOPUSH_NET_PARKED_H

#include "base/buf.h"
#include "crypto/traffic.h"
#include "net/close_reason.h"
#include "net/tls_event.h"

struct parking;
struct parked;

/** One direction of a connection as its handshake, or a key update, left it. */
struct traffic_state {
    uint8_t secret[TRAFFIC_SECRET_MAX_BYTES];
    uint64_t records; /* made or read with the keys of this secret: the next sequence number */
    uint8_t key[TRAFFIC_KEY_MAX_BYTES], iv[TRAFFIC_IV_BYTES];
    bool key_known, iv_known; /* else they are derived from the secret */
};

/**
 * @param parking  what it is parked in; must outlive it.
 * @param read     the client's direction; @p write: the server's. Copied.
 * @param padding  records are padded to a multiple of so many bytes (RFC 8446, 5.4); a power of two, 1 for none.
 * @return NULL when memory is out, a count is beyond the limits, or OpenSSL fails.
 */
struct parked *parked_new(struct parking *parking, const struct traffic_suite *suite,
                          const struct traffic_state *read, const struct traffic_state *write,
                          unsigned padding);

/** What one takes of the slab of its suite. */
size_t parked_bytes(const struct traffic_suite *suite);

/**
 * True if @p p opens, with the counters' last values, the record that was read last and the one that was written last:
 * nobody else's keys or counters do.
 */
bool parked_proves(struct parked *p, struct bytes last_read, struct bytes last_written);

/** Cleanse and free; NULL is allowed. */
void parked_free(struct parked *p);

/**
 * Process one whole record, as record_check() finds it. Not after TLS_FAILED or TLS_PEER_DONE.
 * @param input   its plaintext is appended here.
 * @param output  the answer to a key update, or the alert.
 * @return TLS_RECORD, TLS_PLAINTEXT, TLS_PEER_DONE, or TLS_FAILED: parked_failure() says why.
 */
enum tls_event parked_step(struct parked *p, struct bytes record, struct buf *input, struct buf *output);

/** Refuse a record that is too long to wait for, or none at all, by what record_check() said. Returns TLS_FAILED. */
enum tls_event parked_refuse(struct parked *p, bool too_long, struct buf *output);

/**
 * Seal @p out, not empty, into the output; before it, if that is due, a key update.
 * @return ERR_OK; ERR_NOMEM; ERR_CRYPTO. After an error nothing is sealed any more.
 */
MUST_CHECK enum err parked_write(struct parked *p, struct bytes out, struct buf *output);

/** Append close_notify to the output, unless an alert was sent or came. */
void parked_shutdown(struct parked *p, struct buf *output);

/** Valid after TLS_FAILED. */
enum close_reason parked_failure(const struct parked *p);

/** The alert that ended it, sent or received, for a log line; NULL for none. Static. */
const char *parked_alert_text(const struct parked *p);

#endif
