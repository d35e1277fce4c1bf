/* enrol create, enrol watch, enrol confirm. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/enrolment_check.h"
#include "cli/file.h"
#include "cli/follow.h"
#include "cli/qr.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/words.h"
#include "crypto/digest.h"
#include "device/nanopush_device.h"

#define CALL_CREATE  "nanopush.v1.EnrolmentService/CreateEnrolment"
#define CALL_WATCH   "nanopush.v1.EnrolmentService/WatchEnrolment"
#define CALL_CONFIRM "nanopush.v1.EnrolmentService/ConfirmEnrolment"

/** One enrolment: what the portal knows by itself, and what became of it. */
struct enrolment {
    const char *pins_path; /* NULL: nothing is pinned */
    char *id, *user, *org;
    uint8_t s[ENROLMENT_SECRET_BYTES];
    bool json;
    uint64_t revision; /* of the newest snapshot; 0: none yet */
    Nanopush__V1__EnrolmentState printed;
    enum exit_status status; /* once it is final */
};

/** One `enrol create`. */
struct create {
    const struct args *args;
    struct enrolment *enrolment;
    Nanopush__V1__Platform platform;
};

static void enrolment_done(struct enrolment *enrolment)
{
    free(enrolment->id);
    free(enrolment->user);
    free(enrolment->org);
    bytes_cleanse(enrolment->s, sizeof enrolment->s);
}

/* The phone's keys are proven: pin them, and forget s in the same stroke. */
static enum exit_status pin(const struct enrolment *enrolment, const struct pinned_device *device)
{
    struct pins *pins;
    if (!enrolment->pins_path)
        return EXIT_STATUS_OK;
    enum err e = pins_open(enrolment->pins_path, &pins);
    if (e == ERR_OK) {
        e = pins_add_device(pins, enrolment->user, enrolment->org, device->device_id, device->possession_key,
                            device->user_verification_key);
        pins_drop_enrolment(pins, enrolment->id);
        if (e == ERR_OK)
            e = pins_save(pins);
        pins_close(pins);
    }
    if (e != ERR_OK)
        say_file_error("the phone is enrolled but not pinned:", enrolment->pins_path, e);
    return e == ERR_OK ? EXIT_STATUS_OK : EXIT_STATUS_ERROR;
}

static enum exit_status take_phone(const struct enrolment *enrolment,
                                   const Nanopush__V1__EnrolledDevice *device)
{
    struct pending_enrolment pending = {.user = enrolment->user, .org = enrolment->org};
    struct pinned_device checked;
    memcpy(pending.s, enrolment->s, sizeof pending.s);
    enum err e = device ? enrolment_check(&pending, enrolment->id, device, &checked) : ERR_MALFORMED;
    bytes_cleanse(pending.s, sizeof pending.s);
    if (e != ERR_OK) {
        say_error("the phone's proof of its keys does not hold, nothing is pinned", err_text(e));
        return EXIT_STATUS_UNVERIFIED;
    }
    if (!enrolment->json) {
        say_row("phone", device->name);
        say_row("device", device->device_id);
        say_row("possession", checked.possession);
        say_row("verification", checked.user_verification);
    }
    return pin(enrolment, &checked);
}

/* It ended without a phone: s is of no more use. */
static void forget(const struct enrolment *enrolment)
{
    struct pins *pins;
    if (!enrolment->pins_path)
        return;
    enum err e = pins_open(enrolment->pins_path, &pins);
    if (e == ERR_OK) {
        pins_drop_enrolment(pins, enrolment->id);
        e = pins_save(pins);
        pins_close(pins);
    }
    if (e != ERR_OK)
        say_file_error("cannot forget the enrolment in", enrolment->pins_path, e);
}

static void print_state(Nanopush__V1__EnrolmentState state)
{
    static const char *const lines[] = {
        "",
        "waiting for the phone",
        "scanned; the code that the phone shows must be confirmed",
        "enrolled",
        "expired",
        "void: scanned by two phones, the wrong code, or not approved on an old phone",
        "cancelled",
        "scanned; an old phone of the user is asked for the number that the new one shows",
        "scanned"};
    bool known = (size_t)state < sizeof lines / sizeof *lines;
    puts(known ? lines[state] : "a state that is not known here");
    fflush(stdout);
}

/* @return false while the enrolment goes on. */
static bool settle(struct enrolment *enrolment, const Nanopush__V1__Enrolment *snapshot)
{
    switch (snapshot->state) {
    case NANOPUSH__V1__ENROLMENT_STATE__ENROLMENT_STATE_DONE:
        enrolment->status = take_phone(enrolment, snapshot->device);
        return true;
    case NANOPUSH__V1__ENROLMENT_STATE__ENROLMENT_STATE_EXPIRED:
        enrolment->status = EXIT_STATUS_EXPIRED;
        break;
    case NANOPUSH__V1__ENROLMENT_STATE__ENROLMENT_STATE_VOID:
        enrolment->status = EXIT_STATUS_FAILED;
        break;
    case NANOPUSH__V1__ENROLMENT_STATE__ENROLMENT_STATE_CANCELLED:
        enrolment->status = EXIT_STATUS_CANCELLED;
        break;
    default:
        return false;
    }
    forget(enrolment);
    return true;
}

static bool on_snapshot(const ProtobufCMessage *message, void *arg)
{
    struct enrolment *enrolment = arg;
    const Nanopush__V1__Enrolment *snapshot =
        ((const Nanopush__V1__WatchEnrolmentResponse *)message)->enrolment;
    if (!snapshot || strcmp(snapshot->id, enrolment->id) != 0)
        return false;
    if (snapshot->revision <= enrolment->revision && enrolment->printed)
        return false;
    enrolment->revision = snapshot->revision;
    if (enrolment->json && say_json(&snapshot->base) != EXIT_STATUS_OK) {
        enrolment->status = EXIT_STATUS_ERROR;
        return true;
    }
    if (!enrolment->json && snapshot->state != enrolment->printed)
        print_state(snapshot->state);
    enrolment->printed = snapshot->state;
    return settle(enrolment, snapshot);
}

static enum exit_status watch(struct session *session, struct enrolment *enrolment)
{
    Nanopush__V1__WatchEnrolmentRequest request = NANOPUSH__V1__WATCH_ENROLMENT_REQUEST__INIT;
    struct connect_problem problem;
    request.id = enrolment->id;
    if (follow(session->client, CALL_WATCH, &request.base,
               &nanopush__v1__watch_enrolment_response__descriptor, on_snapshot, enrolment,
               &problem) != ERR_OK) {
        say_problem("cannot follow the enrolment", &problem);
        return EXIT_STATUS_ERROR;
    }
    return enrolment->status;
}

/* The URI is the broker's word: whom it enrols must be whom we asked for. */
static enum err take_uri(const char *user, const Nanopush__V1__CreateEnrolmentResponse *response,
                         struct enrolment *ret)
{
    struct np_enrolment_uri uri;
    if (np_enrolment_uri_parse(response->uri, &uri) != NP_OK)
        return ERR_MALFORMED;
    bool ours = !uri.has_secret && strcmp(uri.user, user) == 0 && strcmp(uri.enrolment_id, response->id) == 0;
    enum err e = ours ? ERR_OK : ERR_INVALID;
    ret->id = strdup(response->id);
    ret->user = strdup(user);
    ret->org = strdup(uri.organisation);
    np_enrolment_uri_cleanse(&uri);
    if (e == ERR_OK && (!ret->id || !ret->user || !ret->org))
        e = ERR_NOMEM;
    return e == ERR_OK ? random_bytes(ret->s, sizeof ret->s) : e;
}

static enum exit_status remember(const struct enrolment *enrolment)
{
    struct pins *pins;
    if (!enrolment->pins_path)
        return EXIT_STATUS_OK;
    enum err e = pins_open(enrolment->pins_path, &pins);
    if (e == ERR_OK) {
        e = pins_add_enrolment(pins, enrolment->id, enrolment->user, enrolment->org, enrolment->s);
        if (e == ERR_OK)
            e = pins_save(pins);
        pins_close(pins);
    }
    if (e != ERR_OK)
        say_file_error("cannot remember the enrolment in", enrolment->pins_path, e);
    return e == ERR_OK ? EXIT_STATUS_OK : EXIT_STATUS_ERROR;
}

static enum err write_svg(const char *path, const char *uri)
{
    struct buf svg = {0};
    int fd = -1;
    enum err e = qr_svg(uri, &svg);
    if (e == ERR_OK)
        e = file_create(path, &fd);
    if (e == ERR_OK) {
        e = file_write_fd(fd, buf_view(&svg));
        close(fd);
    }
    buf_done(&svg);
    return e;
}

static enum err draw(const char *uri)
{
    struct buf drawing = {0};
    enum err e = qr_draw(uri, isatty(STDOUT_FILENO), &drawing);
    if (e == ERR_OK)
        fwrite(buf_view(&drawing).p, 1, buf_len(&drawing), stdout);
    buf_done(&drawing);
    return e;
}

/* The one place that says s: the portal's page, which here is the terminal. */
static enum exit_status show(const struct create *create,
                             const Nanopush__V1__CreateEnrolmentResponse *response, char *uri)
{
    const char *svg_path = create->args->texts[OPTION_SVG];
    enum err e = svg_path ? write_svg(svg_path, uri) : ERR_OK;
    if (e != ERR_OK) {
        say_file_error("cannot write the QR code to", svg_path, e);
        return EXIT_STATUS_ERROR;
    }
    if (create->enrolment->json) {
        Nanopush__V1__CreateEnrolmentResponse printed = *response;
        printed.uri = uri;
        printed.qr_svg = (char *)""; /* the broker's, without s */
        return say_json(&printed.base);
    }
    e = args_given(create->args, OPTION_NO_QR) ? ERR_OK : draw(uri);
    say_row("enrolment", response->id);
    say_row("uri", uri);
    fflush(stdout);
    return e == ERR_OK ? EXIT_STATUS_OK : say_failure("the QR code", e);
}

static enum exit_status on_created(struct session *session, const ProtobufCMessage *message, void *arg)
{
    (void)session;
    const struct create *create = arg;
    const Nanopush__V1__CreateEnrolmentResponse *response =
        (const Nanopush__V1__CreateEnrolmentResponse *)message;
    char s[BASE64URL_SIZE(ENROLMENT_SECRET_BYTES)];
    char *uri;
    enum err e = take_uri(create->args->operands[0], response, create->enrolment);
    if (e != ERR_OK)
        return say_failure("the broker's enrolment URI", e);
    enum exit_status status = remember(create->enrolment);
    if (status != EXIT_STATUS_OK)
        return status;
    base64url_encode(bytes_make(create->enrolment->s, ENROLMENT_SECRET_BYTES), s);
    if (asprintf(&uri, "%s#s=%s", response->uri, s) < 0)
        return say_failure("the URI", ERR_NOMEM);
    status = show(create, response, uri);
    line_free(uri);
    bytes_cleanse(s, sizeof s);
    return status;
}

static enum exit_status create_enrolment(struct session *session, struct create *create)
{
    Nanopush__V1__CreateEnrolmentRequest request = NANOPUSH__V1__CREATE_ENROLMENT_REQUEST__INIT;
    request.user = (char *)create->args->operands[0];
    request.confirmation = args_given(create->args, OPTION_CONFIRM)
                               ? NANOPUSH__V1__CONFIRMATION__CONFIRMATION_CODE
                               : NANOPUSH__V1__CONFIRMATION__CONFIRMATION_NONE;
    request.platform = create->platform;
    request.override_approval = args_given(create->args, OPTION_OVERRIDE);
    return session_call(session, CALL_CREATE, &request.base,
                        &nanopush__v1__create_enrolment_response__descriptor, "cannot start the enrolment",
                        on_created, create);
}

enum exit_status command_enrol_create(const struct args *args)
{
    struct session session;
    struct enrolment enrolment = {.pins_path = args->texts[OPTION_PINS],
                                  .json = args_given(args, OPTION_JSON)};
    struct create create = {.args = args, .enrolment = &enrolment};
    if (!words_parse_platform(args->texts[OPTION_EXPECTED_PLATFORM], &create.platform))
        return EXIT_STATUS_USAGE;
    enum exit_status status = session_open_portal(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    status = create_enrolment(&session, &create);
    if (status == EXIT_STATUS_OK && args_given(args, OPTION_WATCH))
        status = watch(&session, &enrolment);
    enrolment_done(&enrolment);
    session_close(&session);
    return status;
}

/* From the options alone. */
static enum err take_secret(const struct args *args, struct enrolment *ret)
{
    size_t len = 0;
    TRY(base64url_decode(bytes_of(args->texts[OPTION_SECRET]), ret->s, sizeof ret->s, &len));
    if (len != sizeof ret->s)
        return ERR_MALFORMED;
    ret->user = strdup(args->texts[OPTION_USER]);
    ret->org = strdup(args->texts[OPTION_ORGANISATION]);
    return ret->user && ret->org ? ERR_OK : ERR_NOMEM;
}

static enum err recall(struct enrolment *ret)
{
    struct pins *pins;
    struct pending_enrolment pending;
    TRY(pins_open(ret->pins_path, &pins));
    enum err e = pins_find_enrolment(pins, ret->id, &pending);
    if (e == ERR_OK) {
        ret->user = strdup(pending.user);
        ret->org = strdup(pending.org);
        memcpy(ret->s, pending.s, sizeof ret->s);
        bytes_cleanse(pending.s, sizeof pending.s);
        e = ret->user && ret->org ? ERR_OK : ERR_NOMEM;
    }
    pins_close(pins);
    return e;
}

static enum exit_status prepare_watch(const struct args *args, struct enrolment *ret)
{
    bool by_options = args->texts[OPTION_SECRET];
    if (by_options ? !args->texts[OPTION_USER] || !args->texts[OPTION_ORGANISATION] : !ret->pins_path) {
        say_error("enrol watch", "needs --pins FILE, or --secret S with --user USER and --org ORG");
        return EXIT_STATUS_USAGE;
    }
    ret->id = strdup(args->operands[0]);
    enum err e = !ret->id ? ERR_NOMEM : by_options ? take_secret(args, ret) : recall(ret);
    if (e == ERR_OK)
        return EXIT_STATUS_OK;
    if (by_options)
        return say_failure("--secret", e);
    say_file_error("the enrolment, in", ret->pins_path, e);
    return EXIT_STATUS_ERROR;
}

enum exit_status command_enrol_watch(const struct args *args)
{
    struct session session;
    struct enrolment enrolment = {.pins_path = args->texts[OPTION_PINS],
                                  .json = args_given(args, OPTION_JSON)};
    enum exit_status status = prepare_watch(args, &enrolment);
    if (status == EXIT_STATUS_OK)
        status = session_open_portal(args, &session);
    if (status == EXIT_STATUS_OK) {
        status = watch(&session, &enrolment);
        session_close(&session);
    }
    enrolment_done(&enrolment);
    return status;
}

static enum exit_status on_confirmed(struct session *session, const ProtobufCMessage *message, void *arg)
{
    (void)arg;
    const Nanopush__V1__Enrolment *enrolment =
        ((const Nanopush__V1__ConfirmEnrolmentResponse *)message)->enrolment;
    if (!enrolment)
        return say_failure("the enrolment", ERR_MALFORMED);
    if (!session->json)
        print_state(enrolment->state);
    else if (say_json(&enrolment->base) != EXIT_STATUS_OK)
        return EXIT_STATUS_ERROR;
    bool wrong = enrolment->state == NANOPUSH__V1__ENROLMENT_STATE__ENROLMENT_STATE_VOID;
    return wrong ? EXIT_STATUS_FAILED : EXIT_STATUS_OK;
}

enum exit_status command_enrol_confirm(const struct args *args)
{
    Nanopush__V1__ConfirmEnrolmentRequest request = NANOPUSH__V1__CONFIRM_ENROLMENT_REQUEST__INIT;
    struct session session;
    enum exit_status status = session_open_portal(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    request.id = (char *)args->operands[0];
    request.code = (char *)args->operands[1];
    status = session_call(&session, CALL_CONFIRM, &request.base,
                          &nanopush__v1__confirm_enrolment_response__descriptor,
                          "cannot confirm the enrolment", on_confirmed, NULL);
    session_close(&session);
    return status;
}
