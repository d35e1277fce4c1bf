/**
 * Hashes, MACs, key derivation, random bytes, and the length prefix that keeps what is hashed unambiguous.
 *
 * The algorithms are fetched from OpenSSL once per process and kept: one thread a process, as everywhere in
 * the broker. No function here leaves an entry in OpenSSL's error queue, which SSL_get_error() reads.
 */
#ifndef NANOPUSH_CRYPTO_DIGEST_H
#define NANOPUSH_CRYPTO_DIGEST_H

#include "base/buf.h"

#define SHA256_BYTES 32

/** SHA-256 (FIPS 180-4). @return ERR_OK; ERR_CRYPTO. */
MUST_CHECK enum err sha256(struct bytes in, uint8_t out[SHA256_BYTES]);

/**
 * HMAC-SHA-256 (RFC 2104) over the parts, one after the other, with nothing in between.
 * @return ERR_OK; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err hmac_sha256(struct bytes key, const struct bytes *parts, size_t part_count,
                                uint8_t out[SHA256_BYTES]);

/**
 * HKDF-SHA-256 (RFC 5869), extract and expand, without salt; the info is @p label without its NUL.
 * @param root  input keying material, at least 1 byte.
 * @param len   bytes wanted, 1 to 255 * SHA256_BYTES.
 * @return ERR_OK; ERR_INVALID for a length outside these bounds; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err hkdf_sha256(struct bytes root, const char *label, uint8_t *out, size_t len);

/** Fill with bytes fit for keys, tokens and ids. @return ERR_OK; ERR_CRYPTO, and then @p out is not to be
 * used. */
MUST_CHECK enum err random_bytes(uint8_t *out, size_t len);

#define LP_MAX_BYTES 65535

/**
 * Append lp(@p in): its length as 16-bit big-endian, then its bytes.
 * @return ERR_OK; ERR_TOO_BIG above LP_MAX_BYTES; ERR_NOMEM. @p b is unchanged on error.
 */
MUST_CHECK enum err lp_append(struct buf *b, struct bytes in);

#endif
