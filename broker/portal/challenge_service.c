/* ChallengeService: ask, wait, take back (proto/nanopush/v1/challenge.proto). */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "domain/challenge.h"
#include "domain/enrolment.h"
#include "domain/text.h"
#include "domain/watch.h"
#include "nanopush/v1/admin.pb-c.h"
#include "portal/challenge_context.h"
#include "portal/services.h"
#include "portal/snapshot.h"
#include "portal/support.h"
#include "wire/message.h"

#define WAIT_MAX_MS 60000

/* A challenge of another portal does not exist for this one; an administrator sees all. */
static bool is_callers(const struct rpc_call *call, const struct challenge_view *view)
{
    const Record__Portal *portal = rpc_portal(call);
    return !portal || strcmp(view->record->portal, portal->id) == 0;
}

static void fail_not_found(struct rpc_call *call)
{
    rpc_fail(call, RPC_NOT_FOUND, "no such challenge of this portal, or it ended more than 10 minutes ago");
}

static void fail_read(struct rpc_call *call, enum err e)
{
    if (e == ERR_OK || e == ERR_NOT_FOUND)
        fail_not_found(call);
    else
        rpc_fail_store(call, e);
}

/* ---- CreateChallenge ---- */

struct creation {
    struct rpc_call *call;
    struct challenge_op *op;
};

static void creation_end(void *state)
{
    struct creation *creation = state;
    challenge_op_cancel(creation->op);
    free(creation);
}

/* How long from now on, in words that a portal can act on. */
static void fail_limited(struct rpc_call *call, const struct challenge_accepted *refused)
{
    int64_t left_s = (refused->until_unix_ms - clock_unix_ms() + 999) / 1000;
    if (left_s < 1)
        left_s = 1;
    if (refused->locked)
        support_fail(
            call, RPC_RESOURCE_EXHAUSTED,
            "push is locked for this user for %lld s; the user's phone or an administrator lifts it, or "
            "use another "
            "method",
            (long long)left_s);
    else
        support_fail(call, RPC_RESOURCE_EXHAUSTED,
                     "too many pushes were denied, missed or taken back; ask again in %lld s",
                     (long long)left_s);
}

static void on_created(enum err e, const struct challenge_accepted *accepted, void *arg)
{
    struct creation *creation = arg;
    struct rpc_call *call = creation->call;
    free(creation);
    rpc_on_end(call, NULL, NULL);
    switch (e) {
    case ERR_OK:
        break;
    case ERR_NOT_FOUND:
        support_fail(call, RPC_NOT_FOUND, "no such user: nobody of that name has begun to enrol");
        return;
    case ERR_DENIED:
        support_fail(call, RPC_FAILED_PRECONDITION, "the user has no phone; enrol one first");
        return;
    case ERR_EXISTS:
        rpc_fail(call, RPC_ALREADY_EXISTS,
                 "the idempotency key was used with another request; take a new one");
        return;
    case ERR_UNSUPPORTED:
        support_fail(call, RPC_FAILED_PRECONDITION, "mode: none of the user's phones can do it");
        return;
    case ERR_BAD_STATE:
        rpc_fail(
            call, RPC_FAILED_PRECONDITION,
            "another sign-in of this portal waits for the user; cancel it, name the same browser_session, or "
            "ask with mode CODE");
        return;
    case ERR_LIMIT:
        fail_limited(call, accepted);
        return;
    default:
        rpc_fail_store(call, e);
        return;
    }
    Nanopush__V1__CreateChallengeResponse response = NANOPUSH__V1__CREATE_CHALLENGE_RESPONSE__INIT;
    Google__Protobuf__Timestamp expires = snapshot_time(accepted->expire_unix_ms);
    response.id = (char *)accepted->id;
    response.expire_time = &expires;
    response.number = (char *)accepted->number;
    response.nonce = (ProtobufCBinaryData){.data = (uint8_t *)accepted->nonce.p, .len = accepted->nonce.len};
    rpc_reply(call, &response.base);
}

/* Sets *ret to the duration in milliseconds, or to @p absent. @return false if it is out of bounds. */
static bool read_life(const Google__Protobuf__Duration *life, unsigned absent, unsigned min, unsigned max,
                      unsigned *ret)
{
    *ret = absent;
    if (!life)
        return true;
    int64_t ms =
        life->seconds < 0 || life->seconds > 86400 ? 0 : life->seconds * 1000 + life->nanos / 1000000;
    *ret = (unsigned)ms;
    return ms >= min && ms <= max;
}

/* The strongest mode that the portal is allowed, where the request names none. */
static bool choose_mode(const Record__Portal *portal, Nanopush__V1__Mode asked, int *mode)
{
    *mode = 0;
    for (size_t i = 0; i < portal->n_modes; i++)
        if (asked ? portal->modes[i] == (uint32_t)asked : (int)portal->modes[i] > *mode)
            *mode = (int)portal->modes[i];
    return *mode != 0;
}

/* @return false if the call was ended with an error. */
static bool check_create(struct rpc_call *call, const Nanopush__V1__CreateChallengeRequest *request,
                         struct challenge_request *ret)
{
    struct bytes user = bytes_of(request->user);
    if (user.len == 0 || text_check(user, USER_NAME_MAX_BYTES) != ERR_OK)
        rpc_fail(call, RPC_INVALID_ARGUMENT, "user: must be 1 to %d bytes of text without control characters",
                 USER_NAME_MAX_BYTES);
    else if (!choose_mode(rpc_portal(call), request->mode, &ret->mode))
        rpc_fail(call, RPC_FAILED_PRECONDITION, "mode: not one that this portal is allowed");
    else if (request->user_verification < 0 ||
             request->user_verification > NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_NOT_ASKED)
        rpc_fail(call, RPC_INVALID_ARGUMENT, "userVerification: not one that is known");
    else if (!read_life(request->life, CHALLENGE_LIFE_DEFAULT_MS, CHALLENGE_LIFE_MIN_MS,
                        CHALLENGE_LIFE_MAX_MS, &ret->life_ms))
        rpc_fail(call, RPC_INVALID_ARGUMENT, "life: must be 30s to 300s");
    else if (request->nonce.len && (request->nonce.len < CHALLENGE_NONCE_MIN_BYTES ||
                                    request->nonce.len > CHALLENGE_NONCE_MAX_BYTES))
        rpc_fail(call, RPC_INVALID_ARGUMENT, "nonce: must be %d to %d bytes, or absent",
                 CHALLENGE_NONCE_MIN_BYTES, CHALLENGE_NONCE_MAX_BYTES);
    else if (text_check(bytes_of(request->browser_session), CHALLENGE_SESSION_MAX_BYTES) != ERR_OK)
        rpc_fail(call, RPC_INVALID_ARGUMENT,
                 "browserSession: must be at most %d bytes without control characters",
                 CHALLENGE_SESSION_MAX_BYTES);
    else if (strlen(request->idempotency_key) > CHALLENGE_IDEMPOTENCY_MAX_BYTES)
        rpc_fail(call, RPC_INVALID_ARGUMENT, "idempotencyKey: must be at most %d bytes",
                 CHALLENGE_IDEMPOTENCY_MAX_BYTES);
    else
        return true;
    return false;
}

static void create_challenge(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__CreateChallengeRequest *request =
        (const Nanopush__V1__CreateChallengeRequest *)message;
    const Record__Portal *portal = rpc_portal(call);
    struct challenge_request asked = {
        .organisation = portal->organisation,
        .portal = portal->id,
        .user = request->user,
        .nonce = bytes_make(request->nonce.data, request->nonce.len),
        .user_verification = request->user_verification
                                 ? (int)request->user_verification
                                 : NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_REQUIRED,
        .code_digits = portal->code_digits,
        .browser_session = request->browser_session,
        .idempotency = bytes_of(request->idempotency_key),
    };
    struct buf display = {0}, other_display = {0}, own_form = {0};
    const char *field = "";
    if (!check_create(call, request, &asked))
        return;
    enum err e = challenge_context_display(portal, request->user, request->context, false, &display, &field);
    if (e == ERR_OK)
        e = challenge_context_display(portal, request->user, request->context, true, &other_display, &field);
    if (e == ERR_OK)
        e = message_pack(message, &own_form);
    if (e == ERR_INVALID || e == ERR_TOO_BIG) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "%s: %s", field,
                 e == ERR_TOO_BIG ? "too long" : "has control or bidirectional formatting characters");
    } else if (e != ERR_OK) {
        rpc_fail_store(call, e);
    } else {
        struct creation *creation = mem_new(sizeof *creation);
        creation->call = call;
        asked.display = buf_view(&display);
        asked.other_display = buf_view(&other_display);
        asked.asked = buf_view(&own_form);
        rpc_on_end(call, creation_end, creation);
        creation->op = challenge_create(rpc_domain(call), &asked, on_created, creation);
    }
    buf_done(&display);
    buf_done(&other_display);
    buf_done(&own_form);
}

/* ---- GetChallenge, WatchChallenge ---- */

/* Somebody who waits for a challenge: one snapshot (Get), or all of them (Watch). */
struct waiting {
    struct rpc_call *call;
    struct watch *watch;
    struct store_call *read;
    struct timer timer;
    char id[ID_SIZE];
    uint64_t after;
};

static void waiting_free(struct waiting *waiting)
{
    timer_cancel(&waiting->timer);
    store_cancel(waiting->read);
    watch_cancel(waiting->watch);
    free(waiting);
}

static void waiting_end(void *state)
{
    waiting_free(state);
}

static void reply_snapshot(struct rpc_call *call, const struct challenge_view *view)
{
    struct challenge_snapshot snapshot;
    Nanopush__V1__GetChallengeResponse response = NANOPUSH__V1__GET_CHALLENGE_RESPONSE__INIT;
    enum err e = snapshot_challenge(rpc_domain(call)->secret, view, &snapshot);
    response.challenge = &snapshot.message;
    if (e == ERR_OK)
        rpc_reply(call, &response.base);
    else
        rpc_fail_store(call, e);
    snapshot_challenge_done(&snapshot);
}

static void get_finish(struct waiting *waiting, enum err e, const struct challenge_view *view)
{
    struct rpc_call *call = waiting->call;
    rpc_on_end(call, NULL, NULL);
    waiting_free(waiting);
    if (e == ERR_OK && is_callers(call, view))
        reply_snapshot(call, view);
    else
        fail_read(call, e);
}

static void on_get_read(enum err e, const struct challenge_view *view, void *arg)
{
    struct waiting *waiting = arg;
    waiting->read = NULL;
    if (e == ERR_OK && view->state == CHALLENGE_PENDING && view->now_unix_ms >= view->expire_unix_ms)
        challenge_expire(rpc_domain(waiting->call), view);
    get_finish(waiting, e, view);
}

static void on_get_moved(enum err e, const struct challenge_view *view, void *arg)
{
    struct waiting *waiting = arg;
    if (e != ERR_OK || challenge_state_final(view->state))
        waiting->watch = NULL; /* over by itself */
    if (e == ERR_OK && is_callers(waiting->call, view) && !challenge_state_final(view->state) &&
        view->revision <= waiting->after)
        return;
    get_finish(waiting, e, view);
}

static void on_get_waited(void *arg)
{
    struct waiting *waiting = arg;
    watch_cancel(waiting->watch);
    waiting->watch = NULL;
    waiting->read =
        store_challenge_get(rpc_domain(waiting->call)->store, waiting->id, false, on_get_read, waiting);
}

static struct waiting *waiting_new(struct rpc_call *call, const char *id, loop_fn on_timer)
{
    struct waiting *waiting = mem_new(sizeof *waiting);
    waiting->call = call;
    memcpy(waiting->id, id, ID_SIZE);
    timer_init(&waiting->timer, rpc_domain(call)->loop, on_timer, waiting);
    rpc_on_end(call, waiting_end, waiting);
    return waiting;
}

static void get_challenge(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__GetChallengeRequest *request = (const Nanopush__V1__GetChallengeRequest *)message;
    if (!id_valid(bytes_of(request->id))) {
        fail_not_found(call);
        return;
    }
    if (request->wait_ms > WAIT_MAX_MS) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "waitMs: must be at most %d", WAIT_MAX_MS);
        return;
    }
    if (request->wait_ms > 0 && !rpc_may_wait(call))
        return;
    struct waiting *waiting = waiting_new(call, request->id, on_get_waited);
    waiting->after = request->after_revision;
    if (request->wait_ms == 0) {
        on_get_waited(waiting);
        return;
    }
    timer_start(&waiting->timer, request->wait_ms);
    waiting->watch = watch_challenge(rpc_domain(call)->watches, waiting->id, 0, on_get_moved, waiting);
}

static void on_watch_moved(enum err e, const struct challenge_view *view, void *arg)
{
    struct waiting *waiting = arg;
    struct rpc_call *call = waiting->call;
    bool over = e != ERR_OK || challenge_state_final(view->state);
    if (over)
        waiting->watch = NULL;
    if (e != ERR_OK || !is_callers(call, view)) {
        rpc_on_end(call, NULL, NULL);
        waiting_free(waiting);
        fail_read(call, e);
        return;
    }
    struct challenge_snapshot snapshot;
    Nanopush__V1__WatchChallengeResponse response = NANOPUSH__V1__WATCH_CHALLENGE_RESPONSE__INIT;
    e = snapshot_challenge(rpc_domain(call)->secret, view, &snapshot);
    response.challenge = &snapshot.message;
    if (e != ERR_OK)
        LOG(ERROR, PORTAL, "number-not-derived", "challenge=%s", snapshot.message.id);
    bool going_on = rpc_send(call, &response.base);
    snapshot_challenge_done(&snapshot);
    if (!going_on || over)
        waiting_free(waiting);
    if (going_on && over)
        rpc_finish(call);
}

static void watch_one(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__WatchChallengeRequest *request = (const Nanopush__V1__WatchChallengeRequest *)message;
    if (!id_valid(bytes_of(request->id))) {
        fail_not_found(call);
        return;
    }
    if (!rpc_may_wait(call))
        return;
    struct waiting *waiting = waiting_new(call, request->id, NULL);
    waiting->watch = watch_challenge(rpc_domain(call)->watches, waiting->id, 0, on_watch_moved, waiting);
}

/* ---- ResendChallenge, CancelChallenge: read it, change it, read what it is then ---- */

struct change {
    struct rpc_call *call;
    bool resend;
    struct store_call *read;
    struct challenge_op *op;
    char id[ID_SIZE];
};

static void change_end(void *state)
{
    struct change *change = state;
    store_cancel(change->read);
    challenge_op_cancel(change->op);
    free(change);
}

/* The call is the caller's again. */
static struct rpc_call *change_leave(struct change *change)
{
    struct rpc_call *call = change->call;
    rpc_on_end(call, NULL, NULL);
    free(change);
    return call;
}

static void reply_changed(struct rpc_call *call, bool resend, const struct challenge_view *view)
{
    struct challenge_snapshot snapshot;
    Nanopush__V1__ResendChallengeResponse resent = NANOPUSH__V1__RESEND_CHALLENGE_RESPONSE__INIT;
    Nanopush__V1__CancelChallengeResponse cancelled = NANOPUSH__V1__CANCEL_CHALLENGE_RESPONSE__INIT;
    enum err e = snapshot_challenge(rpc_domain(call)->secret, view, &snapshot);
    resent.challenge = cancelled.challenge = &snapshot.message;
    if (!rpc_portal(call))
        snapshot.number[0] = '\0'; /* the portal's to show, nobody else's to know */
    if (e != ERR_OK)
        rpc_fail_store(call, e);
    else
        rpc_reply(call, resend ? &resent.base : &cancelled.base);
    snapshot_challenge_done(&snapshot);
}

static void on_changed_read(enum err e, const struct challenge_view *view, void *arg)
{
    struct change *change = arg;
    bool resend = change->resend;
    struct rpc_call *call = change_leave(change);
    if (e != ERR_OK)
        fail_read(call, e);
    else
        reply_changed(call, resend, view);
}

static void read_changed(struct change *change)
{
    change->op = NULL;
    change->read =
        store_challenge_get(rpc_domain(change->call)->store, change->id, false, on_changed_read, change);
}

static void on_cancelled(enum err e, void *arg)
{
    if (e != ERR_OK)
        fail_read(change_leave(arg), e);
    else
        read_changed(arg);
}

static void on_resent(enum err e, int64_t until_unix_ms, void *arg)
{
    int64_t left_s = (until_unix_ms - clock_unix_ms() + 999) / 1000;
    if (e == ERR_OK)
        read_changed(arg);
    else if (e == ERR_BAD_STATE)
        rpc_fail(change_leave(arg), RPC_FAILED_PRECONDITION, "the challenge is over; create another");
    else if (e == ERR_LIMIT && until_unix_ms)
        rpc_fail(change_leave(arg), RPC_RESOURCE_EXHAUSTED, "it was sent just now; again in %lld s",
                 (long long)(left_s > 0 ? left_s : 1));
    else if (e == ERR_LIMIT)
        support_fail(change_leave(arg), RPC_RESOURCE_EXHAUSTED, "it was sent as often as may be");
    else
        fail_read(change_leave(arg), e);
}

static void on_change_read(enum err e, const struct challenge_view *view, void *arg)
{
    struct change *change = arg;
    struct domain *domain = rpc_domain(change->call);
    char by[RPC_ACTOR_SIZE];
    change->read = NULL;
    if (e != ERR_OK || !is_callers(change->call, view))
        fail_read(change_leave(change), e);
    else if (change->resend)
        change->op = challenge_resend(domain, view, on_resent, change);
    else
        change->op = challenge_cancel(domain, view, rpc_actor(change->call, by), on_cancelled, change);
}

static void begin_change(struct rpc_call *call, const char *id, bool resend)
{
    if (!id_valid(bytes_of(id))) {
        fail_not_found(call);
        return;
    }
    struct change *change = mem_new(sizeof *change);
    change->call = call;
    change->resend = resend;
    memcpy(change->id, id, ID_SIZE);
    rpc_on_end(call, change_end, change);
    change->read = store_challenge_get(rpc_domain(call)->store, change->id, false, on_change_read, change);
}

static void resend_challenge(struct rpc_call *call, const ProtobufCMessage *message)
{
    begin_change(call, ((const Nanopush__V1__ResendChallengeRequest *)message)->id, true);
}

static void cancel_challenge(struct rpc_call *call, const ProtobufCMessage *message)
{
    begin_change(call, ((const Nanopush__V1__CancelChallengeRequest *)message)->id, false);
}

#define SCOPE NANOPUSH__V1__SCOPE__SCOPE_CHALLENGE

const struct rpc_method challenge_service[] = {
    RPC_METHOD(ChallengeService, CreateChallenge, create_challenge_request, false, SCOPE, create_challenge),
    RPC_SAFE_METHOD(ChallengeService, GetChallenge, get_challenge_request, SCOPE, get_challenge),
    RPC_METHOD(ChallengeService, WatchChallenge, watch_challenge_request, true, SCOPE, watch_one),
    RPC_METHOD(ChallengeService, ResendChallenge, resend_challenge_request, false, SCOPE, resend_challenge),
    RPC_METHOD(ChallengeService, CancelChallenge, cancel_challenge_request, false, SCOPE, cancel_challenge),
    {0},
};

const struct rpc_method challenge_admin_service[] = {
    RPC_METHOD(ChallengeService, CancelChallenge, cancel_challenge_request, false, 0, cancel_challenge),
    {0},
};
