/**
 * The other signed acts of a phone: rotation, unlock, remove (SECURITY, "Other signed acts of a phone"). The JWS around
 * them is jws.h's; this is the payload, a JSON object with exactly the claims of its type:
 *
 *     rotation        v iss org sub gen iat tp1 tp2
 *     unlock, remove  v iss org sub gen iat cb
 */
#ifndef NANOPUSH_CRYPTO_ACT_H
#define NANOPUSH_CRYPTO_ACT_H

#include "crypto/inputs.h"
#include "crypto/statement.h"

struct act {
    char iss[STATEMENT_STRING_MAX_BYTES + 1]; /* device id */
    char org[STATEMENT_STRING_MAX_BYTES + 1];
    char sub[STATEMENT_STRING_MAX_BYTES + 1]; /* user */
    uint32_t gen;
    int64_t iat_s;
    char tp1[P256_THUMBPRINT_SIZE], tp2[P256_THUMBPRINT_SIZE]; /* rotation: of the new keys */
    uint8_t cb[CHANNEL_BINDING_BYTES];                         /* unlock, remove */
};

/**
 * Parse the claims of a rotation (@p rotation), or of unlock and remove. Duplicate, missing and unknown claims are
 * refused, and so are other types and versions.
 * @return ERR_OK; ERR_TOO_BIG above STATEMENT_MAX_BYTES; ERR_MALFORMED if it is no JSON object or has a duplicate;
 *         ERR_INVALID for its claims.
 */
MUST_CHECK enum err act_parse(struct bytes payload, bool rotation, struct act *ret);

#endif
