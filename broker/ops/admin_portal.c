/* Portals: made, listed, removed, their secrets rotated. The caller who goes away does not undo it. */
#include "ops/admin_portal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "domain/event.h"
#include "domain/number.h"
#include "domain/permit.h"
#include "nanopush/v1/admin.pb-c.h"

#define LIST_MAX          8 /* modes, scopes of one portal */
#define SECRETS_MAX       2
#define FINGERPRINT_BYTES 8
#define OVERLAP_DEFAULT_S (24u * 3600)

/* ---- a record as the API says it ---- */

struct secret_row {
    Nanopush__V1__Secret message;
    Google__Protobuf__Timestamp created, expires;
    char fingerprint[HEX_SIZE(FINGERPRINT_BYTES)];
};

/* The message's strings are the record's, so it must not outlive that. */
struct portal_row {
    Nanopush__V1__Portal message;
    Nanopush__V1__Mode modes[LIST_MAX];
    Nanopush__V1__Scope scopes[LIST_MAX];
    struct secret_row secrets[SECRETS_MAX];
    Nanopush__V1__Secret *secret_list[SECRETS_MAX];
    char fingerprints[PORTAL_CERTIFICATES_MAX][HEX_SIZE(SHA256_BYTES)];
    char *certificates[PORTAL_CERTIFICATES_MAX];
};

static Google__Protobuf__Timestamp *set_time(Google__Protobuf__Timestamp *room, int64_t unix_ms)
{
    google__protobuf__timestamp__init(room);
    room->seconds = unix_ms / 1000;
    room->nanos = (int32_t)(unix_ms % 1000) * 1000000;
    return unix_ms ? room : NULL;
}

static void add_secret(struct portal_row *row, const ProtobufCBinaryData *hash, int64_t create_unix_ms,
                       int64_t expire_unix_ms)
{
    if (hash->len < FINGERPRINT_BYTES)
        return;
    struct secret_row *secret = &row->secrets[row->message.n_secrets];
    nanopush__v1__secret__init(&secret->message);
    hex_encode(bytes_make(hash->data, FINGERPRINT_BYTES), secret->fingerprint);
    secret->message.fingerprint = secret->fingerprint;
    secret->message.create_time = set_time(&secret->created, create_unix_ms);
    secret->message.expire_time = set_time(&secret->expires, expire_unix_ms);
    row->secret_list[row->message.n_secrets++] = &secret->message;
}

static void fill(struct portal_row *row, const Record__Portal *record, int64_t now_unix_ms)
{
    Nanopush__V1__Portal *message = &row->message;
    nanopush__v1__portal__init(message);
    message->id = record->id;
    message->organisation = record->organisation;
    message->name = record->name;
    message->modes = row->modes;
    message->scopes = row->scopes;
    message->secrets = row->secret_list;
    for (size_t i = 0; i < record->n_modes && i < LIST_MAX; i++)
        row->modes[message->n_modes++] = (Nanopush__V1__Mode)record->modes[i];
    for (size_t i = 0; i < record->n_scopes && i < LIST_MAX; i++)
        row->scopes[message->n_scopes++] = (Nanopush__V1__Scope)record->scopes[i];
    if (record->code_digits)
        message->preset = NANOPUSH__V1__PRESET__PRESET_NIST;
    message->certificates = row->certificates;
    message->certificate_required = record->certificate_required;
    message->calls_per_second = record->calls_per_s;
    for (size_t i = 0; i < record->n_certificates && i < PORTAL_CERTIFICATES_MAX; i++) {
        hex_encode(bytes_make(record->certificates[i].data, SHA256_BYTES), row->fingerprints[i]);
        row->certificates[message->n_certificates++] = row->fingerprints[i];
    }
    add_secret(row, &record->secret_hash, record->secret_unix_ms, 0);
    if (record->previous_until_unix_ms > now_unix_ms)
        add_secret(row, &record->previous_secret_hash, record->previous_unix_ms,
                   record->previous_until_unix_ms);
}

static void silence(void *op)
{
    registry_op_cancel(op);
}

static void emit(struct rpc_call *call, enum event_kind kind, const Record__Portal *record)
{
    char by[RPC_ACTOR_SIZE];
    const struct event event = {
        .kind = kind, .organisation = record->organisation, .portal = record->id, .by = rpc_actor(call, by)};
    event_emit(rpc_domain(call), &event);
}

/* ---- created ---- */

static void on_created(enum err e, const struct portal_view *view, const char *credential, void *arg)
{
    struct rpc_call *call = arg;
    Nanopush__V1__CreatePortalResponse response = NANOPUSH__V1__CREATE_PORTAL_RESPONSE__INIT;
    struct portal_row row = {0};
    rpc_on_end(call, NULL, NULL);
    if (e == ERR_INVALID) {
        rpc_fail(
            call, RPC_INVALID_ARGUMENT,
            "portal: id must be 1 to 64 of a-z 0-9 and -, name at most 64 bytes without control characters");
    } else if (e == ERR_NOT_FOUND) {
        rpc_fail(call, RPC_NOT_FOUND, "portal.organisation: no such organisation; add it first");
    } else if (e == ERR_LIMIT) {
        rpc_fail(call, RPC_ALREADY_EXISTS, "portal.certificates: one is pinned to another portal");
    } else if (e == ERR_EXISTS) {
        rpc_fail(call, RPC_ALREADY_EXISTS,
                 "there is a portal of that id, or was: ids are unique in the whole broker, for good");
    } else if (e != ERR_OK) {
        rpc_fail_store(call, e);
    } else {
        LOG(INFO, OPS, "portal-added", "portal=%s organisation=%s", view->record->id,
            view->record->organisation);
        emit(call, EVENT_PORTAL_ADDED, view->record);
        fill(&row, view->record, view->now_unix_ms);
        response.portal = &row.message;
        response.credential = (char *)credential;
        rpc_reply(call, &response.base);
    }
}

/* @return false if the list names something that is not known, or too much. */
static bool copy_list(const int *from, size_t count, int last, int absent, uint32_t *to, size_t *to_count)
{
    if (count > LIST_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (from[i] < 1 || from[i] > last)
            return false;
        to[i] = (uint32_t)from[i];
    }
    *to_count = count;
    if (count == 0)
        to[(*to_count)++] = (uint32_t)absent;
    return true;
}

/* @return false if it is not known, or the modes are not its own. */
static bool apply_preset(Nanopush__V1__Preset preset, Record__Portal *record)
{
    if (preset == NANOPUSH__V1__PRESET__PRESET_UNSPECIFIED)
        return true;
    if (preset != NANOPUSH__V1__PRESET__PRESET_NIST)
        return false;
    record->code_digits = NUMBER_LONG_DIGITS;
    for (size_t i = 0; i < record->n_modes; i++)
        if (record->modes[i] != NANOPUSH__V1__MODE__MODE_CODE)
            return false;
    return true;
}

static bool read_fingerprint(const char *text, uint8_t ret[SHA256_BYTES])
{
    return hex_decode(bytes_of(text), ret, SHA256_BYTES) == ERR_OK;
}

void admin_create_portal(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__Portal *asked = ((const Nanopush__V1__CreatePortalRequest *)message)->portal;
    Record__Portal record = RECORD__PORTAL__INIT;
    uint32_t modes[LIST_MAX], scopes[LIST_MAX];
    record.modes = modes;
    record.scopes = scopes;
    uint8_t fingerprints[PORTAL_CERTIFICATES_MAX][SHA256_BYTES];
    ProtobufCBinaryData certificates[PORTAL_CERTIFICATES_MAX];
    if (!asked) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "portal: must be there");
        return;
    }
    if (!copy_list((const int *)asked->modes, asked->n_modes, NANOPUSH__V1__MODE__MODE_CODE,
                   NANOPUSH__V1__MODE__MODE_CODE, modes, &record.n_modes) ||
        !copy_list((const int *)asked->scopes, asked->n_scopes, NANOPUSH__V1__SCOPE__SCOPE_EVENTS,
                   NANOPUSH__V1__SCOPE__SCOPE_CHALLENGE, scopes, &record.n_scopes)) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "portal: modes or scopes name one that is not known");
        return;
    }
    if (!apply_preset(asked->preset, &record)) {
        rpc_fail(call, RPC_INVALID_ARGUMENT,
                 "portal.preset: not one that is known, or modes name what it does not allow");
        return;
    }
    for (size_t i = 0; i < asked->n_certificates; i++) {
        if (i == PORTAL_CERTIFICATES_MAX || !read_fingerprint(asked->certificates[i], fingerprints[i])) {
            rpc_fail(call, RPC_INVALID_ARGUMENT, "portal.certificates: must be up to %d of 64 hex digits",
                     PORTAL_CERTIFICATES_MAX);
            return;
        }
        certificates[i] = (ProtobufCBinaryData){.data = fingerprints[i], .len = SHA256_BYTES};
    }
    record.certificates = certificates;
    record.n_certificates = asked->n_certificates;
    record.certificate_required = asked->certificate_required;
    record.calls_per_s =
        asked->calls_per_second < PORTAL_RATE_MAX ? asked->calls_per_second : PORTAL_RATE_MAX;
    record.id = asked->id;
    record.organisation = asked->organisation;
    record.name = asked->name[0] ? asked->name : asked->id;
    rpc_on_end(call, silence,
               registry_add_portal(rpc_domain(call)->registry, &record, clock_unix_ms(), on_created, call));
}

/* ---- listed ---- */

static void on_listed(enum err e, Record__Portal *const *portals, size_t count, const char *next, void *arg)
{
    struct rpc_call *call = arg;
    Nanopush__V1__ListPortalsResponse response = NANOPUSH__V1__LIST_PORTALS_RESPONSE__INIT;
    rpc_on_end(call, NULL, NULL);
    if (e != ERR_OK) {
        rpc_fail_store(call, e);
        return;
    }
    struct portal_row *rows = mem_new(count * sizeof *rows + 1);
    Nanopush__V1__Portal **messages = mem_new(count * sizeof *messages + 1);
    for (size_t i = 0; i < count; i++) {
        fill(&rows[i], portals[i], clock_unix_ms());
        messages[i] = &rows[i].message;
    }
    response.portals = messages;
    response.n_portals = count;
    response.next_page_token = (char *)next;
    rpc_reply(call, &response.base);
    free(messages);
    free(rows);
}

void admin_list_portals(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__ListPortalsRequest *request = (const Nanopush__V1__ListPortalsRequest *)message;
    rpc_on_end(call, silence,
               registry_list_portals(rpc_domain(call)->registry, request->organisation, request->page_token,
                                     request->page_size ? request->page_size : INDEX_PAGE_MAX, on_listed,
                                     call));
}

/* ---- changed ---- */

/* True if the call was failed. */
static bool failed(struct rpc_call *call, enum err e)
{
    rpc_on_end(call, NULL, NULL);
    if (e == ERR_NOT_FOUND)
        rpc_fail(call, RPC_NOT_FOUND, "no such portal; ListPortals has those that there are");
    else if (e == ERR_EXISTS)
        rpc_fail(call, RPC_FAILED_PRECONDITION,
                 "two secrets of the portal count already; end that rotation first");
    else if (e == ERR_EXPIRED)
        rpc_fail(call, RPC_FAILED_PRECONDITION,
                 "there is no rotation to end: one secret of the portal counts");
    else if (e == ERR_BAD_STATE)
        rpc_fail(call, RPC_ABORTED,
                 "the portal was changed by somebody else at the same time; look, and repeat");
    else if (e != ERR_OK)
        rpc_fail_store(call, e);
    return e != ERR_OK;
}

static void on_removed(enum err e, const struct portal_view *view, const char *credential, void *arg)
{
    struct rpc_call *call = arg;
    Nanopush__V1__RemovePortalResponse response = NANOPUSH__V1__REMOVE_PORTAL_RESPONSE__INIT;
    (void)credential;
    if (failed(call, e))
        return;
    LOG(INFO, OPS, "portal-removed", "portal=%s organisation=%s", view->record->id,
        view->record->organisation);
    emit(call, EVENT_PORTAL_REMOVED, view->record);
    rpc_reply(call, &response.base);
}

void admin_remove_portal(struct rpc_call *call, const ProtobufCMessage *message)
{
    const char *id = ((const Nanopush__V1__RemovePortalRequest *)message)->id;
    rpc_on_end(call, silence, registry_remove(rpc_domain(call)->registry, id, on_removed, call));
}

static void on_rotated(enum err e, const struct portal_view *view, const char *credential, void *arg)
{
    struct rpc_call *call = arg;
    Nanopush__V1__RotateCredentialResponse response = NANOPUSH__V1__ROTATE_CREDENTIAL_RESPONSE__INIT;
    struct portal_row row = {0};
    if (failed(call, e))
        return;
    LOG(INFO, OPS, "credential-rotated", "portal=%s", view->record->id);
    emit(call, EVENT_CREDENTIAL_ROTATED, view->record);
    fill(&row, view->record, view->now_unix_ms);
    response.portal = &row.message;
    response.credential = (char *)credential;
    rpc_reply(call, &response.base);
}

void admin_rotate_credential(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__RotateCredentialRequest *request =
        (const Nanopush__V1__RotateCredentialRequest *)message;
    int64_t overlap_s = request->overlap ? request->overlap->seconds : OVERLAP_DEFAULT_S;
    if (overlap_s < 0 || overlap_s > CREDENTIAL_OVERLAP_MAX_S) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "overlap: must be 0s to %us", CREDENTIAL_OVERLAP_MAX_S);
        return;
    }
    rpc_on_end(
        call, silence,
        registry_rotate(rpc_domain(call)->registry, request->portal, (unsigned)overlap_s, on_rotated, call));
}

static void on_finished(enum err e, const struct portal_view *view, const char *credential, void *arg)
{
    struct rpc_call *call = arg;
    Nanopush__V1__FinishRotationResponse response = NANOPUSH__V1__FINISH_ROTATION_RESPONSE__INIT;
    struct portal_row row = {0};
    (void)credential;
    if (failed(call, e))
        return;
    LOG(INFO, OPS, "rotation-finished", "portal=%s", view->record->id);
    emit(call, EVENT_ROTATION_FINISHED, view->record);
    fill(&row, view->record, view->now_unix_ms);
    response.portal = &row.message;
    rpc_reply(call, &response.base);
}

void admin_finish_rotation(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__FinishRotationRequest *request = (const Nanopush__V1__FinishRotationRequest *)message;
    rpc_on_end(call, silence,
               registry_finish_rotation(rpc_domain(call)->registry, request->portal, request->undo,
                                        on_finished, call));
}

static void on_certificates_set(enum err e, const struct portal_view *view, const char *credential, void *arg)
{
    struct rpc_call *call = arg;
    Nanopush__V1__SetCertificatesResponse response = NANOPUSH__V1__SET_CERTIFICATES_RESPONSE__INIT;
    struct portal_row row = {0};
    (void)credential;
    rpc_on_end(call, NULL, NULL);
    if (e == ERR_EXISTS) {
        rpc_fail(call, RPC_ALREADY_EXISTS, "add: the certificate is pinned to another portal");
    } else if (e == ERR_LIMIT) {
        rpc_fail(call, RPC_FAILED_PRECONDITION, "add: the portal has %d certificates; drop one first",
                 PORTAL_CERTIFICATES_MAX);
    } else if (!failed(call, e)) {
        LOG(INFO, OPS, "certificates-set", "portal=%s certificates=%zu required=%d", view->record->id,
            view->record->n_certificates, view->record->certificate_required);
        fill(&row, view->record, view->now_unix_ms);
        response.portal = &row.message;
        rpc_reply(call, &response.base);
    }
}

void admin_set_certificates(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__SetCertificatesRequest *request =
        (const Nanopush__V1__SetCertificatesRequest *)message;
    uint8_t add[SHA256_BYTES], drop[SHA256_BYTES];
    int required = -1;
    if ((request->add[0] && !read_fingerprint(request->add, add)) ||
        (request->drop[0] && !read_fingerprint(request->drop, drop))) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "add, drop: must be 64 hex digits, or absent");
        return;
    }
    if (request->secret == NANOPUSH__V1__SET_CERTIFICATES_REQUEST__SECRET__SECRET_ENOUGH)
        required = 0;
    else if (request->secret == NANOPUSH__V1__SET_CERTIFICATES_REQUEST__SECRET__SECRET_NOT_ENOUGH)
        required = 1;
    rpc_on_end(call, silence,
               registry_set_certificates(rpc_domain(call)->registry, request->portal,
                                         request->add[0] ? add : NULL, request->drop[0] ? drop : NULL,
                                         required, on_certificates_set, call));
}

static void on_limits_set(enum err e, const struct portal_view *view, const char *credential, void *arg)
{
    struct rpc_call *call = arg;
    Nanopush__V1__SetLimitsResponse response = NANOPUSH__V1__SET_LIMITS_RESPONSE__INIT;
    struct portal_row row = {0};
    (void)credential;
    if (failed(call, e))
        return;
    LOG(INFO, OPS, "limits-set", "portal=%s calls_per_s=%u", view->record->id, view->record->calls_per_s);
    fill(&row, view->record, view->now_unix_ms);
    response.portal = &row.message;
    rpc_reply(call, &response.base);
}

void admin_set_limits(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__SetLimitsRequest *request = (const Nanopush__V1__SetLimitsRequest *)message;
    if (request->calls_per_second > PORTAL_RATE_MAX) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "calls_per_second: must be at most %d", PORTAL_RATE_MAX);
        return;
    }
    rpc_on_end(call, silence,
               registry_set_limits(rpc_domain(call)->registry, request->portal, request->calls_per_second,
                                   on_limits_set, call));
}
