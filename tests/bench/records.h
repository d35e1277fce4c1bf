/**
 * TLS 1.3 application records without OpenSSL's connection object (RFC 8446, 5.2 and 7.3): what a simulated phone
 * keeps of its connection once it is quiet. Client side, TLS_AES_128_GCM_SHA256 only.
 */
#ifndef NANOPUSH_BENCH_RECORDS_H
#define NANOPUSH_BENCH_RECORDS_H

#include "base/buf.h"

#define RECORDS_SECRET_BYTES 32
#define RECORDS_PLAIN_MAX    16384 /* of plaintext in one record */

enum records_direction { RECORDS_READ, RECORDS_WRITE };

/** One direction of a connection. */
struct records_half {
    uint8_t secret[RECORDS_SECRET_BYTES]; /* application traffic secret */
    uint8_t key[16], iv[12];
    uint64_t count; /* records so far under this key */
};

/** Set key and IV from the secret; the count stays. @return ERR_OK; ERR_NOMEM; ERR_CRYPTO. */
MUST_CHECK enum err records_derive(struct records_half *half);

/** Step to the next secret and its keys (RFC 8446, 7.2); the count begins anew. @return as records_derive(). */
MUST_CHECK enum err records_update(struct records_half *half);

/**
 * Seal @p in, at most RECORDS_PLAIN_MAX bytes, as one record of content type @p type onto @p out.
 * @return ERR_OK; ERR_TOO_BIG; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err records_seal(struct records_half *half, uint8_t type, struct bytes in, struct buf *out);

/**
 * Open one whole record.
 * @param      record  header included.
 * @param[out] out     room for record.len bytes: the plaintext, without padding.
 * @param[out] len     its length.
 * @param[out] type    its content type.
 * @return ERR_OK; ERR_MALFORMED if it does not open or has no content type; ERR_CRYPTO.
 */
MUST_CHECK enum err records_open(struct records_half *half, struct bytes record, uint8_t *out, size_t *len,
                                 uint8_t *type);

#endif
