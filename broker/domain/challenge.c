#include "domain/challenge.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "crypto/digest.h"
#include "domain/answer.h"
#include "domain/router.h"
#include "nanopush/v1/common.pb-c.h"
#include "wire/device_message.h"

#define SUPERSEDE_TRIES_MAX 3

struct challenge_op {
    struct domain *domain;
    char id[ID_SIZE];
    union {
        challenge_create_fn create;
        challenge_done_fn done;
        challenge_answer_fn answer;
    } fn;
    bool silent; /* cancelled: nobody to call */
    void *arg;
    Record__Challenge *record; /* create: own copy */
    Record__Device *device;    /* answer: own copy */
    char *browser_session;
    char idempotency[HEX_SIZE(SHA256_BYTES)], asked[HEX_SIZE(SHA256_BYTES)];
    char supersede[ID_SIZE];
    unsigned tries;
    struct deferral failed; /* an error found at once */
    enum err error;
    struct buf jws;
    struct answer answer;
    bool answer_is_open;
};

static void op_free(struct challenge_op *op)
{
    if (op->record)
        record__challenge__free_unpacked(op->record, NULL);
    if (op->device)
        record__device__free_unpacked(op->device, NULL);
    if (op->answer_is_open)
        answer_done(&op->answer);
    deferral_cancel(&op->failed);
    buf_done(&op->jws);
    free(op->browser_session);
    free(op);
}

static struct challenge_op *op_new(struct domain *domain, const char *id, void *arg)
{
    struct challenge_op *op = mem_new(sizeof *op);
    op->domain = domain;
    memcpy(op->id, id, ID_SIZE);
    op->arg = arg;
    deferral_init(&op->failed, NULL, NULL);
    return op;
}

void challenge_op_cancel(struct challenge_op *op)
{
    if (op)
        op->silent = true;
}

static void fail_later(struct challenge_op *op, enum err e, loop_fn fn)
{
    op->error = e;
    deferral_init(&op->failed, fn, op);
    loop_defer(op->domain->loop, &op->failed);
}

/* ---- telling ---- */

static void tell_resolved(struct domain *domain, const char *id, enum challenge_state state, const char *by,
                          const struct routes *routes)
{
    struct buf frame = {0};
    if (device_message_resolved(id, (int)state, by, &frame) == ERR_OK)
        for (size_t i = 0; i < routes->device_count; i++)
            router_deliver(domain->router, &routes->devices[i], HINT_RESOLVED, id, buf_view(&frame));
    buf_done(&frame);
    router_changed(domain->router, routes, id);
}

static void count_settled(const char *id, enum challenge_state state, const char *by)
{
    static const enum metric metrics[CHALLENGE_STATE_COUNT] = {
        [CHALLENGE_APPROVED] = METRIC_CHALLENGES_APPROVED,
        [CHALLENGE_DENIED] = METRIC_CHALLENGES_DENIED,
        [CHALLENGE_REPORTED] = METRIC_CHALLENGES_REPORTED,
        [CHALLENGE_FAILED] = METRIC_CHALLENGES_FAILED,
        [CHALLENGE_EXPIRED] = METRIC_CHALLENGES_EXPIRED,
        [CHALLENGE_CANCELLED] = METRIC_CHALLENGES_CANCELLED,
        [CHALLENGE_SUPERSEDED] = METRIC_CHALLENGES_SUPERSEDED,
    };
    metrics_add(metrics[state], 1);
    LOG(INFO, DOMAIN, "challenge-settled", "challenge=%s state=%s device=%s", id, challenge_state_name(state),
        by[0] ? by : "none");
}

/* Whoever's call moved it counts it; everybody who finds it moved tells again, since the mover may have died. */
static void on_outcome(struct domain *domain, const char *id, const struct challenge_settled *settled)
{
    if (settled->moved)
        count_settled(id, settled->state, settled->device_id);
    tell_resolved(domain, id, settled->state, settled->device_id, &settled->routes);
}

/* ---- pushing ---- */

static enum err push_frame(const Record__Challenge *record, int64_t now_unix_ms, int64_t expire_unix_ms,
                           const char *device_id, struct buf *ret)
{
    const struct push_message push = {
        .challenge_id = record->id,
        .device_id = device_id,
        .portal_id = record->portal,
        .attempt = 1,
        .display = bytes_make(record->display.data, record->display.len),
        .nonce = bytes_make(record->nonce.data, record->nonce.len),
        .mode = (int)record->mode,
        .user_verification = (int)record->user_verification,
        .expire_unix_ms = expire_unix_ms,
        .broker_unix_ms = now_unix_ms,
    };
    return device_message_push(&push, ret);
}

enum err challenge_push_frame(const struct challenge_view *view, const char *device_id, struct buf *ret)
{
    return push_frame(view->record, view->now_unix_ms, view->expire_unix_ms, device_id, ret);
}

static void push_to(struct domain *domain, const Record__Challenge *record, int64_t now_unix_ms,
                    int64_t expire_unix_ms, const struct route *route)
{
    struct buf frame = {0};
    if (push_frame(record, now_unix_ms, expire_unix_ms, route->device_id, &frame) == ERR_OK)
        router_deliver(domain->router, route, HINT_PUSH, record->id, buf_view(&frame));
    buf_done(&frame);
}

/* ---- create ---- */

static void create_finish(struct challenge_op *op, enum err e, const struct challenge_accepted *accepted)
{
    if (!op->silent)
        op->fn.create(e, accepted, op->arg);
    op_free(op);
}

static void on_create_failed(void *arg)
{
    struct challenge_op *op = arg;
    create_finish(op, op->error, NULL);
}

/* The idempotency key stands for a challenge that was accepted before: say what was said then. */
static void on_replayed(enum err e, const struct challenge_view *view, void *arg)
{
    struct challenge_accepted accepted = {0};
    if (e == ERR_OK) {
        accepted.id = view->record->id;
        accepted.expire_unix_ms = view->expire_unix_ms;
        accepted.nonce = bytes_make(view->record->nonce.data, view->record->nonce.len);
    }
    create_finish(arg, e, e == ERR_OK ? &accepted : NULL);
}

static void create_send(struct challenge_op *op);

static void on_created(enum err e, const struct challenge_created *created, void *arg)
{
    struct challenge_op *op = arg;
    struct domain *domain = op->domain;
    if (e == ERR_OK && created->replay) {
        store_challenge_get(domain->store, created->other_id, false, on_replayed, op);
        return;
    }
    if (e == ERR_BAD_STATE && created->other_same_session && op->tries++ < SUPERSEDE_TRIES_MAX) {
        memcpy(op->supersede, created->other_id, ID_SIZE);
        create_send(op);
        return;
    }
    if (e != ERR_OK) {
        create_finish(op, e, NULL);
        return;
    }
    METRIC_ADD(CHALLENGES_CREATED, 1);
    LOG(INFO, DOMAIN, "challenge-created", "challenge=%s portal=%s devices=%zu", op->id, op->record->portal,
        created->routes.device_count);
    if (op->supersede[0]) {
        count_settled(op->supersede, CHALLENGE_SUPERSEDED, "");
        tell_resolved(domain, op->supersede, CHALLENGE_SUPERSEDED, "", &created->routes);
    }
    for (size_t i = 0; i < created->routes.device_count; i++)
        push_to(domain, op->record, created->now_unix_ms, created->expire_unix_ms,
                &created->routes.devices[i]);
    const struct challenge_accepted accepted = {
        .id = op->id,
        .expire_unix_ms = created->expire_unix_ms,
        .nonce = bytes_make(op->record->nonce.data, op->record->nonce.len),
    };
    create_finish(op, ERR_OK, &accepted);
}

static void create_send(struct challenge_op *op)
{
    const struct challenge_create create = {
        .record = op->record,
        .browser_session = op->browser_session,
        .idempotency = op->idempotency[0] ? op->idempotency : NULL,
        .asked = op->asked,
        .supersede = op->supersede[0] ? op->supersede : NULL,
    };
    store_challenge_create(op->domain->store, &create, on_created, op);
}

static enum err hash_to_hex(const struct bytes *parts, size_t count, char out[HEX_SIZE(SHA256_BYTES)])
{
    struct buf all = {0};
    uint8_t digest[SHA256_BYTES];
    enum err e = ERR_OK;
    for (size_t i = 0; i < count && e == ERR_OK; i++)
        e = lp_append(&all, parts[i]);
    if (e == ERR_OK)
        e = sha256(buf_view(&all), digest);
    if (e == ERR_OK)
        hex_encode(bytes_make(digest, sizeof digest), out);
    buf_done(&all);
    return e;
}

static enum err create_prepare(struct challenge_op *op, const struct challenge_request *request)
{
    uint8_t bits[ID_RANDOM_BYTES], own_nonce[CHALLENGE_NONCE_OWN_BYTES];
    char tag[USER_TAG_SIZE];
    struct bytes nonce = request->nonce;
    TRY(secret_user_tag(op->domain->secret, bytes_of(request->organisation), bytes_of(request->user), tag));
    TRY(random_bytes(bits, sizeof bits));
    id_make(bits, tag, op->id);
    if (nonce.len == 0) {
        TRY(random_bytes(own_nonce, sizeof own_nonce));
        nonce = bytes_make(own_nonce, sizeof own_nonce);
    }
    if (request->idempotency.len) {
        const struct bytes key[] = {bytes_of(request->portal), request->idempotency};
        TRY(hash_to_hex(key, 2, op->idempotency));
        TRY(hash_to_hex(&request->asked, 1, op->asked));
    }
    Record__Challenge record = RECORD__CHALLENGE__INIT;
    record.id = op->id;
    record.organisation = (char *)request->organisation;
    record.user = (char *)request->user;
    record.portal = (char *)request->portal;
    record.display =
        (ProtobufCBinaryData){.data = (uint8_t *)request->display.p, .len = request->display.len};
    record.nonce = (ProtobufCBinaryData){.data = (uint8_t *)nonce.p, .len = nonce.len};
    record.mode = (uint32_t)request->mode;
    record.user_verification = (uint32_t)request->user_verification;
    record.life_ms = request->life_ms;
    op->record = (Record__Challenge *)store_record_copy(&record.base);
    return ERR_OK;
}

struct challenge_op *challenge_create(struct domain *domain, const struct challenge_request *request,
                                      challenge_create_fn fn, void *arg)
{
    struct challenge_op *op = op_new(domain, (char[ID_SIZE]){0}, arg);
    op->fn.create = fn;
    op->browser_session = mem_copy_string(request->browser_session);
    enum err e = create_prepare(op, request);
    if (e != ERR_OK)
        fail_later(op, e, on_create_failed);
    else
        create_send(op);
    return op;
}

/* ---- ends that are nobody's answer ---- */

static void on_ended(enum err e, const struct challenge_settled *settled, void *arg)
{
    struct challenge_op *op = arg;
    if (e == ERR_OK)
        on_outcome(op->domain, op->id, settled);
    if (!op->silent && op->fn.done)
        op->fn.done(e, op->arg);
    op_free(op);
}

static struct challenge_op *end(struct domain *domain, const struct challenge_view *view,
                                enum challenge_state state, challenge_done_fn fn, void *arg)
{
    struct challenge_op *op = op_new(domain, view->record->id, arg);
    const struct challenge_settle settle = {.id = op->id, .fence = view->fence, .state = state};
    op->fn.done = fn;
    store_challenge_settle(domain->store, &settle, on_ended, op);
    return op;
}

struct challenge_op *challenge_cancel(struct domain *domain, const struct challenge_view *view,
                                      challenge_done_fn fn, void *arg)
{
    return end(domain, view, CHALLENGE_CANCELLED, fn, arg);
}

void challenge_expire(struct domain *domain, const struct challenge_view *view)
{
    end(domain, view, CHALLENGE_EXPIRED, NULL, NULL);
}

/* ---- pushing again ---- */

struct push_again {
    struct domain *domain;
    Record__Challenge *record;
    int64_t now_unix_ms, expire_unix_ms;
};

static void on_devices_again(enum err e, const struct user_view *view, void *arg)
{
    struct push_again *again = arg;
    for (size_t i = 0; e == ERR_OK && i < view->device_count; i++) {
        struct route route = {.presence = view->devices[i].presence};
        memcpy(route.device_id, view->devices[i].record->id, ID_SIZE);
        push_to(again->domain, again->record, again->now_unix_ms, again->expire_unix_ms, &route);
    }
    record__challenge__free_unpacked(again->record, NULL);
    free(again);
}

void challenge_push_again(struct domain *domain, const struct challenge_view *view)
{
    struct push_again *again = mem_new(sizeof *again);
    again->domain = domain;
    again->now_unix_ms = view->now_unix_ms;
    again->expire_unix_ms = view->expire_unix_ms;
    again->record = (Record__Challenge *)store_record_copy(&view->record->base);
    store_user_get(domain->store, id_tag(again->record->id), on_devices_again, again);
}

/* ---- answers ---- */

static void answer_finish(struct challenge_op *op, enum err e, enum challenge_state state,
                          const char *device_id)
{
    if (e == ERR_INVALID)
        METRIC_ADD(ANSWERS_REFUSED_CLAIMS, 1);
    else if (e == ERR_BAD_SIGNATURE)
        METRIC_ADD(ANSWERS_REFUSED_SIGNATURE, 1);
    else if (e == ERR_DENIED)
        METRIC_ADD(ANSWERS_REFUSED_DEVICE, 1);
    if (e != ERR_OK)
        LOG(INFO, DOMAIN, "answer-refused", "challenge=%s device=%s error=%s", op->id, op->device->id,
            err_name(e));
    if (!op->silent)
        op->fn.answer(e, state, device_id, op->arg);
    op_free(op);
}

static void on_answer_failed(void *arg)
{
    struct challenge_op *op = arg;
    answer_finish(op, op->error, CHALLENGE_NONE, "");
}

static void on_answer_settled(enum err e, const struct challenge_settled *settled, void *arg)
{
    struct challenge_op *op = arg;
    if (e != ERR_OK) {
        answer_finish(op, e, CHALLENGE_NONE, "");
        return;
    }
    if (settled->moved && settled->state == CHALLENGE_EXPIRED)
        METRIC_ADD(ANSWERS_REFUSED_EXPIRED, 1);
    else if (!settled->moved && strcmp(settled->device_id, op->device->id) != 0)
        METRIC_ADD(ANSWERS_REFUSED_STATE, 1);
    on_outcome(op->domain, op->id, settled);
    answer_finish(op, ERR_OK, settled->state, settled->device_id);
}

static void on_answer_challenge(enum err e, const struct challenge_view *view, void *arg)
{
    struct challenge_op *op = arg;
    enum challenge_state wanted = CHALLENGE_NONE;
    if (e == ERR_OK && strcmp(view->record->user, op->device->user) != 0)
        e = ERR_NOT_FOUND;
    if (e == ERR_OK)
        e = answer_judge(&op->answer, op->device, view, &wanted);
    if (e != ERR_OK) {
        answer_finish(op, e, CHALLENGE_NONE, "");
        return;
    }
    Record__Settlement settlement = RECORD__SETTLEMENT__INIT;
    struct bytes jws = buf_view(&op->jws);
    settlement.state = (uint32_t)wanted;
    settlement.device_id = op->device->id;
    settlement.jws = (char *)jws.p; /* with a NUL behind it, see challenge_answer() */
    const struct challenge_settle settle = {
        .id = op->id,
        .fence = view->fence,
        .state = wanted,
        .device = op->device,
        .settlement = &settlement,
    };
    store_challenge_settle(op->domain->store, &settle, on_answer_settled, op);
}

static enum err answer_prepare(struct challenge_op *op, struct bytes jws)
{
    if (jws.len > ANSWER_MAX_BYTES)
        return ERR_INVALID;
    TRY(buf_append(&op->jws, jws));
    TRY(buf_append_byte(&op->jws, 0));
    enum err e = answer_open(bytes_make(op->jws.p + op->jws.head, jws.len), op->device, &op->answer);
    op->answer_is_open = e == ERR_OK;
    return e == ERR_MALFORMED || e == ERR_TOO_BIG || e == ERR_UNSUPPORTED ? ERR_INVALID : e;
}

struct challenge_op *challenge_answer(struct domain *domain, const Record__Device *device, const char *id,
                                      struct bytes jws, challenge_answer_fn fn, void *arg)
{
    char own_id[ID_SIZE] = {0};
    bool ours = id_valid(bytes_of(id)) && strcmp(id_tag(id), id_tag(device->id)) == 0;
    if (ours)
        memcpy(own_id, id, ID_SIZE);
    struct challenge_op *op = op_new(domain, own_id, arg);
    op->fn.answer = fn;
    op->device = (Record__Device *)store_record_copy(&device->base);
    enum err e = ours ? answer_prepare(op, jws) : ERR_NOT_FOUND;
    if (e != ERR_OK)
        fail_later(op, e, on_answer_failed);
    else
        store_challenge_get(domain->store, op->id, false, on_answer_challenge, op);
    return op;
}

/* ---- progress ---- */

static void on_progress_stored(enum err e, const struct routes *told, void *arg)
{
    struct challenge_op *op = arg;
    if (e == ERR_OK)
        router_changed(op->domain->router, told, op->id);
    op_free(op);
}

void challenge_progressed(struct domain *domain, const char *id, const char *device_id, unsigned progress)
{
    struct challenge_op *op = op_new(domain, id, NULL);
    store_challenge_progress(domain->store, id, device_id, progress, on_progress_stored, op);
}
