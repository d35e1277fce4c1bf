/**
 * Views of the store as messages of the contract. Internal to portal/.
 */
#ifndef NANOPUSH_PORTAL_SNAPSHOT_H
#define NANOPUSH_PORTAL_SNAPSHOT_H

#include "domain/number.h"
#include "nanopush/v1/challenge.pb-c.h"
#include "nanopush/v1/enrolment.pb-c.h"
#include "nanopush/v1/user.pb-c.h"
#include "store/store.h"

/** A time of Redis' clock. */
Google__Protobuf__Timestamp snapshot_time(int64_t unix_ms);

/** A Challenge and what it points to; the message's strings are the view's, so it must not outlive that. */
struct challenge_snapshot {
    Nanopush__V1__Challenge message;
    Google__Protobuf__Timestamp created, expires, settled;
    Nanopush__V1__Answer answer;
    char number[NUMBER_SIZE];
    struct device_row *rows;
};

/** @return ERR_OK; ERR_CRYPTO. In either case ended with snapshot_challenge_done(). */
MUST_CHECK enum err snapshot_challenge(const struct secret *secret, const struct challenge_view *view,
                                       struct challenge_snapshot *ret);
void snapshot_challenge_done(struct challenge_snapshot *snapshot);

/** Likewise an Enrolment. */
struct enrolment_snapshot {
    Nanopush__V1__Enrolment message;
    Google__Protobuf__Timestamp created, expires;
    Nanopush__V1__EnrolledDevice device;
    char possession[44], user_verification[44]; /* thumbprints */
};

/** @return ERR_OK; ERR_CRYPTO. */
MUST_CHECK enum err snapshot_enrolment(const struct enrolment_view *view, struct enrolment_snapshot *ret);

#endif
