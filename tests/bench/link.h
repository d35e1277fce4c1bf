/**
 * One TLS 1.3 client connection of the swarm. The handshake is OpenSSL's; link_park() then frees OpenSSL's object and
 * goes on with the keys alone (records.h), so that a phone that holds costs some 300 bytes and not 20 kB.
 *
 *     CLOSED -> CONNECTING -> HANDSHAKE -> OPEN -> PARKED -> CLOSED
 *
 * The owner is told of bytes and of the end from within link_on_event(), which the loop calls; it may write, park and
 * close from there.
 */
#ifndef NANOPUSH_BENCH_LINK_H
#define NANOPUSH_BENCH_LINK_H

#include <netinet/in.h>
#include <openssl/ssl.h>

#include "base/buf.h"
#include "net/record.h"
#include "records.h"

struct link;

enum link_state { LINK_CLOSED, LINK_CONNECTING, LINK_HANDSHAKE, LINK_OPEN, LINK_PARKED };

struct link_handlers {
    void (*on_open)(struct link *link);
    void (*on_bytes)(struct link *link, struct bytes in);
    /** The connection is gone; not after link_close(). @p why: static text. */
    void (*on_closed)(struct link *link, const char *why);
};

/** What OpenSSL's part of a connection needs; gone once it is parked. */
struct link_handshake {
    SSL *ssl;
    struct record_pipe pipe;
};

/** Zero-initialised is LINK_CLOSED. Fields are the link's, but for on. */
struct link {
    const struct link_handlers *on;
    int fd;
    uint8_t state; /* enum link_state */
    bool resumed;
    bool wants_out;              /* what epoll was told */
    struct link_handshake *tls;  /* NULL: parked, or never had any */
    struct records_half half[2]; /* by enum records_direction */
    struct buf raw, out;         /* received, not a whole record yet; to be sent */
};

/** Where links lead. */
struct link_target {
    struct sockaddr_in address;
    SSL_CTX *ctx; /* link_context() */
};

/**
 * A client's context: TLS 1.3, one suite, no check of the certificate (a load generator has nothing to lose).
 * @param alpn  protocol to offer, or NULL.
 */
SSL_CTX *link_context(const char *alpn);

/** Called for each ticket of links of link_context(); @p link is the one that it came on. */
typedef void link_ticket_fn(struct link *link, SSL_SESSION *session);
void link_on_ticket(SSL_CTX *ctx, link_ticket_fn *on_ticket);

/** The loop's epoll descriptor; set once, before any link. */
extern int link_epoll;

/**
 * Begin to connect.
 * @param source   local address to connect from, host byte order; 0: any.
 * @param session  to resume, or NULL; not kept.
 * @return ERR_OK; ERR_IO: no descriptor or port is free (errno says which).
 */
MUST_CHECK enum err link_open(struct link *link, const struct link_target *target, uint32_t source,
                              SSL_SESSION *session);

/**
 * The same without TLS, for those that misbehave: on_open() as soon as it is connected, link_write_raw() from there,
 * and what comes back is dropped.
 */
MUST_CHECK enum err link_open_raw(struct link *link, const struct link_target *target, uint32_t source);

/** What epoll said of it. */
void link_on_event(struct link *link, uint32_t events);

/** Send. Closed links swallow it. */
void link_write(struct link *link, struct bytes out);

/** Send bytes past TLS, for those that misbehave. */
void link_write_raw(struct link *link, struct bytes out);

/** Keying material (RFC 8446, 7.5); only when OPEN. @return ERR_OK; ERR_BAD_STATE; ERR_CRYPTO. */
MUST_CHECK enum err link_export(struct link *link, const char *label, uint8_t out[32]);

/** Free OpenSSL's part. Only when OPEN; from any other state nothing happens. */
void link_park(struct link *link);

/** Close at once, by a reset; nothing further is told to the owner. */
void link_close(struct link *link);

#endif
