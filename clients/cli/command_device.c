/* device rename, device revoke. */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/say.h"
#include "cli/session.h"
#include "nanopush/v1/user.pb-c.h"

#define CALL_RENAME "nanopush.v1.UserService/RenameDevice"
#define CALL_REVOKE "nanopush.v1.UserService/RevokeDevice"

static enum exit_status on_revoked(struct session *session, const ProtobufCMessage *message, void *arg)
{
    const char *device_id = arg;
    if (session->json)
        return say_json(message);
    say_row("revoked", device_id);
    return EXIT_STATUS_OK;
}

enum exit_status command_device_revoke(const struct args *args)
{
    Nanopush__V1__RevokeDeviceRequest request = NANOPUSH__V1__REVOKE_DEVICE_REQUEST__INIT;
    struct session session;
    enum exit_status status = session_open_any(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    request.device_id = (char *)args->operands[0];
    status =
        session_call(&session, CALL_REVOKE, &request.base, &nanopush__v1__revoke_device_response__descriptor,
                     "cannot revoke the phone", on_revoked, request.device_id);
    session_close(&session);
    return status;
}

static enum exit_status on_renamed(struct session *session, const ProtobufCMessage *message, void *arg)
{
    (void)arg;
    const Nanopush__V1__Device *device = ((const Nanopush__V1__RenameDeviceResponse *)message)->device;
    if (session->json)
        return say_json(message);
    say_row("renamed", device ? device->name : "");
    return EXIT_STATUS_OK;
}

enum exit_status command_device_rename(const struct args *args)
{
    Nanopush__V1__RenameDeviceRequest request = NANOPUSH__V1__RENAME_DEVICE_REQUEST__INIT;
    struct session session;
    enum exit_status status = session_open_any(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    request.device_id = (char *)args->operands[0];
    request.name = (char *)args->operands[1];
    status =
        session_call(&session, CALL_RENAME, &request.base, &nanopush__v1__rename_device_response__descriptor,
                     "cannot rename the phone", on_renamed, NULL);
    session_close(&session);
    return status;
}
