/**
 * store/ for the fuzzer: calls are kept, and answered when and as the fuzzer says. What the store knows is one person with
 * two phones, one challenge and one enrolment.
 */
#ifndef NANOPUSH_TESTS_PLAYED_STORE_H
#define NANOPUSH_TESTS_PLAYED_STORE_H

#include "crypto/p256.h"
#include "crypto/secret.h"
#include "played_stream.h"
#include "store/store.h"

#define TAG      "00112233445566778899"
#define OPEN_MAX 64

enum call_kind {
    CALL_ATTACH,
    CALL_CHALLENGE,
    CALL_SETTLE,
    CALL_TOLD,
    CALL_DONE,
    CALL_ENROLMENT,
    CALL_PORTAL,
    CALL_STEP,
    CALL_CREATE,
    CALL_USER,
    CALL_REMOVE,
    CALL_RESEND
};

struct store_call {
    enum call_kind kind;
    void (*fn)(void);
    void *arg;
    char id[ID_SIZE];
};

static struct store_call *calls[OPEN_MAX];
static size_t call_count;

/* Of the one session, which is the first; or of a later one, or of none. */
static uint64_t some_connection(void)
{
    return (uint64_t)(next_byte() % 4) << CONNECTION_PLACE_BITS;
}

static struct store_call *keep(enum call_kind kind, const char *id, void (*fn)(void), void *arg)
{
    struct store_call *call = calloc(1, sizeof *call);
    call->kind = kind;
    call->fn = fn;
    call->arg = arg;
    strncpy(call->id, id, ID_LEN);
    if (call_count == OPEN_MAX)
        abort(); /* a connection may not start so much at once */
    calls[call_count++] = call;
    return call;
}

void store_cancel(struct store_call *call)
{
    for (size_t i = 0; call && i < call_count; i++)
        if (calls[i] == call) {
            calls[i] = calls[--call_count];
            free(call);
            return;
        }
}

#define FN(fn) ((void (*)(void))(fn))

bool store_up(const struct store *store)
{
    (void)store;
    return true;
}

const char *store_inbox(const struct store *store)
{
    (void)store;
    return "here";
}

struct presence store_presence(const struct store *store, uint64_t connection, unsigned capabilities)
{
    (void)store;
    return (struct presence){.inbox = "here", .connection = connection, .capabilities = capabilities};
}

struct store_call *store_hint(struct store *store, const char *inbox, const Record__Hint *hint,
                              store_done_fn fn, void *arg)
{
    (void)store, (void)inbox, (void)hint;
    return keep(CALL_DONE, "", FN(fn), arg);
}

struct store_call *store_enrolment_get(struct store *store, const char *id, bool wait, store_enrolment_fn fn,
                                       void *arg)
{
    (void)store, (void)wait;
    return keep(CALL_ENROLMENT, id, FN(fn), arg);
}

struct store_call *store_portal_get(struct store *store, const char *id, store_portal_fn fn, void *arg)
{
    (void)store;
    return keep(CALL_PORTAL, id, FN(fn), arg);
}

struct store_call *store_certificate_get(struct store *store, const uint8_t fingerprint[32],
                                         store_holder_fn fn, void *arg)
{
    (void)store, (void)fingerprint, (void)fn, (void)arg;
    abort(); /* portals' */
}

struct store_call *store_portal_lease(struct store *store, const char *portal, unsigned per_s, unsigned most,
                                      unsigned wanted, store_lease_fn fn, void *arg)
{
    (void)store, (void)portal, (void)per_s, (void)most, (void)wanted, (void)fn, (void)arg;
    abort(); /* portals' */
}

struct store_call *store_enrolment_create(struct store *store, const Record__Enrolment *record,
                                          unsigned life_ms, store_enrolment_create_fn fn, void *arg)
{
    (void)store, (void)record, (void)life_ms, (void)fn, (void)arg;
    abort(); /* no phone can */
}

struct store_call *store_user_index_set(struct store *store, const char *organisation, char shard,
                                        const char *user, bool there, store_done_fn fn, void *arg)
{
    (void)store, (void)organisation, (void)shard, (void)user, (void)there, (void)fn, (void)arg;
    return NULL; /* nobody asks what came of it */
}

struct store_call *store_enrolment_use(struct store *store, const struct enrolment_use *use,
                                       store_enrolment_step_fn fn, void *arg)
{
    (void)store;
    return keep(CALL_STEP, use->id, FN(fn), arg);
}

struct store_call *store_enrolment_advance(struct store *store, const struct enrolment_advance *advance,
                                           store_enrolment_step_fn fn, void *arg)
{
    (void)store;
    return keep(CALL_STEP, advance->id, FN(fn), arg);
}

struct store_call *store_enrolment_cancel(struct store *store, const char *id, struct bytes fence,
                                          store_told_fn fn, void *arg)
{
    (void)store, (void)id, (void)fence, (void)fn, (void)arg;
    abort(); /* no phone can */
}

struct store_call *store_key_claim(struct store *store, struct bytes public_key, const char *device_id,
                                   bool for_good, store_done_fn fn, void *arg)
{
    if (for_good)
        return NULL;
    (void)store, (void)public_key;
    return keep(CALL_DONE, device_id, FN(fn), arg);
}

struct store_call *store_device_attach(struct store *store, const char *device_id, uint32_t generation,
                                       const uint8_t key_digest[DEVICE_KEY_DIGEST_BYTES],
                                       const struct presence *presence, store_device_attach_fn fn, void *arg)
{
    (void)store, (void)generation, (void)key_digest, (void)presence;
    return keep(CALL_ATTACH, device_id, FN(fn), arg);
}

struct store_call *store_device_detach(struct store *store, const char *device_id,
                                       const struct presence *presence, store_done_fn fn, void *arg)
{
    (void)store, (void)device_id, (void)presence, (void)fn, (void)arg;
    return NULL;
}

struct store_call *store_device_remove(struct store *store, const char *device_id,
                                       const Record__Device *verified, store_device_remove_fn fn, void *arg)
{
    (void)store, (void)verified;
    return keep(CALL_REMOVE, device_id, FN(fn), arg);
}

struct store_call *store_device_rotate(struct store *store, const Record__Device *present,
                                       const Record__Device *next, store_done_fn fn, void *arg)
{
    (void)store, (void)next;
    return keep(CALL_DONE, present->id, FN(fn), arg);
}

struct store_call *store_enrolment_scan(struct store *store, const char *id, struct bytes fence,
                                        store_told_fn fn, void *arg)
{
    (void)store, (void)fence;
    return keep(CALL_TOLD, id, FN(fn), arg);
}

struct store_call *store_user_unlock(struct store *store, const char *tag, const Record__Device *verified,
                                     store_told_fn fn, void *arg)
{
    (void)store, (void)verified;
    return keep(CALL_TOLD, tag, FN(fn), arg);
}

struct store_call *store_user_get(struct store *store, const char *tag, store_user_fn fn, void *arg)
{
    (void)store;
    return keep(CALL_USER, tag, FN(fn), arg);
}

struct store_call *store_challenge_create(struct store *store, const struct challenge_create *create,
                                          store_challenge_create_fn fn, void *arg)
{
    (void)store;
    return keep(CALL_CREATE, create->record->id, FN(fn), arg);
}

struct store_call *store_challenge_get(struct store *store, const char *id, bool wait, store_challenge_fn fn,
                                       void *arg)
{
    (void)store, (void)wait;
    return keep(CALL_CHALLENGE, id, FN(fn), arg);
}

struct store_call *store_challenge_settle(struct store *store, const struct challenge_settle *settle,
                                          store_challenge_settle_fn fn, void *arg)
{
    (void)store;
    return keep(CALL_SETTLE, settle->id, FN(fn), arg);
}

struct store_call *store_challenge_resend(struct store *store, const char *id, struct bytes fence,
                                          unsigned needed, store_challenge_resend_fn fn, void *arg)
{
    (void)store, (void)fence, (void)needed;
    return keep(CALL_RESEND, id, FN(fn), arg);
}

struct store_call *store_challenge_progress(struct store *store, const char *id,
                                            const struct challenge_reached *reached, size_t count,
                                            store_told_fn fn, void *arg)
{
    (void)store, (void)reached, (void)count;
    if (call_count < OPEN_MAX / 2)
        return keep(CALL_TOLD, id, FN(fn), arg);
    fn(ERR_UNAVAILABLE, NULL, arg); /* acks are not held back; the real store refuses at its own limit */
    return NULL;
}

struct store_call *store_event_add(struct store *store, const char *organisation, const char *uid,
                                   const ProtobufCMessage *event, store_told_fn fn, void *arg)
{
    (void)store, (void)organisation, (void)uid, (void)event;
    if (call_count < OPEN_MAX / 2)
        return keep(CALL_TOLD, "", FN(fn), arg);
    fn(ERR_UNAVAILABLE, NULL, arg); /* as above: nobody waits for an event to be stored */
    return NULL;
}

bool enrolment_state_open(enum enrolment_state state)
{
    return state == ENROLMENT_WAITING || state == ENROLMENT_SCANNED || state == ENROLMENT_TO_CONFIRM ||
           state == ENROLMENT_TO_APPROVE;
}

/* ---- what it knows ---- */

static struct p256_key *possession, *verification;
static uint8_t possession_key[P256_PUBLIC_BYTES], verification_key[P256_PUBLIC_BYTES], token[16];
static char device_id[ID_SIZE], other_id[ID_SIZE], challenge_id[ID_SIZE], enrolment_id[ID_SIZE];
static Record__Device device;
static Record__Challenge challenge;
static Record__Enrolment enrolment;
static Record__Enrolled enrolled;
static uint8_t token_hash[SHA256_BYTES];

static void answer_challenge(struct store_call *call, enum err e)
{
    struct challenge_view view = {.record = &challenge,
                                  .fence = bytes_of("fence"),
                                  .state = CHALLENGE_PENDING,
                                  .revision = 1,
                                  .attempt = 1 + next_byte() % 4,
                                  .now_unix_ms = 1800000000000,
                                  .expire_unix_ms = 1800000060000};
    Record__Settlement settlement = RECORD__SETTLEMENT__INIT;
    settlement.state = CHALLENGE_DENIED;
    settlement.device_id = other_id;
    if (next_byte() & 1) {
        view.state = CHALLENGE_DENIED;
        view.settlement = &settlement;
    }
    challenge.mode = 1 + next_byte() % 3;
    ((store_challenge_fn)call->fn)(e, e == ERR_OK ? &view : NULL, call->arg);
}

static void answer_attach(struct store_call *call, enum err e)
{
    char pending[3][ID_SIZE];
    struct device_attached attached = {.device = &device, .now_unix_ms = 1800000000000, .pending = pending};
    for (int i = 0; i < 3; i++)
        memcpy(pending[i], challenge_id, ID_SIZE);
    attached.pending_count = next_byte() % 4;
    if (next_byte() & 1)
        attached.taken = (struct presence){.inbox = "here", .connection = some_connection()};
    ((store_device_attach_fn)call->fn)(e, e == ERR_OK ? &attached : NULL, call->arg);
}

static void answer_settle(struct store_call *call, enum err e)
{
    struct route routes[2] = {{.presence = {.inbox = "here", .connection = some_connection()}},
                              {.presence = {.inbox = "there"}}};
    static const char inboxes[1][INBOX_SIZE] = {"there"};
    char others[1][ID_SIZE];
    memcpy(routes[0].device_id, device_id, ID_SIZE);
    memcpy(routes[1].device_id, other_id, ID_SIZE);
    memcpy(others[0], challenge_id, ID_SIZE);
    struct challenge_settled settled = {
        .moved = next_byte() & 1,
        .state = (enum challenge_state)(CHALLENGE_APPROVED + next_byte() % 7),
        .routes = {.devices = routes, .device_count = 2, .inboxes = inboxes, .inbox_count = 1},
        .locked_until_unix_ms = next_byte() & 1 ? 1800000900000 : 0,
        .others = (const char(*)[ID_SIZE])others,
        .other_count = 1,
    };
    ((store_challenge_settle_fn)call->fn)(e, e == ERR_OK ? &settled : NULL, call->arg);
}

static void answer_enrolment(struct store_call *call, enum err e)
{
    struct enrolment_view view = {.record = &enrolment,
                                  .fence = bytes_of("fence"),
                                  .state = (enum enrolment_state)(1 + next_byte() % 7),
                                  .now_unix_ms = 1800000000000,
                                  .expire_unix_ms = 1800000600000};
    if (view.state != ENROLMENT_WAITING)
        view.enrolled = &enrolled;
    ((store_enrolment_fn)call->fn)(e, e == ERR_OK ? &view : NULL, call->arg);
}

static void answer_step(struct store_call *call, enum err e)
{
    static const enum enrolment_state states[] = {ENROLMENT_DONE, ENROLMENT_TO_CONFIRM, ENROLMENT_TO_APPROVE,
                                                  ENROLMENT_VOID};
    struct enrolment_step step = {.state = states[next_byte() % 4], .moved = next_byte() & 1};
    ((store_enrolment_step_fn)call->fn)(e, e == ERR_OK || e == ERR_BAD_STATE ? &step : NULL, call->arg);
}

/* Answer one call, whichever the fuzzer picks. */
static void answer_one(void)
{
    static const enum err errors[] = {ERR_OK,        ERR_OK,          ERR_OK,        ERR_OK,
                                      ERR_NOT_FOUND, ERR_DENIED,      ERR_BAD_STATE, ERR_LIMIT,
                                      ERR_EXISTS,    ERR_UNAVAILABLE, ERR_EXPIRED,   ERR_TIMEOUT};
    if (call_count == 0)
        return;
    size_t which = next_byte() % call_count;
    enum err e = errors[next_byte() % (sizeof errors / sizeof *errors)];
    struct store_call *call = calls[which];
    const struct routes nobody = {0};
    calls[which] = calls[--call_count];
    switch (call->kind) {
    case CALL_ATTACH:
        answer_attach(call, e);
        break;
    case CALL_CHALLENGE:
        answer_challenge(call, e);
        break;
    case CALL_SETTLE:
        answer_settle(call, e);
        break;
    case CALL_ENROLMENT:
        answer_enrolment(call, e);
        break;
    case CALL_PORTAL: {
        Record__Portal record = RECORD__PORTAL__INIT;
        record.removed = next_byte() & 1;
        const struct portal_view view = {.record = &record};
        ((store_portal_fn)call->fn)(e, e == ERR_OK ? &view : NULL, call->arg);
        break;
    }
    case CALL_STEP:
        answer_step(call, e);
        break;
    case CALL_DONE:
        ((store_done_fn)call->fn)(e, call->arg);
        break;
    case CALL_TOLD:
        ((store_told_fn)call->fn)(e, &nobody, call->arg);
        break;
    case CALL_CREATE: {
        struct challenge_created created = {.expire_unix_ms = 1800000060000};
        ((store_challenge_create_fn)call->fn)(e, &created, call->arg);
        break;
    }
    case CALL_USER: {
        struct user_view view = {0};
        ((store_user_fn)call->fn)(e, e == ERR_OK ? &view : NULL, call->arg);
        break;
    }
    case CALL_REMOVE: {
        struct device_removed removed = {.presence = {.inbox = "here", .connection = some_connection()}};
        ((store_device_remove_fn)call->fn)(e, e == ERR_OK ? &removed : NULL, call->arg);
        break;
    }
    case CALL_RESEND: {
        struct challenge_resent resent = {0};
        ((store_challenge_resend_fn)call->fn)(e, &resent, call->arg);
        break;
    }
    }
    free(call);
}

#endif
