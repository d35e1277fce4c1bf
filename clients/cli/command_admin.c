/* org add, portal add: over the admin socket. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/file.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/words.h"
#include "nanopush/v1/admin.pb-c.h"

#define CALL_CREATE_ORGANISATION "nanopush.v1.AdminService/CreateOrganisation"
#define CALL_CREATE_PORTAL       "nanopush.v1.AdminService/CreatePortal"

/** Where a new portal's credential goes. */
struct credential_file {
    const char *path; /* NULL: standard output */
    int fd;
    bool kept;
};

/* The file is made before the call: a credential that cannot be kept is lost for good. */
static enum exit_status prepare(const struct args *args, struct credential_file *ret)
{
    struct credential_file file = {.path = args->texts[OPTION_CREDENTIAL_OUT], .fd = -1};
    enum err e = file.path ? file_create(file.path, &file.fd) : ERR_OK;
    if (e != ERR_OK) {
        say_file_error("cannot make the credential file", file.path, e);
        return EXIT_STATUS_ERROR;
    }
    *ret = file;
    return EXIT_STATUS_OK;
}

static enum exit_status keep(struct credential_file *file, const char *credential)
{
    struct buf line = {0};
    enum err e = buf_printf(&line, "%s\n", credential);
    if (e == ERR_OK)
        e = file_write_fd(file->fd, buf_view(&line));
    buf_done(&line);
    file->kept = e == ERR_OK;
    if (e != ERR_OK)
        say_file_error("the portal was made, but its credential is lost: cannot write", file->path, e);
    return e == ERR_OK ? EXIT_STATUS_OK : EXIT_STATUS_ERROR;
}

static void credential_file_done(const struct credential_file *file)
{
    if (!file->path)
        return;
    close(file->fd);
    if (!file->kept)
        unlink(file->path);
}

static enum exit_status print_portal(const Nanopush__V1__CreatePortalResponse *response, const char *kept_in,
                                     bool json)
{
    if (json) {
        /* What went into a file is not also for the log that reads this. */
        Nanopush__V1__CreatePortalResponse printed = *response;
        if (kept_in)
            printed.credential = (char *)"";
        return say_json(&printed.base);
    }
    const Nanopush__V1__Portal *portal = response->portal;
    if (portal) {
        say_row("portal", portal->id);
        say_row("organisation", portal->organisation);
        say_row("name", portal->name);
    }
    say_row(kept_in ? "credential in" : "credential", kept_in ? kept_in : response->credential);
    return EXIT_STATUS_OK;
}

static enum exit_status on_portal(struct session *session, const ProtobufCMessage *message, void *arg)
{
    struct credential_file *file = arg;
    const Nanopush__V1__CreatePortalResponse *response = (const Nanopush__V1__CreatePortalResponse *)message;
    enum exit_status status = file->path ? keep(file, response->credential) : EXIT_STATUS_OK;
    return status == EXIT_STATUS_OK ? print_portal(response, file->path, session->json) : status;
}

static enum exit_status create_portal(struct session *session,
                                      const Nanopush__V1__CreatePortalRequest *request,
                                      const struct args *args)
{
    struct credential_file file;
    enum exit_status status = prepare(args, &file);
    if (status != EXIT_STATUS_OK)
        return status;
    status = session_call(session, CALL_CREATE_PORTAL, &request->base,
                          &nanopush__v1__create_portal_response__descriptor,
                          "cannot make the portal over admin.sock", on_portal, &file);
    credential_file_done(&file);
    return status;
}

enum exit_status command_portal_add(const struct args *args)
{
    Nanopush__V1__Mode modes[MODE_WORDS];
    Nanopush__V1__Scope scopes[SCOPE_WORDS];
    Nanopush__V1__Portal portal = NANOPUSH__V1__PORTAL__INIT;
    Nanopush__V1__CreatePortalRequest request = NANOPUSH__V1__CREATE_PORTAL_REQUEST__INIT;
    if (!args->texts[OPTION_ORG]) {
        say_error("portal add", "needs --org ORG");
        return EXIT_STATUS_USAGE;
    }
    portal.id = (char *)args->operands[0];
    portal.organisation = (char *)args->texts[OPTION_ORG];
    portal.name = (char *)(args->texts[OPTION_NAME] ? args->texts[OPTION_NAME] : "");
    portal.modes = modes;
    portal.scopes = scopes;
    if (!words_parse_modes(args->texts[OPTION_MODES], modes, &portal.n_modes) ||
        !words_parse_scopes(args->texts[OPTION_SCOPES], scopes, &portal.n_scopes))
        return EXIT_STATUS_USAGE;
    request.portal = &portal;

    struct session session;
    enum exit_status status = session_open_admin(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    status = create_portal(&session, &request, args);
    session_close(&session);
    return status;
}

static enum exit_status on_organisation(struct session *session, const ProtobufCMessage *message, void *arg)
{
    (void)arg;
    const Nanopush__V1__CreateOrganisationResponse *response =
        (const Nanopush__V1__CreateOrganisationResponse *)message;
    if (session->json)
        return say_json(message);
    if (response->organisation) {
        say_row("organisation", response->organisation->id);
        say_row("name", response->organisation->name);
        say_row("support", response->organisation->support_text);
    }
    return EXIT_STATUS_OK;
}

enum exit_status command_org_add(const struct args *args)
{
    Nanopush__V1__Organisation organisation = NANOPUSH__V1__ORGANISATION__INIT;
    Nanopush__V1__CreateOrganisationRequest request = NANOPUSH__V1__CREATE_ORGANISATION_REQUEST__INIT;
    organisation.id = (char *)args->operands[0];
    organisation.name = (char *)(args->texts[OPTION_NAME] ? args->texts[OPTION_NAME] : "");
    organisation.support_text = (char *)(args->texts[OPTION_SUPPORT] ? args->texts[OPTION_SUPPORT] : "");
    request.organisation = &organisation;

    struct session session;
    enum exit_status status = session_open_admin(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    status = session_call(&session, CALL_CREATE_ORGANISATION, &request.base,
                          &nanopush__v1__create_organisation_response__descriptor,
                          "cannot make the organisation over admin.sock", on_organisation, NULL);
    session_close(&session);
    return status;
}
