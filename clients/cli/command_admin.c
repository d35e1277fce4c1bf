/* org add, org set, org list, log: over the admin socket. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/say.h"
#include "cli/session.h"
#include "nanopush/v1/admin.pb-c.h"

#define ADMIN_TOKEN_SIZE         128
#define CALL_CREATE_ORGANISATION "nanopush.v1.AdminService/CreateOrganisation"
#define CALL_SET_SUPPORT_TEXT    "nanopush.v1.AdminService/SetSupportText"
#define CALL_LIST_ORGANISATIONS  "nanopush.v1.AdminService/ListOrganisations"
#define CALL_SET_LOG_LEVEL       "nanopush.v1.AdminService/SetLogLevel"

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

static enum exit_status on_set(struct session *session, const ProtobufCMessage *message, void *arg)
{
    (void)arg;
    return session->json ? say_json(message) : EXIT_STATUS_OK;
}

enum exit_status command_org_set(const struct args *args)
{
    Nanopush__V1__SetSupportTextRequest request = NANOPUSH__V1__SET_SUPPORT_TEXT_REQUEST__INIT;
    struct session session;
    enum exit_status status = session_open_admin(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    request.organisation = (char *)args->operands[0];
    request.support_text = (char *)(args->texts[OPTION_SUPPORT] ? args->texts[OPTION_SUPPORT] : "");
    status = session_call(&session, CALL_SET_SUPPORT_TEXT, &request.base,
                          &nanopush__v1__set_support_text_response__descriptor,
                          "cannot change the organisation over admin.sock", on_set, NULL);
    session_close(&session);
    return status;
}

/** What a page leads to. */
struct page {
    char next[ADMIN_TOKEN_SIZE];
    bool first;
};

static enum exit_status on_organisations(struct session *session, const ProtobufCMessage *message, void *arg)
{
    struct page *page = arg;
    const Nanopush__V1__ListOrganisationsResponse *response =
        (const Nanopush__V1__ListOrganisationsResponse *)message;
    enum exit_status status = EXIT_STATUS_OK;
    for (size_t i = 0; i < response->n_organisations && status == EXIT_STATUS_OK; i++) {
        const Nanopush__V1__Organisation *organisation = response->organisations[i];
        if (session->json) {
            status = say_json(&organisation->base);
            continue;
        }
        if (!page->first)
            putchar('\n');
        page->first = false;
        say_row("organisation", organisation->id);
        say_row("name", organisation->name);
        say_row("support", organisation->support_text);
    }
    snprintf(page->next, sizeof page->next, "%s", response->next_page_token);
    return status;
}

enum exit_status command_org_list(const struct args *args)
{
    struct page page = {.first = true};
    struct session session;
    enum exit_status status = session_open_admin(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    do {
        char token[ADMIN_TOKEN_SIZE];
        Nanopush__V1__ListOrganisationsRequest request = NANOPUSH__V1__LIST_ORGANISATIONS_REQUEST__INIT;
        memcpy(token, page.next, sizeof token);
        request.page_token = token;
        status = session_call(&session, CALL_LIST_ORGANISATIONS, &request.base,
                              &nanopush__v1__list_organisations_response__descriptor,
                              "cannot list organisations over admin.sock", on_organisations, &page);
    } while (status == EXIT_STATUS_OK && page.next[0]);
    session_close(&session);
    return status;
}

static enum exit_status on_log_level(struct session *session, const ProtobufCMessage *message, void *arg)
{
    (void)session, (void)message, (void)arg;
    return EXIT_STATUS_OK;
}

enum exit_status command_log(const struct args *args)
{
    Nanopush__V1__SetLogLevelRequest request = NANOPUSH__V1__SET_LOG_LEVEL_REQUEST__INIT;
    struct session session;
    request.level = (char *)args->operands[0];
    request.area = (char *)(args->operand_count > 1 ? args->operands[1] : "");
    enum exit_status status = session_open_admin(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    status = session_call(&session, CALL_SET_LOG_LEVEL, &request.base,
                          &nanopush__v1__set_log_level_response__descriptor,
                          "cannot change the level over admin.sock", on_log_level, NULL);
    session_close(&session);
    return status;
}
