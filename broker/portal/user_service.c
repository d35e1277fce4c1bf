/* UserService: what a user can be asked with (proto/nanopush/v1/user.proto). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "domain/device.h"
#include "domain/enrolment.h"
#include "domain/text.h"
#include "domain/user.h"
#include "nanopush/v1/admin.pb-c.h"
#include "portal/services.h"
#include "portal/support.h"
#include "portal/user_list.h"
#include "portal/user_message.h"

struct reading {
    struct rpc_call *call;
    struct store_call *read;
    char *user;
};

/* Of the user that a request names: the portal's own, or, for an administrator, the one named.
 * @return NULL if the call was ended with an error. */
static const char *organisation_of(struct rpc_call *call, const char *user, const char *organisation)
{
    const Record__Portal *portal = rpc_portal(call);
    const char *of = portal ? portal->organisation : organisation;
    if (user[0] && text_is_name(bytes_of(of)))
        return of;
    rpc_fail(call, RPC_INVALID_ARGUMENT, "user: must be named, on the admin socket its organisation too");
    return NULL;
}

/* The tag of the user that a request names. @return false if the call was ended with an error. */
static bool find_tag(struct rpc_call *call, const char *user, const char *organisation,
                     char tag[USER_TAG_SIZE])
{
    const char *of = organisation_of(call, user, organisation);
    if (!of)
        return false;
    enum err e = secret_user_tag(rpc_domain(call)->secret, bytes_of(of), bytes_of(user), tag);
    if (e != ERR_OK)
        rpc_fail_store(call, e);
    return e == ERR_OK;
}

static void reading_free(struct reading *reading)
{
    free(reading->user);
    free(reading);
}

static void reading_end(void *state)
{
    struct reading *reading = state;
    store_cancel(reading->read);
    reading_free(reading);
}

static void reply_user(struct rpc_call *call, const char *name, const struct user_view *view)
{
    Nanopush__V1__GetUserResponse response = NANOPUSH__V1__GET_USER_RESPONSE__INIT;
    struct user_message user;
    user_message_fill(rpc_portal(call), name, view, &user);
    response.user = &user.message;
    rpc_reply(call, &response.base);
    user_message_done(&user);
}

static void on_read(enum err e, const struct user_view *view, void *arg)
{
    struct reading *reading = arg;
    struct rpc_call *call = reading->call;
    rpc_on_end(call, NULL, NULL);
    if (e == ERR_NOT_FOUND)
        support_fail(call, RPC_NOT_FOUND, "no such user: nobody of that name has begun to enrol");
    else if (e != ERR_OK)
        rpc_fail_store(call, e);
    else
        reply_user(call, reading->user, view);
    reading_free(reading);
}

static void get_user(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__GetUserRequest *request = (const Nanopush__V1__GetUserRequest *)message;
    char tag[USER_TAG_SIZE];
    if (!find_tag(call, request->user, request->organisation, tag))
        return;
    struct reading *reading = mem_new(sizeof *reading);
    reading->call = call;
    reading->user = mem_copy_string(request->user);
    rpc_on_end(call, reading_end, reading);
    reading->read = store_user_get(rpc_domain(call)->store, tag, on_read, reading);
}

/* ---- UnlockUser, RevokeDevice, RenameDevice ---- */

struct change {
    struct rpc_call *call;
    struct store_call *read;
    struct device_op *op;
    char device_id[ID_SIZE];
    char name[DEVICE_NAME_MAX_BYTES + 2]; /* rename: cut where it is too long, and refused then */
    struct presence presence;
};

static void change_end(void *state)
{
    struct change *change = state;
    store_cancel(change->read);
    device_op_cancel(change->op);
    free(change);
}

static struct change *change_new(struct rpc_call *call)
{
    struct change *change = mem_new(sizeof *change);
    change->call = call;
    rpc_on_end(call, change_end, change);
    return change;
}

/* The call is the caller's again. */
static struct rpc_call *change_leave(struct change *change)
{
    struct rpc_call *call = change->call;
    rpc_on_end(call, NULL, NULL);
    free(change);
    return call;
}

static void change_finish(struct change *change, enum err e, const ProtobufCMessage *response)
{
    struct rpc_call *call = change_leave(change);
    if (e == ERR_NOT_FOUND)
        rpc_fail(call, RPC_NOT_FOUND, "no such user: nobody of that name has begun to enrol");
    else if (e != ERR_OK)
        rpc_fail_store(call, e);
    else
        rpc_reply(call, response);
}

static void on_unlocked(enum err e, void *arg)
{
    const Nanopush__V1__UnlockUserResponse response = NANOPUSH__V1__UNLOCK_USER_RESPONSE__INIT;
    change_finish(arg, e, &response.base);
}

static void unlock_user(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__UnlockUserRequest *request = (const Nanopush__V1__UnlockUserRequest *)message;
    const char *organisation = organisation_of(call, request->user, request->organisation);
    char by[RPC_ACTOR_SIZE];
    if (!organisation)
        return;
    struct change *change = change_new(call);
    change->op = device_unlock_user(rpc_domain(call), organisation, request->user, rpc_actor(call, by),
                                    on_unlocked, change);
}

static void on_revoked(enum err e, void *arg)
{
    const Nanopush__V1__RevokeDeviceResponse response = NANOPUSH__V1__REVOKE_DEVICE_RESPONSE__INIT;
    change_finish(arg, e, &response.base);
}

static void revoke(struct change *change)
{
    char by[RPC_ACTOR_SIZE];
    change->op = device_revoke(rpc_domain(change->call), change->device_id, rpc_actor(change->call, by),
                               on_revoked, change);
}

/* @return the device that the change is about, where it is the caller's organisation's; NULL else. */
static const Record__Device *own_device(const struct change *change, const struct user_view *view)
{
    const Record__Portal *portal = rpc_portal(change->call);
    for (size_t i = 0; i < view->device_count; i++) {
        const Record__Device *device = view->devices[i].record;
        if (strcmp(device->id, change->device_id) == 0 &&
            (!portal || strcmp(device->organisation, portal->organisation) == 0))
            return device;
    }
    return NULL;
}

/* A phone that is no more, or another organisation's, is no more for this caller: nothing to do, and nothing told. */
static void on_revoked_read(enum err e, const struct user_view *view, void *arg)
{
    struct change *change = arg;
    change->read = NULL;
    if (e == ERR_OK && own_device(change, view))
        revoke(change);
    else
        on_revoked(e == ERR_NOT_FOUND ? ERR_OK : e, change);
}

/* @return NULL if the call was ended with an error. */
static struct change *change_of_device(struct rpc_call *call, const char *device_id)
{
    if (!id_valid(bytes_of(device_id))) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "deviceId: not a device's id");
        return NULL;
    }
    struct change *change = change_new(call);
    memcpy(change->device_id, device_id, ID_SIZE);
    return change;
}

static void revoke_device(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct change *change =
        change_of_device(call, ((const Nanopush__V1__RevokeDeviceRequest *)message)->device_id);
    if (!change)
        return;
    if (rpc_portal(call))
        change->read =
            store_user_get(rpc_domain(call)->store, id_tag(change->device_id), on_revoked_read, change);
    else /* one whose record is damaged, too */
        revoke(change);
}

/* ---- RenameDevice ---- */

static void on_renamed(enum err e, const Record__Device *next, void *arg)
{
    struct change *change = arg;
    Nanopush__V1__RenameDeviceResponse response = NANOPUSH__V1__RENAME_DEVICE_RESPONSE__INIT;
    struct device_message device;
    if (e == ERR_INVALID || e == ERR_DENIED) {
        struct rpc_call *call = change_leave(change);
        if (e == ERR_INVALID)
            rpc_fail(call, RPC_INVALID_ARGUMENT,
                     "name: must be 1 to %d bytes of text without control characters", DEVICE_NAME_MAX_BYTES);
        else
            rpc_fail(call, RPC_ABORTED,
                     "the phone was changed by somebody else at the same time; look, and repeat");
        return;
    }
    if (e == ERR_OK) {
        const struct user_device shown = {.record = next, .presence = change->presence};
        device_message_fill(&shown, &device);
        response.device = &device.message;
    }
    change_finish(change, e, &response.base);
    if (e == ERR_OK)
        device_message_done(&device);
}

static void on_rename_read(enum err e, const struct user_view *view, void *arg)
{
    struct change *change = arg;
    const Record__Device *device = e == ERR_OK ? own_device(change, view) : NULL;
    char by[RPC_ACTOR_SIZE];
    change->read = NULL;
    if (e != ERR_OK && e != ERR_NOT_FOUND) {
        rpc_fail_store(change_leave(change), e);
    } else if (!device) {
        rpc_fail(change_leave(change), RPC_NOT_FOUND, "no such phone in this organisation");
    } else {
        for (size_t i = 0; i < view->device_count; i++)
            if (view->devices[i].record == device)
                change->presence = view->devices[i].presence;
        change->op = device_rename(rpc_domain(change->call), device, change->name,
                                   rpc_actor(change->call, by), on_renamed, change);
    }
}

static void rename_device(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__RenameDeviceRequest *request = (const Nanopush__V1__RenameDeviceRequest *)message;
    struct change *change = change_of_device(call, request->device_id);
    if (!change)
        return;
    snprintf(change->name, sizeof change->name, "%s", request->name);
    change->read = store_user_get(rpc_domain(call)->store, id_tag(change->device_id), on_rename_read, change);
}

/* ---- DeleteUser ---- */

static void deletion_end(void *op)
{
    user_op_cancel(op);
}

static void on_deleted(enum err e, void *arg)
{
    struct rpc_call *call = arg;
    const Nanopush__V1__DeleteUserResponse response = NANOPUSH__V1__DELETE_USER_RESPONSE__INIT;
    rpc_on_end(call, NULL, NULL);
    if (e == ERR_OK)
        rpc_reply(call, &response.base);
    else
        rpc_fail_store(call, e);
}

static void delete_user(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__DeleteUserRequest *request = (const Nanopush__V1__DeleteUserRequest *)message;
    const char *organisation = organisation_of(call, request->user, request->organisation);
    char by[RPC_ACTOR_SIZE];
    if (organisation)
        rpc_on_end(call, deletion_end,
                   user_delete(rpc_domain(call), organisation, request->user, rpc_actor(call, by), on_deleted,
                               call));
}

#define SCOPE NANOPUSH__V1__SCOPE__SCOPE_ADMIN

const struct rpc_method user_service[] = {
    RPC_SAFE_METHOD(UserService, GetUser, get_user_request, NANOPUSH__V1__SCOPE__SCOPE_CHALLENGE, get_user),
    RPC_SAFE_METHOD(UserService, ListUsers, list_users_request, SCOPE, user_list),
    RPC_METHOD(UserService, DeleteUser, delete_user_request, false, SCOPE, delete_user),
    RPC_METHOD(UserService, UnlockUser, unlock_user_request, false, SCOPE, unlock_user),
    RPC_METHOD(UserService, RenameDevice, rename_device_request, false, SCOPE, rename_device),
    RPC_METHOD(UserService, RevokeDevice, revoke_device_request, false, SCOPE, revoke_device),
    {0},
};
