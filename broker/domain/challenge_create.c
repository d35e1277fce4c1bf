/* Accept a challenge, resend it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "crypto/digest.h"
#include "domain/challenge_cache.h"
#include "domain/challenge_op.h"
#include "domain/event.h"
#include "domain/number.h"
#include "domain/router.h"
#include "nanopush/v1/common.pb-c.h"

#define SUPERSEDE_TRIES_MAX 3

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

static void answer_accepted(struct challenge_op *op, const Record__Challenge *record,
                            enum challenge_state state, int64_t expire_unix_ms)
{
    char number[NUMBER_SIZE];
    enum err e = number_to_show(op->domain->secret, record, number);
    const struct challenge_accepted accepted = {
        .id = record->id,
        .state = state,
        .expire_unix_ms = expire_unix_ms,
        .nonce = bytes_make(record->nonce.data, record->nonce.len),
        .number = number,
    };
    create_finish(op, e, e == ERR_OK ? &accepted : NULL);
}

/*
 * What the idempotency key stands for is not sealed: the challenge that it names must say itself that it was made by this
 * request, under this key. One that is only like it may have been approved for somebody else.
 */
static bool is_of_this_request(const struct challenge_op *op, const Record__Challenge *known)
{
    const ProtobufCBinaryData *made = &known->request, *asked = &op->record->request;
    return made->len > 0 && strcmp(id_tag(known->id), id_tag(op->record->id)) == 0 &&
           bytes_equal(bytes_make(made->data, made->len), bytes_make(asked->data, asked->len));
}

/*
 * The idempotency key stands for a challenge that was accepted before: say what was said then. The worker that accepted it
 * may have lost the reply, and told no phone. A phone that enrols may not have the others asked again at its will.
 */
static void on_replayed(enum err e, const struct challenge_view *view, void *arg)
{
    struct challenge_op *op = arg;
    if (e == ERR_OK && !is_of_this_request(op, view->record)) {
        METRIC_ADD(SEAL_FAILURES, 1);
        LOG(ERROR, DOMAIN, "idempotency-forged", "challenge=%s", view->record->id);
        e = ERR_BAD_SIGNATURE;
    }
    if (e != ERR_OK) {
        create_finish(op, e, NULL);
        return;
    }
    bool waits = view->state == CHALLENGE_PENDING && view->now_unix_ms < view->expire_unix_ms &&
                 !view->record->enrolment[0];
    if (waits && challenge_lacks_phone(view))
        challenge_push_again(op->domain, view);
    answer_accepted(op, view->record, view->state, view->expire_unix_ms);
}

static void create_send(struct challenge_op *op);

/* Another sign-in is under way, of another browser session: the person is told so, in what is signed. */
static void show_other_sign_in(struct challenge_op *op)
{
    struct bytes display = buf_view(&op->other_display);
    uint8_t *copy = mem_new(display.len + 1);
    if (display.len)
        memcpy(copy, display.p, display.len);
    free(op->record->display.data);
    op->record->display = (ProtobufCBinaryData){.data = copy, .len = display.len};
}

static bool supersede(struct challenge_op *op, const struct challenge_created *created)
{
    if (!created->other_may_go || op->tries++ >= SUPERSEDE_TRIES_MAX)
        return false;
    memcpy(op->supersede, created->other_id, ID_SIZE);
    if (!created->other_same_session)
        show_other_sign_in(op);
    create_send(op);
    return true;
}

static void emit(struct challenge_op *op, enum event_kind kind, const char *detail)
{
    const Record__Challenge *record = op->record;
    char by[EVENT_BY_SIZE];
    const struct event event = {
        .kind = kind,
        .organisation = record->organisation,
        .user = record->user,
        .portal = record->portal,
        .challenge_id = kind == EVENT_PUSH_REFUSED ? NULL : record->id,
        .enrolment_id = record->enrolment,
        .by = record->enrolment[0] ? NULL : event_by_portal(record->portal, by),
        .detail = detail,
    };
    event_emit(op->domain, &event);
}

static void refuse(struct challenge_op *op, const struct challenge_created *created)
{
    const struct challenge_accepted refused = {.locked = created->locked,
                                               .until_unix_ms = created->until_unix_ms};
    METRIC_ADD(PUSHES_REFUSED, 1);
    PORTAL_METRIC_ADD(REFUSED, op->record->portal);
    LOG(INFO, DOMAIN, "push-refused", "portal=%s why=%s", op->record->portal,
        created->locked ? "locked" : "backoff");
    if (!op->repeated)
        emit(op, EVENT_PUSH_REFUSED, created->locked ? "locked" : "delayed");
    create_finish(op, ERR_LIMIT, &refused);
}

/* The phones will answer it and the portal will watch it, most likely here. */
static void keep(const struct challenge_op *op, const struct challenge_created *created)
{
    const struct challenge_view view = {
        .record = op->record,
        .fence = created->fence,
        .state = CHALLENGE_PENDING,
        .revision = 1,
        .attempt = 1,
        .now_unix_ms = created->now_unix_ms,
        .create_unix_ms = created->now_unix_ms,
        .expire_unix_ms = created->expire_unix_ms,
    };
    challenge_cache_put(op->domain->challenge_cache, &view, created->told);
}

static bool is_anywhere(const struct routes *routes)
{
    for (size_t i = 0; i < routes->device_count; i++)
        if (routes->devices[i].presence.inbox[0])
            return true;
    return false;
}

static void on_created(enum err e, const struct challenge_created *created, void *arg)
{
    struct challenge_op *op = arg;
    struct domain *domain = op->domain;
    if (e == ERR_OK && created->replay) {
        store_challenge_get(domain->store, created->other_id, false, on_replayed, op);
        return;
    }
    if (e == ERR_BAD_STATE && supersede(op, created))
        return;
    if (e == ERR_LIMIT) {
        refuse(op, created);
        return;
    }
    if (e != ERR_OK) {
        create_finish(op, e, NULL);
        return;
    }
    keep(op, created);
    METRIC_ADD(CHALLENGES_CREATED, 1);
    PORTAL_METRIC_ADD(ASKED, op->record->portal);
    HISTOGRAM_ADD(LOGIN_ASK, clock_mono_us() - op->begin_mono_us);
    LOG(INFO, DOMAIN, "challenge-created", "challenge=%s portal=%s devices=%zu", op->id, op->record->portal,
        created->routes.device_count);
    emit(op, EVENT_CHALLENGE_ASKED, NULL);
    if (!is_anywhere(&created->routes))
        emit(op, EVENT_CHALLENGE_UNREACHED, NULL);
    if (created->superseded)
        tell_superseded(domain, op->supersede, op->record, &created->others);
    for (size_t i = 0; i < created->routes.device_count; i++)
        push_to(domain, op->record, 1, created->now_unix_ms, created->expire_unix_ms,
                &created->routes.devices[i]);
    answer_accepted(op, op->record, CHALLENGE_PENDING, created->expire_unix_ms);
}

static void create_send(struct challenge_op *op)
{
    const struct challenge_create create = {
        .record = op->record,
        .pending_of = op->pending_of,
        .session = op->session,
        .idempotency = op->idempotency[0] ? op->idempotency : NULL,
        .asked = op->asked,
        .supersede = op->supersede[0] ? op->supersede : NULL,
        .needed = capability_of(op->record->mode),
        .shows_code = op->record->mode == NANOPUSH__V1__MODE__MODE_CODE &&
                      !op->record->enrolment[0], /* phones are asked about one after the other */
        .wait = !op->record->enrolment[0],       /* who watches that, watches the enrolment */
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

/* What stands for the browser session and the idempotency key: never the portal's own words, and per portal. */
static enum err hash_names(struct challenge_op *op, const struct challenge_request *request)
{
    const struct bytes session[] = {bytes_of(request->portal), bytes_of(request->browser_session)};
    const struct bytes key[] = {bytes_of(request->portal), request->idempotency};
    if (request->browser_session[0])
        TRY(hash_to_hex(session, 2, op->session));
    if (request->idempotency.len) {
        TRY(hash_to_hex(key, 2, op->idempotency));
        TRY(hash_to_hex(&request->asked, 1, op->asked));
    }
    return ERR_OK;
}

static enum err digest_request(const struct challenge_op *op, uint8_t digest[SHA256_BYTES])
{
    char names[sizeof op->idempotency + sizeof op->asked];
    snprintf(names, sizeof names, "%s%s", op->idempotency, op->asked);
    return sha256(bytes_of(names), digest);
}

static enum err create_prepare(struct challenge_op *op, const struct challenge_request *request)
{
    uint8_t bits[ID_RANDOM_BYTES], own_nonce[CHALLENGE_NONCE_OWN_BYTES], made_by[SHA256_BYTES];
    char tag[USER_TAG_SIZE];
    struct bytes nonce = request->nonce;
    TRY(secret_user_tag(op->domain->secret, bytes_of(request->organisation), bytes_of(request->user), tag));
    TRY(random_bytes(bits, sizeof bits));
    id_make(bits, tag, op->id);
    if (request->id)
        memcpy(op->id, request->id, ID_SIZE);
    if (nonce.len == 0) {
        TRY(random_bytes(own_nonce, sizeof own_nonce));
        nonce = bytes_make(own_nonce, sizeof own_nonce);
    }
    op->repeated = request->repeated;
    TRY(hash_names(op, request));
    TRY(digest_request(op, made_by));
    TRY(buf_append(&op->other_display, request->other_display));
    Record__Challenge record = RECORD__CHALLENGE__INIT;
    record.id = op->id;
    record.request =
        (ProtobufCBinaryData){.data = made_by, .len = request->idempotency.len ? sizeof made_by : 0};
    record.organisation = (char *)request->organisation;
    record.user = (char *)request->user;
    record.portal = (char *)request->portal;
    record.display =
        (ProtobufCBinaryData){.data = (uint8_t *)request->display.p, .len = request->display.len};
    record.nonce = (ProtobufCBinaryData){.data = (uint8_t *)nonce.p, .len = nonce.len};
    record.mode = (uint32_t)request->mode;
    record.user_verification = (uint32_t)request->user_verification;
    record.life_ms = request->life_ms;
    record.code_digits = request->code_digits;
    record.enrolment = (char *)(request->enrolment ? request->enrolment : "");
    op->record = (Record__Challenge *)store_record_copy(&record.base);
    op->pending_of = mem_copy_string(request->enrolment ? "#enrolment" : request->portal);
    return ERR_OK;
}

struct challenge_op *challenge_create(struct domain *domain, const struct challenge_request *request,
                                      challenge_create_fn fn, void *arg)
{
    struct challenge_op *op = op_new(domain, (char[ID_SIZE]){0}, arg);
    op->fn.create = fn;
    enum err e = create_prepare(op, request);
    if (e != ERR_OK)
        op_fail_later(op, e, on_create_failed);
    else
        create_send(op);
    return op;
}

/* ---- resend ---- */

static void on_resent(enum err e, const struct challenge_resent *resent, void *arg)
{
    struct challenge_op *op = arg;
    if (e == ERR_OK) {
        LOG(INFO, DOMAIN, "challenge-resent", "challenge=%s attempt=%u", op->id, resent->attempt);
        for (size_t i = 0; i < resent->routes.device_count; i++)
            push_to(op->domain, op->record, resent->attempt, resent->now_unix_ms, op->expire_unix_ms,
                    &resent->routes.devices[i]);
        router_changed(op->domain->router, &resent->routes, op->id);
    }
    if (!op->silent)
        op->fn.resend(e, resent ? resent->until_unix_ms : 0, op->arg);
    op_free(op);
}

struct challenge_op *challenge_resend(struct domain *domain, const struct challenge_view *view,
                                      challenge_resend_fn fn, void *arg)
{
    struct challenge_op *op = op_new(domain, view->record->id, arg);
    op->fn.resend = fn;
    op->record = (Record__Challenge *)store_record_copy(&view->record->base);
    op->expire_unix_ms = view->expire_unix_ms;
    store_challenge_resend(domain->store, op->id, view->fence, capability_of(op->record->mode), on_resent,
                           op);
    return op;
}
