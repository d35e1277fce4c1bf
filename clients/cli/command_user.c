/* user show, user unlock. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/words.h"
#include "nanopush/v1/user.pb-c.h"

#define CALL_GET    "nanopush.v1.UserService/GetUser"
#define CALL_UNLOCK "nanopush.v1.UserService/UnlockUser"

/* A portal's organisation is its own; the admin socket serves all, and wants to be told. */
static enum exit_status open_for_user(const struct args *args, struct session *session)
{
    return args->texts[OPTION_USER_ORG] ? session_open_any(args, session)
                                        : session_open_portal(args, session);
}

/* Empty with a credential: the broker knows. */
static char *organisation_of(const struct args *args, const struct session *session)
{
    return (char *)(session->credential ? "" : args->texts[OPTION_USER_ORG]);
}

static void print_device(const Nanopush__V1__Device *device)
{
    char line[512];
    snprintf(line, sizeof line, "%s, %s, %s, %s", device->name, words_of_platform(device->platform),
             device->connected ? "connected" : "not connected", device->id);
    say_row("phone", line);
}

static void print_lock(const Google__Protobuf__Timestamp *until)
{
    time_t unix_s = (time_t)until->seconds;
    struct tm at;
    char text[32];
    if (localtime_r(&unix_s, &at) && strftime(text, sizeof text, "%F %T", &at))
        say_row("locked until", text);
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
    if (user->locked_until)
        print_lock(user->locked_until);
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
    enum exit_status status = open_for_user(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    request.user = (char *)args->operands[0];
    request.organisation = organisation_of(args, &session);
    status = session_call(&session, CALL_GET, &request.base, &nanopush__v1__get_user_response__descriptor,
                          "cannot show the user", on_user, NULL);
    session_close(&session);
    return status;
}

static enum exit_status on_unlocked(struct session *session, const ProtobufCMessage *message, void *arg)
{
    const char *user = arg;
    if (session->json)
        return say_json(message);
    say_row("unlocked", user);
    return EXIT_STATUS_OK;
}

enum exit_status command_user_unlock(const struct args *args)
{
    Nanopush__V1__UnlockUserRequest request = NANOPUSH__V1__UNLOCK_USER_REQUEST__INIT;
    struct session session;
    enum exit_status status = open_for_user(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    request.user = (char *)args->operands[0];
    request.organisation = organisation_of(args, &session);
    status =
        session_call(&session, CALL_UNLOCK, &request.base, &nanopush__v1__unlock_user_response__descriptor,
                     "cannot unlock the user", on_unlocked, request.user);
    session_close(&session);
    return status;
}
