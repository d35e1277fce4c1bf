/**
 * What a portal checks before it moves its pin of a phone: that each rotation from the keys that it pinned to
 * those that the broker shows was signed by the user-verification key before it. A pure function: no file, no
 * broker.
 */
#ifndef NANOPUSH_CLI_ROTATION_CHECK_H
#define NANOPUSH_CLI_ROTATION_CHECK_H

#include "cli/pins.h"
#include "nanopush/v1/user.pb-c.h"

#define ROTATION_JWS_MAX_BYTES 4096
#define ROTATIONS_MAX          10000 /* of one phone */

/**
 * Follow Device.rotations, oldest first, from the one that the pinned user-verification key signed; those
 * before it are passed over. Each must be of type nanopush-rotation+jwt (device.proto, Rotate), of this
 * phone, organisation and user, and its generation one more than the one before; the key that it shows must
 * have the thumbprint tp2 that it claims, and verifies the next one. The last must name the keys of now.
 *
 * @param      pinned  the phone, as the portal knows it; may be @p ret.
 * @param      device  what the broker says.
 * @param[out] ret     the phone to pin instead; its texts are @p pinned's.
 * @return ERR_OK; ERR_NOT_FOUND if the pinned key signed none, so that there is nothing to follow;
 * ERR_BAD_SIGNATURE if one is not signed by the key before it or shows another key than it names, or the last
 * does not name the keys of now; ERR_INVALID if its type or claims are others; ERR_LIMIT; what jws_parse(),
 * act_parse() and p256_check_public() say; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err rotation_check(const struct pinned_device *pinned, const char *user,
                                   const Nanopush__V1__Device *device, struct pinned_device *ret);

#endif
