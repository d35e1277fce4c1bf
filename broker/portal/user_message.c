#include "portal/user_message.h"

#include <stdlib.h>

#include "base/mem.h"
#include "portal/snapshot.h"

static bool is_allowed(const Record__Portal *portal, Nanopush__V1__Mode mode)
{
    for (size_t i = 0; portal && i < portal->n_modes; i++)
        if (portal->modes[i] == (uint32_t)mode)
            return true;
    return !portal;
}

/* Those that the portal is allowed and some phone can do. */
static size_t list_modes(const Record__Portal *portal, const struct user_view *view,
                         Nanopush__V1__Mode *modes)
{
    static const struct {
        Nanopush__V1__Mode mode;
        unsigned needed;
    } all[USER_MODES_MAX] = {{NANOPUSH__V1__MODE__MODE_TAP, 0},
                             {NANOPUSH__V1__MODE__MODE_CHOOSE, CAPABILITY_CHOOSE},
                             {NANOPUSH__V1__MODE__MODE_CODE, CAPABILITY_CODE}};
    size_t count = 0;
    for (size_t m = 0; m < USER_MODES_MAX; m++) {
        bool able = false;
        for (size_t i = 0; i < view->device_count; i++)
            able = able || (view->devices[i].presence.capabilities & all[m].needed) == all[m].needed;
        if (able && is_allowed(portal, all[m].mode))
            modes[count++] = all[m].mode;
    }
    return count;
}

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

void device_message_fill(const struct user_device *device, struct device_message *ret)
{
    const Record__Device *record = device->record;
    Nanopush__V1__Device *message = &ret->message;
    nanopush__v1__device__init(message);
    ret->enrolled = snapshot_time(record->enrol_unix_ms);
    message->id = record->id;
    message->name = record->name;
    message->platform = (Nanopush__V1__Platform)record->platform;
    message->generation = record->generation;
    message->enrol_time = &ret->enrolled;
    fill_rotations(record, message);
    message->possession_key = record->possession_key;
    message->user_verification_key = record->user_verification_key;
    message->connected = device->presence.inbox[0] != '\0';
}

void device_message_done(struct device_message *device)
{
    free(device->message.rotations[0]); /* the rows, in one piece */
    free(device->message.rotations);
}

void user_message_fill(const Record__Portal *portal, const char *name, const struct user_view *view,
                       struct user_message *ret)
{
    Nanopush__V1__User *message = &ret->message;
    nanopush__v1__user__init(message);
    ret->devices = mem_new((view->device_count + 1) * sizeof *ret->devices);
    message->devices = mem_new((view->device_count + 1) * sizeof *message->devices);
    message->n_devices = view->device_count;
    for (size_t i = 0; i < view->device_count; i++) {
        device_message_fill(&view->devices[i], &ret->devices[i]);
        message->devices[i] = &ret->devices[i].message;
    }
    message->name = (char *)name;
    message->modes = ret->modes;
    message->n_modes = list_modes(portal, view, ret->modes);
    ret->locked_until = snapshot_time(view->locked_until_unix_ms);
    if (view->locked_until_unix_ms)
        message->locked_until = &ret->locked_until;
}

void user_message_done(struct user_message *user)
{
    for (size_t i = 0; i < user->message.n_devices; i++)
        device_message_done(&user->devices[i]);
    free(user->message.devices);
    free(user->devices);
}
