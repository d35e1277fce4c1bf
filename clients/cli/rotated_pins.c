#include "cli/rotated_pins.h"

#include <stdlib.h>
#include <string.h>

#include "cli/pins.h"
#include "cli/rotation_check.h"
#include "cli/say.h"

#define CALL_GET "nanopush.v1.UserService/GetUser"

struct following {
    const char *pins_path, *user;
};

static const Nanopush__V1__Device *find_device(const Nanopush__V1__User *shown, const char *device_id)
{
    for (size_t i = 0; i < shown->n_devices; i++) {
        if (strcmp(shown->devices[i]->id, device_id) == 0)
            return shown->devices[i];
    }
    return NULL;
}

static bool has_other_keys(const Nanopush__V1__Device *device, const struct pinned_device *pinned)
{
    return !bytes_equal(bytes_make(device->user_verification_key.data, device->user_verification_key.len),
                        bytes_make(pinned->user_verification_key, P256_PUBLIC_BYTES));
}

/* @param[out] moved  set to true when a pin was. */
static enum err move_pins(struct pins *pins, const char *user, const Nanopush__V1__User *shown,
                          struct pinned_device *devices, bool *moved)
{
    size_t count;
    TRY(pins_devices(pins, user, devices, &count));
    for (size_t i = 0; i < count; i++) {
        struct pinned_device *pinned = &devices[i];
        const Nanopush__V1__Device *device = find_device(shown, pinned->device_id);
        if (!device || !has_other_keys(device, pinned))
            continue;
        enum err e = rotation_check(pinned, user, device, pinned);
        if (e != ERR_OK) {
            say_error("the rotations of a phone's keys do not hold, its pin stays", err_text(e));
            continue;
        }
        TRY(pins_replace_device(pins, user, pinned));
        *moved = true;
    }
    return ERR_OK;
}

static enum exit_status on_user(struct session *session, const ProtobufCMessage *message, void *arg)
{
    (void)session;
    const struct following *following = arg;
    const Nanopush__V1__User *shown = ((const Nanopush__V1__GetUserResponse *)message)->user;
    struct pinned_device *devices = calloc(PINS_DEVICES_MAX, sizeof *devices);
    struct pins *pins = NULL;
    bool moved = false;
    enum err e = devices ? ERR_OK : ERR_NOMEM;
    if (e == ERR_OK && shown)
        e = pins_open(following->pins_path, &pins);
    if (pins) {
        e = move_pins(pins, following->user, shown, devices, &moved);
        if (e == ERR_OK && moved)
            e = pins_save(pins);
        pins_close(pins);
    }
    if (e != ERR_OK)
        say_file_error("cannot follow the phones' rotations in", following->pins_path, e);
    free(devices);
    return e == ERR_OK ? EXIT_STATUS_OK : EXIT_STATUS_ERROR;
}

enum exit_status rotated_pins_follow(struct session *session, const char *pins_path, const char *user)
{
    Nanopush__V1__GetUserRequest request = NANOPUSH__V1__GET_USER_REQUEST__INIT;
    struct following following = {.pins_path = pins_path, .user = user};
    request.user = (char *)user;
    return session_call(session, CALL_GET, &request.base, &nanopush__v1__get_user_response__descriptor,
                        "cannot ask for the phones' rotations", on_user, &following);
}
