/* UserService: what a user can be asked with (proto/nanopush/v1/user.proto). */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "domain/device.h"
#include "domain/text.h"
#include "nanopush/v1/admin.pb-c.h"
#include "portal/services.h"
#include "portal/snapshot.h"

#define MODES_MAX 3

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

static bool is_allowed(const Record__Portal *portal, Nanopush__V1__Mode mode)
{
    for (size_t i = 0; portal && i < portal->n_modes; i++)
        if (portal->modes[i] == (uint32_t)mode)
            return true;
    return !portal; /* an administrator sees them all */
}

/* Those that the portal is allowed and some phone can do. */
static size_t list_modes(const struct rpc_call *call, const struct user_view *view, Nanopush__V1__Mode *modes)
{
    static const struct {
        Nanopush__V1__Mode mode;
        unsigned needed;
    } all[MODES_MAX] = {{NANOPUSH__V1__MODE__MODE_TAP, 0},
                        {NANOPUSH__V1__MODE__MODE_CHOOSE, CAPABILITY_CHOOSE},
                        {NANOPUSH__V1__MODE__MODE_CODE, CAPABILITY_CODE}};
    size_t count = 0;
    for (size_t m = 0; m < MODES_MAX; m++) {
        bool able = false;
        for (size_t i = 0; i < view->device_count; i++)
            able = able || (view->devices[i].presence.capabilities & all[m].needed) == all[m].needed;
        if (able && is_allowed(rpc_portal(call), all[m].mode))
            modes[count++] = all[m].mode;
    }
    return count;
}

/* Shows the record's rotations; what it allocates is freed by free_rotations(). */
static void fill_rotations(const Record__Device *record, Nanopush__V1__Device *device)
{
    Nanopush__V1__Rotation *rows = mem_new((record->n_rotations + 1) * sizeof *rows);
    device->rotations = mem_new((record->n_rotations + 1) * sizeof *device->rotations);
    device->n_rotations = record->n_rotations;
    device->rotations[0] = rows;
    for (size_t i = 0; i < record->n_rotations; i++) {
        nanopush__v1__rotation__init(&rows[i]);
        rows[i].jws = record->rotations[i]->jws;
        rows[i].user_verification_key = record->rotations[i]->user_verification_key;
        device->rotations[i] = &rows[i];
    }
}

static void free_rotations(Nanopush__V1__Device *device)
{
    free(device->rotations[0]); /* the rows, in one piece */
    free(device->rotations);
}

static void reply_user(struct rpc_call *call, const char *name, const struct user_view *view)
{
    Nanopush__V1__GetUserResponse response = NANOPUSH__V1__GET_USER_RESPONSE__INIT;
    Nanopush__V1__User user = NANOPUSH__V1__USER__INIT;
    Nanopush__V1__Mode modes[MODES_MAX];
    Nanopush__V1__Device *devices = mem_new((view->device_count + 1) * sizeof *devices);
    Google__Protobuf__Timestamp *times = mem_new((view->device_count + 1) * sizeof *times);
    user.devices = mem_new((view->device_count + 1) * sizeof *user.devices);
    user.n_devices = view->device_count;
    for (size_t i = 0; i < view->device_count; i++) {
        const Record__Device *record = view->devices[i].record;
        nanopush__v1__device__init(&devices[i]);
        devices[i].id = record->id;
        devices[i].name = record->name;
        devices[i].platform = (Nanopush__V1__Platform)record->platform;
        devices[i].generation = record->generation;
        times[i] = snapshot_time(record->enrol_unix_ms);
        devices[i].enrol_time = &times[i];
        fill_rotations(record, &devices[i]);
        devices[i].possession_key = record->possession_key;
        devices[i].user_verification_key = record->user_verification_key;
        devices[i].connected = view->devices[i].presence.inbox[0] != '\0';
        user.devices[i] = &devices[i];
    }
    user.name = (char *)name;
    user.modes = modes;
    user.n_modes = list_modes(call, view, modes);
    Google__Protobuf__Timestamp locked = snapshot_time(view->locked_until_unix_ms);
    if (view->locked_until_unix_ms)
        user.locked_until = &locked;
    response.user = &user;
    rpc_reply(call, &response.base);
    for (size_t i = 0; i < view->device_count; i++)
        free_rotations(&devices[i]);
    free(user.devices);
    free(devices);
    free(times);
}

static void on_read(enum err e, const struct user_view *view, void *arg)
{
    struct reading *reading = arg;
    struct rpc_call *call = reading->call;
    rpc_on_end(call, NULL, NULL);
    if (e == ERR_NOT_FOUND)
        rpc_fail(call, RPC_NOT_FOUND, "no such user: nobody of that name has begun to enrol");
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

/* ---- UnlockUser, RevokeDevice ---- */

struct change {
    struct rpc_call *call;
    struct store_call *read;
    struct device_op *op;
    char device_id[ID_SIZE];
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

static void change_finish(struct change *change, enum err e, const ProtobufCMessage *response)
{
    struct rpc_call *call = change->call;
    rpc_on_end(call, NULL, NULL);
    free(change);
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

/* A phone that is no more, or another organisation's, is no more for this caller: nothing to do, and nothing told. */
static void on_owner_read(enum err e, const struct user_view *view, void *arg)
{
    struct change *change = arg;
    const Record__Portal *portal = rpc_portal(change->call);
    bool ours = false;
    change->read = NULL;
    for (size_t i = 0; e == ERR_OK && i < view->device_count; i++)
        ours = ours || (strcmp(view->devices[i].record->id, change->device_id) == 0 &&
                        strcmp(view->devices[i].record->organisation, portal->organisation) == 0);
    if (ours)
        revoke(change);
    else
        on_revoked(e == ERR_NOT_FOUND ? ERR_OK : e, change);
}

static void revoke_device(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__RevokeDeviceRequest *request = (const Nanopush__V1__RevokeDeviceRequest *)message;
    if (!id_valid(bytes_of(request->device_id))) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "deviceId: not a device's id");
        return;
    }
    struct change *change = change_new(call);
    memcpy(change->device_id, request->device_id, ID_SIZE);
    if (rpc_portal(call))
        change->read =
            store_user_get(rpc_domain(call)->store, id_tag(change->device_id), on_owner_read, change);
    else
        revoke(change);
}

#define SCOPE NANOPUSH__V1__SCOPE__SCOPE_ADMIN

const struct rpc_method user_service[] = {
    RPC_SAFE_METHOD(UserService, GetUser, get_user_request, NANOPUSH__V1__SCOPE__SCOPE_CHALLENGE, get_user),
    RPC_METHOD(UserService, ListUsers, list_users_request, false, SCOPE, NULL),
    RPC_METHOD(UserService, DeleteUser, delete_user_request, false, SCOPE, NULL),
    RPC_METHOD(UserService, UnlockUser, unlock_user_request, false, SCOPE, unlock_user),
    RPC_METHOD(UserService, RenameDevice, rename_device_request, false, SCOPE, NULL),
    RPC_METHOD(UserService, RevokeDevice, revoke_device_request, false, SCOPE, revoke_device),
    {0},
};
