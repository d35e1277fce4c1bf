/* portal add, list, rotate, remove: over the admin socket. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/file.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/words.h"
#include "crypto/client_certificate.h"
#include "nanopush/v1/admin.pb-c.h"

#define CALL_CREATE_PORTAL     "nanopush.v1.AdminService/CreatePortal"
#define CALL_LIST_PORTALS      "nanopush.v1.AdminService/ListPortals"
#define CALL_ROTATE_CREDENTIAL "nanopush.v1.AdminService/RotateCredential"
#define CALL_FINISH_ROTATION   "nanopush.v1.AdminService/FinishRotation"
#define CALL_SET_CERTIFICATES  "nanopush.v1.AdminService/SetCertificates"
#define CALL_SET_LIMITS        "nanopush.v1.AdminService/SetLimits"
#define CALL_REMOVE_PORTAL     "nanopush.v1.AdminService/RemovePortal"
#define TOKEN_SIZE             128

/* ---- a credential, said once ---- */

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
        say_file_error("done, but the credential is lost: cannot write", file->path, e);
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

static void print_time(const char *label, const Google__Protobuf__Timestamp *at)
{
    time_t unix_s = (time_t)at->seconds;
    struct tm broken_down;
    char text[32];
    if (localtime_r(&unix_s, &broken_down) && strftime(text, sizeof text, "%F %T", &broken_down))
        say_row(label, text);
}

static void print_portal(const Nanopush__V1__Portal *portal)
{
    say_row("portal", portal->id);
    say_row("organisation", portal->organisation);
    say_row("name", portal->name);
    if (portal->preset == NANOPUSH__V1__PRESET__PRESET_NIST)
        say_row("preset", "nist");
    for (size_t i = 0; i < portal->n_certificates; i++)
        say_row("certificate", portal->certificates[i]);
    if (portal->calls_per_second) {
        char text[32];
        snprintf(text, sizeof text, "%u a second", portal->calls_per_second);
        say_row("calls", text);
    }
    if (portal->certificate_required)
        say_row("required", "a certificate");
    for (size_t i = 0; i < portal->n_secrets; i++) {
        say_row(i == 0 ? "secret" : "old secret", portal->secrets[i]->fingerprint);
        if (portal->secrets[i]->create_time)
            print_time("  made", portal->secrets[i]->create_time);
        if (portal->secrets[i]->expire_time)
            print_time("  until", portal->secrets[i]->expire_time);
    }
}

static void print_credential(const char *credential, const char *kept_in)
{
    say_row(kept_in ? "credential in" : "credential", kept_in ? kept_in : credential);
}

/* @return false, with a line said, if there is no certificate in the file. */
static bool read_certificate(const char *path, char ret[HEX_SIZE(SHA256_BYTES)])
{
    uint8_t fingerprint[SHA256_BYTES];
    enum err e = client_certificate_file_fingerprint(path, fingerprint);
    if (e != ERR_OK)
        say_file_error("the certificate", path, e);
    else
        hex_encode(bytes_make(fingerprint, sizeof fingerprint), ret);
    return e == ERR_OK;
}

/* ---- add ---- */

static enum exit_status print_created(const Nanopush__V1__CreatePortalResponse *response, const char *kept_in,
                                      bool json)
{
    if (json) {
        /* What went into a file is not also for the log that reads this. */
        Nanopush__V1__CreatePortalResponse printed = *response;
        if (kept_in)
            printed.credential = (char *)"";
        return say_json(&printed.base);
    }
    if (response->portal)
        print_portal(response->portal);
    print_credential(response->credential, kept_in);
    return EXIT_STATUS_OK;
}

static enum exit_status on_created(struct session *session, const ProtobufCMessage *message, void *arg)
{
    struct credential_file *file = arg;
    const Nanopush__V1__CreatePortalResponse *response = (const Nanopush__V1__CreatePortalResponse *)message;
    enum exit_status status = file->path ? keep(file, response->credential) : EXIT_STATUS_OK;
    return status == EXIT_STATUS_OK ? print_created(response, file->path, session->json) : status;
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
                          "cannot make the portal over admin.sock", on_created, &file);
    credential_file_done(&file);
    return status;
}

enum exit_status command_portal_add(const struct args *args)
{
    Nanopush__V1__Mode modes[MODE_WORDS];
    Nanopush__V1__Scope scopes[SCOPE_WORDS];
    char fingerprint[HEX_SIZE(SHA256_BYTES)], *certificate = fingerprint;
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
        !words_parse_preset(args->texts[OPTION_PRESET], &portal.preset) ||
        !words_parse_scopes(args->texts[OPTION_SCOPES], scopes, &portal.n_scopes))
        return EXIT_STATUS_USAGE;
    if (args->texts[OPTION_CERTIFICATE] && !read_certificate(args->texts[OPTION_CERTIFICATE], fingerprint))
        return EXIT_STATUS_ERROR;
    portal.certificates = &certificate;
    portal.n_certificates = args->texts[OPTION_CERTIFICATE] ? 1 : 0;
    portal.certificate_required = args_given(args, OPTION_REQUIRE_CERTIFICATE);
    request.portal = &portal;

    struct session session;
    enum exit_status status = session_open_admin(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    status = create_portal(&session, &request, args);
    session_close(&session);
    return status;
}

/* ---- list ---- */

/** What a page leads to. */
struct page {
    char next[TOKEN_SIZE];
    bool first;
};

static enum exit_status on_listed(struct session *session, const ProtobufCMessage *message, void *arg)
{
    struct page *page = arg;
    const Nanopush__V1__ListPortalsResponse *response = (const Nanopush__V1__ListPortalsResponse *)message;
    enum exit_status status = EXIT_STATUS_OK;
    for (size_t i = 0; i < response->n_portals && status == EXIT_STATUS_OK; i++) {
        if (session->json) {
            status = say_json(&response->portals[i]->base);
            continue;
        }
        if (!page->first)
            putchar('\n');
        page->first = false;
        print_portal(response->portals[i]);
    }
    snprintf(page->next, sizeof page->next, "%s", response->next_page_token);
    return status;
}

enum exit_status command_portal_list(const struct args *args)
{
    const char *organisation = args->texts[OPTION_ORG_FILTER];
    struct page page = {.first = true};
    struct session session;
    enum exit_status status = session_open_admin(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    do {
        char token[TOKEN_SIZE];
        Nanopush__V1__ListPortalsRequest request = NANOPUSH__V1__LIST_PORTALS_REQUEST__INIT;
        memcpy(token, page.next, sizeof token);
        request.page_token = token;
        request.organisation = (char *)(organisation ? organisation : "");
        status = session_call(&session, CALL_LIST_PORTALS, &request.base,
                              &nanopush__v1__list_portals_response__descriptor,
                              "cannot list portals over admin.sock", on_listed, &page);
    } while (status == EXIT_STATUS_OK && page.next[0]);
    session_close(&session);
    return status;
}

/* ---- rotate ---- */

static enum exit_status on_rotated(struct session *session, const ProtobufCMessage *message, void *arg)
{
    struct credential_file *file = arg;
    const Nanopush__V1__RotateCredentialResponse *response =
        (const Nanopush__V1__RotateCredentialResponse *)message;
    enum exit_status status = file->path ? keep(file, response->credential) : EXIT_STATUS_OK;
    if (status != EXIT_STATUS_OK)
        return status;
    if (session->json) {
        Nanopush__V1__RotateCredentialResponse printed = *response;
        if (file->path)
            printed.credential = (char *)"";
        return say_json(&printed.base);
    }
    if (response->portal)
        print_portal(response->portal);
    print_credential(response->credential, file->path);
    return EXIT_STATUS_OK;
}

static enum exit_status on_finished(struct session *session, const ProtobufCMessage *message, void *arg)
{
    const Nanopush__V1__FinishRotationResponse *response =
        (const Nanopush__V1__FinishRotationResponse *)message;
    (void)arg;
    if (session->json)
        return say_json(message);
    if (response->portal)
        print_portal(response->portal);
    return EXIT_STATUS_OK;
}

static enum exit_status rotate(struct session *session, const struct args *args)
{
    Google__Protobuf__Duration overlap = GOOGLE__PROTOBUF__DURATION__INIT;
    Nanopush__V1__RotateCredentialRequest request = NANOPUSH__V1__ROTATE_CREDENTIAL_REQUEST__INIT;
    struct credential_file file;
    enum exit_status status = prepare(args, &file);
    if (status != EXIT_STATUS_OK)
        return status;
    request.portal = (char *)args->operands[0];
    overlap.seconds = args->numbers[OPTION_OVERLAP];
    if (args_given(args, OPTION_OVERLAP))
        request.overlap = &overlap;
    status = session_call(session, CALL_ROTATE_CREDENTIAL, &request.base,
                          &nanopush__v1__rotate_credential_response__descriptor,
                          "cannot rotate the credential over admin.sock", on_rotated, &file);
    credential_file_done(&file);
    return status;
}

static enum exit_status finish(struct session *session, const struct args *args)
{
    Nanopush__V1__FinishRotationRequest request = NANOPUSH__V1__FINISH_ROTATION_REQUEST__INIT;
    request.portal = (char *)args->operands[0];
    request.undo = args_given(args, OPTION_UNDO);
    return session_call(session, CALL_FINISH_ROTATION, &request.base,
                        &nanopush__v1__finish_rotation_response__descriptor,
                        "cannot end the rotation over admin.sock", on_finished, NULL);
}

enum exit_status command_portal_rotate(const struct args *args)
{
    bool ends = args_given(args, OPTION_FINISH) || args_given(args, OPTION_UNDO);
    bool begins = args_given(args, OPTION_OVERLAP) || args->texts[OPTION_CREDENTIAL_OUT];
    if ((ends && begins) || (args_given(args, OPTION_FINISH) && args_given(args, OPTION_UNDO))) {
        say_error("portal rotate", "--finish, --undo, and what begins a rotation go one by one");
        return EXIT_STATUS_USAGE;
    }
    struct session session;
    enum exit_status status = session_open_admin(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    status = ends ? finish(&session, args) : rotate(&session, args);
    session_close(&session);
    return status;
}

/* ---- certificates ---- */

static enum exit_status on_certificates_set(struct session *session, const ProtobufCMessage *message,
                                            void *arg)
{
    const Nanopush__V1__SetCertificatesResponse *response =
        (const Nanopush__V1__SetCertificatesResponse *)message;
    (void)arg;
    if (session->json)
        return say_json(message);
    if (response->portal)
        print_portal(response->portal);
    return EXIT_STATUS_OK;
}

enum exit_status command_portal_certificate(const struct args *args)
{
    char add[HEX_SIZE(SHA256_BYTES)] = "", drop[HEX_SIZE(SHA256_BYTES)] = "";
    const char *file = args->texts[OPTION_CERTIFICATE], *dropped = args->texts[OPTION_DROP_CERTIFICATE];
    bool is_hex = dropped && strlen(dropped) == sizeof drop - 1 &&
                  strspn(dropped, "0123456789abcdef") == sizeof drop - 1;
    Nanopush__V1__SetCertificatesRequest request = NANOPUSH__V1__SET_CERTIFICATES_REQUEST__INIT;
    if (is_hex)
        memcpy(drop, dropped, sizeof drop);
    if ((file && !read_certificate(file, add)) || (dropped && !is_hex && !read_certificate(dropped, drop)))
        return EXIT_STATUS_ERROR;
    request.portal = (char *)args->operands[0];
    request.add = add;
    request.drop = drop;
    if (args_given(args, OPTION_REQUIRE_CERTIFICATE))
        request.secret = NANOPUSH__V1__SET_CERTIFICATES_REQUEST__SECRET__SECRET_NOT_ENOUGH;
    else if (args_given(args, OPTION_ALLOW_SECRET))
        request.secret = NANOPUSH__V1__SET_CERTIFICATES_REQUEST__SECRET__SECRET_ENOUGH;

    struct session session;
    enum exit_status status = session_open_admin(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    status = session_call(&session, CALL_SET_CERTIFICATES, &request.base,
                          &nanopush__v1__set_certificates_response__descriptor,
                          "cannot change the certificates over admin.sock", on_certificates_set, NULL);
    session_close(&session);
    return status;
}

/* ---- limits ---- */

static enum exit_status on_limits_set(struct session *session, const ProtobufCMessage *message, void *arg)
{
    const Nanopush__V1__SetLimitsResponse *response = (const Nanopush__V1__SetLimitsResponse *)message;
    (void)arg;
    if (session->json)
        return say_json(message);
    if (response->portal)
        print_portal(response->portal);
    return EXIT_STATUS_OK;
}

enum exit_status command_portal_limit(const struct args *args)
{
    Nanopush__V1__SetLimitsRequest request = NANOPUSH__V1__SET_LIMITS_REQUEST__INIT;
    request.portal = (char *)args->operands[0];
    request.calls_per_second = (uint32_t)args->numbers[OPTION_CALLS];
    struct session session;
    enum exit_status status = session_open_admin(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    status =
        session_call(&session, CALL_SET_LIMITS, &request.base, &nanopush__v1__set_limits_response__descriptor,
                     "cannot set the limit over admin.sock", on_limits_set, NULL);
    session_close(&session);
    return status;
}

/* ---- remove ---- */

static enum exit_status on_removed(struct session *session, const ProtobufCMessage *message, void *arg)
{
    if (session->json)
        return say_json(message);
    say_row("removed", arg);
    return EXIT_STATUS_OK;
}

enum exit_status command_portal_remove(const struct args *args)
{
    Nanopush__V1__RemovePortalRequest request = NANOPUSH__V1__REMOVE_PORTAL_REQUEST__INIT;
    request.id = (char *)args->operands[0];
    struct session session;
    enum exit_status status = session_open_admin(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    status = session_call(&session, CALL_REMOVE_PORTAL, &request.base,
                          &nanopush__v1__remove_portal_response__descriptor,
                          "cannot remove the portal over admin.sock", on_removed, request.id);
    session_close(&session);
    return status;
}
