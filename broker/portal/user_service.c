/* UserService: what a user can be asked with (proto/nanopush/v1/user.proto). */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nanopush/v1/admin.pb-c.h"
#include "portal/services.h"
#include "portal/snapshot.h"

#define MODES_MAX 3

struct reading {
    struct rpc_call *call;
    struct store_call *read;
    char *user;
};

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

/* Those that the portal is allowed and this version can do; none without a phone. An administrator sees them all. */
static size_t list_modes(const struct rpc_call *call, const struct user_view *view, Nanopush__V1__Mode *modes)
{
    const Record__Portal *portal = rpc_portal(call);
    size_t count = 0;
    bool tap = !portal;
    for (size_t i = 0; portal && i < portal->n_modes; i++)
        tap = tap || portal->modes[i] == NANOPUSH__V1__MODE__MODE_TAP;
    if (view->device_count && tap)
        modes[count++] = NANOPUSH__V1__MODE__MODE_TAP;
    return count;
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
        devices[i].connected = view->devices[i].presence.inbox[0] != '\0';
        user.devices[i] = &devices[i];
    }
    user.name = (char *)name;
    user.modes = modes;
    user.n_modes = list_modes(call, view, modes);
    response.user = &user;
    rpc_reply(call, &response.base);
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
    const Record__Portal *portal = rpc_portal(call);
    const char *organisation = portal ? portal->organisation : request->organisation;
    struct domain *domain = rpc_domain(call);
    char tag[USER_TAG_SIZE];
    if (!request->user[0] || !organisation[0]) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "user: must be named, on the admin socket its organisation too");
        return;
    }
    enum err e = secret_user_tag(domain->secret, bytes_of(organisation), bytes_of(request->user), tag);
    if (e != ERR_OK) {
        rpc_fail_store(call, e);
        return;
    }
    struct reading *reading = mem_new(sizeof *reading);
    reading->call = call;
    reading->user = mem_copy_string(request->user);
    rpc_on_end(call, reading_end, reading);
    reading->read = store_user_get(domain->store, tag, on_read, reading);
}

#define SCOPE NANOPUSH__V1__SCOPE__SCOPE_ADMIN

const struct rpc_method user_service[] = {
    RPC_METHOD(UserService, GetUser, get_user_request, false, NANOPUSH__V1__SCOPE__SCOPE_CHALLENGE, get_user),
    RPC_METHOD(UserService, ListUsers, list_users_request, false, SCOPE, NULL),
    RPC_METHOD(UserService, DeleteUser, delete_user_request, false, SCOPE, NULL),
    RPC_METHOD(UserService, UnlockUser, unlock_user_request, false, SCOPE, NULL),
    RPC_METHOD(UserService, RenameDevice, rename_device_request, false, SCOPE, NULL),
    RPC_METHOD(UserService, RevokeDevice, revoke_device_request, false, SCOPE, NULL),
    {0},
};
