/* drain: an order, repeated until it is carried out, since each answer says how far it is. */
#include <stdio.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/say.h"
#include "cli/session.h"
#include "nanopush/v1/admin.pb-c.h"

#define CALL_DRAIN "nanopush.v1.AdminService/Drain"
#define PAUSE_MS   500

struct progress {
    Nanopush__V1__DrainState state;
    uint32_t devices, portals; /* as last printed */
    bool any;
};

static const char *state_text(Nanopush__V1__DrainState state)
{
    switch (state) {
    case NANOPUSH__V1__DRAIN_STATE__DRAIN_STATE_SERVING:
        return "serving";
    case NANOPUSH__V1__DRAIN_STATE__DRAIN_STATE_DRAINING:
        return "draining";
    case NANOPUSH__V1__DRAIN_STATE__DRAIN_STATE_DRAINED:
        return "drained";
    default:
        return "starting";
    }
}

static enum exit_status on_progress(struct session *session, const ProtobufCMessage *message, void *arg)
{
    const Nanopush__V1__DrainResponse *response = (const Nanopush__V1__DrainResponse *)message;
    struct progress *progress = arg;
    bool same = progress->any && progress->state == response->state &&
                progress->devices == response->device_connections &&
                progress->portals == response->portal_connections;
    *progress = (struct progress){.state = response->state,
                                  .devices = response->device_connections,
                                  .portals = response->portal_connections,
                                  .any = true};
    if (same)
        return EXIT_STATUS_OK;
    if (session->json)
        return say_json(message);
    printf("%s: %u connections of phones, %u of portals\n", state_text(progress->state), progress->devices,
           progress->portals);
    fflush(stdout);
    return EXIT_STATUS_OK;
}

enum exit_status command_drain(const struct args *args)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    Nanopush__V1__DrainRequest request = NANOPUSH__V1__DRAIN_REQUEST__INIT;
    struct progress progress = {.any = false};
    struct session session;
    request.undo = args_given(args, OPTION_UNDO_DRAIN);
    const Nanopush__V1__DrainState wanted = request.undo ? NANOPUSH__V1__DRAIN_STATE__DRAIN_STATE_SERVING
                                                         : NANOPUSH__V1__DRAIN_STATE__DRAIN_STATE_DRAINED;
    enum exit_status status = session_open_admin(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    for (;;) {
        status = session_call(&session, CALL_DRAIN, &request.base, &nanopush__v1__drain_response__descriptor,
                              "cannot drain over admin.sock", on_progress, &progress);
        if (status != EXIT_STATUS_OK || progress.state == wanted)
            break;
        nanosleep(&pause, NULL);
    }
    session_close(&session);
    return status;
}
