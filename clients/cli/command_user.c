/* user list, show, unlock, delete; device list. */
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
#define CALL_DELETE "nanopush.v1.UserService/DeleteUser"
#define CALL_LIST   "nanopush.v1.UserService/ListUsers"

#define PAGE_SIZE   100

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

static enum exit_status on_devices(struct session *session, const ProtobufCMessage *message, void *arg)
{
    (void)arg;
    enum exit_status status = EXIT_STATUS_OK;
    const Nanopush__V1__User *user = ((const Nanopush__V1__GetUserResponse *)message)->user;
    for (size_t i = 0; user && i < user->n_devices && status == EXIT_STATUS_OK; i++)
        if (session->json)
            status = say_json(&user->devices[i]->base);
        else
            print_device(user->devices[i]);
    return status;
}

/* Read the user that the first operand names. */
static enum exit_status get_user(const struct args *args, session_response_fn on_response)
{
    Nanopush__V1__GetUserRequest request = NANOPUSH__V1__GET_USER_REQUEST__INIT;
    struct session session;
    enum exit_status status = open_for_user(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    request.user = (char *)args->operands[0];
    request.organisation = organisation_of(args, &session);
    status = session_call(&session, CALL_GET, &request.base, &nanopush__v1__get_user_response__descriptor,
                          "cannot show the user", on_response, NULL);
    session_close(&session);
    return status;
}

enum exit_status command_user_show(const struct args *args)
{
    return get_user(args, on_user);
}

enum exit_status command_device_list(const struct args *args)
{
    return get_user(args, on_devices);
}

/* ---- list ---- */

struct page {
    char token[1024];
};

static void print_user(const Nanopush__V1__User *user)
{
    char phones[48];
    snprintf(phones, sizeof phones, "%zu phone%s%s", user->n_devices, user->n_devices == 1 ? "" : "s",
             user->locked_until ? ", locked" : "");
    say_row(user->name, phones);
}

static enum exit_status on_page(struct session *session, const ProtobufCMessage *message, void *arg)
{
    const Nanopush__V1__ListUsersResponse *response = (const Nanopush__V1__ListUsersResponse *)message;
    struct page *page = arg;
    enum exit_status status = EXIT_STATUS_OK;
    for (size_t i = 0; i < response->n_users && status == EXIT_STATUS_OK; i++)
        if (session->json)
            status = say_json(&response->users[i]->base);
        else
            print_user(response->users[i]);
    if (strlen(response->next_page_token) >= sizeof page->token)
        return say_failure("the next page", ERR_TOO_BIG);
    memcpy(page->token, response->next_page_token, strlen(response->next_page_token) + 1);
    return status;
}

enum exit_status command_user_list(const struct args *args)
{
    Nanopush__V1__ListUsersRequest request = NANOPUSH__V1__LIST_USERS_REQUEST__INIT;
    struct session session;
    struct page page = {""};
    enum exit_status status = open_for_user(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    request.organisation = organisation_of(args, &session);
    request.page_size = PAGE_SIZE;
    request.page_token = page.token;
    do
        status =
            session_call(&session, CALL_LIST, &request.base, &nanopush__v1__list_users_response__descriptor,
                         "cannot list the users", on_page, &page);
    while (status == EXIT_STATUS_OK && page.token[0]);
    session_close(&session);
    return status;
}

/* ---- delete ---- */

static enum exit_status on_deleted(struct session *session, const ProtobufCMessage *message, void *arg)
{
    const char *user = arg;
    if (session->json)
        return say_json(message);
    say_row("deleted", user);
    return EXIT_STATUS_OK;
}

enum exit_status command_user_delete(const struct args *args)
{
    Nanopush__V1__DeleteUserRequest request = NANOPUSH__V1__DELETE_USER_REQUEST__INIT;
    struct session session;
    enum exit_status status = open_for_user(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    request.user = (char *)args->operands[0];
    request.organisation = organisation_of(args, &session);
    status =
        session_call(&session, CALL_DELETE, &request.base, &nanopush__v1__delete_user_response__descriptor,
                     "cannot delete the user", on_deleted, request.user);
    session_close(&session);
    return status;
}

/* ---- unlock ---- */

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
