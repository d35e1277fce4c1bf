/**
 * The claims of an answer: what a phone says about a challenge, as the payload of a JWS (jws.h).
 *
 * Parsing is strict and says nothing about whether the claims are true: the caller compares them with the
 * challenge, the device, and the key that signed.
 */
#ifndef NANOPUSH_CRYPTO_STATEMENT_H
#define NANOPUSH_CRYPTO_STATEMENT_H

#include "base/bytes.h"
#include "crypto/digest.h"
#include "crypto/secret.h"

#define STATEMENT_VERSION          1
#define STATEMENT_MAX_BYTES        8192 /* of JSON */
#define STATEMENT_STRING_MAX_BYTES 256  /* of UTF-8, each of iss, org, sub, aud, jti */
#define STATEMENT_NONCE_MIN_BYTES  16
#define STATEMENT_NONCE_MAX_BYTES  64
#define STATEMENT_TIME_MAX_S       253402300799 /* the last second of the year 9999 */

enum statement_decision { DECISION_APPROVE, DECISION_DENY, DECISION_NOT_ME, DECISION_COUNT };

enum statement_mode { MODE_TAP, MODE_CHOOSE, MODE_CODE, MODE_COUNT };

struct statement {
    char iss[STATEMENT_STRING_MAX_BYTES + 1]; /* device id */
    char org[STATEMENT_STRING_MAX_BYTES + 1];
    char sub[STATEMENT_STRING_MAX_BYTES + 1]; /* user */
    char aud[STATEMENT_STRING_MAX_BYTES + 1]; /* portal id */
    char jti[STATEMENT_STRING_MAX_BYTES + 1]; /* challenge id */
    uint8_t nonce[STATEMENT_NONCE_MAX_BYTES];
    size_t nonce_len;
    enum statement_decision decision;
    enum statement_mode mode;
    char code[CODE_MAX_DIGITS + 1]; /* as entered; empty unless an approve by CHOOSE or CODE */
    uint8_t display[SHA256_BYTES];  /* compare with input_display_digest() */
    uint32_t gen;
    int64_t iat_s, exp_s; /* seconds since 1970, 0..STATEMENT_TIME_MAX_S */
};

/**
 * Parse a payload. The claims are v, iss, org, sub, aud, jti, nonce, decision, mode, display, gen, iat, exp,
 * all of them required, and code, required when the decision is approve and the mode choose or code, refused
 * otherwise.
 *
 * @param      payload  JSON (jws.payload); copied from, not kept.
 * @param[out] ret      owns nothing; there is nothing to free.
 * @return ERR_OK; ERR_TOO_BIG above STATEMENT_MAX_BYTES; ERR_MALFORMED if it is no JSON object or has
 * duplicates; ERR_UNSUPPORTED if v is an integer other than 1; ERR_INVALID if a claim is missing, not known,
 * of a wrong type (a whole number written as 1.0 is one), or outside its bounds.
 */
MUST_CHECK enum err statement_parse(struct bytes payload, struct statement *ret);

/** The claim's text, "not_me". Static. */
const char *statement_decision_text(enum statement_decision decision);

/** The claim's text, "choose". Static. */
const char *statement_mode_text(enum statement_mode mode);

#endif
