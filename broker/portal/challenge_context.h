/**
 * What a portal tells about a sign-in, checked and made into the display that phones show. Internal to portal/.
 */
#ifndef NANOPUSH_PORTAL_CHALLENGE_CONTEXT_H
#define NANOPUSH_PORTAL_CHALLENGE_CONTEXT_H

#include "base/buf.h"
#include "nanopush/v1/challenge.pb-c.h"
#include "store/record.pb-c.h"

#define CONTEXT_VALUE_MAX_BYTES 256
#define CONTEXT_FIELDS_MAX      16
#define DISPLAY_MAX_BYTES       4096

/**
 * Serialise the display of a challenge.
 * @param      context  the portal's words; NULL for none.
 * @param      other_sign_in  another sign-in of the user is under way: the person is told.
 * @param[out] ret      appended to.
 * @param[out] field    on ERR_INVALID and ERR_TOO_BIG: the path of the field that is wrong, static.
 * @return ERR_OK; ERR_INVALID: not UTF-8, or characters that deceive; ERR_TOO_BIG; ERR_NOMEM.
 */
MUST_CHECK enum err challenge_context_display(const Record__Portal *portal, const char *user,
                                              const Nanopush__V1__ChallengeContext *context,
                                              bool other_sign_in, struct buf *ret, const char **field);

#endif
