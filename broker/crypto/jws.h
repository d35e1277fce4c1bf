/**
 * Compact JWS (RFC 7515, 3.1) with ES256 (RFC 7518, 3.4), in the one strict form that this protocol uses.
 *
 *     base64url(header) "." base64url(payload) "." base64url(signature)
 *
 * The header is a JSON object with exactly the members alg = "ES256", typ and kid (a P-256 thumbprint), in
 * any order. Other members (crit, jwk, x5c ...), duplicates, padding and non-canonical base64url are refused:
 * nothing in a JWS chooses the algorithm or the key, and no two readers of one can differ about what it says.
 * A parsed JWS proves nothing yet: the caller checks typ and kid, finds the key of that kid, and calls
 * jws_verify().
 */
#ifndef NANOPUSH_CRYPTO_JWS_H
#define NANOPUSH_CRYPTO_JWS_H

#include "base/buf.h"
#include "crypto/p256.h"

#define JWS_HEADER_MAX_BYTES 256 /* of JSON, decoded */
#define JWS_TYP_SIZE         64  /* NUL included */

#define JWS_TYP_APPROVAL     "nanopush-approval+jwt"
#define JWS_TYP_REFUSAL      "nanopush-refusal+jwt"
#define JWS_TYP_ROTATION     "nanopush-rotation+jwt"
#define JWS_TYP_UNLOCK       "nanopush-unlock+jwt"
#define JWS_TYP_REMOVE       "nanopush-remove+jwt"

struct jws {
    char typ[JWS_TYP_SIZE];
    char kid[P256_THUMBPRINT_SIZE];
    struct bytes signing_input; /* header "." payload as sent: a view into what was parsed */
    uint8_t signature[P256_SIGNATURE_BYTES];
    struct buf payload; /* decoded */
};

/**
 * Parse, without verifying.
 *
 * @param      compact  the JWS; must outlive @p ret, whose signing_input points into it.
 * @param      max      longest JWS accepted, in bytes.
 * @param[out] ret      ended with jws_done().
 * @return ERR_OK; ERR_TOO_BIG if @p compact exceeds @p max or the header its limit; ERR_MALFORMED if it is
 * not three parts of canonical base64url, the header no JSON object or one with duplicates, or the signature
 * not 64 bytes; ERR_UNSUPPORTED if alg is another; ERR_INVALID if a header member is missing, of a wrong
 * type, not known, typ is empty or too long, or kid no thumbprint; ERR_NOMEM.
 */
MUST_CHECK enum err jws_parse(struct bytes compact, size_t max, struct jws *ret);

/** Free the payload. */
void jws_done(struct jws *jws);

/** Verify with the key that belongs to the kid. @return as p256_verify(). */
MUST_CHECK enum err jws_verify(const struct jws *jws, const uint8_t pub[P256_PUBLIC_BYTES]);

#endif
