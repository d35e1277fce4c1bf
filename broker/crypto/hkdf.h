/**
 * The steps of TLS 1.3's key schedule (RFC 8446, 7.1): HKDF (RFC 5869) with SHA-256 or SHA-384, of one block.
 *
 * OpenSSL's own way from a secret to a key goes through four layers, each of which allocates and looks its algorithm up
 * by name; that is more work than the hashing. Here the two digests are fetched once and their contexts kept: one thread
 * a process, as in crypto/digest.h. No function leaves an entry in OpenSSL's error queue, nor a secret in a context.
 */
#ifndef NANOPUSH_CRYPTO_HKDF_H
#define NANOPUSH_CRYPTO_HKDF_H

#include "base/bytes.h"

#define HKDF_BLOCK_MAX_BYTES 48
#define HKDF_LABEL_MAX_BYTES 249 /* with "tls13 " in front, 255 */

/** A digest to derive with, ready for use. */
struct hkdf;

/** The digest of this name, in OpenSSL's spellings: "SHA256", "SHA2-256"; NULL for another, or when memory is out. */
const struct hkdf *hkdf_find(const char *digest);

/** Bytes of its output, which is one block: 32 or 48. */
size_t hkdf_bytes(const struct hkdf *h);

/** The digest of no bytes at all: the transcript of "derived". */
const uint8_t *hkdf_empty_digest(const struct hkdf *h);

/**
 * HKDF-Extract(@p salt, @p input).
 * @param salt   at most the digest's block, 64 or 128 bytes; empty is as zeros.
 * @param[out] out  hkdf_bytes(); may be the salt or the input.
 * @return ERR_OK; ERR_INVALID for a salt that is too long; ERR_CRYPTO.
 */
MUST_CHECK enum err hkdf_extract(const struct hkdf *h, struct bytes salt, struct bytes input, uint8_t *out);

/**
 * HKDF-Expand-Label(@p secret, @p label, @p context, @p len).
 * @param secret   hkdf_bytes() of them.
 * @param label    without "tls13 ", at most HKDF_LABEL_MAX_BYTES.
 * @param context  at most 255 bytes; may be empty.
 * @param[out] out @p len bytes, 1 to hkdf_bytes(); may be the secret.
 * @return ERR_OK; ERR_INVALID for a length outside these bounds; ERR_CRYPTO.
 */
MUST_CHECK enum err hkdf_expand_label(const struct hkdf *h, struct bytes secret, struct bytes label,
                                      struct bytes context, uint8_t *out, size_t len);

#endif
