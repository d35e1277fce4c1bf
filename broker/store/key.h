/**
 * The names of everything in Redis. One prefix with the format's version; whatever belongs to a user stands under the
 * user's tag as hash tag, so that any script's keys are in one slot.
 *
 *     np1:org:{<id>}  np1:portal:{<id>}                        sealed records
 *     np1:index:{organisations}  np1:index:{portals}           sorted sets: the ids of those that there are
 *     np1:portal:{<id>}:permits                                hash: a token bucket (lua/portal_lease.lua)
 *     np1:certificate:{<fingerprint>}                          the portal that a client certificate is pinned to
 *     np1:{<tag>}:user                                         hash: organisation, name
 *     np1:{<tag>}:devices                                      hash: device id -> sealed record behind a readable head
 *     np1:{<tag>}:presence                                     hash: device id -> inbox#connection#capabilities
 *     np1:{<tag>}:pending                                      hash: challenge id -> expiry, need, portal, session
 *     np1:{<tag>}:enrolments                                   hash: ids of enrolments that may be open
 *     np1:{<tag>}:limits                                       hash: backoff, locks, counts (lua/limits.lua)
 *     np1:{<tag>}:c:<challenge id>   np1:{<tag>}:e:<enrolment id>   hashes
 *     np1:{<tag>}:i:<hash>                                     idempotency: challenge id, hash of the request
 *     np1:key:{<hash>}                                         the device that a phone's public key belongs to
 *     np1:users:{<org>:<first digit of the tag>}               sorted set: names of users
 *     np1:events:{<org>}                                       stream of what happened (EventService)
 *     np1:events:{<org>}:state                                 hash: number and time of the newest; who watches
 *     np1:events:{<org>}:<uid>                                 an event that is in there, for a minute
 *     np1:inbox:{<inbox>}                                      stream of hints to one worker
 *     np1:{lineage}                                            what all masters that Sentinels name have had (redis_login.h)
 */
#ifndef NANOPUSH_STORE_KEY_H
#define NANOPUSH_STORE_KEY_H

#include "base/bytes.h"
#include "base/id.h"

#define KEY_SIZE                192 /* characters of the longest key, NUL included */
#define NAME_MAX_LEN            64  /* of an organisation's or portal's id */
#define INBOX_SIZE              48  /* of an inbox's name, NUL included */

#define DEVICE_KEY_DIGEST_BYTES 16 /* of a possession key: the first bytes of its SHA-256 */

/** A key's name, by value. */
struct key {
    char text[KEY_SIZE];
};

struct key key_organisation(const char *id);
struct key key_portal(const char *id);
struct key key_permits(const char *portal);

/** Which ids there are: @p what is "organisations" or "portals". */
struct key key_index(const char *what);

/** The users of an organisation whose tags begin with the digit @p shard. */
struct key key_users(const char *organisation, char shard);

/** The events of an organisation: the stream, what is noted of it, one that is in there. */
struct key key_events(const char *organisation);
struct key key_events_state(const char *organisation);
struct key key_event(const char *organisation, const char *uid);

/** @p fingerprint: hex of the SHA-256 of a client certificate. */
struct key key_certificate(const char *fingerprint);
struct key key_inbox(const char *inbox);

/** @p hash: hex of the SHA-256 of a public key. */
struct key key_public(const char *hash);

/** The user's own: @p part is "user", "devices", "presence", "pending", "limits" or "enrolments"; @p tag has TAG_LEN characters. */
struct key key_user(const char *tag, const char *part);

/** Of a valid id. */
struct key key_challenge(const char *id);
struct key key_enrolment(const char *id);

/** @p hash: hex of the SHA-256 over portal and idempotency key. */
struct key key_idempotency(const char *tag, const char *hash);

#endif
