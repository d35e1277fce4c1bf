/**
 * Is this a good answer to that challenge? Pure: no store, no socket, no clock but the one handed in.
 *
 * In two steps, so that a signature is checked before anything is read for it: answer_open() knows the device only,
 * answer_judge() holds what was signed against the challenge (SECURITY, "Answer").
 */
#ifndef NANOPUSH_DOMAIN_ANSWER_H
#define NANOPUSH_DOMAIN_ANSWER_H

#include "crypto/jws.h"
#include "crypto/statement.h"
#include "store/store.h"

#define ANSWER_MAX_BYTES 8192 /* of the compact JWS */

struct answer {
    struct jws jws;
    struct statement statement;
    bool by_user_verification; /* which of the device's two keys signed */
};

/** True where the kid of a compact JWS names a key of @p device; whether that signed it is not looked at. */
bool answer_is_by(struct bytes compact, const Record__Device *device);

/**
 * Parse a compact JWS and verify it with the device's key that its kid names.
 * @param[out] ret  ended with answer_done(); views into @p compact, which must outlive it.
 * @return ERR_OK; ERR_MALFORMED, ERR_TOO_BIG; ERR_INVALID: its type is not an answer's, or does not fit the decision,
 *         or its claims are not as they must be; ERR_BAD_SIGNATURE, also where the kid is neither key; ERR_NOMEM;
 *         ERR_CRYPTO.
 */
MUST_CHECK enum err answer_open(struct bytes compact, const Record__Device *device, struct answer *ret);
void answer_done(struct answer *answer);

/**
 * Hold an opened answer against its challenge.
 * @param      number what the portal shows, in the modes CHOOSE and CODE.
 * @param[out] state  what the challenge becomes by it: APPROVED, DENIED, REPORTED, or FAILED for another number.
 * @return ERR_OK; ERR_INVALID: a claim is not this challenge's or this device's; ERR_DENIED: signed by the possession
 *         key where user verification is required; ERR_CRYPTO.
 */
MUST_CHECK enum err answer_judge(const struct answer *answer, const Record__Device *device,
                                 const struct challenge_view *view, const char *number,
                                 enum challenge_state *state);

#endif
