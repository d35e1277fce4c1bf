/**
 * Follow a challenge to its end, print each step once, and decide by the portal's own records whether
 * somebody may be signed in.
 */
#ifndef NANOPUSH_CLI_FOLLOW_CHALLENGE_H
#define NANOPUSH_CLI_FOLLOW_CHALLENGE_H

#include "cli/session.h"
#include "nanopush/v1/challenge.pb-c.h"

/** What was asked, as this portal knows it. */
struct question {
    const char *challenge_id;
    const Nanopush__V1__CreateChallengeRequest *asked; /* NULL: not known here, so no approval can verify */
    const char *number;                                /* that was shown; empty: none */
    const char *pins_path;                             /* NULL: no phone is pinned, likewise */
};

/**
 * Follow the challenge.
 *
 * An approval that verifies is forgotten in the pins file first, and counts only when that is on disk: it is
 * accepted once. One that ended otherwise is forgotten as well.
 *
 * @return what the program ends with: EXIT_STATUS_OK only for an approval that verified; errors are said.
 */
MUST_CHECK enum exit_status follow_challenge(struct session *session, const struct question *question);

#endif
