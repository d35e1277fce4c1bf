/* EnrolmentService: make a phone a device (proto/nanopush/v1/enrolment.proto). */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
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
    else if (e == ERR_EXISTS)
        rpc_fail(call, RPC_FAILED_PRECONDITION,
                 "the user has a phone; a credential with scope admin may enrol another");
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
    const struct enrolment_request asked = {
        .organisation = portal->organisation,
        .organisation_name = portal->organisation_name,
        .portal = portal->id,
        .user = request->user,
        .life_ms = (unsigned)life_ms,
        .may_add = rpc_has_scope(call, NANOPUSH__V1__SCOPE__SCOPE_ADMIN),
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
    bool over = e != ERR_OK || (view->state != ENROLMENT_WAITING && view->state != ENROLMENT_TO_CONFIRM);
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
    struct waiting *waiting = waiting_new(call);
    waiting->watch = watch_enrolment(rpc_domain(call)->watches, request->id, on_moved, waiting);
}

/* ---- CancelEnrolment ---- */

struct cancellation {
    struct rpc_call *call;
    struct store_call *read;
    struct enrolment_op *op;
    char id[ID_SIZE];
};

static void cancellation_end(void *state)
{
    struct cancellation *cancellation = state;
    store_cancel(cancellation->read);
    enrolment_op_cancel(cancellation->op);
    free(cancellation);
}

static void cancellation_fail(struct cancellation *cancellation, enum err e)
{
    struct rpc_call *call = cancellation->call;
    rpc_on_end(call, NULL, NULL);
    free(cancellation);
    fail_read(call, e);
}

static void on_cancelled_read(enum err e, const struct enrolment_view *view, void *arg)
{
    struct cancellation *cancellation = arg;
    struct rpc_call *call = cancellation->call;
    struct enrolment_snapshot snapshot;
    Nanopush__V1__CancelEnrolmentResponse response = NANOPUSH__V1__CANCEL_ENROLMENT_RESPONSE__INIT;
    if (e == ERR_OK)
        e = snapshot_enrolment(view, &snapshot);
    if (e != ERR_OK) {
        cancellation_fail(cancellation, e);
        return;
    }
    rpc_on_end(call, NULL, NULL);
    free(cancellation);
    response.enrolment = &snapshot.message;
    rpc_reply(call, &response.base);
}

static void on_cancelled(enum err e, void *arg)
{
    struct cancellation *cancellation = arg;
    cancellation->op = NULL;
    if (e != ERR_OK)
        cancellation_fail(cancellation, e);
    else
        cancellation->read = store_enrolment_get(rpc_domain(cancellation->call)->store, cancellation->id,
                                                 false, on_cancelled_read, cancellation);
}

static void on_cancel_read(enum err e, const struct enrolment_view *view, void *arg)
{
    struct cancellation *cancellation = arg;
    cancellation->read = NULL;
    if (e != ERR_OK || !is_callers(cancellation->call, view))
        cancellation_fail(cancellation, e);
    else
        cancellation->op = enrolment_cancel(rpc_domain(cancellation->call), view, on_cancelled, cancellation);
}

static void cancel_enrolment(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__CancelEnrolmentRequest *request =
        (const Nanopush__V1__CancelEnrolmentRequest *)message;
    if (!id_valid(bytes_of(request->id))) {
        fail_not_found(call);
        return;
    }
    struct cancellation *cancellation = mem_new(sizeof *cancellation);
    cancellation->call = call;
    memcpy(cancellation->id, request->id, ID_SIZE);
    rpc_on_end(call, cancellation_end, cancellation);
    cancellation->read =
        store_enrolment_get(rpc_domain(call)->store, cancellation->id, false, on_cancel_read, cancellation);
}

#define SCOPE NANOPUSH__V1__SCOPE__SCOPE_ENROL

const struct rpc_method enrolment_service[] = {
    RPC_METHOD(EnrolmentService, CreateEnrolment, create_enrolment_request, false, SCOPE, create_enrolment),
    RPC_METHOD(EnrolmentService, GetEnrolment, get_enrolment_request, false, SCOPE, get_enrolment),
    RPC_METHOD(EnrolmentService, WatchEnrolment, watch_enrolment_request, true, SCOPE, watch_enrolment_call),
    RPC_METHOD(EnrolmentService, ConfirmEnrolment, confirm_enrolment_request, false, SCOPE, NULL),
    RPC_METHOD(EnrolmentService, CancelEnrolment, cancel_enrolment_request, false, SCOPE, cancel_enrolment),
    {0},
};
