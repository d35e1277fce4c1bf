/* EnrolmentService: make a phone a device (proto/nanopush/v1/enrolment.proto). */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/log.h"
#include "domain/enrolment.h"
#include "domain/text.h"
#include "domain/watch.h"
#include "nanopush/v1/admin.pb-c.h"
#include "portal/qr.h"
#include "portal/services.h"
#include "portal/snapshot.h"

static bool is_callers(const struct rpc_call *call, const struct enrolment_view *view)
{
    return strcmp(view->record->portal, rpc_portal(call)->id) == 0;
}

static void fail_not_found(struct rpc_call *call)
{
    rpc_fail(call, RPC_NOT_FOUND, "no such enrolment of this portal, or it ended more than 10 minutes ago");
}

static void fail_read(struct rpc_call *call, enum err e)
{
    if (e == ERR_OK || e == ERR_NOT_FOUND)
        fail_not_found(call);
    else
        rpc_fail_store(call, e);
}

/* ---- CreateEnrolment ---- */

struct creation {
    struct rpc_call *call;
    struct enrolment_op *op;
    char *user;
};

static void creation_free(struct creation *creation)
{
    free(creation->user);
    free(creation);
}

static void creation_end(void *state)
{
    struct creation *creation = state;
    enrolment_op_cancel(creation->op);
    creation_free(creation);
}

/* RFC 3986: everything but the unreserved characters, and what an address needs. */
static enum err append_percent(struct buf *out, const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:[]";
    for (; *text; text++)
        TRY(strchr(plain, *text) ? buf_append_byte(out, (uint8_t)*text)
                                 : buf_printf(out, "%%%02X", (unsigned char)*text));
    return ERR_OK;
}

static enum err append_uri(struct buf *out, const struct portal_surroundings *surroundings,
                           const char *organisation, const char *user,
                           const struct enrolment_created *created)
{
    char token[BASE64URL_SIZE(ENROLMENT_TOKEN_BYTES)], pin[BASE64URL_SIZE(SHA256_BYTES)];
    base64url_encode(bytes_make(created->token, sizeof created->token), token);
    base64url_encode(bytes_make(surroundings->trust_anchor, SHA256_BYTES), pin);
    TRY(buf_append(out, bytes_of("nanopush://enrol?v=1&h=")));
    TRY(append_percent(out, surroundings->device_address));
    TRY(buf_append(out, bytes_of("&n=")));
    TRY(append_percent(out, surroundings->server_name));
    TRY(buf_printf(out, "&o=%s&u=", organisation));
    TRY(append_percent(out, user));
    TRY(buf_printf(out, "&e=%s&t=%s&p=%s", created->id, token, pin));
    return buf_append_byte(out, 0);
}

static void reply_created(struct rpc_call *call, const char *user, const struct enrolment_created *created)
{
    Nanopush__V1__CreateEnrolmentResponse response = NANOPUSH__V1__CREATE_ENROLMENT_RESPONSE__INIT;
    Google__Protobuf__Timestamp expires = snapshot_time(created->expire_unix_ms);
    struct buf uri = {0}, svg = {0};
    enum err e = append_uri(&uri, rpc_surroundings(call), rpc_portal(call)->organisation, user, created);
    if (e == ERR_OK)
        e = qr_append_svg((const char *)buf_view(&uri).p, &svg);
    if (e == ERR_OK)
        e = buf_append_byte(&svg, 0);
    if (e == ERR_OK) {
        response.id = (char *)created->id;
        response.uri = (char *)buf_view(&uri).p;
        response.qr_svg = (char *)buf_view(&svg).p;
        response.expire_time = &expires;
        rpc_reply(call, &response.base);
    } else {
        rpc_fail_store(call, e);
    }
    buf_done(&uri);
    buf_done(&svg);
}

static void on_created(enum err e, const struct enrolment_created *created, void *arg)
{
    struct creation *creation = arg;
    struct rpc_call *call = creation->call;
    rpc_on_end(call, NULL, NULL);
    if (e == ERR_OK)
        reply_created(call, creation->user, created);
    else
        rpc_fail_store(call, e);
    creation_free(creation);
}

static void create_enrolment(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__CreateEnrolmentRequest *request =
        (const Nanopush__V1__CreateEnrolmentRequest *)message;
    const Record__Portal *portal = rpc_portal(call);
    const Google__Protobuf__Duration *life = request->life;
    int64_t life_ms = !life ? ENROLMENT_LIFE_DEFAULT_MS
                      : life->seconds < 0 || life->seconds > 86400
                          ? 0
                          : life->seconds * 1000 + life->nanos / 1000000;
    struct bytes user = bytes_of(request->user);
    if (user.len == 0 || text_check(user, USER_NAME_MAX_BYTES) != ERR_OK) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "user: must be 1 to %d bytes of text without control characters",
                 USER_NAME_MAX_BYTES);
        return;
    }
    if (life_ms < ENROLMENT_LIFE_MIN_MS || life_ms > ENROLMENT_LIFE_MAX_MS) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "life: must be 60s to 600s");
        return;
    }
    if (request->confirmation < 0 || request->confirmation > NANOPUSH__V1__CONFIRMATION__CONFIRMATION_CODE) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "confirmation: not one that is known");
        return;
    }
    if (request->platform < 0 || request->platform > NANOPUSH__V1__PLATFORM__PLATFORM_OTHER) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "platform: not one that is known");
        return;
    }
    if (request->override_approval && !rpc_has_scope(call, NANOPUSH__V1__SCOPE__SCOPE_ADMIN)) {
        rpc_fail(call, RPC_PERMISSION_DENIED,
                 "overrideApproval: wants a credential with scope admin; without it an old phone is asked");
        return;
    }
    char by[RPC_ACTOR_SIZE];
    const struct enrolment_request asked = {
        .by = rpc_actor(call, by),
        .confirm = request->confirmation == NANOPUSH__V1__CONFIRMATION__CONFIRMATION_CODE,
        .platform = (uint32_t)request->platform,
        .portal_name = portal->name,
        .organisation = portal->organisation,
        .organisation_name = portal->organisation_name,
        .portal = portal->id,
        .user = request->user,
        .life_ms = (unsigned)life_ms,
        .may_add = request->override_approval,
    };
    struct creation *creation = mem_new(sizeof *creation);
    creation->call = call;
    creation->user = mem_copy_string(request->user);
    rpc_on_end(call, creation_end, creation);
    creation->op = enrolment_create(rpc_domain(call), &asked, on_created, creation);
}

/* ---- GetEnrolment, WatchEnrolment ---- */

struct waiting {
    struct rpc_call *call;
    struct watch *watch;
    struct store_call *read;
};

static void waiting_end(void *state)
{
    struct waiting *waiting = state;
    store_cancel(waiting->read);
    watch_cancel(waiting->watch);
    free(waiting);
}

static struct waiting *waiting_new(struct rpc_call *call)
{
    struct waiting *waiting = mem_new(sizeof *waiting);
    waiting->call = call;
    rpc_on_end(call, waiting_end, waiting);
    return waiting;
}

static void on_read(enum err e, const struct enrolment_view *view, void *arg)
{
    struct waiting *waiting = arg;
    struct rpc_call *call = waiting->call;
    struct enrolment_snapshot snapshot;
    Nanopush__V1__GetEnrolmentResponse response = NANOPUSH__V1__GET_ENROLMENT_RESPONSE__INIT;
    rpc_on_end(call, NULL, NULL);
    free(waiting);
    if (e == ERR_OK)
        enrolment_seen(rpc_domain(call), view);
    if (e == ERR_OK && !is_callers(call, view))
        e = ERR_NOT_FOUND;
    if (e == ERR_OK)
        e = snapshot_enrolment(view, &snapshot);
    if (e != ERR_OK) {
        fail_read(call, e);
        return;
    }
    response.enrolment = &snapshot.message;
    rpc_reply(call, &response.base);
}

static void get_enrolment(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__GetEnrolmentRequest *request = (const Nanopush__V1__GetEnrolmentRequest *)message;
    if (!id_valid(bytes_of(request->id))) {
        fail_not_found(call);
        return;
    }
    struct waiting *waiting = waiting_new(call);
    waiting->read = store_enrolment_get(rpc_domain(call)->store, request->id, false, on_read, waiting);
}

static void on_moved(enum err e, const struct enrolment_view *view, void *arg)
{
    struct waiting *waiting = arg;
    struct rpc_call *call = waiting->call;
    struct enrolment_snapshot snapshot;
    Nanopush__V1__WatchEnrolmentResponse response = NANOPUSH__V1__WATCH_ENROLMENT_RESPONSE__INIT;
    bool over = e != ERR_OK || !enrolment_state_open(view->state);
    if (over)
        waiting->watch = NULL; /* by itself */
    if (e == ERR_OK && !is_callers(call, view))
        e = ERR_NOT_FOUND;
    if (e == ERR_OK)
        e = snapshot_enrolment(view, &snapshot);
    if (e != ERR_OK) {
        rpc_on_end(call, NULL, NULL);
        waiting_end(waiting);
        fail_read(call, e);
        return;
    }
    response.enrolment = &snapshot.message;
    bool going_on = rpc_send(call, &response.base);
    if (!going_on || over)
        waiting_end(waiting);
    if (going_on && over)
        rpc_finish(call);
}

static void watch_enrolment_call(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__WatchEnrolmentRequest *request = (const Nanopush__V1__WatchEnrolmentRequest *)message;
    if (!id_valid(bytes_of(request->id))) {
        fail_not_found(call);
        return;
    }
    if (!rpc_may_wait(call))
        return;
    struct waiting *waiting = waiting_new(call);
    waiting->watch = watch_enrolment(rpc_domain(call)->watches, request->id, on_moved, waiting);
}

/* ---- ConfirmEnrolment, CancelEnrolment: read it, change it, read what it is then ---- */

struct change {
    struct rpc_call *call;
    bool confirm;
    char code[ENROLMENT_CODE_DIGITS + 1];
    struct store_call *read;
    struct enrolment_op *op;
    char id[ID_SIZE];
};

static void change_end(void *state)
{
    struct change *change = state;
    store_cancel(change->read);
    enrolment_op_cancel(change->op);
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

static void on_changed_read(enum err e, const struct enrolment_view *view, void *arg)
{
    struct change *change = arg;
    bool confirm = change->confirm;
    struct rpc_call *call = change_leave(change);
    struct enrolment_snapshot snapshot;
    Nanopush__V1__ConfirmEnrolmentResponse confirmed = NANOPUSH__V1__CONFIRM_ENROLMENT_RESPONSE__INIT;
    Nanopush__V1__CancelEnrolmentResponse cancelled = NANOPUSH__V1__CANCEL_ENROLMENT_RESPONSE__INIT;
    if (e == ERR_OK)
        e = snapshot_enrolment(view, &snapshot);
    if (e != ERR_OK) {
        fail_read(call, e);
        return;
    }
    confirmed.enrolment = cancelled.enrolment = &snapshot.message;
    rpc_reply(call, confirm ? &confirmed.base : &cancelled.base);
}

static void on_changed(enum err e, void *arg)
{
    struct change *change = arg;
    change->op = NULL;
    if (e == ERR_BAD_STATE)
        rpc_fail(change_leave(change), RPC_FAILED_PRECONDITION, "the enrolment does not wait for a code");
    else if (e != ERR_OK)
        fail_read(change_leave(change), e);
    else
        change->read =
            store_enrolment_get(rpc_domain(change->call)->store, change->id, false, on_changed_read, change);
}

static void on_change_read(enum err e, const struct enrolment_view *view, void *arg)
{
    struct change *change = arg;
    struct domain *domain = rpc_domain(change->call);
    char by[RPC_ACTOR_SIZE];
    change->read = NULL;
    if (e != ERR_OK || !is_callers(change->call, view))
        fail_read(change_leave(change), e);
    else if (change->confirm)
        change->op = enrolment_confirm(domain, view, change->code, on_changed, change);
    else
        change->op = enrolment_cancel(domain, view, rpc_actor(change->call, by), on_changed, change);
}

/* @p code NULL: cancel. */
static void begin_change(struct rpc_call *call, const char *id, const char *code)
{
    if (!id_valid(bytes_of(id))) {
        fail_not_found(call);
        return;
    }
    if (code &&
        (strlen(code) != ENROLMENT_CODE_DIGITS ||
         strspn(code, "0123456789") != ENROLMENT_CODE_DIGITS)) { /* not a try: a typing error costs nothing */
        rpc_fail(call, RPC_INVALID_ARGUMENT, "code: must be %d digits", ENROLMENT_CODE_DIGITS);
        return;
    }
    struct change *change = mem_new(sizeof *change);
    change->call = call;
    change->confirm = code != NULL;
    if (code)
        memcpy(change->code, code, sizeof change->code);
    memcpy(change->id, id, ID_SIZE);
    rpc_on_end(call, change_end, change);
    change->read = store_enrolment_get(rpc_domain(call)->store, change->id, false, on_change_read, change);
}

static void confirm_enrolment(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__ConfirmEnrolmentRequest *request =
        (const Nanopush__V1__ConfirmEnrolmentRequest *)message;
    begin_change(call, request->id, request->code);
}

static void cancel_enrolment(struct rpc_call *call, const ProtobufCMessage *message)
{
    begin_change(call, ((const Nanopush__V1__CancelEnrolmentRequest *)message)->id, NULL);
}

#define SCOPE NANOPUSH__V1__SCOPE__SCOPE_ENROL

const struct rpc_method enrolment_service[] = {
    RPC_METHOD(EnrolmentService, CreateEnrolment, create_enrolment_request, false, SCOPE, create_enrolment),
    RPC_SAFE_METHOD(EnrolmentService, GetEnrolment, get_enrolment_request, SCOPE, get_enrolment),
    RPC_METHOD(EnrolmentService, WatchEnrolment, watch_enrolment_request, true, SCOPE, watch_enrolment_call),
    RPC_METHOD(EnrolmentService, ConfirmEnrolment, confirm_enrolment_request, false, SCOPE,
               confirm_enrolment),
    RPC_METHOD(EnrolmentService, CancelEnrolment, cancel_enrolment_request, false, SCOPE, cancel_enrolment),
    {0},
};
