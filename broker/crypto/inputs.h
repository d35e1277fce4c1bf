/**
 * The exact bytes that phones sign and portals check, outside of JWS. Each begins with its own name and a
 * NUL, so that no signature for one can pass as another; lp() is lp_append(); numbers are big-endian.
 *
 *     hello   "nanopush/1 hello\0" cb[32] lp(org) lp(device id) u32(generation) anchor[32] u32(capabilities)
 *     enrol   "nanopush/1 enrol\0" cb[32] lp(org) lp(enrolment id) tp1[43] tp2[43]
 *     keys    "nanopush/1 keys\0" lp(org) lp(user) lp(enrolment id) tp1[43] tp2[43]      (HMAC, not signed)
 *     display "nanopush-display-v1\0" display                                            (hashed, not signed)
 *
 * cb is the channel binding, tls_export(). tp1 and tp2 are the thumbprints of the possession key and of the
 * user-verification key (p256_thumbprint()) as their 43 ASCII characters, without NUL and without length
 * prefix.
 */
#ifndef NANOPUSH_CRYPTO_INPUTS_H
#define NANOPUSH_CRYPTO_INPUTS_H

#include "base/buf.h"
#include "crypto/digest.h"
#include "crypto/p256.h"

#define CHANNEL_BINDING_BYTES 32
#define CHANNEL_BINDING_LABEL "EXPORTER-nanopush-v1"
#define DISPLAY_HASH_SIZE     BASE64URL_SIZE(SHA256_BYTES) /* 43 characters and NUL */

/**
 * What a phone signs in Hello, with its possession key.
 * @param      anchor  SHA-256 of the SPKI that the phone trusts (authority_spki_sha256()).
 * @param[out] ret     the input; the caller ends with buf_done(). What it held before is not freed.
 * @return ERR_OK; ERR_TOO_BIG if a name is above LP_MAX_BYTES; ERR_NOMEM.
 */
MUST_CHECK enum err input_hello(const uint8_t cb[CHANNEL_BINDING_BYTES], struct bytes org,
                                struct bytes device_id, uint32_t generation,
                                const uint8_t anchor[SHA256_BYTES], uint32_t capabilities, struct buf *ret);

/**
 * What a phone signs at enrolment, once with each of its two keys.
 * @param[out] ret  as for input_hello().
 * @return ERR_OK; ERR_INVALID if a thumbprint is not 43 characters long; ERR_TOO_BIG; ERR_NOMEM.
 */
MUST_CHECK enum err input_enrol(const uint8_t cb[CHANNEL_BINDING_BYTES], struct bytes org,
                                struct bytes enrolment_id, const char *tp1, const char *tp2, struct buf *ret);

/**
 * Proof that the phone's keys are the ones of the QR code that the portal drew: HMAC-SHA-256 under the
 * portal's own secret @p s (the `#s=` of the URI, decoded). The broker never sees s and only passes the proof
 * on; this is the reference that tests and vectors hold phones and portals against.
 * @return ERR_OK; ERR_INVALID if a thumbprint is not 43 characters long; ERR_TOO_BIG; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err enrol_proof(struct bytes s, struct bytes org, struct bytes user,
                                struct bytes enrolment_id, const char *tp1, const char *tp2,
                                uint8_t out[SHA256_BYTES]);

/** Hash of what a challenge shows, to compare with struct statement's. @return ERR_OK; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err input_display_digest(struct bytes display, uint8_t out[SHA256_BYTES]);

/** The same in base64url, as the claim `display` carries it. @return as input_display_digest(). */
MUST_CHECK enum err input_display_hash(struct bytes display, char out[DISPLAY_HASH_SIZE]);

#endif
