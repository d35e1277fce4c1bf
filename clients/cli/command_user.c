/* user show. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/words.h"
#include "nanopush/v1/user.pb-c.h"

#define CALL_GET "nanopush.v1.UserService/GetUser"

static void print_device(const Nanopush__V1__Device *device)
{
    char line[512];
    snprintf(line, sizeof line, "%s, %s, %s, %s", device->name, words_of_platform(device->platform),
             device->connected ? "connected" : "not connected", device->id);
    say_row("phone", line);
}

static enum exit_status on_user(struct session *session, const ProtobufCMessage *message, void *arg)
{
    (void)arg;
    const Nanopush__V1__User *user = ((const Nanopush__V1__GetUserResponse *)message)->user;
    if (!user)
        return say_failure("the user", ERR_MALFORMED);
    if (session->json)
        return say_json(&user->base);
    say_row("user", user->name);
    for (size_t i = 0; i < user->n_modes; i++)
        say_row("can be asked by", words_of_mode(user->modes[i]));
    for (size_t i = 0; i < user->n_devices; i++)
        print_device(user->devices[i]);
    if (user->n_devices == 0)
        say_row("phone", "none: refuse, do not offer to enrol");
    return EXIT_STATUS_OK;
}

enum exit_status command_user_show(const struct args *args)
{
    Nanopush__V1__GetUserRequest request = NANOPUSH__V1__GET_USER_REQUEST__INIT;
    struct session session;
    enum exit_status status = session_open_portal(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    request.user = (char *)args->operands[0];
    status = session_call(&session, CALL_GET, &request.base, &nanopush__v1__get_user_response__descriptor,
                          "cannot show the user", on_user, NULL);
    session_close(&session);
    return status;
}
