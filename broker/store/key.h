/**
 * The names of everything in Redis. One prefix with the format's version; whatever belongs to a user stands under the
 * user's tag as hash tag, so that any script's keys are in one slot. key.def is the table of them, with their lives.
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
