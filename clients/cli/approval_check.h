/**
 * What a portal checks before it signs somebody in: the seven points at message Answer of challenge.proto,
 * all of them, in their order, against nothing but what the portal knows by itself. A pure function: no file,
 * no clock, no broker.
 *
 * What it cannot know is whether the nonce was accepted before: the caller forgets what was asked as it
 * accepts.
 */
#ifndef NANOPUSH_CLI_APPROVAL_CHECK_H
#define NANOPUSH_CLI_APPROVAL_CHECK_H

#include "base/bytes.h"
#include "cli/pins.h"
#include "nanopush/v1/challenge.pb-c.h"

#define APPROVAL_JWS_MAX_BYTES       16384

#define APPROVAL(ident, point, text) APPROVAL_##ident,
enum approval {
#include "cli/approval.def"
    APPROVAL_COUNT
};
#undef APPROVAL

/** What was asked, and of whom: from the portal's own records. */
struct approval_request {
    const char *challenge_id;
    const char *portal;                                /* the portal's id */
    const Nanopush__V1__CreateChallengeRequest *asked; /* its nonce is not empty */
    const char *number;                                /* that the portal showed; empty: none */
    const struct pinned_device *devices;               /* of the user */
    size_t device_count;
};

/**
 * Check an answer.
 *
 * Mode: TAP is weaker than CHOOSE, CHOOSE than CODE. A mode that was not asked for by name is the broker's
 * choice, and refused. Where a number was shown an answer by TAP is too weak, whatever was asked.
 * User verification: PREFERRED and NOT_ASKED take either key. Display: what was asked
 * must stand in it as asked and nothing else; the display names of organisation and portal are the broker's
 * registry's and not compared.
 *
 * @param jws         Answer.jws.
 * @param display     Challenge.display.
 * @param now_unix_s  now, by the portal's own clock.
 * @return APPROVAL_VERIFIED, or the first thing that is wrong. Anything but APPROVAL_VERIFIED is a refusal.
 */
MUST_CHECK enum approval approval_check(const struct approval_request *request, struct bytes jws,
                                        struct bytes display, int64_t now_unix_s);

/**
 * Whether the key that @p jws names is one of these phones'. False is no finding yet: the phone may have
 * rotated its keys. What is no JWS names none.
 */
bool approval_key_known(struct bytes jws, const struct pinned_device *devices, size_t device_count);

/** The finding in words, "its nonce is not the one that was sent". Never NULL, static. */
const char *approval_text(enum approval approval);

/** The point of the list that it belongs to, 1 to 7; 0 for none. */
int approval_point(enum approval approval);

#endif
