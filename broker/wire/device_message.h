/**
 * The frames that travel between workers before they reach a phone: built where the news is, written where the phone
 * hangs (proto/nanopush/v1/device.proto).
 */
#ifndef NANOPUSH_WIRE_DEVICE_MESSAGE_H
#define NANOPUSH_WIRE_DEVICE_MESSAGE_H

#include <stdint.h>

#include "base/buf.h"

/** A ChallengePush; views and strings are the caller's. mode, user_verification: numbers of nanopush.v1. */
struct push_message {
    const char *challenge_id, *device_id, *portal_id;
    uint32_t attempt;
    struct bytes display, nonce;
    int mode, user_verification;
    int64_t expire_unix_ms, broker_unix_ms;
    const char *const *options; /* mode CHOOSE: what to offer */
    size_t option_count;
};

/** Append a ChallengePush frame. @return ERR_OK; ERR_TOO_BIG; ERR_NOMEM. */
MUST_CHECK enum err device_message_push(const struct push_message *push, struct buf *out);

/**
 * Append a Resolved frame.
 * @param state      number of nanopush.v1.ChallengeState.
 * @param device_id  whose answer it was, or "".
 * @return ERR_OK; ERR_NOMEM.
 */
MUST_CHECK enum err device_message_resolved(const char *challenge_id, int state, const char *device_id,
                                            struct buf *out);

/**
 * Append a Notice frame.
 * @param kind           number of nanopush.v1.Notice.Kind.
 * @param phone_name     of PHONE_ADDED and PHONE_REMOVED, else "".
 * @param until_unix_ms  of LOCKED, else 0.
 * @return ERR_OK; ERR_NOMEM.
 */
MUST_CHECK enum err device_message_notice(const char *device_id, int kind, const char *phone_name,
                                          int64_t until_unix_ms, struct buf *out);

#endif
