#include "ops/admin.h"

#include <stdlib.h>

#include "base/mem.h"
#include "core/log.h"
#include "domain/event.h"
#include "nanopush/v1/admin.pb-c.h"
#include "ops/admin_portal.h"

/* A change under way; the caller who goes away does not undo it. */
struct change {
    struct rpc_call *call;
    struct registry_op *op;
    ProtobufCMessage *record;
};

static void change_free(struct change *change)
{
    protobuf_c_message_free_unpacked(change->record, NULL);
    free(change);
}

static void change_end(void *state)
{
    struct change *change = state;
    registry_op_cancel(change->op);
    change_free(change);
}

static struct change *change_new(struct rpc_call *call, const ProtobufCMessage *record)
{
    struct change *change = mem_new(sizeof *change);
    change->call = call;
    change->record = store_record_copy(record);
    rpc_on_end(call, change_end, change);
    return change;
}

static void emit(struct rpc_call *call, enum event_kind kind, const char *organisation)
{
    char by[RPC_ACTOR_SIZE];
    const struct event event = {.kind = kind, .organisation = organisation, .by = rpc_actor(call, by)};
    event_emit(rpc_domain(call), &event);
}

static void on_organisation_added(enum err e, void *arg)
{
    struct change *change = arg;
    struct rpc_call *call = change->call;
    Record__Organisation *record = (Record__Organisation *)change->record;
    Nanopush__V1__CreateOrganisationResponse response = NANOPUSH__V1__CREATE_ORGANISATION_RESPONSE__INIT;
    Nanopush__V1__Organisation organisation = NANOPUSH__V1__ORGANISATION__INIT;
    rpc_on_end(call, NULL, NULL);
    if (e == ERR_INVALID) {
        rpc_fail(
            call, RPC_INVALID_ARGUMENT,
            "organisation: id must be 1 to 64 of a-z 0-9 and -, name at most 64 bytes, texts without control "
            "characters");
    } else if (e == ERR_EXISTS) {
        rpc_fail(call, RPC_ALREADY_EXISTS, "there is an organisation of that id, and it is not the same");
    } else if (e != ERR_OK) {
        rpc_fail_store(call, e);
    } else {
        LOG(INFO, OPS, "organisation-added", "organisation=%s", record->id);
        emit(call, EVENT_ORGANISATION_ADDED, record->id);
        organisation.id = record->id;
        organisation.name = record->name;
        organisation.support_text = record->support_text;
        response.organisation = &organisation;
        rpc_reply(call, &response.base);
    }
    change_free(change);
}

static void create_organisation(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__Organisation *asked =
        ((const Nanopush__V1__CreateOrganisationRequest *)message)->organisation;
    Record__Organisation record = RECORD__ORGANISATION__INIT;
    if (!asked) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "organisation: must be there");
        return;
    }
    record.id = asked->id;
    record.name = asked->name[0] ? asked->name : asked->id;
    record.support_text = asked->support_text;
    struct change *change = change_new(call, &record.base);
    change->op =
        registry_add_organisation(rpc_domain(call)->registry, &record, on_organisation_added, change);
}

static void on_support_text_set(enum err e, void *arg)
{
    struct change *change = arg;
    struct rpc_call *call = change->call;
    const Record__Organisation *record = (Record__Organisation *)change->record;
    const Nanopush__V1__SetSupportTextResponse response = NANOPUSH__V1__SET_SUPPORT_TEXT_RESPONSE__INIT;
    rpc_on_end(call, NULL, NULL);
    if (e == ERR_INVALID) {
        rpc_fail(call, RPC_INVALID_ARGUMENT,
                 "supportText: must be at most 1024 bytes of text without control characters");
    } else if (e == ERR_NOT_FOUND) {
        rpc_fail(call, RPC_NOT_FOUND, "no such organisation");
    } else if (e == ERR_BAD_STATE) {
        rpc_fail(call, RPC_ABORTED, "the organisation was changed by somebody else at the same time; repeat");
    } else if (e != ERR_OK) {
        rpc_fail_store(call, e);
    } else {
        LOG(INFO, OPS, "support-text-set", "organisation=%s", record->id);
        emit(call, EVENT_SUPPORT_TEXT_CHANGED, record->id);
        rpc_reply(call, &response.base);
    }
    change_free(change);
}

static void set_support_text(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__SetSupportTextRequest *request = (const Nanopush__V1__SetSupportTextRequest *)message;
    Record__Organisation record = RECORD__ORGANISATION__INIT;
    record.id = request->organisation;
    struct change *change = change_new(call, &record.base);
    change->op = registry_set_support_text(rpc_domain(call)->registry, request->organisation,
                                           request->support_text, on_support_text_set, change);
}

static Nanopush__V1__Organisation *organisation_message(const Record__Organisation *record)
{
    Nanopush__V1__Organisation *message = mem_new(sizeof *message);
    nanopush__v1__organisation__init(message);
    message->id = record->id;
    message->name = record->name;
    message->support_text = record->support_text;
    return message;
}

static void on_organisations(enum err e, Record__Organisation *const *organisations, size_t count,
                             const char *next, void *arg)
{
    struct rpc_call *call = arg;
    Nanopush__V1__ListOrganisationsResponse response = NANOPUSH__V1__LIST_ORGANISATIONS_RESPONSE__INIT;
    rpc_on_end(call, NULL, NULL);
    if (e != ERR_OK) {
        rpc_fail_store(call, e);
        return;
    }
    Nanopush__V1__Organisation **rows = mem_new(count * sizeof *rows + 1);
    for (size_t i = 0; i < count; i++)
        rows[i] = organisation_message(organisations[i]);
    response.organisations = rows;
    response.n_organisations = count;
    response.next_page_token = (char *)next;
    rpc_reply(call, &response.base);
    for (size_t i = 0; i < count; i++)
        free(rows[i]);
    free(rows);
}

static void silence(void *op)
{
    registry_op_cancel(op);
}

static void list_organisations(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__ListOrganisationsRequest *request =
        (const Nanopush__V1__ListOrganisationsRequest *)message;
    rpc_on_end(call, silence,
               registry_list_organisations(rpc_domain(call)->registry, request->page_token,
                                           request->page_size ? request->page_size : INDEX_PAGE_MAX,
                                           on_organisations, call));
}

static void set_log_level(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__SetLogLevelRequest *request = (const Nanopush__V1__SetLogLevelRequest *)message;
    Nanopush__V1__SetLogLevelResponse response = NANOPUSH__V1__SET_LOG_LEVEL_RESPONSE__INIT;
    enum log_level level = LOG_LEVEL_INFO;
    enum log_area area = LOG_AREA_LOG;
    if (log_level_parse(request->level, &level) != ERR_OK) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "level: must be error, warn, info or debug");
        return;
    }
    if (request->area[0] && log_area_parse(request->area, &area) != ERR_OK) {
        rpc_fail(call, RPC_INVALID_ARGUMENT,
                 "area: must be one of the areas that the log names, or absent for all");
        return;
    }
    if (request->area[0])
        log_set_area_level(area, level);
    else
        log_set_level(level);
    LOG(WARN, LOG, "level-changed", "level=%s of=%s", request->level,
        request->area[0] ? request->area : "all");
    rpc_reply(call, &response.base);
}

static void fill_drain_response(const struct admin_surroundings *broker,
                                Nanopush__V1__DrainResponse *response)
{
    unsigned ready = 0;
    for (unsigned i = 0; i < broker->worker_count; i++)
        ready += metrics_slot_health(broker->page, i).ready;
    int64_t drained = metrics_sum(broker->page, METRIC_WORKERS_DRAINED);
    if (drain_order_get(broker->drain_order) != DRAIN_SERVE)
        response->state = drained == broker->worker_count ? NANOPUSH__V1__DRAIN_STATE__DRAIN_STATE_DRAINED
                                                          : NANOPUSH__V1__DRAIN_STATE__DRAIN_STATE_DRAINING;
    else
        response->state = ready == broker->worker_count ? NANOPUSH__V1__DRAIN_STATE__DRAIN_STATE_SERVING
                                                        : NANOPUSH__V1__DRAIN_STATE__DRAIN_STATE_STARTING;
    response->device_connections = (uint32_t)metrics_sum(broker->page, METRIC_OPEN_DEVICE);
    response->portal_connections = (uint32_t)metrics_sum(broker->page, METRIC_OPEN_PORTAL);
}

static void drain(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__DrainRequest *request = (const Nanopush__V1__DrainRequest *)message;
    const struct admin_surroundings *broker = rpc_surroundings(call);
    Nanopush__V1__DrainResponse response = NANOPUSH__V1__DRAIN_RESPONSE__INIT;
    enum drain_wish wish = request->undo ? DRAIN_SERVE : DRAIN_AWAY,
                    had = drain_order_get(broker->drain_order);
    char by[RPC_ACTOR_SIZE];
    if (had == DRAIN_SUCCEEDED) {
        rpc_fail(call, RPC_FAILED_PRECONDITION, "another broker has taken this one's place: call that one");
        return;
    }
    if (had != wish) {
        drain_order_set(broker->drain_order, wish);
        LOG(WARN, OPS, "drain-ordered", "wish=%s by=%s", request->undo ? "serve" : "drain",
            LOG_STR(rpc_actor(call, by)));
    }
    fill_drain_response(broker, &response);
    rpc_reply(call, &response.base);
}

const struct rpc_method admin_service[] = {
    RPC_METHOD(AdminService, CreateOrganisation, create_organisation_request, false, 0, create_organisation),
    RPC_METHOD(AdminService, SetSupportText, set_support_text_request, false, 0, set_support_text),
    RPC_METHOD(AdminService, ListOrganisations, list_organisations_request, false, 0, list_organisations),
    RPC_METHOD(AdminService, CreatePortal, create_portal_request, false, 0, admin_create_portal),
    RPC_METHOD(AdminService, ListPortals, list_portals_request, false, 0, admin_list_portals),
    RPC_METHOD(AdminService, RemovePortal, remove_portal_request, false, 0, admin_remove_portal),
    RPC_METHOD(AdminService, RotateCredential, rotate_credential_request, false, 0, admin_rotate_credential),
    RPC_METHOD(AdminService, FinishRotation, finish_rotation_request, false, 0, admin_finish_rotation),
    RPC_METHOD(AdminService, SetCertificates, set_certificates_request, false, 0, admin_set_certificates),
    RPC_METHOD(AdminService, SetLimits, set_limits_request, false, 0, admin_set_limits),
    RPC_METHOD(AdminService, Drain, drain_request, false, 0, drain),
    RPC_METHOD(AdminService, SetLogLevel, set_log_level_request, false, 0, set_log_level),
    {0},
};
