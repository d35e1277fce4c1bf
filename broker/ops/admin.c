#include "ops/admin.h"

#include <stdlib.h>

#include "base/mem.h"
#include "core/log.h"
#include "nanopush/v1/admin.pb-c.h"

#define LIST_MAX 8 /* modes, scopes of one portal */

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

static void reply_portal(struct rpc_call *call, const Record__Portal *record, const char *credential)
{
    Nanopush__V1__CreatePortalResponse response = NANOPUSH__V1__CREATE_PORTAL_RESPONSE__INIT;
    Nanopush__V1__Portal portal = NANOPUSH__V1__PORTAL__INIT;
    Nanopush__V1__Mode modes[LIST_MAX];
    Nanopush__V1__Scope scopes[LIST_MAX];
    for (size_t i = 0; i < record->n_modes; i++)
        modes[portal.n_modes++] = (Nanopush__V1__Mode)record->modes[i];
    for (size_t i = 0; i < record->n_scopes; i++)
        scopes[portal.n_scopes++] = (Nanopush__V1__Scope)record->scopes[i];
    portal.id = record->id;
    portal.organisation = record->organisation;
    portal.name = record->name;
    portal.modes = modes;
    portal.scopes = scopes;
    response.portal = &portal;
    response.credential = (char *)credential;
    rpc_reply(call, &response.base);
}

static void on_portal_added(enum err e, const char *credential, void *arg)
{
    struct change *change = arg;
    struct rpc_call *call = change->call;
    Record__Portal *record = (Record__Portal *)change->record;
    rpc_on_end(call, NULL, NULL);
    if (e == ERR_INVALID) {
        rpc_fail(
            call, RPC_INVALID_ARGUMENT,
            "portal: id must be 1 to 64 of a-z 0-9 and -, name at most 64 bytes without control characters");
    } else if (e == ERR_NOT_FOUND) {
        rpc_fail(call, RPC_NOT_FOUND, "portal.organisation: no such organisation; add it first");
    } else if (e == ERR_EXISTS) {
        rpc_fail(call, RPC_ALREADY_EXISTS,
                 "there is a portal of that id; ids are unique in the whole broker");
    } else if (e != ERR_OK) {
        rpc_fail_store(call, e);
    } else {
        LOG(INFO, OPS, "portal-added", "portal=%s organisation=%s", record->id, record->organisation);
        reply_portal(call, record, credential);
    }
    change_free(change);
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

static void create_portal(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__Portal *asked = ((const Nanopush__V1__CreatePortalRequest *)message)->portal;
    Record__Portal record = RECORD__PORTAL__INIT;
    uint32_t modes[LIST_MAX], scopes[LIST_MAX];
    if (!asked) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "portal: must be there");
        return;
    }
    if (!copy_list((const int *)asked->modes, asked->n_modes, NANOPUSH__V1__MODE__MODE_CODE,
                   NANOPUSH__V1__MODE__MODE_CODE, modes, &record.n_modes) ||
        !copy_list((const int *)asked->scopes, asked->n_scopes, NANOPUSH__V1__SCOPE__SCOPE_ADMIN,
                   NANOPUSH__V1__SCOPE__SCOPE_CHALLENGE, scopes, &record.n_scopes)) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "portal: modes or scopes name one that is not known");
        return;
    }
    record.id = asked->id;
    record.organisation = asked->organisation;
    record.name = asked->name[0] ? asked->name : asked->id;
    record.modes = modes;
    record.scopes = scopes;
    struct change *change = change_new(call, &record.base);
    change->op = registry_add_portal(rpc_domain(call)->registry, &record, on_portal_added, change);
}

const struct rpc_method admin_service[] = {
    RPC_METHOD(AdminService, CreateOrganisation, create_organisation_request, false, 0, create_organisation),
    RPC_METHOD(AdminService, CreatePortal, create_portal_request, false, 0, create_portal),
    RPC_METHOD(AdminService, ListPortals, list_portals_request, false, 0, NULL),
    RPC_METHOD(AdminService, RemovePortal, remove_portal_request, false, 0, NULL),
    RPC_METHOD(AdminService, RotateCredential, rotate_credential_request, false, 0, NULL),
    RPC_METHOD(AdminService, Drain, drain_request, false, 0, NULL),
    RPC_METHOD(AdminService, SetLogLevel, set_log_level_request, false, 0, NULL),
    {0},
};
