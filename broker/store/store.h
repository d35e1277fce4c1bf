/**
 * The one port to Redis: what the broker remembers, as typed calls.
 *
 * Every call is asynchronous: it returns a handle, and its callback runs once, later, never inside the call. Until
 * then store_cancel() guarantees silence (what was sent may still take effect). The handle is gone when the callback
 * runs. A call fails with ERR_UNAVAILABLE when Redis cannot be reached within the option store_timeout_ms; the scripts
 * are idempotent by their natural keys, so a caller may repeat any call, and the store itself sends what was in flight
 * again after a reconnection.
 *
 * What the store hands to a callback is valid during the callback only. Records are sealed and checked in here: a
 * caller never sees one whose seal does not fit (ERR_BAD_SIGNATURE, counted). Pending in Redis is the truth; a hint
 * only says that it changed.
 *
 * Every callback's error may be ERR_UNAVAILABLE, ERR_TIMEOUT, ERR_BAD_SIGNATURE, ERR_MALFORMED (not what our scripts
 * write), ERR_NOMEM, ERR_CRYPTO; each call names those of its own.
 */
#ifndef NANOPUSH_STORE_STORE_H
#define NANOPUSH_STORE_STORE_H

#include "base/buf.h"
#include "core/loop.h"
#include "store/challenge_state.h"
#include "store/key.h"
#include "store/record.pb-c.h"

struct secret;
struct redis_options;
struct store;
struct store_call;

struct store_options {
    const struct redis_options *redis; /* where, and how; kept by the caller for as long as the store lives */
    unsigned timeout_ms;               /* of every call */
    unsigned slot;                     /* this worker's number, for the inbox's name */
};

/** What the store tells its owner; called from the loop, never inside a call. Members may be NULL. */
struct store_events {
    void (*on_hint)(const Record__Hint *hint, void *arg);
    /* Connected, again: hints may have been missed meanwhile. */
    void (*on_up)(void *arg);
    /* A new generation of the inbox: presence and waiters that name the old one are void; announce them again. */
    void (*on_inbox)(void *arg);
};

/**
 * Connect, and open an inbox where @p events has an on_hint. Returns at once; calls wait for the connection.
 * @param secret  kept by the caller for as long as the store lives.
 */
struct store *store_open(struct loop *loop, const struct secret *secret, const struct store_options *options,
                         const struct store_events *events, void *arg);

/**
 * Remove the inbox and close. Calls under way fail with ERR_UNAVAILABLE, within this call: what they were made for must
 * still be there. NULL is allowed.
 */
void store_close(struct store *store);

/** True while connected, to all of a Cluster. */
bool store_up(const struct store *store);

/** Since when store_up() says what it says. */
int64_t store_since_unix_ms(const struct store *store);

/** For people, which part of a Cluster is gone; nothing where none is. @return ERR_OK; ERR_NOMEM (@p out may hold a part). */
MUST_CHECK enum err store_describe(const struct store *store, struct buf *out);

/** The present inbox's name; "" while there is none. */
const char *store_inbox(const struct store *store);

/** Silence: the callback will not run. NULL is allowed. */
void store_cancel(struct store_call *call);

typedef void (*store_done_fn)(enum err e, void *arg);

/** A deep copy of any record, freed with protobuf_c_message_free_unpacked() or its type's own. Never NULL. */
ProtobufCMessage *store_record_copy(const ProtobufCMessage *record);

/** Ask whether Redis answers at all; @p fn's error as every call's. */
struct store_call *store_ping(struct store *store, store_done_fn fn, void *arg);

/* ---- routing: who holds what ---- */

/** Where a device hangs: connection @p connection of the worker that reads @p inbox. inbox "" means nowhere. */
struct presence {
    char inbox[INBOX_SIZE];
    uint64_t connection;
    unsigned capabilities; /* what the phone said that it can do: enum capability */
};

enum capability { CAPABILITY_CHOOSE = 1, CAPABILITY_CODE = 2 };

struct route {
    char device_id[ID_SIZE];
    struct presence presence;
};

/** Whom to tell: devices, and the inboxes that wait for a challenge or enrolment. */
struct routes {
    const struct route *devices;
    size_t device_count;
    const char (*inboxes)[INBOX_SIZE];
    size_t inbox_count;
};

typedef void (*store_told_fn)(enum err e, const struct routes *told, void *arg);

enum hint_kind {
    HINT_NONE,
    HINT_PUSH,     /* write frame to the device, which has a new challenge id */
    HINT_RESOLVED, /* write frame to the device: challenge id is over */
    HINT_CHANGED,  /* challenge or enrolment id changed: whoever waits reads it */
    HINT_NOTICE,   /* write frame to the device: something that its owner should know */
    HINT_TAKEN,    /* the device's connection was taken over by another, or the device is gone: end it */
    HINT_EVENTS,   /* organisation id has new events: whoever watches them reads them */
    HINT_PROBE,    /* this worker's own: number connection came through */
};

/**
 * Put a hint into another worker's inbox.
 * @p fn may be NULL. Its error: ERR_NOT_FOUND if there is no such inbox: that worker is dead.
 */
struct store_call *store_hint(struct store *store, const char *inbox, const Record__Hint *hint,
                              store_done_fn fn, void *arg);

/**
 * Put a HINT_PROBE into the own inbox, which there must be, through a script.
 * Errors: ERR_NOT_FOUND if the inbox is gone.
 */
struct store_call *store_probe(struct store *store, uint64_t number, store_done_fn fn, void *arg);

/* ---- registry ---- */

struct portal_view {
    const Record__Portal *record;
    struct bytes fence;  /* the stored bytes, to be handed to store_portal_replace() */
    int64_t now_unix_ms; /* Redis' clock */
};

/** @p fence: the stored bytes, to be handed to store_organisation_replace(). */
typedef void (*store_organisation_fn)(enum err e, const Record__Organisation *organisation,
                                      struct bytes fence, void *arg);
typedef void (*store_portal_fn)(enum err e, const struct portal_view *view, void *arg);

/** Errors: ERR_EXISTS, another one of that id is there. */
struct store_call *store_organisation_put(struct store *store, const Record__Organisation *organisation,
                                          store_done_fn fn, void *arg);
struct store_call *store_portal_put(struct store *store, const Record__Portal *portal, store_done_fn fn,
                                    void *arg);

/** Errors: ERR_NOT_FOUND. */
struct store_call *store_organisation_get(struct store *store, const char *id, store_organisation_fn fn,
                                          void *arg);
struct store_call *store_portal_get(struct store *store, const char *id, store_portal_fn fn, void *arg);

/** Put it in the place of what @p fence shows. Errors: ERR_BAD_STATE: it has changed since. */
struct store_call *store_organisation_replace(struct store *store, struct bytes fence,
                                              const Record__Organisation *organisation, store_done_fn fn,
                                              void *arg);
struct store_call *store_portal_replace(struct store *store, struct bytes fence, const Record__Portal *portal,
                                        store_done_fn fn, void *arg);

/** @p retry_ms: with none granted, when there is one again. */
typedef void (*store_lease_fn)(enum err e, unsigned granted, unsigned retry_ms, void *arg);

/** Take up to @p wanted permits for calls of a portal, of @p per_s a second and up to @p most that gather. */
struct store_call *store_portal_lease(struct store *store, const char *portal, unsigned per_s, unsigned most,
                                      unsigned wanted, store_lease_fn fn, void *arg);

/**
 * Pin a client certificate (SHA-256 of it) to a portal, or give it up. Like the index it is only where to look: whose it
 * is says the portal's record. Errors: ERR_EXISTS: it is pinned to another.
 */
struct store_call *store_certificate_pin(struct store *store, const uint8_t fingerprint[32],
                                         const char *portal, bool pinned, store_done_fn fn, void *arg);

/** @p portal: NULL on error. */
typedef void (*store_holder_fn)(enum err e, const char *portal, void *arg);

/** Which portal it is pinned to. Errors: ERR_NOT_FOUND. */
struct store_call *store_certificate_get(struct store *store, const uint8_t fingerprint[32],
                                         store_holder_fn fn, void *arg);

/**
 * The ids that there are, which is no more than a table of contents: an id is entered before its record is put, and
 * taken out after it is gone, so whoever lists reads each record and passes over what is not there.
 */
enum registry_index { INDEX_ORGANISATIONS, INDEX_PORTALS };

#define INDEX_PAGE_MAX 100

struct name_list {
    const char (*at)[NAME_MAX_LEN + 1];
    size_t count;
};

typedef void (*store_names_fn)(enum err e, const struct name_list *names, void *arg);

/** Enter an id, or take it out. */
struct store_call *store_index_set(struct store *store, enum registry_index index, const char *id, bool there,
                                   store_done_fn fn, void *arg);

/** Up to @p count (INDEX_PAGE_MAX) ids behind @p after, "" for the first, in the order of their bytes. */
struct store_call *store_index_list(struct store *store, enum registry_index index, const char *after,
                                    size_t count, store_names_fn fn, void *arg);

/* ---- enrolment ---- */

enum enrolment_state { /* numbers of nanopush.v1.EnrolmentState */
                       ENROLMENT_NONE,
                       ENROLMENT_WAITING,
                       ENROLMENT_TO_CONFIRM,
                       ENROLMENT_DONE,
                       ENROLMENT_EXPIRED,
                       ENROLMENT_VOID,
                       ENROLMENT_CANCELLED,
                       ENROLMENT_TO_APPROVE,
                       ENROLMENT_SCANNED, /* in Redis: waiting, with the time of it beside */
};

/** True for the states in which something can still come of it. */
bool enrolment_state_open(enum enrolment_state state);

struct enrolment_view {
    const Record__Enrolment *record;
    struct bytes fence; /* the stored bytes, to be handed to use and cancel */
    enum enrolment_state state;
    uint64_t revision;
    int64_t now_unix_ms, create_unix_ms, expire_unix_ms; /* Redis' clock */
    const Record__Enrolled *enrolled;                    /* in TO_CONFIRM, TO_APPROVE, DONE; else NULL */
    bool just_expired;                                   /* this very read let it expire: */
    struct routes told;                                  /* tell them */
};

typedef void (*store_enrolment_create_fn)(enum err e, int64_t expire_unix_ms, void *arg);
typedef void (*store_enrolment_fn)(enum err e, const struct enrolment_view *view, void *arg);

struct store_call *store_enrolment_create(struct store *store, const Record__Enrolment *record,
                                          unsigned life_ms, store_enrolment_create_fn fn, void *arg);

/** With @p wait this worker's inbox is told of changes. Errors: ERR_NOT_FOUND. @p id is valid. */
struct store_call *store_enrolment_get(struct store *store, const char *id, bool wait, store_enrolment_fn fn,
                                       void *arg);

/** A phone has opened it. The caller has compared the token. Errors: ERR_NOT_FOUND; ERR_EXPIRED: it waits for no phone. */
struct store_call *store_enrolment_scan(struct store *store, const char *id, struct bytes fence,
                                        store_told_fn fn, void *arg);

/** What a step of an enrolment led to. */
struct enrolment_step {
    enum enrolment_state state;
    bool moved; /* by this very call; false for a repeat */
    struct routes
        told; /* inboxes: who waits; devices: old phones to be told of the new one, or the one made void */
};

typedef void (*store_enrolment_step_fn)(enum err e, const struct enrolment_step *step, void *arg);

struct enrolment_use {
    const char *id;
    struct bytes fence;
    const Record__Enrolled *enrolled; /* what is presented, complete */
    bool may_add;                     /* the user may have a phone already, and need not be asked on it */
    bool confirm;                     /* a code is to be confirmed first */
    unsigned devices_max, capabilities;
};

/**
 * Use the token, once. The caller has compared it with the record's hash. The same keys again: the present state.
 * Errors: ERR_NOT_FOUND (the fence does not fit); ERR_EXPIRED (also cancelled); ERR_BAD_STATE: void, because other keys
 * have used it (@p step is given: tell them); ERR_EXISTS: the user has this very phone; ERR_LIMIT.
 */
struct store_call *store_enrolment_use(struct store *store, const struct enrolment_use *use,
                                       store_enrolment_step_fn fn, void *arg);

struct enrolment_advance {
    const char *id;
    struct bytes fence;
    enum enrolment_state from;    /* TO_CONFIRM or TO_APPROVE */
    bool good;                    /* false: a wrong code, or refused: it becomes VOID */
    const Record__Device *device; /* what it is to become, from the sealed Enrolled */
    bool may_add;
    unsigned devices_max;
};

/** The next step. Errors: ERR_NOT_FOUND; ERR_BAD_STATE: it is not in that state (any more). */
struct store_call *store_enrolment_advance(struct store *store, const struct enrolment_advance *advance,
                                           store_enrolment_step_fn fn, void *arg);

/**
 * Claim a key for a device, for a while; with @p keep for good, once what it was claimed for has succeeded. @p fn may be
 * NULL. Errors: ERR_EXISTS: it is another's.
 */
struct store_call *store_key_claim(struct store *store, struct bytes public_key, const char *device_id,
                                   bool keep, store_done_fn fn, void *arg);

/** Errors: ERR_NOT_FOUND. One that is final stays as it is. */
struct store_call *store_enrolment_cancel(struct store *store, const char *id, struct bytes fence,
                                          store_told_fn fn, void *arg);

/* ---- devices ---- */

struct device_attached {
    const Record__Device *device;
    int64_t now_unix_ms;
    struct presence taken; /* whom this attach took the device from; inbox "" for nobody */
    const char (*pending)[ID_SIZE];
    size_t pending_count;
    int64_t locked_until_unix_ms; /* 0: push is not locked */
};

typedef void (*store_device_attach_fn)(enum err e, const struct device_attached *attached, void *arg);

/** How a possession key is named where the key itself is not needed. @return ERR_OK; ERR_CRYPTO. */
MUST_CHECK enum err store_key_digest(struct bytes possession_key, uint8_t out[DEVICE_KEY_DIGEST_BYTES]);

/**
 * Write @p presence and read what is pending, in one step.
 * @p generation and @p key_digest are of what a verified Hello named.
 * Errors: ERR_DENIED: unknown, revoked, or of other keys.
 */
struct store_call *store_device_attach(struct store *store, const char *device_id, uint32_t generation,
                                       const uint8_t key_digest[DEVICE_KEY_DIGEST_BYTES],
                                       const struct presence *presence, store_device_attach_fn fn, void *arg);

/** The presence of @p connection of this worker, with the inbox of now. */
struct presence store_presence(const struct store *store, uint64_t connection, unsigned capabilities);

/** Clear presence if it still is @p presence; @p fn may be NULL. */
struct store_call *store_device_detach(struct store *store, const char *device_id,
                                       const struct presence *presence, store_done_fn fn, void *arg);

struct user_device {
    const Record__Device *record;
    struct presence presence;
};

struct user_view {
    const struct user_device *devices;
    size_t device_count;
    int64_t locked_until_unix_ms; /* 0: push is not locked */
    int64_t now_unix_ms;
};

typedef void (*store_user_fn)(enum err e, const struct user_view *view, void *arg);

/** Errors: ERR_NOT_FOUND: no user of that tag ever began to enrol. */
struct store_call *store_user_get(struct store *store, const char *tag, store_user_fn fn, void *arg);

struct device_removed {
    struct presence presence;     /* where it hung: end that connection */
    const Record__Device *device; /* what it was; NULL where it was gone already */
    struct routes others;         /* to be told */
};

typedef void (*store_device_remove_fn)(enum err e, const struct device_removed *removed, void *arg);

/**
 * Take a device off its user: from the reply on no answer of it counts. @p verified: what the wish was verified with, or
 * NULL for an administrator's. Errors: ERR_DENIED: the device is not what was verified.
 */
struct store_call *store_device_remove(struct store *store, const char *device_id,
                                       const Record__Device *verified, store_device_remove_fn fn, void *arg);

/** Put @p next, of the next generation or another name, in the place of @p present. Errors: ERR_DENIED: it is not @p present any more. */
struct store_call *store_device_rotate(struct store *store, const Record__Device *present,
                                       const Record__Device *next, store_done_fn fn, void *arg);

/**
 * Lift the lock of the user @p tag; @p verified as for store_device_remove(). @p fn gets the user's devices, to be told:
 * none where a device asked and there was nothing to lift.
 * Errors: ERR_DENIED; ERR_NOT_FOUND: no such user.
 */
struct store_call *store_user_unlock(struct store *store, const char *tag, const Record__Device *verified,
                                     store_told_fn fn, void *arg);

struct user_deleted {
    bool existed;
    struct routes routes; /* devices that were there: end their connections */
    const char (*challenges)[ID_SIZE], (*enrolments)[ID_SIZE]; /* still open: to be ended one by one */
    size_t challenge_count, enrolment_count;
};

typedef void (*store_user_delete_fn)(enum err e, const struct user_deleted *deleted, void *arg);

/** Delete the user of @p tag; one that is not there is as good. From the reply on nothing of it counts. */
struct store_call *store_user_delete(struct store *store, const char *tag, store_user_delete_fn fn,
                                     void *arg);

#define USER_NAME_SIZE 257 /* NUL included */
#define USERS_PAGE_MAX 100
#define USER_SHARDS    "0123456789abcdef" /* a user's is the first digit of the tag */

struct user_names {
    const char (*at)[USER_NAME_SIZE];
    size_t count;
};

typedef void (*store_user_names_fn)(enum err e, const struct user_names *names, void *arg);

/**
 * Enter a user into the table of contents of its organisation, or take it out. No more than that: whoever lists reads each
 * user and passes over what is not there. @p fn may be NULL.
 */
struct store_call *store_user_index_set(struct store *store, const char *organisation, char shard,
                                        const char *user, bool there, store_done_fn fn, void *arg);

/** Up to @p count (USERS_PAGE_MAX) names of @p shard behind @p after, "" for the first, in the order of their bytes. */
struct store_call *store_user_index_list(struct store *store, const char *organisation, char shard,
                                         const char *after, size_t count, store_user_names_fn fn, void *arg);

/* ---- challenges ---- */

struct challenge_create {
    const Record__Challenge *record;
    const char *pending_of;  /* who may have one pending challenge: the portal, or "#enrolment" */
    const char *session;     /* hex SHA-256 of portal and browser session; "" for none */
    const char *idempotency; /* hex SHA-256 of portal and key; NULL for none */
    const char *asked;       /* hex SHA-256 of the request; used with idempotency */
    const char *supersede;   /* id of the pending one that it may replace; NULL for none */
    unsigned needed;         /* enum capability that a phone must have; 0 for none */
    bool shows_code;         /* it may supersede one of another browser session */
    bool wait;               /* this worker's inbox is told of changes */
};

struct challenge_created {
    int64_t now_unix_ms, expire_unix_ms;
    struct bytes fence; /* as challenge_view's */
    bool told;          /* it is new, of revision 1, and the inbox of now is told of all that happens to it */
    struct routes routes; /* whom to push to */
    struct routes others; /* superseded: who waits for that one, and the phones that may show it */
    char other_id
        [ID_SIZE];     /* ERR_BAD_STATE: the pending one; ERR_OK and replay: the challenge it stands for */
    bool superseded;   /* the one named in supersede has just become that */
    bool other_may_go; /* ERR_BAD_STATE: name it in supersede and try again */
    bool other_same_session; /* likewise: it is of the same browser session */
    bool replay;
    bool locked;           /* ERR_LIMIT: push is locked; else it is delayed only */
    int64_t until_unix_ms; /* ERR_LIMIT: until when */
};

typedef void (*store_challenge_create_fn)(enum err e, const struct challenge_created *created, void *arg);

/**
 * Errors: ERR_NOT_FOUND: unknown user; ERR_DENIED: no phone; ERR_UNSUPPORTED: none that can do it; ERR_EXISTS: the
 * idempotency key stands for another request; ERR_BAD_STATE: another challenge is pending (@p created says which);
 * ERR_LIMIT: locked or delayed (@p created says until when).
 */
struct store_call *store_challenge_create(struct store *store, const struct challenge_create *create,
                                          store_challenge_create_fn fn, void *arg);

struct challenge_progress {
    char device_id[ID_SIZE];
    unsigned progress; /* nanopush.v1.Progress */
    int64_t sent_unix_ms, delivered_unix_ms, seen_unix_ms;
};

struct challenge_view {
    const Record__Challenge *record;
    struct bytes fence;
    enum challenge_state state;
    uint64_t revision;
    unsigned attempt; /* 1, and one more with each resend */
    int64_t now_unix_ms, create_unix_ms, expire_unix_ms,
        settle_unix_ms;                   /* Redis' clock; settle 0 while pending */
    const Record__Settlement *settlement; /* of the states that an answer makes; never missing then */
    const struct challenge_progress *progress;
    size_t progress_count;
    size_t attached_count; /* phones that were attached when it was made, and to get it; 0: not known */
};

typedef void (*store_challenge_fn)(enum err e, const struct challenge_view *view, void *arg);

/** With @p wait this worker's inbox is told of changes. Errors: ERR_NOT_FOUND. @p id is valid. */
struct store_call *store_challenge_get(struct store *store, const char *id, bool wait, store_challenge_fn fn,
                                       void *arg);

#define REACHED_STEPS 3 /* SENT, DELIVERED, SEEN */

#define REACHED_MAX   100 /* phones, as many as a user can have (devices_per_user_max) */

/** How far a phone says that it is, and how long ago it was so far. */
struct challenge_reached {
    char device_id[ID_SIZE];
    unsigned step; /* nanopush.v1.Progress */
    unsigned ago_ms[REACHED_STEPS];
};

struct challenge_settle {
    const char *id;
    struct bytes fence;
    enum challenge_state state;
    const Record__Device *device;         /* that the answer was verified with; NULL where no answer */
    const Record__Settlement *settlement; /* likewise */
    const char *enrolment; /* of an answer: CANCELLED it is unless this waits for one; NULL for none */
    const struct challenge_reached *reached; /* what is not stored yet of the phones' progress */
    size_t reached_count;                    /* at most REACHED_MAX */
};

struct challenge_settled {
    bool moved;                 /* this call moved it, be it that its first reply was lost: count it */
    enum challenge_state state; /* as it is now; EXPIRED too where an answer came too late */
    char device_id[ID_SIZE];    /* whose answer it was, or "" */
    const struct challenge_view
        *view;            /* what it is now, but for record and fence, which the caller has; NULL where the
                                          settlement does not open: reading it says why */
    struct routes routes; /* whom to tell */
    int64_t locked_until_unix_ms; /* push is locked by this very call, or by the same answer before; else 0 */
    const char (*others)[ID_SIZE]; /* what else was pending then, and is to be cancelled */
    size_t other_count;
};

typedef void (*store_challenge_settle_fn)(enum err e, const struct challenge_settled *settled, void *arg);

/**
 * End a challenge; one that is final stays as it is, and the reply says how.
 * Errors: ERR_NOT_FOUND; ERR_BAD_STATE: EXPIRED was asked for, and its time is not over; ERR_DENIED: the device is not
 * any more what was verified.
 */
struct store_call *store_challenge_settle(struct store *store, const struct challenge_settle *settle,
                                          store_challenge_settle_fn fn, void *arg);

struct challenge_resent {
    int64_t now_unix_ms;
    unsigned attempt;
    struct routes routes;  /* whom to push to, who waits */
    int64_t until_unix_ms; /* ERR_LIMIT: not before; 0: not any more */
};

typedef void (*store_challenge_resend_fn)(enum err e, const struct challenge_resent *resent, void *arg);

/** A new attempt. Errors: ERR_NOT_FOUND; ERR_BAD_STATE: it is final; ERR_LIMIT (@p resent says until when). */
struct store_call *store_challenge_resend(struct store *store, const char *id, struct bytes fence,
                                          unsigned needed, store_challenge_resend_fn fn, void *arg);

/** Who waits is to be told. What is not further than what is known changes nothing. @p reached (at most REACHED_MAX) is copied. */
struct store_call *store_challenge_progress(struct store *store, const char *id,
                                            const struct challenge_reached *reached, size_t count,
                                            store_told_fn fn, void *arg);

/* ---- events of an organisation ---- */

#define EVENTS_KEPT       10000     /* about, of an organisation */
#define EVENTS_KEPT_MS    604800000 /* 7 days, about */
#define EVENT_ID_SIZE     48        /* "<ms>-<number>", NUL included */
#define EVENTS_READ_COUNT 64

struct stored_event {
    char id[EVENT_ID_SIZE];
    int64_t unix_ms;                 /* Redis' clock */
    uint64_t number;                 /* counts up by one from event to event */
    const ProtobufCMessage *message; /* NULL: its seal does not fit */
};

struct events_view {
    const struct stored_event *events; /* in order, at most EVENTS_READ_COUNT */
    size_t count;
    struct stored_event newest; /* the newest that ever was, without message; number 0: there was none */
};

typedef void (*store_events_fn)(enum err e, const struct events_view *view, void *arg);

/**
 * Put an event into the organisation's, and trim those. @p uid: 32 hex digits; the same within a minute: it is in there.
 * @p fn gets the inboxes that watch.
 */
struct store_call *store_event_add(struct store *store, const char *organisation, const char *uid,
                                   const ProtobufCMessage *event, store_told_fn fn, void *arg);

/**
 * Read events behind @p after ("<ms>-<number>"; "" for the oldest, "$" for none but `newest`); this worker's inbox, where
 * it has one, is told of new ones for a while.
 */
struct store_call *store_events_read(struct store *store, const char *organisation, const char *after,
                                     const ProtobufCMessageDescriptor *type, store_events_fn fn, void *arg);

#endif
