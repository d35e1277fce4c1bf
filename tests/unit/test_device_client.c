/*
 * clients/device behind its TLS: what the broker's messages do, and what is signed and sent. Statements are
 * held against proto/vectors with a signer that gives the vector's signature.
 */
#include "device_vectors.h"

#include <stdlib.h>

#include "device/internal.h"

#define DEVICE    "308c80ad3891d49bda4e82cdab607a7f-00112233445566778899"
#define CHALLENGE "85ed4de19158b8dda5728bac865dcc17-00112233445566778899"
#define NOW_MS    5000
#define UNIX_S    1790000000
#define PIN       "s2Q2LONZ7l352I0IAkKBZ5nnvKF_0PyZSh8AANQ1h2E"
#define URI                                                                                                  \
    "nanopush://enrol?v=1&h=push.example.com:7440&n=push.example.com&o=example&u=ada&e=e1"                   \
    "&t=" TOKEN "&p=" PIN
#define TOKEN "leHsNSBDPWaV5h-HVNo3rg"

/* Signs one known message. */
struct known {
    uint8_t message[2048];
    size_t len;
    uint8_t signature[NP_SIGNATURE_BYTES];
    unsigned used;
};

static enum np_error sign_known(const uint8_t *message, size_t len, uint8_t *signature, void *arg)
{
    struct known *known = arg;
    assert_int_equal(len, known->len);
    assert_memory_equal(message, known->message, len);
    memcpy(signature, known->signature, NP_SIGNATURE_BYTES);
    known->used++;
    return NP_OK;
}

static enum np_error sign_zeros(const uint8_t *message, size_t len, uint8_t *signature, void *arg)
{
    (void)message, (void)len, (void)arg;
    memset(signature, 0, NP_SIGNATURE_BYTES);
    return NP_OK;
}

/* A phone with one account on an open connection, behind TLS ------------------------------------------ */

struct world {
    struct np_connection *c;
    struct np_account *account;
    unsigned welcomes, challenges, alerts, resolved, errors, enrolled, go_aways;
    enum np_error error;
    enum np_challenge_state state;
    bool by_this_phone, pins_changed;
    char place[64];
};

static void on_welcome(struct np_connection *c, const struct np_welcome *welcome, void *arg)
{
    struct world *w = arg;
    (void)c;
    w->welcomes++;
    w->pins_changed = welcome->pins_changed;
}

static void on_enrolled(struct np_connection *c, const struct np_enrolled *enrolled, void *arg)
{
    struct world *w = arg;
    (void)c;
    assert_string_equal(enrolled->device_id, DEVICE);
    w->enrolled++;
}

static void on_challenge(struct np_connection *c, const struct np_challenge *challenge, void *arg)
{
    struct world *w = arg;
    (void)c;
    w->challenges++;
    w->alerts += challenge->alert;
    snprintf(w->place, sizeof w->place, "%s", challenge->place);
    assert_int_equal(challenge->seconds_left, 60);
}

static void on_resolved(struct np_connection *c, struct np_account *account, const char *challenge_id,
                        enum np_challenge_state state, bool by_this_phone, void *arg)
{
    struct world *w = arg;
    (void)c, (void)account;
    assert_string_equal(challenge_id, CHALLENGE);
    w->resolved++;
    w->state = state;
    w->by_this_phone = by_this_phone;
}

static void on_error(struct np_connection *c, enum np_error error, const char *subject, const char *text,
                     void *arg)
{
    struct world *w = arg;
    (void)c;
    assert_true(np_text_clean(subject) && np_text_clean(text));
    w->errors++;
    w->error = error;
}

static void on_go_away(struct np_connection *c, enum np_go_away reason, uint32_t return_after_ms, void *arg)
{
    struct world *w = arg;
    (void)c;
    assert_int_equal(reason, NP_GO_AWAY_DRAINING);
    assert_int_equal(return_after_ms, 700);
    w->go_aways++;
}

static struct np_connection *open_connection(struct world *w)
{
    struct np_connection *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->state = NP_STATE_OPEN;
    c->callbacks = (struct np_callbacks){
        .on_welcome = on_welcome,
        .on_enrolled = on_enrolled,
        .on_challenge = on_challenge,
        .on_resolved = on_resolved,
        .on_error = on_error,
        .on_go_away = on_go_away,
    };
    c->arg = w;
    c->now_mono_ms = c->heard_mono_ms = NOW_MS;
    c->ping_mono_ms = INT64_MAX;
    strcpy(c->server_name, "push.example.com");
    assert_true(np_base64url_decode(PIN, strlen(PIN), c->pin, NP_PIN_BYTES));
    return c;
}

static struct np_account_options account_options(void)
{
    struct np_account_options o = {
        .organisation = "example",
        .user = "ada",
        .device_id = DEVICE,
        .generation = 1,
        .host = "push.example.com",
        .port = 7440,
        .server_name = "push.example.com",
        .pin_count = 1,
        .possession = {.sign = sign_zeros},
        .user_verification = {.sign = sign_zeros},
    };
    assert_true(np_base64url_decode(PIN, strlen(PIN), o.pins[0], NP_PIN_BYTES));
    return o;
}

static void deliver(struct world *w, const Nanopush__V1__BrokerMessage *message)
{
    uint8_t bytes[NP_FRAME_BYTES_MAX + 3];
    size_t len = nanopush__v1__broker_message__get_packed_size(message), at = 0;
    assert_true(len <= NP_FRAME_BYTES_MAX);
    size_t rest = len;
    for (; rest >= 0x80; rest >>= 7)
        bytes[at++] = (uint8_t)(0x80 | (rest & 0x7f));
    bytes[at++] = (uint8_t)rest;
    np_connection_receive(w->c, bytes, at + nanopush__v1__broker_message__pack(message, bytes + at));
}

static void deliver_welcome(struct world *w, uint32_t heartbeat_ms, const uint8_t *next)
{
    Nanopush__V1__Welcome welcome = NANOPUSH__V1__WELCOME__INIT;
    welcome.device_id = (char[]){DEVICE};
    welcome.heartbeat_ms = heartbeat_ms;
    welcome.broker_unix_ms = UNIX_S * UINT64_C(1000);
    if (next)
        welcome.next_trust_anchor = (ProtobufCBinaryData){NP_PIN_BYTES, (uint8_t *)(uintptr_t)next};
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_WELCOME;
    message.welcome = &welcome;
    deliver(w, &message);
}

/* The display of the vector "sign-in", and what the vectors of answers say besides. */
static void deliver_challenge(struct world *w, Nanopush__V1__Mode mode, uint32_t attempt,
                              const uint8_t *display, size_t display_len)
{
    uint8_t nonce[32];
    assert_true(np_base64url_decode("HNdf0XX1nQfyWtgQ-_t9HsMoAPBqtcY7c8azA-HwJIk", 43, nonce, sizeof nonce));
    Nanopush__V1__ChallengePush push = NANOPUSH__V1__CHALLENGE_PUSH__INIT;
    push.challenge_id = (char[]){CHALLENGE};
    push.attempt = attempt;
    push.device_id = (char[]){DEVICE};
    push.portal_id = (char[]){"nano-prod"};
    push.display = (ProtobufCBinaryData){display_len, (uint8_t *)(uintptr_t)display};
    push.nonce = (ProtobufCBinaryData){sizeof nonce, nonce};
    push.mode = mode;
    push.user_verification = NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_REQUIRED;
    push.expire_unix_s = UNIX_S + 60;
    push.broker_unix_ms = UNIX_S * UINT64_C(1000);
    char *options[] = {(char[]){"42"}, (char[]){"17"}, (char[]){"99"}};
    push.options = options;
    push.n_options = mode == NANOPUSH__V1__MODE__MODE_CHOOSE ? 3 : 0;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_CHALLENGE;
    message.challenge = &push;
    deliver(w, &message);
}

static const uint8_t *sign_in_display(size_t *len)
{
    static uint8_t display[1024];
    json_t *file = vectors_load("display");
    *len =
        vector_bytes(json_array_get(json_object_get(file, "vectors"), 0), "bytes", display, sizeof display);
    json_decref(file);
    return display;
}

static void deliver_tap(struct world *w, uint32_t attempt)
{
    size_t len;
    const uint8_t *display = sign_in_display(&len);
    deliver_challenge(w, NANOPUSH__V1__MODE__MODE_TAP, attempt, display, len);
}

static void deliver_error(struct world *w, Nanopush__V1__Error__Code code, const char *subject)
{
    Nanopush__V1__Error error = NANOPUSH__V1__ERROR__INIT;
    error.code = code;
    error.subject = (char *)(uintptr_t)subject;
    error.text = (char[]){"\x1b[2J"};
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_ERROR;
    message.error = &error;
    deliver(w, &message);
}

/* Take the next message off what the phone has queued; NULL if there is none. */
static Nanopush__V1__PhoneMessage *take_sent(struct world *w)
{
    struct np_frame frame = {0};
    size_t used = 0;
    bool whole = false;
    if (!w->c->out.len)
        return NULL;
    assert_int_equal(np_frame_take(&frame, w->c->out.p, w->c->out.len, &used, &whole), NP_OK);
    assert_true(whole);
    Nanopush__V1__PhoneMessage *message =
        nanopush__v1__phone_message__unpack(NULL, frame.payload_len, frame.payload);
    assert_non_null(message);
    np_frame_done(&frame);
    np_buf_consume(&w->c->out, used);
    return message;
}

static void expect_sent(struct world *w, Nanopush__V1__PhoneMessage__MessageCase kind)
{
    Nanopush__V1__PhoneMessage *message = take_sent(w);
    assert_int_equal(message ? message->message_case : NANOPUSH__V1__PHONE_MESSAGE__MESSAGE__NOT_SET, kind);
    if (message)
        nanopush__v1__phone_message__free_unpacked(message, NULL);
}

static void expect_nothing_sent(struct world *w)
{
    assert_null(take_sent(w));
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct np_account_options o = account_options();
    assert_non_null(w);
    w->c = open_connection(w);
    assert_int_equal(np_account_new(&o, &w->account), NP_OK);
    assert_int_equal(np_connection_hello(w->c, w->account), NP_OK);
    expect_sent(w, NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_HELLO);
    deliver_welcome(w, 30000, NULL);
    assert_int_equal(w->welcomes, 1);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    np_connection_free(w->c);
    np_account_free(w->account);
    free(w);
    return 0;
}

/* Statements ------------------------------------------------------------------------------------------ */

static Nanopush__V1__Mode mode_of(const char *name)
{
    if (strstr(name, "choose"))
        return NANOPUSH__V1__MODE__MODE_CHOOSE;
    return strstr(name, "code") ? NANOPUSH__V1__MODE__MODE_CODE : NANOPUSH__V1__MODE__MODE_TAP;
}

static void answer_is_that_of_the_vectors(void **state)
{
    (void)state;
    json_t *file = vectors_load("answer"), *vector;
    size_t i, display_len, tried = 0;
    const uint8_t *display = sign_in_display(&display_len);
    json_array_foreach(json_object_get(file, "vectors"), i, vector)
    {
        struct known known = {0};
        struct world *w = NULL;
        if (json_object_get(vector, "refused"))
            continue;
        const char *name = vector_text(vector, "name");
        bool approve = strncmp(name, "approve", 7) == 0;
        Nanopush__V1__Mode mode = mode_of(name);
        set_up((void **)&w);
        known.len = vector_bytes(vector, "signed", known.message, sizeof known.message);
        vector_bytes(vector, "signature", known.signature, sizeof known.signature);
        struct np_signer *signer =
            approve ? &w->account->options.user_verification : &w->account->options.possession;
        vector_bytes(vector, "signer_point", signer->public_key, NP_KEY_BYTES);
        signer->sign = sign_known;
        signer->arg = &known;
        deliver_challenge(w, mode, 1, display, display_len);
        const char *code = !approve || mode == NANOPUSH__V1__MODE__MODE_TAP ? NULL
                           : mode == NANOPUSH__V1__MODE__MODE_CODE          ? "042"
                                                                            : "17";
        enum np_decision decision = approve                         ? NP_APPROVE
                                    : strncmp(name, "deny", 4) == 0 ? NP_DENY
                                                                    : NP_NOT_ME;
        assert_int_equal(np_answer(w->account, CHALLENGE, decision, code, NOW_MS), NP_OK);
        assert_string_equal(w->account->waiting[0].jws, vector_text(vector, "jws"));
        assert_int_equal(known.used, 1);
        tried++;
        tear_down((void **)&w);
    }
    assert_int_equal(tried, 5);
    json_decref(file);
}

static void expect_sent_bytes(struct world *w, const json_t *vector, size_t header_len)
{
    uint8_t message[2048];
    size_t len = vector_bytes(vector, "message", message, sizeof message);
    assert_true(w->c->out.len >= len);
    assert_true(w->c->out.len <= len + header_len);
    assert_memory_equal(w->c->out.p + w->c->out.len - len, message, len);
}

static void hello_is_that_of_the_vectors(void **state)
{
    (void)state;
    json_t *file = vectors_load("hello");
    const json_t *vector =
        json_array_get(json_object_get(file, "vectors"), 1); /* of this library's capabilities */
    assert_int_equal(json_integer_value(json_object_get(vector, "capabilities")), NP_CAPABILITIES);
    struct world w = {0};
    struct known known = {0};
    struct np_account_options o = account_options();
    o.organisation = vector_text(vector, "organisation");
    o.device_id = vector_text(vector, "device_id");
    o.generation = (uint32_t)json_integer_value(json_object_get(vector, "generation"));
    vector_bytes(vector, "trust_anchor", o.pins[0], NP_PIN_BYTES);
    vector_bytes(vector, "possession_point", o.possession.public_key, NP_KEY_BYTES);
    o.possession.sign = sign_known;
    o.possession.arg = &known;
    known.len = vector_bytes(vector, "signed", known.message, sizeof known.message);
    vector_bytes(vector, "signature", known.signature, sizeof known.signature);
    w.c = open_connection(&w);
    vector_bytes(vector, "cb", w.c->exporter, EXPORTER_BYTES);
    memcpy(w.c->pin, o.pins[0], NP_PIN_BYTES);
    assert_int_equal(np_account_new(&o, &w.account), NP_OK);
    assert_int_equal(np_connection_hello(w.c, w.account), NP_OK);
    expect_sent_bytes(&w, vector, 5); /* frame and oneof: 2 and 3 */
    assert_int_equal(np_connection_hello(w.c, w.account), NP_BAD_STATE);
    np_connection_free(w.c);
    np_account_free(w.account);
    json_decref(file);
}

static void enrol_is_that_of_the_vectors(void **state)
{
    (void)state;
    json_t *file = vectors_load("enrol"), *vector;
    size_t i;
    json_array_foreach(json_object_get(file, "vectors"), i, vector)
    {
        struct world w = {0};
        struct known known[2] = {0};
        struct np_enrolment_uri uri;
        struct np_signer possession = {.sign = sign_known, .arg = &known[0]};
        struct np_signer verification = {.sign = sign_known, .arg = &known[1]};
        assert_int_equal(np_enrolment_uri_parse(vector_text(vector, "uri"), &uri), NP_OK);
        vector_bytes(vector, "possession_point", possession.public_key, NP_KEY_BYTES);
        vector_bytes(vector, "user_verification_point", verification.public_key, NP_KEY_BYTES);
        for (int k = 0; k < 2; k++)
            known[k].len = vector_bytes(vector, "signed", known[k].message, sizeof known[k].message);
        vector_bytes(vector, "possession_signature", known[0].signature, NP_SIGNATURE_BYTES);
        vector_bytes(vector, "user_verification_signature", known[1].signature, NP_SIGNATURE_BYTES);
        w.c = open_connection(&w);
        vector_bytes(vector, "cb", w.c->exporter, EXPORTER_BYTES);
        assert_int_equal(
            np_connection_enrol(w.c, &uri, "Ada's phone", NP_PLATFORM_ANDROID, &possession, &possession),
            NP_INVALID);
        assert_int_equal(np_connection_enrol(w.c, &uri, "", NP_PLATFORM_ANDROID, &possession, &verification),
                         NP_INVALID);
        assert_int_equal(
            np_connection_enrol(w.c, &uri, "Ada's phone", NP_PLATFORM_ANDROID, &possession, &verification),
            NP_OK);
        expect_sent_bytes(&w, vector, 5);
        assert_int_equal(np_connection_enrol(w.c, &uri, "x", NP_PLATFORM_IOS, &possession, &verification),
                         NP_BAD_STATE);
        np_connection_free(w.c);
    }
    json_decref(file);
}

static void deliver_enrolled(struct world *w, const char *enrolment_id, const char *user)
{
    Nanopush__V1__Enrolled enrolled = NANOPUSH__V1__ENROLLED__INIT;
    enrolled.enrolment_id = (char *)(uintptr_t)enrolment_id;
    enrolled.organisation = (char[]){"example"};
    enrolled.user = (char *)(uintptr_t)user;
    enrolled.device_id = (char[]){DEVICE};
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_ENROLLED;
    message.enrolled = &enrolled;
    deliver(w, &message);
}

static void enrolled_must_say_what_the_uri_said(void **state)
{
    (void)state;
    for (int wrong = 0; wrong < 2; wrong++) {
        struct world w = {0};
        struct np_enrolment_uri uri;
        struct np_signer possession = {.public_key = {1}, .sign = sign_zeros};
        struct np_signer verification = {.public_key = {2}, .sign = sign_zeros};
        w.c = open_connection(&w);
        assert_int_equal(np_enrolment_uri_parse(URI, &uri), NP_OK);
        deliver_enrolled(&w, "e1", "ada");
        assert_int_equal(w.error, NP_NOT_FOUND); /* not asked for */
        assert_int_equal(np_connection_enrol(w.c, &uri, "x", NP_PLATFORM_IOS, &possession, &verification),
                         NP_OK);
        deliver_enrolled(&w, "e1", wrong ? "eve" : "ada");
        assert_int_equal(w.enrolled, !wrong);
        assert_int_equal(w.c->state, wrong ? NP_STATE_CLOSED : NP_STATE_OPEN);
        np_connection_free(w.c);
    }
}

/* Display --------------------------------------------------------------------------------------------- */

static void what_cannot_be_shown_cannot_be_approved(void **state)
{
    struct world *w = *state;
    deliver_challenge(w, NANOPUSH__V1__MODE__MODE_TAP, 1, (const uint8_t *)"\x0a\x01x\x62\x01y", 6);
    assert_int_equal(w->error, NP_UNSUPPORTED);
    deliver_challenge(w, (Nanopush__V1__Mode)4, 1, (const uint8_t *)"\x0a\x01x", 3);
    assert_int_equal(w->error, NP_UNSUPPORTED);
    assert_int_equal(w->errors, 2);
    assert_int_equal(w->challenges, 0);
    expect_nothing_sent(w);
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_APPROVE, NULL, NOW_MS), NP_NOT_FOUND);
    assert_int_equal(w->c->state, NP_STATE_OPEN);
}

/* A challenge's life ---------------------------------------------------------------------------------- */

static void challenge_alerts_once_and_is_acknowledged_always(void **state)
{
    struct world *w = *state;
    struct np_alerted alerted[NP_ALERTED_MAX];
    deliver_tap(w, 1);
    deliver_tap(w, 1);
    assert_int_equal(w->challenges, 2);
    assert_int_equal(w->alerts, 1);
    assert_string_equal(w->place, "W\xc3\xbcrzburg, Deutschland");
    deliver_tap(w, 2);
    assert_int_equal(w->alerts, 2);
    for (int i = 0; i < 3; i++)
        expect_sent(w, NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ACK);
    expect_nothing_sent(w);
    assert_int_equal(np_account_alerted(w->account, alerted), 2);
    np_account_set_alerted(w->account, alerted + 1, 1); /* a phone that was killed remembers this one only */
    deliver_tap(w, 2);
    assert_int_equal(w->alerts, 2);
    deliver_tap(w, 1);
    assert_int_equal(w->alerts, 3);
}

static void challenge_that_changes_is_not_shown_anew(void **state)
{
    struct world *w = *state;
    deliver_tap(w, 1);
    deliver_challenge(w, NANOPUSH__V1__MODE__MODE_TAP, 2, (const uint8_t *)"\x0a\x01x", 3);
    assert_int_equal(w->challenges, 1);
    assert_int_equal(w->error, NP_INVALID);
    size_t len;
    const uint8_t *display = sign_in_display(&len);
    assert_int_equal(w->account->waiting_count, 1);
    assert_memory_equal(w->account->waiting[0].push->display.data, display, len);
}

static void code_is_asked_for_where_it_belongs(void **state)
{
    struct world *w = *state;
    size_t len;
    const uint8_t *display = sign_in_display(&len);
    deliver_challenge(w, NANOPUSH__V1__MODE__MODE_CHOOSE, 1, display, len);
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_APPROVE, NULL, NOW_MS), NP_INVALID);
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_APPROVE, "18", NOW_MS), NP_INVALID);
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_DENY, "17", NOW_MS), NP_INVALID);
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_APPROVE, "17", NOW_MS), NP_OK);
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_DENY, NULL, NOW_MS), NP_BAD_STATE);
    np_account_remove(w->account, &w->account->waiting[0]);
    deliver_challenge(w, NANOPUSH__V1__MODE__MODE_CODE, 1, display, len);
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_APPROVE, "12345678x", NOW_MS), NP_INVALID);
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_APPROVE, "123456789", NOW_MS), NP_INVALID);
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_APPROVE, "", NOW_MS), NP_INVALID);
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_APPROVE, "12345678", NOW_MS), NP_OK);
}

static void approval_wants_the_key_that_was_asked_for(void **state)
{
    struct world *w = *state;
    np_account_set_user_verification(w->account, NULL, NULL);
    deliver_tap(w, 1);
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_APPROVE, NULL, NOW_MS), NP_NO_KEY);
    w->account->waiting[0].push->user_verification =
        NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_PREFERRED;
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_APPROVE, NULL, NOW_MS), NP_OK);
}

static void answer_is_too_late_by_the_brokers_clock(void **state)
{
    struct world *w = *state;
    deliver_tap(w, 1);
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_DENY, NULL, NOW_MS + 60000), NP_EXPIRED);
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_DENY, NULL, NOW_MS + 59999), NP_OK);
}

static void answer_goes_with_the_account_to_the_next_connection(void **state)
{
    struct world *w = *state;
    bool readable, writable;
    int64_t deadline_mono_ms;
    deliver_tap(w, 1);
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_DENY, NULL, NOW_MS), NP_OK);
    expect_sent(w, NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ACK);
    np_connection_want(w->c, &readable, &writable, &deadline_mono_ms);
    assert_int_equal(deadline_mono_ms, NOW_MS);
    np_connection_free(w->c);
    w->c = open_connection(w);
    w->c->now_mono_ms = NOW_MS + 7000;
    assert_int_equal(np_connection_hello(w->c, w->account), NP_OK);
    np_connection_want(w->c, &readable, &writable, &deadline_mono_ms);
    assert_true(deadline_mono_ms > NOW_MS + 7000); /* not before the broker knows the phone */
    deliver_welcome(w, 30000, NULL);
    np_connection_want(w->c, &readable, &writable, &deadline_mono_ms);
    assert_int_equal(deadline_mono_ms, NOW_MS + 7000);
}

static void deliver_resolved(struct world *w, int challenge_state, const char *device_id)
{
    Nanopush__V1__Resolved resolved = NANOPUSH__V1__RESOLVED__INIT;
    resolved.challenge_id = (char[]){CHALLENGE};
    resolved.state = (Nanopush__V1__ChallengeState)challenge_state;
    resolved.device_id = (char *)(uintptr_t)device_id;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_RESOLVED;
    message.resolved = &resolved;
    deliver(w, &message);
}

static void resolved_takes_the_challenge_away(void **state)
{
    struct world *w = *state;
    deliver_tap(w, 1);
    deliver_resolved(w, NP_CHALLENGE_APPROVED, DEVICE);
    deliver_resolved(w, NP_CHALLENGE_APPROVED, DEVICE);
    assert_int_equal(w->resolved, 1);
    assert_int_equal(w->state, NP_CHALLENGE_APPROVED);
    assert_true(w->by_this_phone);
    assert_int_equal(np_seen(w->account, CHALLENGE, 1), NP_NOT_FOUND);
    deliver_tap(w, 2);
    deliver_resolved(w, 99, "");
    assert_int_equal(w->state, NP_CHALLENGE_UNKNOWN);
    assert_false(w->by_this_phone);
}

static void error_about_a_challenge_settles_its_answer(void **state)
{
    struct world *w = *state;
    deliver_tap(w, 1);
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_DENY, NULL, NOW_MS), NP_OK);
    deliver_error(w, NANOPUSH__V1__ERROR__CODE__CODE_UNAVAILABLE, CHALLENGE);
    assert_non_null(w->account->waiting[0].jws);
    deliver_error(w, NANOPUSH__V1__ERROR__CODE__CODE_INVALID, CHALLENGE);
    assert_null(w->account->waiting[0].jws);
    deliver_error(w, NANOPUSH__V1__ERROR__CODE__CODE_EXPIRED, CHALLENGE);
    assert_int_equal(w->resolved, 1);
    assert_int_equal(w->state, NP_CHALLENGE_EXPIRED);
    assert_int_equal(w->errors, 3);
}

static enum np_error add_challenge(struct np_account *account, const char *id)
{
    Nanopush__V1__ChallengePush *push = calloc(1, sizeof *push);
    Nanopush__V1__Display *display = calloc(1, sizeof *display);
    struct np_waiting *waiting = NULL;
    assert_true(push && display);
    nanopush__v1__challenge_push__init(push);
    nanopush__v1__display__init(display);
    push->challenge_id = strdup(id);
    return np_account_add(account, push, display, &waiting);
}

static void challenges_that_wait_have_a_limit(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < NP_CHALLENGES_MAX; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%d", i);
        assert_int_equal(add_challenge(w->account, id), NP_OK);
    }
    assert_int_equal(add_challenge(w->account, "c0"), NP_OK); /* a repetition */
    deliver_tap(w, 1);
    assert_int_equal(w->error, NP_LIMIT);
    assert_int_equal(w->challenges, 0);
}

/* Connection ------------------------------------------------------------------------------------------ */

static void welcome_pins_the_next_trust_anchor(void **state)
{
    struct world *w = *state;
    uint8_t next[NP_PIN_BYTES] = {7};
    assert_false(w->pins_changed);
    deliver_welcome(w, 30000, next);
    assert_true(w->pins_changed);
    const struct np_account_options *o = np_account_options(w->account);
    assert_int_equal(o->pin_count, 2);
    assert_memory_equal(o->pins[0], w->c->pin, NP_PIN_BYTES);
    assert_memory_equal(o->pins[1], next, NP_PIN_BYTES);
    deliver_welcome(w, 30000, next);
    assert_false(w->pins_changed);
}

static void welcome_out_of_bounds_ends_the_connection(void **state)
{
    struct world *w = *state;
    deliver_welcome(w, HEARTBEAT_MIN_MS, NULL);
    deliver_welcome(w, HEARTBEAT_MAX_MS, NULL);
    assert_int_equal(w->c->state, NP_STATE_OPEN);
    deliver_welcome(w, HEARTBEAT_MAX_MS + 1, NULL);
    assert_int_equal(w->c->state, NP_STATE_CLOSED);
    assert_int_equal(w->c->closed_error, NP_MALFORMED);
}

static void pings_come_up_to_a_tenth_early(void **state)
{
    struct world *w = *state;
    int64_t least = INT64_MAX, most = 0;
    for (int i = 0; i < 1000; i++) {
        np_connection_plan_ping(w->c, 0);
        least = w->c->ping_mono_ms < least ? w->c->ping_mono_ms : least;
        most = w->c->ping_mono_ms > most ? w->c->ping_mono_ms : most;
    }
    assert_in_range(least, 27000, 27100);
    assert_in_range(most, 29900, 30000);
}

static void go_away_says_bye(void **state)
{
    struct world *w = *state;
    Nanopush__V1__GoAway go_away = NANOPUSH__V1__GO_AWAY__INIT;
    go_away.reason = NANOPUSH__V1__GO_AWAY__REASON__REASON_DRAINING;
    go_away.return_after_ms = 700;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_GO_AWAY;
    message.go_away = &go_away;
    deliver(w, &message);
    assert_int_equal(w->go_aways, 1);
    assert_int_equal(w->c->state, NP_STATE_CLOSING);
    expect_sent(w, NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_BYE);
}

static void unknown_message_is_ignored(void **state)
{
    struct world *w = *state;
    np_connection_receive(w->c, (const uint8_t *)"\x00\x03\x7a\x01x",
                          5); /* an empty one, and one of kind 15 */
    assert_int_equal(w->c->state, NP_STATE_OPEN);
    assert_int_equal(w->errors, 0);
}

static void message_in_any_pieces_is_one_message(void **state)
{
    struct world *w = *state;
    static const uint8_t frame[] = {0x04, 0x2a, 0x02, 0x08, 0x05};
    for (size_t cut = 0; cut <= sizeof frame; cut++) {
        np_connection_receive(w->c, frame, cut);
        assert_int_equal(w->c->frame.prefix_len, cut > 0 && cut < sizeof frame);
        np_connection_receive(w->c, frame + cut, sizeof frame - cut);
        assert_int_equal(w->c->frame.prefix_len, 0);
    }
    assert_int_equal(w->c->state, NP_STATE_OPEN);
}

static void frame_out_of_bounds_ends_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        enum np_error error;
    } rows[] = {
        {"\x80\x80\x01", 3, NP_OK},                                         /* 16384 */
        {"\x81\x80\x01", 3, NP_TOO_BIG},                                    /* 16385 */
        {"\xff\xff\x7f", 3, NP_TOO_BIG},   {"\x80\x80\x80", 3, NP_TOO_BIG}, /* a fourth byte to come */
        {"\x80\x00", 2, NP_MALFORMED},                                      /* 0 in two bytes */
        {"\x81\x80\x00", 3, NP_MALFORMED},                                  /* 1 in three */
        {"\x02\x0a\x05", 3, NP_MALFORMED}, /* a message cut short inside its frame */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world w = {0};
        w.c = open_connection(&w);
        np_connection_receive(w.c, (const uint8_t *)rows[i].bytes, rows[i].len);
        assert_int_equal(w.c->closed_error, rows[i].error);
        assert_int_equal(w.c->state, rows[i].error ? NP_STATE_CLOSED : NP_STATE_OPEN);
        np_connection_free(w.c);
    }
}

static void backoff_doubles_to_five_minutes(void **state)
{
    (void)state;
    static const struct {
        unsigned attempt;
        uint32_t minimum_ms;
        int64_t most;
    } rows[] = {{0, 0, 1000},
                {1, 0, 2000},
                {8, 0, 256000},
                {9, 0, 300000},
                {40, 0, 300000},
                {0, 7000, 8000},
                {UINT32_MAX, UINT32_MAX, UINT32_MAX + INT64_C(300000)}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t highest = 0, span = rows[i].most - rows[i].minimum_ms;
        for (int k = 0; k < 500; k++) {
            int64_t wait_ms = np_backoff_ms(rows[i].attempt, rows[i].minimum_ms);
            assert_in_range(wait_ms, rows[i].minimum_ms, rows[i].most);
            highest = wait_ms > highest ? wait_ms : highest;
        }
        assert_true(highest > rows[i].most - span / 10); /* fails once in 10^22 */
    }
}

static void account_must_be_whole(void **state)
{
    (void)state;
    struct np_account *account = NULL;
    struct np_account_options o = account_options();
    o.pin_count = 0;
    assert_int_equal(np_account_new(&o, &account), NP_INVALID);
    o = account_options();
    o.user = "a\nb";
    assert_int_equal(np_account_new(&o, &account), NP_INVALID);
    o = account_options();
    o.possession.sign = NULL;
    assert_int_equal(np_account_new(&o, &account), NP_INVALID);
    o = account_options();
    o.pins[0][0] ^= 1;
    assert_int_equal(np_account_new(&o, &account), NP_OK);
    struct world w = {0};
    w.c = open_connection(&w);
    assert_int_equal(np_connection_hello(w.c, account), NP_INVALID); /* it pins another CA */
    np_connection_free(w.c);
    np_account_free(account);
}

#define TEST(name)       cmocka_unit_test(name)
#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answer_is_that_of_the_vectors),
        TEST(hello_is_that_of_the_vectors),
        TEST(enrol_is_that_of_the_vectors),
        TEST(enrolled_must_say_what_the_uri_said),
        WORLD_TEST(what_cannot_be_shown_cannot_be_approved),
        WORLD_TEST(challenge_alerts_once_and_is_acknowledged_always),
        WORLD_TEST(challenge_that_changes_is_not_shown_anew),
        WORLD_TEST(code_is_asked_for_where_it_belongs),
        WORLD_TEST(approval_wants_the_key_that_was_asked_for),
        WORLD_TEST(answer_is_too_late_by_the_brokers_clock),
        WORLD_TEST(answer_goes_with_the_account_to_the_next_connection),
        WORLD_TEST(resolved_takes_the_challenge_away),
        WORLD_TEST(error_about_a_challenge_settles_its_answer),
        WORLD_TEST(challenges_that_wait_have_a_limit),
        WORLD_TEST(welcome_pins_the_next_trust_anchor),
        WORLD_TEST(welcome_out_of_bounds_ends_the_connection),
        WORLD_TEST(pings_come_up_to_a_tenth_early),
        WORLD_TEST(go_away_says_bye),
        WORLD_TEST(unknown_message_is_ignored),
        WORLD_TEST(message_in_any_pieces_is_one_message),
        TEST(frame_out_of_bounds_ends_the_connection),
        TEST(backoff_doubles_to_five_minutes),
        TEST(account_must_be_whole),
    };
    return cmocka_run_group_tests_name("device_client", tests, NULL, NULL);
}
