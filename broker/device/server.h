/**
 * The device port of one worker: takes accepted connections, holds a session for each, and brings pushes to them.
 *
 *     listener --> device_server --> session (a connection) --> account (a device that said Hello on it)
 *     router  --> device_server_deliver(), by device id ----------^
 */
#ifndef NANOPUSH_DEVICE_SERVER_H
#define NANOPUSH_DEVICE_SERVER_H

#include <openssl/ssl.h>

#include "crypto/digest.h"
#include "domain/domain.h"
#include "net/listener.h"

struct device_server;

struct device_options {
    unsigned heartbeat_ms;      /* each phone gets its own, up to jitter_percent shorter */
    unsigned jitter_percent;    /* 0 to 50 */
    unsigned connection_life_s; /* a phone is asked to connect anew after three quarters of it to all of it */
    unsigned unauthenticated_max; /* connections of one address before Hello; 0: no limit */
    unsigned
        attached_max; /* connections that have said Hello; beyond them a phone is told when to come back */
    unsigned hello_timeout_ms, handshake_timeout_ms;
    uint8_t trust_anchor[SHA256_BYTES]; /* SHA-256 of the issuing CA's SPKI: what phones pin */
};

/**
 * @param domain     kept.
 * @param tls        a reference is taken.
 * @param options    copied.
 * @param handlers   of the connections that were accepted; kept.
 */
struct device_server *device_server_new(struct domain *domain, SSL_CTX *tls,
                                        const struct device_options *options,
                                        const struct accepted_handlers *handlers, void *arg);

/** For connections accepted from now on: @p tls, of which a reference is taken. */
void device_server_set_tls(struct device_server *server, SSL_CTX *tls);

/** From now on; what began before keeps its deadlines. The trust anchor stays. */
void device_server_set_options(struct device_server *server, const struct device_options *options);

/** There must be no session left. NULL is allowed. */
void device_server_free(struct device_server *server);

/**
 * Serve the accepted connection @p fd, which is taken over; or close it, where its address has too many already that have
 * not said Hello.
 */
void device_server_accept(struct device_server *server, int fd, const struct address *peer);

/** A frame for a device that hangs here, if it still hangs on @p connection. For struct router_sinks. */
void device_server_deliver(struct device_server *server, enum hint_kind kind, const char *device_id,
                           uint64_t connection, const char *challenge_id, struct bytes frame);

/**
 * The device is another connection's now: this one ends, the phone that holds it is a new one. Or, @p removed, it is no
 * more: its account ends, and the connection where that was the last. For struct router_sinks.
 */
void device_server_taken(struct device_server *server, const char *device_id, uint64_t connection,
                         bool removed);

/** This worker has a new inbox: attach everybody again, paced. */
void device_server_renew(struct device_server *server);

/** Send GoAway to every phone, spread over @p within_ms, and close. */
void device_server_drain(struct device_server *server, unsigned within_ms);

/** Nobody else is sent away. */
void device_server_drain_undo(struct device_server *server);

/** Close every connection now. */
void device_server_abort(struct device_server *server);

size_t device_server_connections(const struct device_server *server);

#endif
