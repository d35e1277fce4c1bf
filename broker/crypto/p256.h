/**
 * ECDSA on P-256 with SHA-256 (FIPS 186-5; ES256 of RFC 7518, 3.4).
 *
 * A public key is a 65-byte uncompressed point, 0x04 || x || y, everywhere; a signature is raw r || s. Both s
 * and n - s verify, as in RFC 7518: a signature proves a message and is no identifier of it. One thread a
 * process: the curve and a key to verify with are kept between calls, which saves a quarter of the time. No
 * function here leaves an entry in OpenSSL's error queue.
 */
#ifndef NANOPUSH_CRYPTO_P256_H
#define NANOPUSH_CRYPTO_P256_H

#include "base/bytes.h"

#define P256_PUBLIC_BYTES    65
#define P256_SIGNATURE_BYTES 64
#define P256_THUMBPRINT_SIZE 44 /* 43 base64url characters and NUL */

/**
 * Check a public key that a peer sent.
 * @return ERR_OK; ERR_MALFORMED if it is not 65 bytes that begin with 0x04; ERR_INVALID if the point is not
 * on the curve; ERR_CRYPTO.
 */
MUST_CHECK enum err p256_check_public(struct bytes pub);

/**
 * JWK thumbprint (RFC 7638): base64url of SHA-256 over {"crv":"P-256","kty":"EC","x":...,"y":...},
 * NUL-terminated. Does not check that the point is on the curve.
 * @return ERR_OK; ERR_CRYPTO.
 */
MUST_CHECK enum err p256_thumbprint(const uint8_t pub[P256_PUBLIC_BYTES], char out[P256_THUMBPRINT_SIZE]);

/**
 * Verify a signature over SHA-256(@p message).
 * @return ERR_OK; ERR_BAD_SIGNATURE; what p256_check_public() says of a bad key; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err p256_verify(const uint8_t pub[P256_PUBLIC_BYTES], struct bytes message,
                                const uint8_t sig[P256_SIGNATURE_BYTES]);

/**
 * A private key. The broker signs nothing with one: this is here for tests and test vectors, so that they
 * play the phone without a second implementation. Phones have their own (clients/device).
 */
struct p256_key;

/** Generate. @param[out] ret  freed with p256_key_free(). @return ERR_OK; ERR_NOMEM; ERR_CRYPTO. */
MUST_CHECK enum err p256_key_new(struct p256_key **ret);

/** Cleanse and free; NULL is allowed. */
void p256_key_free(struct p256_key *key);

/** The public point. @return ERR_OK; ERR_CRYPTO. */
MUST_CHECK enum err p256_key_public(const struct p256_key *key, uint8_t out[P256_PUBLIC_BYTES]);

/** Sign SHA-256(@p message). @return ERR_OK; ERR_NOMEM; ERR_CRYPTO. */
MUST_CHECK enum err p256_sign(const struct p256_key *key, struct bytes message,
                              uint8_t sig[P256_SIGNATURE_BYTES]);

#endif
