/**
 * Session tickets (RFC 8446, 4.6.1) that every worker and every machine with the same cluster secret accepts, and that
 * no server has to remember: the session travels in the ticket, under a key that follows from the ticket root, the
 * 12-hour period and the trust anchor.
 *
 *     master: ticket root --ticket_ring_turn(), each period--> ring, a shared page: keys of period-1, period, period+1
 *     worker: tickets of the middle one are given out, those of all three taken
 *
 * So a ticket is good for 12 to 24 hours, whatever the machines' clocks differ by up to 12 hours, and it dies with the
 * anchor. A worker never has the root: what is stolen from it opens the tickets of a day and a half.
 *
 * A resumed handshake gives a new ticket, since a client uses each once (RFC 8446, C.4); all that descend from one full
 * handshake are over a day after it. A ticket authenticates no device: who resumes still says Hello.
 */
#ifndef NANOPUSH_CRYPTO_TICKET_H
#define NANOPUSH_CRYPTO_TICKET_H

#include <openssl/ssl.h>

#include "crypto/secret.h"

#define TICKET_PERIOD_S (12 * 3600)
#define TICKET_DAY_S    (24 * 3600) /* from the full handshake to the next one */

struct ticket_ring;

/** A page that children share after fork(); not in core files. @return NULL when memory is out. */
struct ticket_ring *ticket_ring_new(void);

/** Unmap; the last process's unmapping cleanses nothing that the kernel would hand on. NULL is allowed. */
void ticket_ring_free(struct ticket_ring *ring);

/**
 * Have the keys of the period of @p unix_s and its neighbours in the ring; for the one process that writes it. Cheap
 * when they are there.
 * @param anchor  SHA-256 of the trust anchor's SPKI.
 * @return ERR_OK; as secret_ticket_key(): the ring has what it had.
 */
MUST_CHECK enum err ticket_ring_turn(struct ticket_ring *ring, const struct secret *secret,
                                     const uint8_t anchor[SHA256_BYTES], int64_t unix_s);

/**
 * Let @p ctx give out one ticket a handshake and resume by them: psk_dhe_ke only, no early data. While the ring has no
 * key for the time that @p now_unix_s says, handshakes are full and give out none.
 * @param ring        kept; must outlive @p ctx.
 * @param now_unix_s  the wall clock.
 * @return ERR_OK; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err ticket_enable(SSL_CTX *ctx, const struct ticket_ring *ring, int64_t (*now_unix_s)(void));

#endif
