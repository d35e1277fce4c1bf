#include "soft_phone_print.h"

#include "encode.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NAME(names, value)                                                                                   \
    ((size_t)(value) < sizeof(names) / sizeof *(names) ? (names)[value] : "unspecified")

static const char *const mode_names[] = {
    "unspecified", [NP_MODE_TAP] = "tap", [NP_MODE_CHOOSE] = "choose", [NP_MODE_CODE] = "code"};
static const char *const user_verification_names[] = {
    "unspecified", [NP_USER_VERIFICATION_REQUIRED] = "required",
    [NP_USER_VERIFICATION_PREFERRED] = "preferred", [NP_USER_VERIFICATION_NOT_ASKED] = "not_asked"};
static const char *const occasion_names[] = {
    "unspecified", [NP_OCCASION_SIGN_IN] = "sign_in", [NP_OCCASION_NEW_PHONE] = "new_phone"};
static const char *const state_names[] = {"unknown",
                                          "pending",
                                          [NP_CHALLENGE_APPROVED] = "approved",
                                          [NP_CHALLENGE_DENIED] = "denied",
                                          [NP_CHALLENGE_REPORTED] = "reported",
                                          [NP_CHALLENGE_FAILED] = "failed",
                                          [NP_CHALLENGE_EXPIRED] = "expired",
                                          [NP_CHALLENGE_CANCELLED] = "cancelled",
                                          [NP_CHALLENGE_SUPERSEDED] = "superseded"};
static const char *const go_away_names[] = {"unspecified", "draining",   "taken_over", "idle",
                                            "overloaded",  "no_account", "renew"};
static const char *const decision_names[] = {"approve", "deny", "not_me"};
static const char *const act_names[] = {"unspecified", [NP_ACT_ROTATED] = "rotated",
                                        [NP_ACT_UNLOCKED] = "unlocked", [NP_ACT_REMOVED] = "removed"};
static const char *const notice_names[] = {
    "unspecified", [NP_NOTICE_PHONE_ADDED] = "phone_added", [NP_NOTICE_PHONE_REMOVED] = "phone_removed",
    [NP_NOTICE_LOCKED] = "locked", [NP_NOTICE_UNLOCKED] = "unlocked"};

#define ERROR_NAME_SIZE 16

/* The error's name as in the protocol, "not_found". */
static const char *error_name(enum np_error error, char ret[ERROR_NAME_SIZE])
{
#define NAME_ROW(name, text) [NP_##name] = #name,
    static const char *const names[] = {NP_ERRORS(NAME_ROW)};
#undef NAME_ROW
    const char *name = NAME(names, error);
    size_t i = 0;
    for (; name[i] && i < ERROR_NAME_SIZE - 1; i++)
        ret[i] = (char)tolower((unsigned char)name[i]);
    ret[i] = '\0';
    return ret;
}

/* JSON ------------------------------------------------------------------------------------------------ */

static void json_begin(struct np_buf *b, const char *event)
{
    np_buf_add_text(b, "{\"event\":");
    np_buf_add_json(b, event);
}

static void json_name(struct np_buf *b, const char *name)
{
    np_buf_add_text(b, ",");
    np_buf_add_json(b, name);
    np_buf_add_text(b, ":");
}

static void json_text(struct np_buf *b, const char *name, const char *value)
{
    json_name(b, name);
    np_buf_add_json(b, value);
}

static void json_number(struct np_buf *b, const char *name, int64_t value)
{
    json_name(b, name);
    np_buf_add_number(b, value);
}

static void json_bool(struct np_buf *b, const char *name, bool value)
{
    json_name(b, name);
    np_buf_add_text(b, value ? "true" : "false");
}

static void json_end(struct np_buf *b)
{
    np_buf_add_text(b, "}\n");
    if (b->error == NP_OK)
        fwrite(b->p, 1, b->len, stdout);
    fflush(stdout);
    np_buf_done(b);
}

static void json_fields(struct np_buf *b, const struct np_challenge *challenge)
{
    json_name(b, "fields");
    np_buf_add_text(b, "[");
    for (size_t i = 0; i < challenge->field_count; i++) {
        np_buf_add_text(b, i ? ",{\"label\":" : "{\"label\":");
        np_buf_add_json(b, challenge->fields[i].label);
        json_text(b, "value", challenge->fields[i].value);
        np_buf_add_text(b, "}");
    }
    np_buf_add_text(b, "]");
    json_name(b, "options");
    np_buf_add_text(b, "[");
    for (size_t i = 0; i < challenge->option_count; i++) {
        np_buf_add_text(b, i ? "," : "");
        np_buf_add_json(b, challenge->options[i]);
    }
    np_buf_add_text(b, "]");
}

static void json_challenge(const struct np_challenge *challenge)
{
    struct np_buf b = {0};
    json_begin(&b, "challenge");
    json_text(&b, "id", challenge->id);
    json_number(&b, "attempt", challenge->attempt);
    json_bool(&b, "alert", challenge->alert);
    json_bool(&b, "other_sign_in", challenge->other_sign_in);
    json_text(&b, "portal_id", challenge->portal_id);
    json_text(&b, "organisation", challenge->organisation);
    json_text(&b, "portal", challenge->portal);
    json_text(&b, "user", challenge->user);
    json_text(&b, "application", challenge->application);
    json_text(&b, "address", challenge->address);
    json_text(&b, "place", challenge->place);
    json_text(&b, "browser", challenge->browser);
    json_text(&b, "operating_system", challenge->operating_system);
    json_text(&b, "message", challenge->message);
    json_text(&b, "occasion", NAME(occasion_names, challenge->occasion));
    json_fields(&b, challenge);
    json_text(&b, "mode", NAME(mode_names, challenge->mode));
    json_text(&b, "user_verification", NAME(user_verification_names, challenge->user_verification));
    json_number(&b, "expire_unix_s", challenge->expire_unix_s);
    json_number(&b, "seconds_left", challenge->seconds_left);
    json_bool(&b, "answered", challenge->answered);
    json_end(&b);
}

/* Text ------------------------------------------------------------------------------------------------ */

static void text_line(const char *label, const char *value)
{
    if (*value)
        printf("  %-18s%s\n", label, value);
}

static void text_how_to_answer(const struct np_challenge *challenge)
{
    switch (challenge->mode) {
    case NP_MODE_TAP:
        printf("  y = Yes, it's me\n");
        break;
    case NP_MODE_CHOOSE:
        printf("  y NUMBER = Yes, it's me, and the page shows one of these:");
        for (size_t i = 0; i < challenge->option_count; i++)
            printf(" %s", challenge->options[i]);
        printf("\n");
        break;
    case NP_MODE_CODE:
        printf("  y NUMBER = Yes, it's me, and this is the number that the page shows\n");
        break;
    }
    printf("  n = No    r = No, it's not me: somebody else knows my password\n");
}

static void text_challenge(const struct np_challenge *challenge, bool ask)
{
    printf("%s", challenge->alert ? "\a" : "");
    if (challenge->other_sign_in)
        printf("Another sign-in is under way. If you did not start both, say No.\n");
    printf("%s\n", challenge->occasion == NP_OCCASION_NEW_PHONE
                       ? "May another phone be added to your account?"
                       : "Did you just try to sign in?");
    text_line("Organisation", challenge->organisation);
    text_line("Portal", challenge->portal);
    text_line("User", challenge->user);
    text_line("Application", challenge->application);
    text_line("Address", challenge->address);
    text_line("Place", challenge->place);
    text_line("Browser", challenge->browser);
    text_line("Operating system", challenge->operating_system);
    text_line("Message", challenge->message);
    for (size_t i = 0; i < challenge->field_count; i++)
        text_line(challenge->fields[i].label, challenge->fields[i].value);
    printf("  %-18s%lld s\n", "Time left", (long long)challenge->seconds_left);
    text_line("Challenge", challenge->id);
    if (challenge->answered)
        printf("  Your answer is on its way.\n");
    else if (ask)
        text_how_to_answer(challenge);
    fflush(stdout);
}

static const char *outcome(enum np_challenge_state state)
{
    switch (state) {
    case NP_CHALLENGE_APPROVED:
        return "You are signed in.";
    case NP_CHALLENGE_DENIED:
        return "The sign-in was refused.";
    case NP_CHALLENGE_REPORTED:
        return "The sign-in was refused and reported. Change your password.";
    case NP_CHALLENGE_FAILED:
        return "That was not the number on the page. The sign-in was refused.";
    case NP_CHALLENGE_EXPIRED:
        return "Nobody answered in time.";
    case NP_CHALLENGE_CANCELLED:
        return "The portal took the sign-in back.";
    case NP_CHALLENGE_SUPERSEDED:
        return "A newer sign-in took its place.";
    case NP_CHALLENGE_UNKNOWN:
        break;
    }
    return "The sign-in is over.";
}

/* Events ---------------------------------------------------------------------------------------------- */

static void json_enrolled(const char *event, const struct np_enrolled *enrolled)
{
    struct np_buf b = {0};
    json_begin(&b, event);
    json_text(&b, "organisation", enrolled->organisation);
    json_text(&b, "organisation_name", enrolled->organisation_name);
    json_text(&b, "user", enrolled->user);
    json_text(&b, "device_id", enrolled->device_id);
    json_number(&b, "generation", enrolled->generation);
    json_text(&b, "code", enrolled->code);
    json_text(&b, "number", enrolled->number);
    json_end(&b);
}

void soft_phone_print_waiting(const struct soft_phone_options *o, const struct np_enrolled *enrolled)
{
    if (o->json)
        json_enrolled("waiting", enrolled);
    else if (*enrolled->code)
        printf("Type this code into the portal: %s\n", enrolled->code);
    else if (*enrolled->number)
        printf("Your old phone is asked whether this one may be added. Type this number into it: %s\n",
               enrolled->number);
    else
        printf("Your old phone is asked whether this one may be added.\n");
    fflush(stdout);
}

void soft_phone_print_enrolled(const struct soft_phone_options *o, const struct np_enrolled *enrolled)
{
    if (o->json)
        json_enrolled("enrolled", enrolled);
    else
        printf("This is now a phone of %s at %s.\n", enrolled->user,
               *enrolled->organisation_name ? enrolled->organisation_name : enrolled->organisation);
    fflush(stdout);
}

void soft_phone_print_welcome(const struct soft_phone_options *o, const char *device_id,
                              const struct np_welcome *welcome)
{
    struct np_buf b = {0};
    if (!o->json) {
        if (!o->quiet)
            printf("Connected. Sign-ins that wait: %u\n", (unsigned)welcome->pending_count);
        fflush(stdout);
        return;
    }
    json_begin(&b, "welcome");
    json_text(&b, "device_id", device_id);
    json_number(&b, "heartbeat_ms", welcome->heartbeat_ms);
    json_number(&b, "pending_count", welcome->pending_count);
    json_end(&b);
}

void soft_phone_print_challenge(const struct soft_phone_options *o, const struct np_challenge *challenge)
{
    if (o->json)
        json_challenge(challenge);
    else
        text_challenge(challenge, o->answer == SOFT_PHONE_ASK);
}

void soft_phone_print_answered(const struct soft_phone_options *o, const char *challenge_id,
                               enum np_decision decision)
{
    struct np_buf b = {0};
    if (!o->json)
        return;
    json_begin(&b, "answered");
    json_text(&b, "id", challenge_id);
    json_text(&b, "decision", NAME(decision_names, decision));
    json_end(&b);
}

void soft_phone_print_resolved(const struct soft_phone_options *o, const char *challenge_id,
                               enum np_challenge_state state, bool by_this_phone)
{
    struct np_buf b = {0};
    if (!o->json) {
        printf("%s%s\n", outcome(state), by_this_phone ? "" : " (not by this phone)");
        fflush(stdout);
        return;
    }
    json_begin(&b, "resolved");
    json_text(&b, "id", challenge_id);
    json_text(&b, "state", NAME(state_names, state));
    json_bool(&b, "by_this_phone", by_this_phone);
    json_end(&b);
}

void soft_phone_print_locked(const struct soft_phone_options *o, const char *device_id, int64_t until_unix_ms)
{
    struct np_buf b = {0};
    if (!o->json) {
        time_t until_unix_s = (time_t)(until_unix_ms / 1000);
        struct tm at;
        char when[32] = "";
        if (localtime_r(&until_unix_s, &at))
            strftime(when, sizeof when, "%F %T", &at);
        printf("Sign-ins by phone are locked until %s. If it was you, unlock them.\n", when);
        fflush(stdout);
        return;
    }
    json_begin(&b, "locked");
    json_text(&b, "device_id", device_id);
    json_number(&b, "until_unix_ms", until_unix_ms);
    json_end(&b);
}

static const char *what_was_accepted(enum np_act act)
{
    switch (act) {
    case NP_ACT_ROTATED:
        return "This phone has new keys.";
    case NP_ACT_UNLOCKED:
        return "Sign-ins by phone are unlocked.";
    case NP_ACT_REMOVED:
        break;
    }
    return "This is no phone of the account any more.";
}

void soft_phone_print_accepted(const struct soft_phone_options *o, const char *device_id, enum np_act act,
                               uint32_t generation)
{
    struct np_buf b = {0};
    if (!o->json) {
        printf("%s\n", what_was_accepted(act));
        fflush(stdout);
        return;
    }
    json_begin(&b, "accepted");
    json_text(&b, "device_id", device_id);
    json_text(&b, "act", NAME(act_names, act));
    json_number(&b, "generation", generation);
    json_end(&b);
}

static void text_notice(const struct np_notice *notice)
{
    const char *name = *notice->phone_name ? notice->phone_name : "without a name";
    switch (notice->kind) {
    case NP_NOTICE_PHONE_ADDED:
        printf("A phone was added to your account: %s. If that was not you, report it.\n", name);
        break;
    case NP_NOTICE_PHONE_REMOVED:
        printf("A phone was taken off your account: %s.\n", name);
        break;
    case NP_NOTICE_LOCKED:
        break; /* soft_phone_print_locked() says until when */
    case NP_NOTICE_UNLOCKED:
        printf("Sign-ins by phone are unlocked.\n");
        break;
    }
}

void soft_phone_print_notice(const struct soft_phone_options *o, const char *device_id,
                             const struct np_notice *notice)
{
    struct np_buf b = {0};
    if (!o->json) {
        text_notice(notice);
        fflush(stdout);
        return;
    }
    json_begin(&b, "notice");
    json_text(&b, "device_id", device_id);
    json_text(&b, "kind", NAME(notice_names, notice->kind));
    json_text(&b, "phone_name", notice->phone_name);
    if (notice->kind == NP_NOTICE_LOCKED)
        json_number(&b, "until_unix_ms", notice->until_unix_ms);
    json_end(&b);
}

void soft_phone_print_go_away(const struct soft_phone_options *o, enum np_go_away reason,
                              uint32_t return_after_ms)
{
    struct np_buf b = {0};
    if (!o->json)
        return;
    json_begin(&b, "go_away");
    json_text(&b, "reason", NAME(go_away_names, reason));
    json_number(&b, "return_after_ms", return_after_ms);
    json_end(&b);
}

void soft_phone_print_error(const struct soft_phone_options *o, enum np_error error, const char *subject,
                            const char *text)
{
    char name[ERROR_NAME_SIZE];
    struct np_buf b = {0};
    if (!o->json) {
        fprintf(stderr, "%s%s%s (%s)\n", subject, *subject ? ": " : "", *text ? text : np_error_text(error),
                error_name(error, name));
        return;
    }
    json_begin(&b, "error");
    json_text(&b, "error", error_name(error, name));
    json_text(&b, "subject", subject);
    json_text(&b, "text", *text ? text : np_error_text(error));
    json_end(&b);
}

void soft_phone_print_closed(const struct soft_phone_options *o, enum np_error why, const char *text,
                             int64_t retry_ms)
{
    char name[ERROR_NAME_SIZE];
    struct np_buf b = {0};
    if (!o->json) {
        if (!o->quiet && retry_ms >= 0)
            printf("Not connected: %s. Again in %lld ms.\n", text, (long long)retry_ms);
        fflush(stdout);
        return;
    }
    json_begin(&b, "closed");
    json_text(&b, "why", error_name(why, name));
    json_text(&b, "text", text);
    if (retry_ms >= 0)
        json_number(&b, "retry_ms", retry_ms);
    json_end(&b);
}
