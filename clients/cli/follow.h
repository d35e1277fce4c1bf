/**
 * Follow a challenge or an enrolment to its end: a stream of snapshots that is called again when it breaks
 * off, which loses nothing, since each stream begins with the present snapshot.
 */
#ifndef NANOPUSH_CLI_FOLLOW_H
#define NANOPUSH_CLI_FOLLOW_H

#include "cli/connect.h"

#define FOLLOW_ATTEMPTS_MAX 30 /* in a row, without one snapshot */
#define FOLLOW_PAUSE_MS     500

/** One snapshot, valid during the call. @return true if it is the final one. */
typedef bool (*follow_snapshot_fn)(const ProtobufCMessage *snapshot, void *arg);

/**
 * Hand over snapshots until one is final.
 *
 * @param[out] problem  set unless ERR_OK.
 * @return ERR_OK once one was final; else as connect_stream(): ERR_UNAVAILABLE only after
 * FOLLOW_ATTEMPTS_MAX.
 */
MUST_CHECK enum err follow(struct connect_client *client, const char *procedure,
                           const ProtobufCMessage *request, const ProtobufCMessageDescriptor *descriptor,
                           follow_snapshot_fn on_snapshot, void *arg, struct connect_problem *problem);

#endif
