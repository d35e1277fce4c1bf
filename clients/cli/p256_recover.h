/**
 * The public key that made an ECDSA signature on P-256 (SEC 1, 4.1.6), when its thumbprint is known: a
 * rotation names the next keys by their thumbprints alone, and those in the middle of several rotations are
 * shown nowhere.
 */
#ifndef NANOPUSH_CLI_P256_RECOVER_H
#define NANOPUSH_CLI_P256_RECOVER_H

#include "crypto/p256.h"

/**
 * Find the key. It exists only if the signature over SHA-256(@p message) is right under it: finding it
 * verifies.
 *
 * @param      thumbprint  of the key (RFC 7638), 43 characters.
 * @param      signature   raw r || s.
 * @param[out] out         the key, an uncompressed point.
 * @return ERR_OK; ERR_BAD_SIGNATURE if no key of that thumbprint made it; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err p256_recover(const char *thumbprint, struct bytes message,
                                 const uint8_t signature[P256_SIGNATURE_BYTES],
                                 uint8_t out[P256_PUBLIC_BYTES]);

#endif
