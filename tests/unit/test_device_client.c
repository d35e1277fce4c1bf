/*
 * clients/device behind its TLS: what the broker's messages do, and what is signed and sent. Statements are
 * held against proto/vectors with a signer that gives the vector's signature.
 */
#include "device_world.h"

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

static void enrolled_must_say_what_the_uri_said(void **state)
{
    (void)state;
    for (int wrong = 0; wrong < 3; wrong++) { /* 2: while it waits */
        struct world w = {0};
        struct np_enrolment_uri uri;
        struct np_signer possession = {.public_key = {1}, .sign = sign_zeros};
        struct np_signer verification = {.public_key = {2}, .sign = sign_zeros};
        w.c = open_connection(&w);
        assert_int_equal(np_enrolment_uri_parse(URI, &uri), NP_OK);
        deliver_enrolled(&w, "e1", "ada", false, "");
        assert_int_equal(w.error, NP_NOT_FOUND); /* not asked for */
        assert_int_equal(np_connection_enrol(w.c, &uri, "x", NP_PLATFORM_IOS, &possession, &verification),
                         NP_OK);
        deliver_enrolled(&w, "e1", wrong ? "eve" : "ada", wrong == 2, "");
        assert_int_equal(w.enrolled, !wrong);
        assert_int_equal(w.c->state, wrong ? NP_STATE_CLOSED : NP_STATE_OPEN);
        np_connection_free(w.c);
    }
}

/* Display --------------------------------------------------------------------------------------------- */

static void what_cannot_be_shown_cannot_be_approved(void **state)
{
    struct world *w = *state;
    deliver_challenge(w, NANOPUSH__V1__MODE__MODE_TAP, 1, (const uint8_t *)"\x0a\x01x\x6a\x01y", 6);
    assert_int_equal(w->error, NP_UNSUPPORTED);
    deliver_challenge(w, (Nanopush__V1__Mode)4, 1, (const uint8_t *)"\x0a\x01x", 3);
    assert_int_equal(w->error, NP_UNSUPPORTED);
    assert_int_equal(w->errors, 2);
    assert_int_equal(w->challenges, 0);
    expect_nothing_sent(w);
    assert_int_equal(np_answer(w->account, CHALLENGE, NP_APPROVE, NULL, NOW_MS), NP_NOT_FOUND);
    assert_int_equal(w->c->state, NP_STATE_OPEN);
}

static void other_sign_in_is_told(void **state)
{
    struct world *w = *state;
    uint8_t display[1024];
    json_t *file = vectors_load("display");
    const json_t *vector = json_array_get(json_object_get(file, "vectors"), 3);
    assert_string_equal(vector_text(vector, "name"), "another sign-in under way");
    size_t len = vector_bytes(vector, "bytes", display, sizeof display);
    deliver_tap(w, 1);
    assert_false(w->other_sign_in);
    np_account_remove(w->account, &w->account->waiting[0]);
    deliver_challenge(w, NANOPUSH__V1__MODE__MODE_CODE, 1, display, len);
    assert_int_equal(w->challenges, 2);
    assert_true(w->other_sign_in);
    json_decref(file);
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
    go_away.reason = NANOPUSH__V1__GO_AWAY__REASON__REASON_RENEW;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answer_is_that_of_the_vectors),
        TEST(hello_is_that_of_the_vectors),
        TEST(enrol_is_that_of_the_vectors),
        TEST(enrolled_must_say_what_the_uri_said),
        WORLD_TEST(what_cannot_be_shown_cannot_be_approved),
        WORLD_TEST(other_sign_in_is_told),
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
