/* challenge create, watch, show, resend, cancel. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/follow_challenge.h"
#include "cli/pins.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/words.h"
#include "crypto/digest.h"
#include "wire/json.h"

#define CALL_CREATE               "nanopush.v1.ChallengeService/CreateChallenge"
#define CALL_GET                  "nanopush.v1.ChallengeService/GetChallenge"
#define CALL_RESEND               "nanopush.v1.ChallengeService/ResendChallenge"
#define CALL_CANCEL               "nanopush.v1.ChallengeService/CancelChallenge"

#define NONCE_BYTES               SHA256_BYTES
#define QUESTION_MEMORY_MAX_BYTES (1024 * 1024)

/** A request and the memory that its pointers point into. */
struct asking {
    const struct args *args;
    Nanopush__V1__CreateChallengeRequest request;
    Nanopush__V1__ChallengeContext context;
    Google__Protobuf__Duration life;
    Nanopush__V1__DisplayField fields[LIST_MAX];
    Nanopush__V1__DisplayField *field_list[LIST_MAX];
    char *labels[LIST_MAX]; /* owned */
    uint8_t nonce[NONCE_BYTES];
};

static char *text_of(const struct args *args, enum option option)
{
    return (char *)(args->texts[option] ? args->texts[option] : "");
}

/* "LABEL=VALUE"; the value may have further = in it. */
static bool add_field(struct asking *asking, const char *text)
{
    size_t i = asking->context.n_fields;
    const char *equals = strchr(text, '=');
    asking->labels[i] = equals ? strndup(text, (size_t)(equals - text)) : NULL;
    if (!asking->labels[i]) {
        say_error("--field", "must be LABEL=VALUE");
        return false;
    }
    asking->fields[i] = (Nanopush__V1__DisplayField)NANOPUSH__V1__DISPLAY_FIELD__INIT;
    asking->fields[i].label = asking->labels[i];
    asking->fields[i].value = (char *)equals + 1;
    asking->field_list[i] = &asking->fields[i];
    asking->context.n_fields++;
    return true;
}

/*
 * Random; but a request that is repeated under its idempotency key must be the same request, so then it is
 * made from that key, under our own secret, which makes it as unknown to others as a random one.
 */
static enum err make_nonce(const struct session *session, const char *user, const char *idempotency_key,
                           uint8_t out[NONCE_BYTES])
{
    if (!*idempotency_key)
        return random_bytes(out, NONCE_BYTES);
    struct buf input = {0};
    enum err e = lp_append(&input, bytes_of("nanopush cli nonce"));
    if (e == ERR_OK)
        e = lp_append(&input, bytes_of(user));
    if (e == ERR_OK)
        e = lp_append(&input, bytes_of(idempotency_key));
    struct bytes view = buf_view(&input);
    if (e == ERR_OK)
        e = hmac_sha256(bytes_of(session->credential), &view, 1, out);
    buf_done(&input);
    return e;
}

/* @p ret must not move after that. */
static bool ask_of_args(const struct args *args, struct asking *ret)
{
    *ret = (struct asking){.args = args,
                           .request = NANOPUSH__V1__CREATE_CHALLENGE_REQUEST__INIT,
                           .context = NANOPUSH__V1__CHALLENGE_CONTEXT__INIT,
                           .life = GOOGLE__PROTOBUF__DURATION__INIT};
    ret->context.application = text_of(args, OPTION_APPLICATION);
    ret->context.address = text_of(args, OPTION_ADDRESS);
    ret->context.place = text_of(args, OPTION_PLACE);
    ret->context.browser = text_of(args, OPTION_BROWSER);
    ret->context.operating_system = text_of(args, OPTION_OS);
    ret->context.message = text_of(args, OPTION_MESSAGE);
    ret->context.fields = ret->field_list;
    ret->request.user = (char *)args->operands[0];
    ret->request.context = &ret->context;
    ret->request.browser_session = text_of(args, OPTION_SESSION);
    ret->request.idempotency_key = text_of(args, OPTION_IDEMPOTENCY_KEY);
    if (args_given(args, OPTION_LIFE)) {
        ret->life.seconds = args->numbers[OPTION_LIFE];
        ret->request.life = &ret->life;
    }
    for (size_t i = 0; i < args->list_count; i++) {
        if (!add_field(ret, args->list[i]))
            return false;
    }
    if (args_given(args, OPTION_PINS) && !args_given(args, OPTION_MODE)) {
        say_error("--pins", "needs --mode: an approval is checked against the mode that was asked for");
        return false;
    }
    return words_parse_mode(args->texts[OPTION_MODE], &ret->request.mode) &&
           words_parse_user_verification(args->texts[OPTION_USER_VERIFICATION],
                                         &ret->request.user_verification);
}

static void asking_done(struct asking *asking)
{
    for (size_t i = 0; i < LIST_MAX; i++)
        free(asking->labels[i]);
}

static enum err remember(const char *pins_path, const char *id,
                         const Nanopush__V1__CreateChallengeRequest *request, const char *number)
{
    struct pins *pins;
    struct buf asked = {0};
    TRY(json_encode(&request->base, &asked));
    enum err e = pins_open(pins_path, &pins);
    if (e == ERR_OK) {
        e = pins_add_challenge(pins, id, buf_view(&asked), number);
        if (e == ERR_OK)
            e = pins_save(pins);
        pins_close(pins);
    }
    buf_done(&asked);
    return e;
}

static enum exit_status print_created(const Nanopush__V1__CreateChallengeResponse *response, bool json)
{
    if (json)
        return say_json(&response->base);
    say_row("challenge", response->id);
    say_row("number to show", response->number);
    fflush(stdout);
    return EXIT_STATUS_OK;
}

static enum exit_status on_created(struct session *session, const ProtobufCMessage *message, void *arg)
{
    const struct asking *asking = arg;
    const Nanopush__V1__CreateChallengeResponse *response =
        (const Nanopush__V1__CreateChallengeResponse *)message;
    const char *pins_path = asking->args->texts[OPTION_PINS];
    struct bytes nonce = bytes_make(response->nonce.data, response->nonce.len);
    if (!bytes_equal(nonce, bytes_make(asking->nonce, NONCE_BYTES)))
        return say_failure("the broker answered with another nonce", ERR_INVALID);
    enum err e = pins_path ? remember(pins_path, response->id, &asking->request, response->number) : ERR_OK;
    if (e != ERR_OK) {
        say_file_error("cannot remember the challenge in", pins_path, e);
        return EXIT_STATUS_ERROR;
    }
    enum exit_status status = print_created(response, session->json);
    if (status != EXIT_STATUS_OK || !args_given(asking->args, OPTION_WATCH))
        return status;
    struct question question = {.challenge_id = response->id,
                                .asked = &asking->request,
                                .number = response->number,
                                .pins_path = pins_path};
    return follow_challenge(session, &question);
}

static enum exit_status create(struct session *session, struct asking *asking)
{
    enum err e = make_nonce(session, asking->request.user, asking->request.idempotency_key, asking->nonce);
    if (e != ERR_OK)
        return say_failure("the nonce", e);
    asking->request.nonce = (ProtobufCBinaryData){.data = asking->nonce, .len = NONCE_BYTES};
    return session_call(session, CALL_CREATE, &asking->request.base,
                        &nanopush__v1__create_challenge_response__descriptor, "cannot ask", on_created,
                        asking);
}

enum exit_status command_challenge_create(const struct args *args)
{
    struct asking asking;
    struct session session;
    enum exit_status status = EXIT_STATUS_USAGE;
    if (ask_of_args(args, &asking)) {
        status = session_open_portal(args, &session);
        if (status == EXIT_STATUS_OK) {
            status = create(&session, &asking);
            session_close(&session);
        }
    }
    asking_done(&asking);
    return status;
}

/* What the pins file knows of the question; asked stays NULL where it knows nothing. */
static enum err recall(struct question *question, char **number, struct arena *arena)
{
    struct pins *pins;
    struct json_problem problem;
    ProtobufCMessage *message;
    char *request = NULL;
    const char *found_number;
    TRY(pins_open(question->pins_path, &pins));
    enum err e = pins_find_challenge(pins, question->challenge_id, &request, &found_number);
    if (e == ERR_OK && !(*number = strdup(found_number)))
        e = ERR_NOMEM;
    pins_close(pins);
    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    if (e == ERR_OK)
        e = json_decode(&nanopush__v1__create_challenge_request__descriptor, bytes_of(request),
                        JSON_MAX_DEPTH, arena, &message, &problem);
    free(request);
    if (e == ERR_OK) {
        question->asked = (const Nanopush__V1__CreateChallengeRequest *)message;
        question->number = *number;
    }
    return e;
}

enum exit_status command_challenge_watch(const struct args *args)
{
    struct question question = {
        .challenge_id = args->operands[0], .number = "", .pins_path = args->texts[OPTION_PINS]};
    struct session session;
    struct arena arena;
    char *number = NULL;
    if (!question.pins_path) {
        say_error("challenge watch", "needs --pins FILE");
        return EXIT_STATUS_USAGE;
    }
    arena_init(&arena, QUESTION_MEMORY_MAX_BYTES);
    enum exit_status status = EXIT_STATUS_ERROR;
    enum err e = recall(&question, &number, &arena);
    if (e != ERR_OK)
        say_file_error("what was asked, in", question.pins_path, e);
    else
        status = session_open_portal(args, &session);
    if (status == EXIT_STATUS_OK) {
        status = follow_challenge(&session, &question);
        session_close(&session);
    }
    arena_done(&arena);
    free(number);
    return status;
}

static enum exit_status print_challenge(const Nanopush__V1__Challenge *challenge, bool json)
{
    char line[256];
    if (!challenge)
        return say_failure("the challenge", ERR_MALFORMED);
    if (json)
        return say_json(&challenge->base);
    say_row("challenge", challenge->id);
    say_row("user", challenge->user);
    say_row("state", words_of_state(challenge->state));
    say_row("progress", words_of_progress(challenge->progress));
    say_row("mode", words_of_mode(challenge->mode));
    say_row("number to show", challenge->number);
    snprintf(line, sizeof line, "%u", (unsigned)challenge->attempt);
    say_row("attempt", line);
    for (size_t i = 0; i < challenge->n_devices; i++) {
        snprintf(line, sizeof line, "%s, %s", challenge->devices[i]->device_id,
                 words_of_progress(challenge->devices[i]->progress));
        say_row("phone", line);
    }
    return EXIT_STATUS_OK;
}

static enum exit_status on_shown(struct session *session, const ProtobufCMessage *message, void *arg)
{
    (void)arg;
    return print_challenge(((const Nanopush__V1__GetChallengeResponse *)message)->challenge, session->json);
}

enum exit_status command_challenge_show(const struct args *args)
{
    Nanopush__V1__GetChallengeRequest request = NANOPUSH__V1__GET_CHALLENGE_REQUEST__INIT;
    struct session session;
    enum exit_status status = session_open_portal(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    request.id = (char *)args->operands[0];
    status =
        session_call(&session, CALL_GET, &request.base, &nanopush__v1__get_challenge_response__descriptor,
                     "cannot show the challenge", on_shown, NULL);
    session_close(&session);
    return status;
}

static enum exit_status on_resent(struct session *session, const ProtobufCMessage *message, void *arg)
{
    (void)arg;
    return print_challenge(((const Nanopush__V1__ResendChallengeResponse *)message)->challenge,
                           session->json);
}

enum exit_status command_challenge_resend(const struct args *args)
{
    Nanopush__V1__ResendChallengeRequest request = NANOPUSH__V1__RESEND_CHALLENGE_REQUEST__INIT;
    struct session session;
    enum exit_status status = session_open_portal(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    request.id = (char *)args->operands[0];
    status = session_call(&session, CALL_RESEND, &request.base,
                          &nanopush__v1__resend_challenge_response__descriptor,
                          "cannot alert the phones again", on_resent, NULL);
    session_close(&session);
    return status;
}

static enum exit_status on_cancelled(struct session *session, const ProtobufCMessage *message, void *arg)
{
    (void)arg;
    return print_challenge(((const Nanopush__V1__CancelChallengeResponse *)message)->challenge,
                           session->json);
}

enum exit_status command_challenge_cancel(const struct args *args)
{
    Nanopush__V1__CancelChallengeRequest request = NANOPUSH__V1__CANCEL_CHALLENGE_REQUEST__INIT;
    struct session session;
    enum exit_status status = session_open_any(args, &session);
    if (status != EXIT_STATUS_OK)
        return status;
    request.id = (char *)args->operands[0];
    status = session_call(&session, CALL_CANCEL, &request.base,
                          &nanopush__v1__cancel_challenge_response__descriptor, "cannot cancel the challenge",
                          on_cancelled, NULL);
    session_close(&session);
    return status;
}
