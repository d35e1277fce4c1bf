/* clients/device/act.c: new keys, unlock, remove; enrolments that wait; notices. */
#include "device_world.h"

static const struct np_signer next_possession = {.public_key = {3}, .sign = sign_zeros};
static const struct np_signer next_verification = {.public_key = {4}, .sign = sign_zeros};

static int set_up_keys(void **state)
{
    set_up(state);
    struct world *w = *state;
    w->account->options.possession.public_key[0] = 1;
    w->account->options.user_verification.public_key[0] = 2;
    return 0;
}

static void deliver_accepted(struct world *w, int act, uint32_t generation)
{
    Nanopush__V1__Accepted accepted = NANOPUSH__V1__ACCEPTED__INIT;
    accepted.device_id = (char[]){DEVICE};
    accepted.act = (Nanopush__V1__Accepted__Act)act;
    accepted.generation = generation;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_ACCEPTED;
    message.accepted = &accepted;
    deliver(w, &message);
}

static void deliver_notice(struct world *w, int kind, const char *phone_name, uint64_t until_unix_ms)
{
    Nanopush__V1__Notice notice = NANOPUSH__V1__NOTICE__INIT;
    notice.device_id = (char[]){DEVICE};
    notice.kind = (Nanopush__V1__Notice__Kind)kind;
    notice.phone_name = (char *)(uintptr_t)phone_name;
    notice.until_unix_ms = until_unix_ms;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_NOTICE;
    message.notice = &notice;
    deliver(w, &message);
}

static enum np_error rotate(struct world *w)
{
    return np_rotate(w->c, w->account, &next_possession, &next_verification, NOW_MS);
}

/* The connection is lost, and the phone on a new one. */
static void reconnect(struct world *w)
{
    np_connection_free(w->c);
    w->c = open_connection(w);
    assert_int_equal(np_connection_hello(w->c, w->account), NP_OK);
}

static void expect_hello(struct world *w, uint8_t key, uint32_t generation)
{
    Nanopush__V1__PhoneMessage *message = take_sent(w);
    assert_non_null(message);
    assert_int_equal(message->message_case, NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_HELLO);
    assert_int_equal(message->hello->possession_key.data[0], key);
    assert_int_equal(message->hello->generation, generation);
    nanopush__v1__phone_message__free_unpacked(message, NULL);
}

/* Statements ------------------------------------------------------------------------------------------ */

static enum np_error begin(struct world *w, const json_t *vector)
{
    const char *typ = vector_text(vector, "typ");
    struct np_signer possession = {.sign = sign_zeros}, verification = {.sign = sign_zeros};
    if (strstr(typ, "unlock"))
        return np_unlock(w->c, w->account, NOW_MS);
    if (strstr(typ, "remove"))
        return np_remove(w->c, w->account, NOW_MS);
    vector_bytes(vector, "next_possession_point", possession.public_key, NP_KEY_BYTES);
    vector_bytes(vector, "next_user_verification_point", verification.public_key, NP_KEY_BYTES);
    return np_rotate(w->c, w->account, &possession, &verification, NOW_MS);
}

static void act_is_that_of_the_vectors(void **state)
{
    (void)state;
    json_t *file = vectors_load("acts"), *vector;
    size_t i, tried = 0;
    json_array_foreach(json_object_get(file, "vectors"), i, vector)
    {
        struct known known = {0};
        struct world *w = NULL;
        const char *name = vector_text(vector, "name");
        if (strcmp(name, "remove, by the user-verification key") == 0)
            continue; /* which this library does not do */
        set_up((void **)&w);
        bool possession = strstr(name, "possession");
        struct np_signer *signer =
            possession ? &w->account->options.possession : &w->account->options.user_verification;
        signer->sign = sign_known;
        signer->arg = &known;
        vector_bytes(vector, "signer_point", signer->public_key, NP_KEY_BYTES);
        known.len = vector_bytes(vector, "signed", known.message, sizeof known.message);
        vector_bytes(vector, "signature", known.signature, sizeof known.signature);
        if (json_object_get(vector, "cb"))
            vector_bytes(vector, "cb", w->c->exporter, EXPORTER_BYTES);
        assert_int_equal(begin(w, vector), NP_OK);
        assert_string_equal(w->account->act_jws, vector_text(vector, "jws"));
        assert_int_equal(known.used, 1);
        tried++;
        tear_down((void **)&w);
    }
    assert_int_equal(tried, 3);
    json_decref(file);
}

/* Rotation -------------------------------------------------------------------------------------------- */

static void keys_change_when_the_broker_accepts(void **state)
{
    struct world *w = *state;
    const struct np_account_options *o = np_account_options(w->account);
    assert_int_equal(rotate(w), NP_OK);
    assert_int_equal(o->generation, 1);
    deliver_accepted(w, NP_ACT_UNLOCKED, 1);
    deliver_accepted(w, NP_ACT_ROTATED, 1);
    deliver_accepted(w, NP_ACT_ROTATED, 3);
    assert_int_equal(w->accepted, 0);
    assert_int_equal(o->possession.public_key[0], 1);
    deliver_accepted(w, NP_ACT_ROTATED, 2);
    deliver_accepted(w, NP_ACT_ROTATED, 2); /* sent twice, accepted twice */
    assert_int_equal(w->accepted, 1);
    assert_int_equal(w->act, NP_ACT_ROTATED);
    assert_int_equal(o->generation, 2);
    assert_int_equal(o->possession.public_key[0], 3);
    assert_int_equal(o->user_verification.public_key[0], 4);
    reconnect(w);
    expect_hello(w, 3, 2);
}

static void rotation_wants_two_new_keys_and_the_old_one(void **state)
{
    struct world *w = *state;
    const struct np_signer old_possession = {.public_key = {1}, .sign = sign_zeros};
    const struct np_signer old_verification = {.public_key = {2}, .sign = sign_zeros};
    const struct np_signer locked = {.public_key = {5}};
    assert_int_equal(np_rotate(w->c, w->account, &next_possession, &next_possession, NOW_MS), NP_INVALID);
    assert_int_equal(np_rotate(w->c, w->account, &old_possession, &next_verification, NOW_MS), NP_INVALID);
    assert_int_equal(np_rotate(w->c, w->account, &next_possession, &old_verification, NOW_MS), NP_INVALID);
    assert_int_equal(np_rotate(w->c, w->account, &next_possession, &old_possession, NOW_MS), NP_INVALID);
    assert_int_equal(np_rotate(w->c, w->account, &locked, &next_verification, NOW_MS), NP_NO_KEY);
    assert_int_equal(np_rotate(w->c, w->account, &next_possession, &locked, NOW_MS), NP_NO_KEY);
    np_account_set_user_verification(w->account, NULL, NULL);
    assert_int_equal(rotate(w), NP_NO_KEY);
    assert_int_equal(np_unlock(w->c, w->account, NOW_MS), NP_NO_KEY);
    assert_false(w->account->has_next);
    assert_int_equal(np_remove(w->c, w->account, NOW_MS), NP_OK); /* which the possession key signs */
}

static void one_act_at_a_time_and_only_where_welcome(void **state)
{
    struct world *w = *state;
    assert_int_equal(np_unlock(w->c, w->account, NOW_MS), NP_OK);
    assert_int_equal(rotate(w), NP_BAD_STATE);
    assert_int_equal(np_remove(w->c, w->account, NOW_MS), NP_BAD_STATE);
    reconnect(w);
    assert_int_equal(np_unlock(w->c, w->account, NOW_MS), NP_BAD_STATE);
    deliver_welcome(w, 30000, NULL);
    assert_int_equal(np_unlock(w->c, w->account, NOW_MS), NP_OK); /* the old one went with its connection */
    struct np_connection *other = open_connection(w);
    assert_int_equal(np_unlock(other, w->account, NOW_MS), NP_BAD_STATE);
    np_connection_free(other);
}

static void keys_that_the_broker_has_are_found_by_trying(void **state)
{
    struct world *w = *state;
    assert_int_equal(rotate(w), NP_OK); /* and Accepted is lost */
    reconnect(w);
    expect_hello(w, 1, 1);
    deliver_error(w, NANOPUSH__V1__ERROR__CODE__CODE_DENIED, DEVICE);
    assert_int_equal(w->errors, 0);
    expect_hello(w, 3, 2);
    deliver_welcome(w, 30000, NULL);
    assert_int_equal(w->accepted, 1);
    assert_int_equal(w->welcomes, 2);
    assert_int_equal(np_account_options(w->account)->generation, 2);
    assert_int_equal(np_account_options(w->account)->possession.public_key[0], 3);
    deliver_error(w, NANOPUSH__V1__ERROR__CODE__CODE_DENIED, DEVICE);
    assert_int_equal(w->errors, 1);
}

static void present_keys_that_are_welcome_stay(void **state)
{
    struct world *w = *state;
    assert_int_equal(rotate(w), NP_OK); /* and it is lost itself */
    reconnect(w);
    deliver_welcome(w, 30000, NULL);
    assert_int_equal(w->accepted, 0);
    assert_int_equal(np_account_options(w->account)->generation, 1);
    assert_int_equal(rotate(w), NP_OK);
    deliver_accepted(w, NP_ACT_ROTATED, 2);
    assert_int_equal(np_account_options(w->account)->generation, 2);
}

static void denied_with_both_is_told_once(void **state)
{
    struct world *w = *state;
    assert_int_equal(rotate(w), NP_OK);
    reconnect(w);
    expect_hello(w, 1, 1);
    deliver_error(w, NANOPUSH__V1__ERROR__CODE__CODE_UNAVAILABLE, DEVICE);
    assert_int_equal(w->errors, 1);
    expect_nothing_sent(w);
    deliver_error(w, NANOPUSH__V1__ERROR__CODE__CODE_DENIED, DEVICE);
    deliver_error(w, NANOPUSH__V1__ERROR__CODE__CODE_DENIED, DEVICE);
    assert_int_equal(w->errors, 2);
    assert_int_equal(w->error, NP_DENIED);
    reconnect(w);
    expect_hello(w, 1, 1);
}

static void keys_of_before_a_restart_are_tried_too(void **state)
{
    struct world *w = *state;
    const struct np_signer present = {.public_key = {1}, .sign = sign_zeros};
    const struct np_signer locked = {.public_key = {4}};
    assert_int_equal(np_account_set_next_keys(w->account, &next_possession, &locked), NP_BAD_STATE);
    np_connection_free(w->c);
    assert_int_equal(np_account_set_next_keys(w->account, &locked, &next_verification), NP_NO_KEY);
    assert_int_equal(np_account_set_next_keys(w->account, &present, &next_verification), NP_INVALID);
    assert_int_equal(np_account_set_next_keys(w->account, &next_possession, &next_possession), NP_INVALID);
    assert_int_equal(np_account_set_next_keys(w->account, &next_possession, &locked), NP_OK);
    w->c = open_connection(w);
    assert_int_equal(np_connection_hello(w->c, w->account), NP_OK);
    deliver_error(w, NANOPUSH__V1__ERROR__CODE__CODE_DENIED, DEVICE);
    deliver_welcome(w, 30000, NULL);
    assert_int_equal(w->accepted, 1);
    assert_int_equal(np_account_options(w->account)->user_verification.public_key[0], 4);
    assert_null(np_account_options(w->account)->user_verification.sign);
}

static void refused_rotation_leaves_the_keys(void **state)
{
    struct world *w = *state;
    assert_int_equal(rotate(w), NP_OK);
    deliver_error(w, NANOPUSH__V1__ERROR__CODE__CODE_UNAVAILABLE, DEVICE);
    assert_non_null(w->account->act_jws);
    deliver_error(w, NANOPUSH__V1__ERROR__CODE__CODE_INVALID, DEVICE);
    assert_null(w->account->act_jws);
    deliver_accepted(w, NP_ACT_ROTATED, 2);
    assert_int_equal(w->accepted, 0);
    assert_int_equal(np_account_options(w->account)->generation, 1);
    assert_int_equal(w->errors, 2);
}

/* Lock, removal, notices ------------------------------------------------------------------------------ */

static void lock_is_known_until_it_is_lifted(void **state)
{
    struct world *w = *state;
    assert_int_equal(np_account_locked_until_unix_ms(w->account), 0);
    deliver_notice(w, NP_NOTICE_LOCKED, "", 1790000900000);
    assert_int_equal(w->notice, NP_NOTICE_LOCKED);
    assert_int_equal(np_account_locked_until_unix_ms(w->account), 1790000900000);
    deliver_notice(w, NP_NOTICE_PHONE_ADDED, "x", 0);
    assert_int_equal(np_account_locked_until_unix_ms(w->account), 1790000900000);
    assert_int_equal(np_unlock(w->c, w->account, NOW_MS), NP_OK);
    deliver_accepted(w, NP_ACT_UNLOCKED, 1);
    assert_int_equal(w->act, NP_ACT_UNLOCKED);
    assert_int_equal(np_account_locked_until_unix_ms(w->account), 0);
    deliver_notice(w, NP_NOTICE_LOCKED, "", 1790000900000);
    deliver_notice(w, NP_NOTICE_UNLOCKED, "", 0);
    assert_int_equal(np_account_locked_until_unix_ms(w->account), 0);
    deliver_notice(w, NP_NOTICE_LOCKED, "", 1790000900000);
    deliver_welcome(w, 30000, NULL); /* without a lock */
    assert_int_equal(np_account_locked_until_unix_ms(w->account), 0);
}

static void notice_that_cannot_be_shown_is_not(void **state)
{
    struct world *w = *state;
    deliver_notice(w, NP_NOTICE_PHONE_ADDED, "Ada's \xc5\xbd", 0);
    assert_string_equal(w->phone_name, "Ada's \xc5\xbd");
    deliver_notice(w, NP_NOTICE_PHONE_REMOVED, "\x1b[2J", 0);
    assert_string_equal(w->phone_name, "");
    assert_int_equal(w->notices, 2);
    deliver_notice(w, NP_NOTICE_UNLOCKED + 1, "", 0); /* of a later version */
    deliver_notice(w, 0, "", 0);
    assert_int_equal(w->errors, 0);
    deliver_notice(w, NP_NOTICE_LOCKED, "", UNIX_MS_MAX + UINT64_C(1));
    assert_int_equal(w->error, NP_INVALID);
    assert_int_equal(w->notices, 2);
    assert_int_equal(np_account_locked_until_unix_ms(w->account), 0);
}

static void removed_account_hears_nothing_more(void **state)
{
    struct world *w = *state;
    deliver_tap(w, 1);
    assert_int_equal(np_remove(w->c, w->account, NOW_MS), NP_OK);
    deliver_accepted(w, NP_ACT_REMOVED, 0);
    assert_int_equal(w->act, NP_ACT_REMOVED);
    assert_int_equal(w->account->waiting_count, 0);
    deliver_tap(w, 2);
    deliver_notice(w, NP_NOTICE_UNLOCKED, "", 0);
    deliver_accepted(w, NP_ACT_REMOVED, 0);
    deliver_welcome(w, 30000, NULL);
    assert_int_equal(w->error, NP_NOT_FOUND);
    assert_int_equal(w->errors, 4);
    assert_int_equal(w->challenges + w->notices + w->accepted + w->welcomes, 1 + 0 + 1 + 1);
    np_account_free(w->account); /* before the connection */
    w->account = NULL;
    assert_int_equal(w->c->account_count, 0);
}

static void account_that_was_revoked_is_off_the_connection(void **state)
{
    struct world *w = *state;
    deliver_tap(w, 1);
    assert_int_equal(np_unlock(w->c, w->account, NOW_MS), NP_OK);
    deliver_error(w, NANOPUSH__V1__ERROR__CODE__CODE_REMOVED, DEVICE);
    assert_int_equal(w->error, NP_REMOVED);
    assert_int_equal(w->c->account_count, 0);
    assert_int_equal(w->account->waiting_count, 0);
    assert_int_equal(np_unlock(w->c, w->account, NOW_MS), NP_BAD_STATE);
    deliver_error(w, NANOPUSH__V1__ERROR__CODE__CODE_REMOVED, DEVICE);
    assert_int_equal(w->errors, 1); /* once */
    np_account_free(w->account);
    w->account = NULL;
}

static void broker_out_of_bounds_ends_the_connection(void **state)
{
    struct world *w = *state;
    Nanopush__V1__Welcome welcome = NANOPUSH__V1__WELCOME__INIT;
    welcome.device_id = (char[]){DEVICE};
    welcome.heartbeat_ms = 30000;
    welcome.locked_until_unix_ms = UNIX_MS_MAX;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_WELCOME;
    message.welcome = &welcome;
    deliver(w, &message);
    assert_int_equal(np_account_locked_until_unix_ms(w->account), UNIX_MS_MAX);
    welcome.locked_until_unix_ms++;
    deliver(w, &message);
    assert_int_equal(w->c->closed_error, NP_MALFORMED);
}

/* Enrolments that wait -------------------------------------------------------------------------------- */

static void enrolment_that_waits_is_told_once_for_each_code(void **state)
{
    (void)state;
    struct world w = {0};
    struct np_enrolment_uri uri;
    const struct np_signer possession = {.public_key = {1}, .sign = sign_zeros};
    const struct np_signer verification = {.public_key = {2}, .sign = sign_zeros};
    w.c = open_connection(&w);
    assert_int_equal(np_enrolment_uri_parse(URI, &uri), NP_OK);
    assert_int_equal(np_connection_enrol(w.c, &uri, "x", NP_PLATFORM_IOS, &possession, &verification), NP_OK);
    deliver_enrolled(&w, "e1", "ada", true, "123456");
    deliver_enrolled(&w, "e1", "ada", true, "123456");
    assert_int_equal(w.waiting, 1);
    assert_string_equal(w.code, "123456");
    deliver_enrolled(&w, "e1", "ada", true, ""); /* confirmed; now an old phone is asked */
    assert_int_equal(w.waiting, 2);
    deliver_enrolled_as(&w, "e1", "ada", true, "", "654321");
    deliver_enrolled_as(&w, "e1", "ada", true, "", "654321");
    assert_int_equal(w.waiting, 3);
    assert_string_equal(w.code, "654321");
    assert_int_equal(w.enrolled, 0);
    assert_int_equal(np_connection_enrol(w.c, &uri, "x", NP_PLATFORM_IOS, &possession, &verification),
                     NP_BAD_STATE);
    deliver_enrolled(&w, "e1", "ada", false, "");
    assert_int_equal(w.enrolled, 1);
    deliver_enrolled(&w, "e1", "ada", false, ""); /* the answer to a repetition */
    assert_int_equal(w.enrolled, 1);
    np_connection_free(w.c);
}

static void enrolment_that_waits_ends_with_an_error(void **state)
{
    (void)state;
    struct world w = {0};
    struct np_enrolment_uri uri;
    const struct np_signer possession = {.public_key = {1}, .sign = sign_zeros};
    const struct np_signer verification = {.public_key = {2}, .sign = sign_zeros};
    bool readable, writable;
    int64_t deadline_mono_ms;
    w.c = open_connection(&w);
    assert_int_equal(np_enrolment_uri_parse(URI, &uri), NP_OK);
    assert_int_equal(np_connection_enrol(w.c, &uri, "x", NP_PLATFORM_IOS, &possession, &verification), NP_OK);
    deliver_enrolled(&w, "e1", "ada", true, "123456789"); /* a digit too many */
    assert_int_equal(w.c->closed_error, NP_MALFORMED);
    np_connection_free(w.c);
    w.c = open_connection(&w);
    assert_int_equal(np_connection_enrol(w.c, &uri, "x", NP_PLATFORM_IOS, &possession, &verification), NP_OK);
    deliver_enrolled(&w, "e1", "ada", true, "12345678");
    np_connection_want(w.c, &readable, &writable, &deadline_mono_ms);
    assert_int_equal(deadline_mono_ms, NOW_MS + ENROL_REPEAT_MS);
    deliver_error(&w, NANOPUSH__V1__ERROR__CODE__CODE_EXPIRED, "e1");
    assert_int_equal(w.error, NP_EXPIRED);
    assert_null(w.c->enrol.p);
    np_connection_want(w.c, &readable, &writable, &deadline_mono_ms);
    assert_true(deadline_mono_ms > NOW_MS + ENROL_REPEAT_MS);
    np_connection_free(w.c);
}

#define KEYS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_keys, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(act_is_that_of_the_vectors),
        KEYS_TEST(keys_change_when_the_broker_accepts),
        KEYS_TEST(rotation_wants_two_new_keys_and_the_old_one),
        KEYS_TEST(one_act_at_a_time_and_only_where_welcome),
        KEYS_TEST(keys_that_the_broker_has_are_found_by_trying),
        KEYS_TEST(present_keys_that_are_welcome_stay),
        KEYS_TEST(denied_with_both_is_told_once),
        KEYS_TEST(keys_of_before_a_restart_are_tried_too),
        KEYS_TEST(refused_rotation_leaves_the_keys),
        KEYS_TEST(lock_is_known_until_it_is_lifted),
        KEYS_TEST(notice_that_cannot_be_shown_is_not),
        KEYS_TEST(removed_account_hears_nothing_more),
        KEYS_TEST(account_that_was_revoked_is_off_the_connection),
        KEYS_TEST(broker_out_of_bounds_ends_the_connection),
        TEST(enrolment_that_waits_is_told_once_for_each_code),
        TEST(enrolment_that_waits_ends_with_an_error),
    };
    return cmocka_run_group_tests_name("device_act", tests, NULL, NULL);
}
