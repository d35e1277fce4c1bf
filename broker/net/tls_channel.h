/**
 * The TLS half of a stream, without its socket: records in, plaintext out, and back. Server side.
 *
 *     raw --> one whole record --> OpenSSL --> plaintext, appended to the caller's buffer
 *     the caller's output buffer <-- OpenSSL <-- tls_channel_write()
 */
#ifndef NANOPUSH_NET_TLS_CHANNEL_H
#define NANOPUSH_NET_TLS_CHANNEL_H

#include <openssl/ssl.h>

#include "net/close_reason.h"
#include "net/record.h"

/** Fields are the channel's, but for raw. */
struct tls_channel {
    SSL *ssl;
    struct record_pipe pipe;
    struct buf raw;          /* the caller appends what it received; at rest empty or a part of a record */
    unsigned dry_records;    /* since plaintext came last */
    bool open;               /* the handshake is done */
    unsigned long tls_error; /* OpenSSL's, 0 for none */
    bool failed;
    enum close_reason failure; /* valid when failed */
};

enum tls_event {
    TLS_WANTS_BYTES, /* no whole record waits */
    TLS_RECORD,      /* one was processed, there is nothing to tell */
    TLS_OPENED,      /* the handshake is done */
    TLS_PLAINTEXT,   /* some was appended */
    TLS_PEER_DONE,   /* close_notify */
    TLS_FAILED,      /* failure says why; where OpenSSL has made an alert, it is in the output */
};

/**
 * @param output  what is to be sent is appended here; must outlive the channel.
 * @return ERR_OK; ERR_NOMEM (call tls_channel_done() all the same).
 */
MUST_CHECK enum err tls_channel_init(struct tls_channel *c, SSL_CTX *tls, struct buf *output);

/** Free all; zero-initialised is allowed. */
void tls_channel_done(struct tls_channel *c);

/**
 * Process one record of raw. Not after TLS_FAILED or TLS_PEER_DONE.
 * @param input  its plaintext is appended here.
 */
enum tls_event tls_channel_step(struct tls_channel *c, struct buf *input);

/** Seal @p out, not empty, into the output. Only when open. @return ERR_OK; ERR_NOMEM; ERR_CRYPTO. */
MUST_CHECK enum err tls_channel_write(struct tls_channel *c, struct bytes out);

/** Append close_notify to the output, if the channel is open and has not failed. */
void tls_channel_shutdown(struct tls_channel *c);

/** Protocol agreed on (RFC 7301), empty if none; valid as long as the channel. */
struct bytes tls_channel_alpn(const struct tls_channel *c);

#endif
