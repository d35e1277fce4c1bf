/**
 * TLS records outside OpenSSL (RFC 8446, 5.1): where one ends, and the BIO that gives OpenSSL exactly one at
 * a time and takes what it writes. Knows no socket.
 */
#ifndef NANOPUSH_NET_RECORD_H
#define NANOPUSH_NET_RECORD_H

#include <openssl/bio.h>

#include "base/buf.h"

#define RECORD_HEADER_BYTES    5
#define RECORD_BODY_MAX_BYTES  (16384 + 256) /* RFC 8446, 5.2 */
#define RECORD_INNER_MAX_BYTES (16384 + 1)   /* content, its type and padding (RFC 8446, 5.4) */

/** RFC 8446, 5.1 */
enum record_type {
    RECORD_CHANGE_CIPHER_SPEC = 20,
    RECORD_ALERT = 21,
    RECORD_HANDSHAKE = 22,
    RECORD_APPLICATION_DATA = 23, /* and, on the outside, everything that is encrypted */
};

enum record_verdict {
    RECORD_PARTIAL,  /* more bytes are needed */
    RECORD_WHOLE,    /* one is there */
    RECORD_NOT_TLS,  /* no record begins like this: its type or version does not exist */
    RECORD_TOO_LONG, /* the header announces more than a record may hold */
};

/**
 * Judge the record at the front of @p in by as many header bytes as are there.
 * @param[out] len  with RECORD_WHOLE its length, header included; untouched otherwise.
 */
enum record_verdict record_check(struct bytes in, size_t *len);

/** Write the header of a record with @p body_len bytes behind it, at most RECORD_BODY_MAX_BYTES. */
void record_header(enum record_type type, size_t body_len, uint8_t out[RECORD_HEADER_BYTES]);

/** What the BIO reads from and writes to; lives in the BIO's owner. */
struct record_pipe {
    struct bytes in; /* not yet read by OpenSSL; empty: it is told to come back */
    struct buf *out; /* what it writes is appended here */
    bool out_failed; /* memory was out in doing so */
    void (*on_written)(struct bytes out, void *arg); /* what was appended; may be NULL */
    void *arg;
};

/** @return a BIO on @p pipe, which must outlive it; NULL when memory is out. */
BIO *record_bio_new(struct record_pipe *pipe);

#endif
