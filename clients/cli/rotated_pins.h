/**
 * Bring the pins file up to date with the rotations of a user's phones, as far as they prove themselves.
 */
#ifndef NANOPUSH_CLI_ROTATED_PINS_H
#define NANOPUSH_CLI_ROTATED_PINS_H

#include "cli/session.h"

/**
 * Ask the broker for the user, and move the pin of each phone whose keys are others now along its rotations
 * (rotation_check()). A phone that is not pinned stays so. What does not hold is said, and its pin stays.
 *
 * @param session  a portal's; no call of it is under way.
 * @return EXIT_STATUS_OK; EXIT_STATUS_ERROR, said on standard error.
 */
MUST_CHECK enum exit_status rotated_pins_follow(struct session *session, const char *pins_path,
                                                const char *user);

#endif
