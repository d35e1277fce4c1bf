/**
 * One call of store.h under way. Internal to store/: the typed calls are made of this, one file a subject.
 *
 *     call_new() -> call_key(), call_arg() ... -> call_send() -> on_reply(), which decodes and calls the caller's fn
 */
#ifndef NANOPUSH_STORE_CALL_H
#define NANOPUSH_STORE_CALL_H

#include <hiredis/hiredis.h>

#include "base/buf.h"
#include "base/list.h"
#include "store/redis.h"
#include "store/script.h"
#include "store/store.h"

#define CALL_KEYS_MAX 8
#define CALL_ARGS_MAX 11

struct store {
    struct loop *loop;
    const struct secret *secret;
    struct store_options options;
    const struct store_events *events;
    void *arg;
    struct redis *redis;
    struct list calls;   /* struct store_call */
    struct inbox *inbox; /* NULL where no hints are wanted */
};

/**
 * Decode @p reply, which is an array or what the script says, when @p e is ERR_OK, and call the caller's fn. Error
 * replies have become ERR_UNAVAILABLE before. The call is freed when it returns.
 */
typedef void (*call_reply_fn)(struct store_call *call, enum err e, const redisReply *reply);

struct store_call {
    struct list node;
    struct store *store;
    struct redis_request *request;
    int64_t begin_mono_us;
    struct deferral refused;     /* where it could not be sent */
    const struct script *script; /* NULL for a plain command */
    call_reply_fn on_reply;
    union {
        store_done_fn done;
        store_organisation_fn organisation;
        store_portal_fn portal;
        store_names_fn names;
        store_holder_fn holder;
        store_lease_fn lease;
        store_enrolment_create_fn enrolment_create;
        store_enrolment_fn enrolment;
        store_enrolment_step_fn enrolment_step;
        store_told_fn told;
        store_device_attach_fn device_attach;
        store_user_fn user;
        store_challenge_create_fn challenge_create;
        store_challenge_fn challenge;
        store_challenge_settle_fn challenge_settle;
        store_challenge_resend_fn challenge_resend;
        store_device_remove_fn device_remove;
        store_events_fn events;
        store_user_delete_fn user_delete;
        store_user_names_fn user_names;
    } fn; /* the caller's */
    void *arg;
    const ProtobufCMessageDescriptor *type; /* of the records that an events reply holds */
    char subject[KEY_SIZE];                 /* what decoding needs to know: an id, a tag, a name */
    size_t key_count, arg_count;
    struct key keys[CALL_KEYS_MAX];
    struct buf args; /* all arguments' bytes, one after the other */
    size_t arg_len[CALL_ARGS_MAX];
    bool failed; /* an argument did not fit into memory */
};

struct store_call *call_new(struct store *store, enum script_id script, const char *subject,
                            call_reply_fn on_reply, void *arg);
void call_key(struct store_call *call, struct key key);
void call_arg(struct store_call *call, struct bytes arg);
void call_arg_int(struct store_call *call, int64_t value);

/** A sealed record as argument; see record_seal(). */
void call_arg_record(struct store_call *call, const struct key *key, const char *field,
                     const ProtobufCMessage *message);

/** An argument that is the same when this call is sent again, and in no other call. */
void call_arg_unique(struct store_call *call);

/** A sealed device as argument; see record_seal_device(). */
void call_arg_device(struct store_call *call, const Record__Device *device);

/** The head of an active device's value as argument, what scripts compare; see record_device_head(). */
void call_arg_device_head(struct store_call *call, uint32_t generation, struct bytes possession_key);

/** Argument @p i again; valid as long as the call. */
struct bytes call_arg_at(const struct store_call *call, size_t i);

/** Send; the handle for the caller. */
struct store_call *call_send(struct store_call *call);

/**
 * Send a plain command instead of a script, to where the call's first key is; @p fn gets the call, has to clear its
 * request, and to end with call_free().
 */
void call_send_command(struct store_call *call, size_t argc, const struct bytes *argv, redis_reply_fn fn);

/** It will not be answered: on_reply with ERR_UNAVAILABLE, now. */
void call_fail(struct store_call *call);

void call_free(struct store_call *call);

/* ---- reading replies: bounds-checked, so that a wrong script shows as ERR_MALFORMED and not as a crash ---- */

/** Element @p i of an array, or NULL. */
const redisReply *reply_at(const redisReply *reply, size_t i);

/** A string, or element @p i of an array as one; empty for everything else. */
struct bytes reply_bytes(const redisReply *reply, size_t i);

/** Element @p i as a number: an integer, or a string of digits; 0 for everything else. */
int64_t reply_int(const redisReply *reply, size_t i);

/** True if element 0 is that word. */
bool reply_is(const redisReply *reply, const char *word);

/** The valid ids of an array; freed with free(). Never NULL. */
char (*reply_ids(const redisReply *reply, size_t *count))[ID_SIZE];

/** Copy a string of at most @p cap - 1 bytes; false (and "") where it is longer or has a NUL. */
bool copy_text(struct bytes in, char *out, size_t cap);

/** Parse '<inbox>#<connection>#<capabilities>', or '##<capabilities>' for nowhere; what is neither is all zeros. */
struct presence presence_parse(struct bytes text);

/** Write it; @p out has PRESENCE_SIZE characters. */
#define PRESENCE_SIZE (INBOX_SIZE + 34)
void presence_print(const struct presence *presence, char *out);

/**
 * Make routes of two replies: device id, presence, ...; and inboxes. Either may be NULL.
 * @param[out] ret  its arrays are freed with routes_done().
 */
void routes_parse(const redisReply *devices, const redisReply *inboxes, struct routes *ret);
void routes_done(struct routes *routes);

#endif
