#include "internal.h"

#include <string.h>

/* The public header repeats these enums, so that an app needs no protobuf header. */
#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #ours)
SAME(NP_MODE_TAP, NANOPUSH__V1__MODE__MODE_TAP);
SAME(NP_MODE_CHOOSE, NANOPUSH__V1__MODE__MODE_CHOOSE);
SAME(NP_MODE_CODE, NANOPUSH__V1__MODE__MODE_CODE);
SAME(NP_USER_VERIFICATION_REQUIRED, NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_REQUIRED);
SAME(NP_USER_VERIFICATION_NOT_ASKED, NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_NOT_ASKED);
SAME(NP_CHALLENGE_APPROVED, NANOPUSH__V1__CHALLENGE_STATE__CHALLENGE_STATE_APPROVED);
SAME(NP_CHALLENGE_SUPERSEDED, NANOPUSH__V1__CHALLENGE_STATE__CHALLENGE_STATE_SUPERSEDED);
SAME(NP_PLATFORM_OTHER, NANOPUSH__V1__PLATFORM__PLATFORM_OTHER);
SAME(NP_OCCASION_NEW_PHONE, NANOPUSH__V1__OCCASION__OCCASION_NEW_PHONE);
SAME(NP_GO_AWAY_RENEW, NANOPUSH__V1__GO_AWAY__REASON__REASON_RENEW);
SAME(NP_ACT_ROTATED, NANOPUSH__V1__ACCEPTED__ACT__ACT_ROTATED);
SAME(NP_ACT_REMOVED, NANOPUSH__V1__ACCEPTED__ACT__ACT_REMOVED);
SAME(NP_NOTICE_PHONE_ADDED, NANOPUSH__V1__NOTICE__KIND__KIND_PHONE_ADDED);
SAME(NP_NOTICE_UNLOCKED, NANOPUSH__V1__NOTICE__KIND__KIND_UNLOCKED);
SAME(NP_MALFORMED, NANOPUSH__V1__ERROR__CODE__CODE_MALFORMED);
SAME(NP_REMOVED, NANOPUSH__V1__ERROR__CODE__CODE_REMOVED);

/* An app may print both on a terminal: what is not fit to be shown stays away. */
static void report(struct np_connection *c, enum np_error error, const char *subject, const char *text)
{
    if (c->callbacks.on_error)
        c->callbacks.on_error(c, error, np_text_clean(subject) ? subject : "",
                              np_text_clean(text) ? text : "", c->arg);
}

static struct np_account *find_account(struct np_connection *c, const char *device_id)
{
    for (size_t i = 0; i < c->account_count; i++)
        if (strcmp(c->accounts[i]->options.device_id, device_id) == 0)
            return c->accounts[i];
    return NULL;
}

/* The waiting challenge of that id, of any account of this connection. */
static struct np_waiting *find_waiting(struct np_connection *c, const char *challenge_id,
                                       struct np_account **account)
{
    for (size_t i = 0; i < c->account_count; i++) {
        struct np_waiting *waiting = np_account_find(c->accounts[i], challenge_id);
        if (waiting) {
            *account = c->accounts[i];
            return waiting;
        }
    }
    return NULL;
}

void np_connection_resolve(struct np_connection *c, struct np_account *account, struct np_waiting *waiting,
                           enum np_challenge_state state, bool by_this_phone)
{
    char id[NP_ID_SIZE]; /* forgotten before the callback, which may change what waits */
    strncpy(id, waiting->push->challenge_id, sizeof id - 1);
    id[sizeof id - 1] = '\0';
    np_account_remove(account, waiting);
    if (c->callbacks.on_resolved)
        c->callbacks.on_resolved(c, account, id, state, by_this_phone, c->arg);
}

static void on_welcome(struct np_connection *c, const Nanopush__V1__Welcome *in)
{
    struct np_account *account = find_account(c, in->device_id);
    if (!account) {
        report(c, NP_NOT_FOUND, in->device_id, "Welcome for an account that did not say Hello");
        return;
    }
    if (in->heartbeat_ms < HEARTBEAT_MIN_MS || in->heartbeat_ms > HEARTBEAT_MAX_MS ||
        in->broker_unix_ms > UNIX_MS_MAX || in->locked_until_unix_ms > UNIX_MS_MAX ||
        (in->next_trust_anchor.len != 0 && in->next_trust_anchor.len != NP_PIN_BYTES)) {
        np_connection_fail(c, NP_MALFORMED, "Welcome with a heartbeat, time or trust anchor out of bounds");
        return;
    }
    c->heartbeat_ms = in->heartbeat_ms;
    np_connection_plan_ping(c, c->now_mono_ms);
    np_account_set_clock(account, in->broker_unix_ms, c->now_mono_ms, true);
    account->welcomed = true;
    account->locked_until_unix_ms = (int64_t)in->locked_until_unix_ms;
    if (account->hello_with_next) {
        np_account_adopt_next_keys(account);
        if (c->callbacks.on_accepted)
            c->callbacks.on_accepted(c, account, NP_ACT_ROTATED, c->arg);
    }
    for (size_t i = 0; i < account->waiting_count; i++)
        account->waiting[i].send_mono_ms = c->now_mono_ms;
    struct np_welcome welcome = {
        .account = account,
        .heartbeat_ms = in->heartbeat_ms,
        .pending_count = in->pending_count,
        .pins_changed =
            in->next_trust_anchor.len && np_account_pin_next(account, c->pin, in->next_trust_anchor.data),
    };
    if (c->callbacks.on_welcome)
        c->callbacks.on_welcome(c, &welcome, c->arg);
}

/* Whether it says what the enrolment URI said, and can be shown. */
static bool enrolled_fits(const struct np_connection *c, const Nanopush__V1__Enrolled *in)
{
    bool has_device = np_text_fits(in->device_id, NP_ID_SIZE) || (in->waiting && !*in->device_id);
    return has_device && strcmp(in->organisation, c->enrolment.organisation) == 0 &&
           strcmp(in->user, c->enrolment.user) == 0 && np_text_clean(in->organisation_name) &&
           (!*in->code || np_code_fits(in->code)) && (!*in->number || np_code_fits(in->number));
}

static void on_enrolled(struct np_connection *c, const Nanopush__V1__Enrolled *in)
{
    if (!c->enrolling || strcmp(in->enrolment_id, c->enrolment.enrolment_id) != 0) {
        report(c, NP_NOT_FOUND, in->enrolment_id, "Enrolled without an Enrol");
        return;
    }
    if (!enrolled_fits(c, in)) {
        np_connection_fail(c, NP_MALFORMED, "Enrolled says something else than the enrolment URI");
        return;
    }
    if (!in->waiting) {
        np_enrol_done(c);
    } else if (c->enrol_waits && strcmp(c->enrol_code, in->code) == 0 &&
               strcmp(c->enrol_number, in->number) == 0) {
        return; /* the app knows */
    } else {
        c->enrol_waits = true;
        memcpy(c->enrol_code, in->code, strlen(in->code) + 1);
        memcpy(c->enrol_number, in->number, strlen(in->number) + 1);
    }
    struct np_enrolled enrolled = {
        .waiting = in->waiting,
        .organisation = in->organisation,
        .organisation_name = in->organisation_name,
        .user = in->user,
        .device_id = in->device_id,
        .generation = in->generation,
        .code = in->code,
        .number = in->number,
    };
    if (c->callbacks.on_enrolled)
        c->callbacks.on_enrolled(c, &enrolled, c->arg);
}

static void send_ack(struct np_connection *c, const Nanopush__V1__ChallengePush *push)
{
    Nanopush__V1__Ack ack = NANOPUSH__V1__ACK__INIT;
    ack.challenge_id = push->challenge_id;
    ack.attempt = push->attempt;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ACK;
    message.ack = &ack;
    enum np_error error = np_connection_send(c, &message);
    if (error != NP_OK)
        np_connection_fail(c, error, "Ack could not be sent");
}

static void show(struct np_connection *c, struct np_account *account, const struct np_waiting *waiting)
{
    const Nanopush__V1__ChallengePush *push = waiting->push;
    const Nanopush__V1__Display *display = waiting->display;
    struct np_display_field fields[NP_DISPLAY_FIELDS_MAX];
    for (size_t i = 0; i < display->n_fields; i++)
        fields[i] = (struct np_display_field){display->fields[i]->label, display->fields[i]->value};
    int64_t expire_unix_s = (int64_t)push->expire_unix_s;
    struct np_challenge challenge = {
        .account = account,
        .id = push->challenge_id,
        .attempt = push->attempt,
        .alert = np_account_alert(account, push->challenge_id, push->attempt),
        .other_sign_in = display->other_sign_in,
        .portal_id = push->portal_id,
        .organisation = display->organisation,
        .portal = display->portal,
        .user = display->user,
        .application = display->application,
        .address = display->address,
        .place = display->place,
        .browser = display->browser,
        .operating_system = display->operating_system,
        .message = display->message,
        .occasion = (enum np_occasion)display->occasion,
        .fields = fields,
        .field_count = display->n_fields,
        .mode = (enum np_mode)push->mode,
        .user_verification = (enum np_user_verification)push->user_verification,
        .options = (const char *const *)push->options,
        .option_count = push->mode == NANOPUSH__V1__MODE__MODE_CHOOSE ? push->n_options : 0,
        .expire_unix_s = expire_unix_s,
        .seconds_left = expire_unix_s - np_account_broker_unix_ms(account, c->now_mono_ms) / 1000,
        .answered = waiting->jws,
    };
    if (c->callbacks.on_challenge)
        c->callbacks.on_challenge(c, &challenge, c->arg);
}

/* Takes the push out of its message, which is freed without it. */
static void on_challenge(struct np_connection *c, Nanopush__V1__BrokerMessage *message)
{
    Nanopush__V1__ChallengePush *push = message->challenge;
    struct np_account *account = find_account(c, push->device_id);
    if (!account) {
        report(c, NP_NOT_FOUND, push->device_id, "a challenge for an account that did not say Hello");
        return;
    }
    /* No Ack for what cannot be shown: the portal must not read "delivered" of it. */
    Nanopush__V1__Display *display = NULL;
    enum np_error error = np_push_check(push);
    if (error == NP_OK)
        error = np_display_parse(push->display.data, push->display.len, &display);
    if (error != NP_OK) {
        report(c, error, push->challenge_id, "a challenge that cannot be shown");
        return;
    }
    message->message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE__NOT_SET;
    message->challenge = NULL;
    np_account_set_clock(account, push->broker_unix_ms, c->now_mono_ms, false);
    char id[NP_ID_SIZE];
    memcpy(id, push->challenge_id, strlen(push->challenge_id) + 1);
    struct np_waiting *waiting = NULL;
    error = np_account_add(account, push, display, &waiting);
    if (error != NP_OK) {
        report(c, error, id,
               error == NP_LIMIT ? "too many challenges wait" : "a challenge changed under way");
        return;
    }
    send_ack(c, waiting->push);
    show(c, account, waiting);
}

static void on_resolved(struct np_connection *c, const Nanopush__V1__Resolved *in)
{
    struct np_account *account = NULL;
    struct np_waiting *waiting = find_waiting(c, in->challenge_id, &account);
    if (!waiting || in->state == NANOPUSH__V1__CHALLENGE_STATE__CHALLENGE_STATE_PENDING)
        return; /* resolved before, or a push that could not be shown */
    bool known =
        protobuf_c_enum_descriptor_get_value(&nanopush__v1__challenge_state__descriptor, (int)in->state);
    bool by_this_phone = strcmp(in->device_id, account->options.device_id) == 0;
    np_connection_resolve(c, account, waiting,
                          known ? (enum np_challenge_state)in->state : NP_CHALLENGE_UNKNOWN, by_this_phone);
}

/* What an error means for the challenge that it is about: whether to repeat the answer, and whether it is
 * over. */
static void settle_error(struct np_connection *c, enum np_error error, const char *challenge_id)
{
    struct np_account *account = NULL;
    struct np_waiting *waiting = find_waiting(c, challenge_id, &account);
    if (!waiting)
        return;
    if (error == NP_EXPIRED)
        np_connection_resolve(c, account, waiting, NP_CHALLENGE_EXPIRED, false);
    else if (error == NP_NOT_FOUND)
        np_connection_resolve(c, account, waiting, NP_CHALLENGE_UNKNOWN, false);
    else if (error == NP_INVALID)
        np_waiting_drop_answer(waiting);
}

static void on_error(struct np_connection *c, const Nanopush__V1__Error *in)
{
    bool known = in->code >= NANOPUSH__V1__ERROR__CODE__CODE_MALFORMED &&
                 in->code <= NANOPUSH__V1__ERROR__CODE__CODE_REMOVED;
    enum np_error error = known ? (enum np_error)in->code : NP_UNSUPPORTED;
    if (c->enrolling && strcmp(in->subject, c->enrolment.enrolment_id) == 0)
        np_enrol_done(c);
    struct np_account *account = find_account(c, in->subject);
    if (account ? np_account_settle_error(c, account, error) : error == NP_REMOVED)
        return; /* it has said Hello again, or its own Remove was accepted */
    report(c, error, in->subject, in->text);
    settle_error(c, error, in->subject);
}

static void on_accepted(struct np_connection *c, const Nanopush__V1__Accepted *in)
{
    struct np_account *account = find_account(c, in->device_id);
    if (account)
        np_act_accepted(c, account, in);
    else
        report(c, NP_NOT_FOUND, in->device_id, "Accepted for an account that did not say Hello");
}

static void on_notice(struct np_connection *c, const Nanopush__V1__Notice *in)
{
    struct np_account *account = find_account(c, in->device_id);
    if (!account || in->until_unix_ms > UNIX_MS_MAX) {
        report(c, account ? NP_INVALID : NP_NOT_FOUND, in->device_id,
               account ? "a Notice of a time out of bounds"
                       : "a Notice for an account that did not say Hello");
        return;
    }
    if (in->kind < NANOPUSH__V1__NOTICE__KIND__KIND_PHONE_ADDED ||
        in->kind > NANOPUSH__V1__NOTICE__KIND__KIND_UNLOCKED)
        return; /* of a later version */
    bool locked = in->kind == NANOPUSH__V1__NOTICE__KIND__KIND_LOCKED;
    if (locked || in->kind == NANOPUSH__V1__NOTICE__KIND__KIND_UNLOCKED)
        account->locked_until_unix_ms = locked ? (int64_t)in->until_unix_ms : 0;
    struct np_notice notice = {
        .account = account,
        .kind = (enum np_notice_kind)in->kind,
        .phone_name = np_text_clean(in->phone_name) ? in->phone_name : "",
        .until_unix_ms = locked ? (int64_t)in->until_unix_ms : 0,
    };
    if (c->callbacks.on_notice)
        c->callbacks.on_notice(c, &notice, c->arg);
}

static void on_pong(struct np_connection *c, const Nanopush__V1__Pong *in)
{
    for (size_t i = 0; i < c->account_count; i++)
        if (c->accounts[i]->welcomed)
            np_account_set_clock(c->accounts[i], in->broker_unix_ms, c->now_mono_ms, false);
}

static void on_go_away(struct np_connection *c, const Nanopush__V1__GoAway *in)
{
    bool known = in->reason >= NANOPUSH__V1__GO_AWAY__REASON__REASON_UNSPECIFIED &&
                 in->reason <= NANOPUSH__V1__GO_AWAY__REASON__REASON_RENEW;
    if (c->callbacks.on_go_away)
        c->callbacks.on_go_away(c, known ? (enum np_go_away)in->reason : NP_GO_AWAY_UNSPECIFIED,
                                in->return_after_ms, c->arg);
    np_connection_bye(c);
}

static void dispatch(struct np_connection *c, Nanopush__V1__BrokerMessage *message)
{
    switch (message->message_case) {
    case NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_WELCOME:
        on_welcome(c, message->welcome);
        break;
    case NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_ENROLLED:
        on_enrolled(c, message->enrolled);
        break;
    case NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_CHALLENGE:
        on_challenge(c, message);
        break;
    case NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_RESOLVED:
        on_resolved(c, message->resolved);
        break;
    case NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_PONG:
        on_pong(c, message->pong);
        break;
    case NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_GO_AWAY:
        on_go_away(c, message->go_away);
        break;
    case NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_ACCEPTED:
        on_accepted(c, message->accepted);
        break;
    case NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_NOTICE:
        on_notice(c, message->notice);
        break;
    case NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_ERROR:
        on_error(c, message->error);
        break;
    default:
        break; /* a kind of a later version: ignored, as device.proto has it */
    }
}

void np_connection_receive(struct np_connection *c, const uint8_t *p, size_t len)
{
    while (len && c->state == NP_STATE_OPEN) {
        size_t used = 0;
        bool whole = false;
        enum np_error error = np_frame_take(&c->frame, p, len, &used, &whole);
        if (error != NP_OK) {
            np_connection_fail(c, error, "a frame that is too long or malformed");
            return;
        }
        p += used;
        len -= used;
        if (!whole)
            continue;
        Nanopush__V1__BrokerMessage *message =
            nanopush__v1__broker_message__unpack(NULL, c->frame.payload_len, c->frame.payload);
        np_frame_done(&c->frame);
        if (!message) {
            np_connection_fail(c, NP_MALFORMED, "a frame that is no message");
            return;
        }
        dispatch(c, message);
        nanopush__v1__broker_message__free_unpacked(message, NULL);
    }
}
