/**
 * What a portal checks before it pins a phone: that the keys which the broker shows are those of the phone
 * that scanned *this* QR code, by the proof that only a phone which knows s can have made. A pure function.
 */
#ifndef NANOPUSH_CLI_ENROLMENT_CHECK_H
#define NANOPUSH_CLI_ENROLMENT_CHECK_H

#include "base/bytes.h"
#include "cli/pins.h"
#include "nanopush/v1/enrolment.pb-c.h"

/**
 * @param      pending       what the portal remembers of the enrolment: user, organisation, s.
 * @param      enrolment_id  likewise.
 * @param      device        what the broker says.
 * @param[out] ret           the phone to pin; its device_id is @p device's, its org @p pending's.
 * @return ERR_OK; ERR_MALFORMED, ERR_INVALID if a key is no point on P-256 or both are one; ERR_BAD_SIGNATURE
 * if a thumbprint is not its key's or the proof is missing or wrong; ERR_TOO_BIG; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err enrolment_check(const struct pending_enrolment *pending, const char *enrolment_id,
                                    const Nanopush__V1__EnrolledDevice *device, struct pinned_device *ret);

#endif
