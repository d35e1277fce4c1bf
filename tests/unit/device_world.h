/**
 * A phone with one account on an open connection, behind TLS: a test delivers what the broker says, and looks
 * at what the app was told and what is queued for the broker.
 */
#ifndef NANOPUSH_TESTS_DEVICE_WORLD_H
#define NANOPUSH_TESTS_DEVICE_WORLD_H

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

static inline enum np_error sign_known(const uint8_t *message, size_t len, uint8_t *signature, void *arg)
{
    struct known *known = arg;
    assert_int_equal(len, known->len);
    assert_memory_equal(message, known->message, len);
    memcpy(signature, known->signature, NP_SIGNATURE_BYTES);
    known->used++;
    return NP_OK;
}

static inline enum np_error sign_zeros(const uint8_t *message, size_t len, uint8_t *signature, void *arg)
{
    (void)message, (void)len, (void)arg;
    memset(signature, 0, NP_SIGNATURE_BYTES);
    return NP_OK;
}

/* A phone with one account on an open connection, behind TLS ------------------------------------------ */

struct world {
    struct np_connection *c;
    struct np_account *account;
    unsigned welcomes, challenges, alerts, resolved, errors, waiting, enrolled, go_aways, accepted, notices;
    enum np_error error;
    enum np_challenge_state state;
    enum np_act act;
    enum np_notice_kind notice;
    bool by_this_phone, pins_changed, other_sign_in;
    char place[64], code[16], phone_name[64];
};

static inline void on_welcome(struct np_connection *c, const struct np_welcome *welcome, void *arg)
{
    struct world *w = arg;
    (void)c;
    w->welcomes++;
    w->pins_changed = welcome->pins_changed;
}

static inline void on_enrolled(struct np_connection *c, const struct np_enrolled *enrolled, void *arg)
{
    struct world *w = arg;
    (void)c;
    snprintf(w->code, sizeof w->code, "%s%s", enrolled->code, enrolled->number);
    if (enrolled->waiting) {
        w->waiting++;
        return;
    }
    assert_string_equal(enrolled->device_id, DEVICE);
    w->enrolled++;
}

static inline void on_accepted(struct np_connection *c, struct np_account *account, enum np_act act,
                               void *arg)
{
    struct world *w = arg;
    (void)c;
    assert_ptr_equal(account, w->account);
    w->accepted++;
    w->act = act;
}

static inline void on_notice(struct np_connection *c, const struct np_notice *notice, void *arg)
{
    struct world *w = arg;
    (void)c;
    assert_ptr_equal(notice->account, w->account);
    w->notices++;
    w->notice = notice->kind;
    snprintf(w->phone_name, sizeof w->phone_name, "%s", notice->phone_name);
}

static inline void on_challenge(struct np_connection *c, const struct np_challenge *challenge, void *arg)
{
    struct world *w = arg;
    (void)c;
    w->challenges++;
    w->other_sign_in = challenge->other_sign_in;
    w->alerts += challenge->alert;
    snprintf(w->place, sizeof w->place, "%s", challenge->place);
    assert_int_equal(challenge->seconds_left, 60);
}

static inline void on_resolved(struct np_connection *c, struct np_account *account, const char *challenge_id,
                               enum np_challenge_state state, bool by_this_phone, void *arg)
{
    struct world *w = arg;
    (void)c, (void)account;
    assert_string_equal(challenge_id, CHALLENGE);
    w->resolved++;
    w->state = state;
    w->by_this_phone = by_this_phone;
}

static inline void on_error(struct np_connection *c, enum np_error error, const char *subject,
                            const char *text, void *arg)
{
    struct world *w = arg;
    (void)c;
    assert_true(np_text_clean(subject) && np_text_clean(text));
    w->errors++;
    w->error = error;
}

static inline void on_go_away(struct np_connection *c, enum np_go_away reason, uint32_t return_after_ms,
                              void *arg)
{
    struct world *w = arg;
    (void)c;
    assert_int_equal(reason, NP_GO_AWAY_RENEW);
    assert_int_equal(return_after_ms, 700);
    w->go_aways++;
}

static inline struct np_connection *open_connection(struct world *w)
{
    struct np_connection *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->state = NP_STATE_OPEN;
    c->callbacks = (struct np_callbacks){
        .on_welcome = on_welcome,
        .on_enrolled = on_enrolled,
        .on_accepted = on_accepted,
        .on_notice = on_notice,
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

static inline struct np_account_options account_options(void)
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

static inline void deliver(struct world *w, const Nanopush__V1__BrokerMessage *message)
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

static inline void deliver_welcome(struct world *w, uint32_t heartbeat_ms, const uint8_t *next)
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
static inline void deliver_challenge(struct world *w, Nanopush__V1__Mode mode, uint32_t attempt,
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

static inline const uint8_t *sign_in_display(size_t *len)
{
    static uint8_t display[1024];
    json_t *file = vectors_load("display");
    *len =
        vector_bytes(json_array_get(json_object_get(file, "vectors"), 0), "bytes", display, sizeof display);
    json_decref(file);
    return display;
}

static inline void deliver_tap(struct world *w, uint32_t attempt)
{
    size_t len;
    const uint8_t *display = sign_in_display(&len);
    deliver_challenge(w, NANOPUSH__V1__MODE__MODE_TAP, attempt, display, len);
}

static inline void deliver_error(struct world *w, Nanopush__V1__Error__Code code, const char *subject)
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
static inline Nanopush__V1__PhoneMessage *take_sent(struct world *w)
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

static inline void expect_sent(struct world *w, Nanopush__V1__PhoneMessage__MessageCase kind)
{
    Nanopush__V1__PhoneMessage *message = take_sent(w);
    assert_int_equal(message ? message->message_case : NANOPUSH__V1__PHONE_MESSAGE__MESSAGE__NOT_SET, kind);
    if (message)
        nanopush__v1__phone_message__free_unpacked(message, NULL);
}

static inline void expect_nothing_sent(struct world *w)
{
    assert_null(take_sent(w));
}

static inline void expect_sent_bytes(struct world *w, const json_t *vector, size_t header_len)
{
    uint8_t message[2048];
    size_t len = vector_bytes(vector, "message", message, sizeof message);
    assert_true(w->c->out.len >= len);
    assert_true(w->c->out.len <= len + header_len);
    assert_memory_equal(w->c->out.p + w->c->out.len - len, message, len);
}

static inline void deliver_enrolled_as(struct world *w, const char *enrolment_id, const char *user,
                                       bool waiting, const char *code, const char *number)
{
    Nanopush__V1__Enrolled enrolled = NANOPUSH__V1__ENROLLED__INIT;
    enrolled.enrolment_id = (char *)(uintptr_t)enrolment_id;
    enrolled.organisation = (char[]){"example"};
    enrolled.user = (char *)(uintptr_t)user;
    enrolled.device_id = (char[]){DEVICE};
    enrolled.waiting = waiting;
    enrolled.code = (char *)(uintptr_t)code;
    enrolled.number = (char *)(uintptr_t)number;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_ENROLLED;
    message.enrolled = &enrolled;
    deliver(w, &message);
}

static inline void deliver_enrolled(struct world *w, const char *enrolment_id, const char *user, bool waiting,
                                    const char *code)
{
    deliver_enrolled_as(w, enrolment_id, user, waiting, code, "");
}

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
{
    struct world *w = *state;
    np_connection_free(w->c);
    np_account_free(w->account);
    free(w);
    return 0;
}

#define TEST(name)       cmocka_unit_test(name)
#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
