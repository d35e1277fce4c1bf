#include "cli/follow_challenge.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/approval_check.h"
#include "cli/follow.h"
#include "cli/rotated_pins.h"
#include "cli/say.h"
#include "cli/words.h"

#define CALL_WATCH                "nanopush.v1.ChallengeService/WatchChallenge"
#define SNAPSHOT_MEMORY_MAX_BYTES (1024 * 1024)

struct watching {
    struct session *session;
    const struct question *question;
    int64_t start_mono_ms;
    bool begun;
    uint64_t revision;              /* of the newest snapshot, once begun */
    Nanopush__V1__Progress printed; /* the furthest step */
    struct buf
        final; /* the last snapshot, serialised: settled when the stream is over and the session free */
    enum exit_status status;
};

/** How an end is said. */
struct verdict {
    enum exit_status status;
    enum approval approval; /* what the check found; of an approval only */
    const char *reason;     /* why nothing was checked; NULL: it was, or there is nothing to check */
};

static void print_step(const struct watching *watching, const char *step)
{
    printf("%7lld ms  %s\n", (long long)(clock_mono_ms() - watching->start_mono_ms), step);
    fflush(stdout);
}

/* Steps that were coalesced into one snapshot are said one after the other. */
static void print_progress(struct watching *watching, Nanopush__V1__Progress reached)
{
    while (watching->printed < reached && watching->printed < NANOPUSH__V1__PROGRESS__PROGRESS_SEEN)
        print_step(watching, words_of_progress(++watching->printed));
}

/* Before the decision: a key that is not pinned may be one that a pinned key was rotated to. An error leaves
 * the question open, for another watch. */
static enum exit_status follow_rotations(const struct watching *watching,
                                         const Nanopush__V1__Challenge *snapshot)
{
    const struct question *question = watching->question;
    if (!question->pins_path || !question->asked)
        return EXIT_STATUS_OK; /* nothing verifies */
    struct pinned_device *devices = calloc(PINS_DEVICES_MAX, sizeof *devices);
    struct pins *pins;
    size_t count = 0;
    enum err e = devices ? pins_open(question->pins_path, &pins) : ERR_NOMEM;
    if (e == ERR_OK) {
        e = pins_devices(pins, question->asked->user, devices, &count);
        pins_close(pins);
    }
    bool known = e != ERR_OK || !snapshot->answer ||
                 approval_key_known(bytes_of(snapshot->answer->jws), devices, count);
    free(devices);
    return known ? EXIT_STATUS_OK
                 : rotated_pins_follow(watching->session, question->pins_path, question->asked->user);
}

static enum approval check(const struct watching *watching, const struct pins *pins,
                           const Nanopush__V1__Challenge *snapshot)
{
    const struct question *question = watching->question;
    struct pinned_device *devices = calloc(PINS_DEVICES_MAX, sizeof *devices);
    struct approval_request request = {.challenge_id = question->challenge_id,
                                       .portal = watching->session->portal,
                                       .asked = question->asked,
                                       .number = question->number,
                                       .devices = devices};
    enum approval approval = APPROVAL_NOT_CHECKED;
    if (devices && pins_devices(pins, question->asked->user, devices, &request.device_count) == ERR_OK)
        approval =
            approval_check(&request, bytes_of(snapshot->answer ? snapshot->answer->jws : ""),
                           bytes_make(snapshot->display.data, snapshot->display.len), clock_unix_ms() / 1000);
    free(devices);
    return approval;
}

/*
 * Under one lock: is it still open here, does it verify, is it closed here. Two watchers of one challenge
 * cannot both accept it.
 */
static struct verdict decide(const struct watching *watching, const Nanopush__V1__Challenge *snapshot)
{
    const struct question *question = watching->question;
    struct verdict refused = {.status = EXIT_STATUS_UNVERIFIED, .approval = APPROVAL_NOT_CHECKED};
    struct pins *pins;
    char *request = NULL;
    const char *number;
    if (!question->pins_path || !question->asked) {
        refused.reason =
            question->pins_path ? "what was asked is not in the pins file" : "no pins file to verify it with";
        return refused;
    }
    enum err e = pins_open(question->pins_path, &pins);
    if (e != ERR_OK) {
        refused.reason = err_text(e);
        return refused;
    }
    e = pins_find_challenge(pins, question->challenge_id, &request, &number);
    free(request);
    if (e == ERR_OK)
        refused.approval = check(watching, pins, snapshot);
    else
        refused.reason = "what was asked is not in the pins file any more: accepted before?";
    pins_drop_challenge(pins, question->challenge_id);
    if (e == ERR_OK && pins_save(pins) != ERR_OK)
        refused.reason = "the pins file cannot be written, and an approval is accepted once only";
    pins_close(pins);
    if (!refused.reason && refused.approval == APPROVAL_VERIFIED)
        refused.status = EXIT_STATUS_OK;
    return refused;
}

/* Nothing was approved; the question is closed all the same. */
static void forget(const struct question *question)
{
    struct pins *pins;
    if (!question->pins_path)
        return;
    enum err e = pins_open(question->pins_path, &pins);
    if (e == ERR_OK) {
        pins_drop_challenge(pins, question->challenge_id);
        e = pins_save(pins);
        pins_close(pins);
    }
    if (e != ERR_OK)
        say_file_error("cannot forget the challenge in", question->pins_path, e);
}

static enum exit_status status_of(Nanopush__V1__ChallengeState state)
{
    switch (state) {
    case NANOPUSH__V1__CHALLENGE_STATE__CHALLENGE_STATE_DENIED:
        return EXIT_STATUS_DENIED;
    case NANOPUSH__V1__CHALLENGE_STATE__CHALLENGE_STATE_REPORTED:
        return EXIT_STATUS_REPORTED;
    case NANOPUSH__V1__CHALLENGE_STATE__CHALLENGE_STATE_FAILED:
        return EXIT_STATUS_FAILED;
    case NANOPUSH__V1__CHALLENGE_STATE__CHALLENGE_STATE_EXPIRED:
        return EXIT_STATUS_EXPIRED;
    case NANOPUSH__V1__CHALLENGE_STATE__CHALLENGE_STATE_CANCELLED:
        return EXIT_STATUS_CANCELLED;
    case NANOPUSH__V1__CHALLENGE_STATE__CHALLENGE_STATE_SUPERSEDED:
        return EXIT_STATUS_SUPERSEDED;
    default:
        return EXIT_STATUS_ERROR; /* a final state that is not known here is no approval */
    }
}

static void print_verdict_json(const struct watching *watching, const struct verdict *verdict,
                               const char *state)
{
    const char *reason = verdict->reason ? verdict->reason : approval_text(verdict->approval);
    json_t *line = json_pack("{s:s, s:s, s:b, s:i, s:s}", "id", watching->question->challenge_id, "outcome",
                             state, "verified", verdict->status == EXIT_STATUS_OK, "point",
                             approval_point(verdict->approval), "reason", reason);
    if (line)
        json_dumpf(line, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
    puts("");
    fflush(stdout);
    json_decref(line);
}

static void print_verdict(const struct watching *watching, const struct verdict *verdict, const char *state)
{
    char reason[256];
    if (verdict->status != EXIT_STATUS_UNVERIFIED) {
        print_step(watching, state);
        return;
    }
    print_step(watching, "approved, says the broker");
    if (verdict->reason)
        snprintf(reason, sizeof reason, "%s", verdict->reason);
    else
        snprintf(reason, sizeof reason, "point %d: %s", approval_point(verdict->approval),
                 approval_text(verdict->approval));
    say_error("the approval does not verify, let nobody in", reason);
}

static void settle(struct watching *watching, const Nanopush__V1__Challenge *snapshot)
{
    bool approved = snapshot->state == NANOPUSH__V1__CHALLENGE_STATE__CHALLENGE_STATE_APPROVED;
    struct verdict verdict = {.status = status_of(snapshot->state), .approval = APPROVAL_DECISION};
    if (approved && follow_rotations(watching, snapshot) != EXIT_STATUS_OK)
        verdict =
            (struct verdict){.status = EXIT_STATUS_UNVERIFIED,
                             .approval = APPROVAL_NOT_CHECKED,
                             .reason = "its key is not pinned, and the phones' rotations cannot be read"};
    else if (approved)
        verdict = decide(watching, snapshot);
    else
        forget(watching->question);
    watching->status = verdict.status;
    const char *state = words_of_state(snapshot->state);
    if (watching->session->json)
        print_verdict_json(watching, &verdict, state);
    else
        print_verdict(watching, &verdict, state);
}

static bool on_snapshot(const ProtobufCMessage *message, void *arg)
{
    struct watching *watching = arg;
    const Nanopush__V1__Challenge *snapshot =
        ((const Nanopush__V1__WatchChallengeResponse *)message)->challenge;
    if (!snapshot || strcmp(snapshot->id, watching->question->challenge_id) != 0)
        return false;
    if (watching->begun && snapshot->revision <= watching->revision)
        return false;
    watching->begun = true;
    watching->revision = snapshot->revision;
    if (watching->session->json && say_json(&snapshot->base) != EXIT_STATUS_OK) {
        watching->status = EXIT_STATUS_ERROR;
        return true;
    }
    if (!watching->session->json)
        print_progress(watching, snapshot->progress);
    if (snapshot->state <= NANOPUSH__V1__CHALLENGE_STATE__CHALLENGE_STATE_PENDING)
        return false;
    if (message_pack(&snapshot->base, &watching->final) != ERR_OK)
        watching->status = say_failure("the challenge", ERR_NOMEM);
    return true;
}

static void settle_final(struct watching *watching)
{
    struct arena arena;
    ProtobufCMessage *message;
    arena_init(&arena, SNAPSHOT_MEMORY_MAX_BYTES);
    enum err e =
        message_parse(&nanopush__v1__challenge__descriptor, buf_view(&watching->final), 0, &arena, &message);
    if (e == ERR_OK)
        settle(watching, (const Nanopush__V1__Challenge *)message);
    else
        watching->status = say_failure("the challenge", e);
    arena_done(&arena);
}

enum exit_status follow_challenge(struct session *session, const struct question *question)
{
    struct watching watching = {.session = session, .question = question, .start_mono_ms = clock_mono_ms()};
    Nanopush__V1__WatchChallengeRequest request = NANOPUSH__V1__WATCH_CHALLENGE_REQUEST__INIT;
    struct connect_problem problem;
    request.id = (char *)question->challenge_id;
    if (follow(session->client, CALL_WATCH, &request.base,
               &nanopush__v1__watch_challenge_response__descriptor, on_snapshot, &watching,
               &problem) != ERR_OK) {
        say_problem("cannot follow the challenge", &problem);
        return EXIT_STATUS_ERROR;
    }
    if (buf_len(&watching.final))
        settle_final(&watching);
    buf_done(&watching.final);
    return watching.status;
}
