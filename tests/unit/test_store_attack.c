/**
 * Somebody who can write to Redis and does not have the cluster secret (SECURITY, "One cluster secret"): whatever is
 * changed, copied or added there, the store hands out no record that a broker did not write in that very place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

static bool refused(enum err e)
{
    return !got.given && (e == ERR_BAD_SIGNATURE || e == ERR_MALFORMED || e == ERR_DENIED);
}

static int64_t seal_failures(void)
{
    return metrics_sum(metrics, METRIC_SEAL_FAILURES);
}

/* The bytes of a hash's field, or of a string where @p field is NULL; freed by the caller. */
static struct buf stored(struct key key, const char *field)
{
    struct buf copy = {0};
    size_t len;
    const char *text =
        field ? redis_text(&len, "HGET %s %s", key.text, field) : redis_text(&len, "GET %s", key.text);
    assert_true(len > 0);
    assert_int_equal(buf_append(&copy, bytes_make(text, len)), ERR_OK);
    return copy;
}

static void put(struct key key, const char *field, struct bytes value)
{
    if (field)
        redis_do("HSET %s %s %b", key.text, field, value.p, value.len);
    else
        redis_do("SET %s %b", key.text, value.p, value.len);
}

static void copy_field(struct key from, const char *from_field, struct key to, const char *to_field)
{
    struct buf value = stored(from, from_field);
    put(to, to_field, buf_view(&value));
    buf_done(&value);
}

/* What read() makes of each byte changed and of each length cut; the true value is there again afterwards. */
static void assert_every_change_is_refused(struct key key, const char *field, enum err (*read)(void *arg),
                                           void *arg)
{
    struct buf value = stored(key, field);
    uint8_t *changed = malloc(buf_len(&value));
    assert_non_null(changed);
    assert_int_equal(read(arg), ERR_OK);
    for (size_t i = 0; i < buf_len(&value); i++) {
        memcpy(changed, buf_view(&value).p, buf_len(&value));
        changed[i] ^= 0x40;
        put(key, field, bytes_make(changed, buf_len(&value)));
        enum err e = read(arg);
        if (!refused(e))
            fail_msg("byte %zu changed: %s", i, err_name(e));
        put(key, field, bytes_make(changed, i));
        e = read(arg);
        if (!refused(e))
            fail_msg("cut to %zu bytes: %s", i, err_name(e));
    }
    put(key, field, buf_view(&value));
    assert_int_equal(read(arg), ERR_OK);
    free(changed);
    buf_done(&value);
}

/* ---- registry ---- */

static void on_portal(enum err e, const struct portal_view *view, void *arg)
{
    (void)arg;
    got.portal = got_copy(view ? view->record : NULL);
    got_came(e, view);
}

static enum err portal_get(void *id)
{
    return got_wait(store_portal_get(a.store, id, on_portal, NULL));
}

static void on_organisation(enum err e, const Record__Organisation *organisation, struct bytes fence,
                            void *arg)
{
    (void)fence;
    (void)arg;
    got.organisation = got_copy(organisation);
    got_came(e, organisation);
}

static enum err organisation_get(void *id)
{
    return got_wait(store_organisation_get(a.store, id, on_organisation, NULL));
}

static void put_portal(char *id)
{
    Record__Portal portal = RECORD__PORTAL__INIT;
    portal.id = id;
    portal.organisation = ORGANISATION;
    assert_int_equal(got_wait(store_portal_put(a.store, &portal, on_done, NULL)), ERR_OK);
}

static void portal_cannot_be_changed(void **state)
{
    (void)state;
    put_portal("p-changed");
    int64_t before = seal_failures();
    assert_every_change_is_refused(key_portal("p-changed"), NULL, portal_get, "p-changed");
    assert_true(seal_failures() - before > 32); /* each is counted */
}

static void portal_cannot_be_copied_or_added(void **state)
{
    (void)state;
    put_portal("p-original");
    copy_field(key_portal("p-original"), NULL, key_portal("p-copy"), NULL);
    assert_true(refused(portal_get("p-copy")));
    copy_field(key_portal("p-original"), NULL, key_organisation("p-original"), NULL);
    assert_true(refused(organisation_get("p-original")));

    /* One of the attacker's own, sealed with a secret of their own. */
    struct secret *own = load_secret("current " OTHER "\n");
    Record__Portal portal = RECORD__PORTAL__INIT;
    struct buf sealed = {0};
    struct key key = key_portal("p-added");
    portal.id = "p-added";
    assert_int_equal(record_seal(own, &key, "", &portal.base, &sealed), ERR_OK);
    put(key, NULL, buf_view(&sealed));
    assert_true(refused(portal_get("p-added")));
    buf_done(&sealed);
    secret_free(own);
}

static void value_of_another_type_is_no_record(void **state)
{
    (void)state;
    redis_do("RPUSH %s x", key_portal("p-list").text);
    assert_int_not_equal(portal_get("p-list"), ERR_OK);
    assert_false(got.given);
    put(key_portal("p-empty"), NULL, bytes_of(""));
    assert_true(refused(portal_get("p-empty")));
}

/* ---- challenges ---- */

static enum err read_challenge(void *id)
{
    return challenge_get(&a, id, false);
}

static void challenge_cannot_be_changed(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    assert_every_change_is_refused(key_challenge(id), "record", read_challenge, id);
}

static void state_without_an_answer_is_refused(void **state)
{
    (void)state;
    static const char *const answered[] = {"approved", "denied", "reported", "failed"};
    struct person person = person_with_phone();
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    for (size_t i = 0; i < sizeof answered / sizeof *answered; i++) {
        redis_do("HSET %s state %s", key_challenge(id).text, answered[i]);
        assert_true(refused(challenge_get(&a, id, false)));
    }
    static const char *const unknown[] = {"", "APPROVED", "approved ", "none", "2"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        redis_do("HSET %s state %s", key_challenge(id).text, unknown[i]);
        assert_int_equal(challenge_get(&a, id, false), ERR_MALFORMED);
        assert_false(got.given);
    }
}

static void denial_cannot_become_an_approval(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_DENIED, &person), ERR_OK);
    assert_int_equal(challenge_get(&a, id, false), ERR_OK);
    redis_do("HSET %s state approved", key_challenge(id).text);
    assert_int_equal(challenge_get(&a, id, false), ERR_BAD_SIGNATURE);
    assert_false(got.given);
}

static void answer_cannot_be_changed(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_APPROVED, &person), ERR_OK);
    assert_every_change_is_refused(key_challenge(id), "settlement", read_challenge, id);
}

static void answer_of_another_challenge_is_refused(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char approved[ID_SIZE], victim[ID_SIZE];
    challenge_new(&a, &person, approved, LIFE_MS);
    assert_int_equal(challenge_settle(&a, approved, CHALLENGE_APPROVED, &person), ERR_OK);
    challenge_new(&a, &person, victim, LIFE_MS);
    redis_do("HSET %s state approved", key_challenge(victim).text);
    copy_field(key_challenge(approved), "settlement", key_challenge(victim), "settlement");
    assert_int_equal(challenge_get(&a, victim, false), ERR_BAD_SIGNATURE);
    assert_false(got.given);
    copy_field(key_challenge(victim), "record", key_challenge(victim), "settlement"); /* or its own record */
    assert_true(refused(challenge_get(&a, victim, false)));
    redis_do("DEL %s", key_challenge(victim).text);
    redis_do("COPY %s %s", key_challenge(approved).text, key_challenge(victim).text); /* or all of it */
    assert_int_equal(challenge_get(&a, victim, false), ERR_BAD_SIGNATURE);
    assert_false(got.given);
}

static void challenge_of_another_user_is_refused(void **state)
{
    (void)state;
    struct person person = person_with_phone(), other = person_with_phone();
    char id[ID_SIZE], other_id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    challenge_new(&a, &other, other_id, LIFE_MS);
    copy_field(key_challenge(other_id), "record", key_challenge(id), "record");
    assert_int_equal(challenge_get(&a, id, false), ERR_BAD_SIGNATURE);
    assert_false(got.given);
}

static void state_that_was_written_is_not_whose_answer_it_is(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    redis_do("HSET %s state approved settlement forged-forged-forged-forged-forged", key_challenge(id).text);
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_DENIED, &person), ERR_OK);
    assert_false(got.moved);
    assert_string_equal(got.device_id, "");
    assert_true(refused(challenge_get(&a, id, false)));
}

/* ---- devices ---- */

static enum err read_user(void *person)
{
    return user_get(&a, ((struct person *)person)->tag);
}

static enum err attach_phone(void *person)
{
    return attach(&a, person, 1, 1);
}

static void device_cannot_be_changed(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    assert_every_change_is_refused(key_user(person.tag, "devices"), person.phone, attach_phone, &person);
    /* Behind the two bytes that say that it is active, whose change hides the device. */
    struct key key = key_user(person.tag, "devices");
    struct buf value = stored(key, person.phone);
    for (size_t i = 2; i < buf_len(&value); i += 7) {
        uint8_t *byte = (uint8_t *)(uintptr_t)buf_view(&value).p + i;
        *byte ^= 1;
        put(key, person.phone, buf_view(&value));
        assert_true(refused(read_user(&person)));
        *byte ^= 1;
    }
    buf_done(&value);
}

static void hidden_device_can_do_nothing(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE];
    struct key key = key_user(person.tag, "devices");
    struct buf value = stored(key, person.phone);
    challenge_new(&a, &person, id, LIFE_MS);
    ((uint8_t *)(uintptr_t)buf_view(&value).p)[1] = 'R';
    put(key, person.phone, buf_view(&value));
    buf_done(&value);
    assert_int_equal(attach_phone(&person), ERR_DENIED);
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_APPROVED, &person), ERR_DENIED);
    assert_int_equal(user_get(&a, person.tag), ERR_OK);
    assert_int_equal(got.device_count, 0);
}

static void thiefs_phone_under_the_victims_name_is_refused(void **state)
{
    (void)state;
    struct person victim = person_with_phone(), thief = person_with_phone();
    struct key devices = key_user(victim.tag, "devices");
    copy_field(key_user(thief.tag, "devices"), thief.phone, devices,
               victim.phone); /* in the victim's place */
    struct person hello = victim;
    memcpy(hello.keys, thief.keys, sizeof hello.keys);
    assert_int_equal(attach_phone(&hello), ERR_BAD_SIGNATURE);
    assert_false(got.given);
    assert_int_equal(attach_phone(&victim), ERR_DENIED);
    assert_int_equal(user_get(&a, victim.tag), ERR_BAD_SIGNATURE);
    assert_false(got.given);
}

static void thiefs_phone_beside_the_victims_is_refused(void **state)
{
    (void)state;
    struct person victim = person_with_phone(), thief = person_with_phone();
    struct key devices = key_user(victim.tag, "devices");
    copy_field(key_user(thief.tag, "devices"), thief.phone, devices, thief.phone);
    assert_int_equal(user_get(&a, victim.tag), ERR_BAD_SIGNATURE);
    assert_false(got.given);
    assert_int_equal(attach_phone(&thief), ERR_OK); /* whose own account is what it was */
    assert_same(got.devices[0], &(Record__Device[]){device_of(&thief)}[0]);
}

static void head_with_another_key_is_refused(void **state)
{
    (void)state;
    struct person victim = person_with_phone(), hello = victim;
    struct key devices = key_user(victim.tag, "devices");
    struct buf value = stored(devices, victim.phone);
    hello.keys[0][5] ^= 1;
    uint8_t head[DEVICE_HEAD_BYTES];
    assert_int_equal(record_device_head(1, bytes_make(hello.keys[0], 65), head), ERR_OK);
    memcpy((uint8_t *)(uintptr_t)buf_view(&value).p, head, sizeof head);
    put(devices, victim.phone, buf_view(&value));
    buf_done(&value);
    assert_int_equal(attach_phone(&hello), ERR_BAD_SIGNATURE);
    assert_false(got.given);
    assert_int_equal(user_get(&a, victim.tag), ERR_BAD_SIGNATURE);
}

static void device_of_another_id_is_refused(void **state)
{
    (void)state;
    struct person person = person_with_phone(), second = person_with_other_phone(&person);
    enrol(&a, &second);
    copy_field(key_user(person.tag, "devices"), person.phone, key_user(person.tag, "devices"), second.phone);
    assert_int_equal(user_get(&a, person.tag), ERR_BAD_SIGNATURE);
    redis_do("HSET %s no-id x1A", key_user(person.tag, "devices").text);
    redis_do("HSET %s no-id 1A", key_user(person.tag, "devices").text);
    assert_true(refused(user_get(&a, person.tag)));
}

/* ---- enrolments ---- */

static enum err read_enrolment(void *id)
{
    return enrolment_get(&a, id, false);
}

static void enrolment_cannot_be_changed_or_moved(void **state)
{
    (void)state;
    struct person person = person_new(), other = person_new();
    char id[ID_SIZE], other_id[ID_SIZE];
    Record__Enrolment record = enrolment_of(&person, id, false);
    assert_int_equal(enrolment_create(&a, &record, LIFE_MS), ERR_OK);
    assert_every_change_is_refused(key_enrolment(id), "record", read_enrolment, id);
    record = enrolment_of(&other, other_id, true);
    assert_int_equal(enrolment_create(&a, &record, LIFE_MS), ERR_OK);
    copy_field(key_enrolment(other_id), "record", key_enrolment(id), "record");
    assert_int_equal(enrolment_get(&a, id, false), ERR_BAD_SIGNATURE);
    assert_false(got.given);
}

static void enrolment_cannot_be_declared_done(void **state)
{
    (void)state;
    struct person person = person_new(), thief = person_new();
    char id[ID_SIZE], thiefs_id[ID_SIZE];
    Record__Enrolment record = enrolment_of(&thief, thiefs_id, false);
    assert_int_equal(enrolment_create(&a, &record, LIFE_MS), ERR_OK);
    assert_int_equal(enrolment_get(&a, thiefs_id, false), ERR_OK);
    assert_int_equal(enrolment_use(&a, thiefs_id, got.enrolment.fence, &thief, false, 1), ERR_OK);
    record = enrolment_of(&person, id, false);
    assert_int_equal(enrolment_create(&a, &record, LIFE_MS), ERR_OK);
    redis_do("HSET %s state done", key_enrolment(id).text);
    assert_true(refused(read_enrolment(id)));
    copy_field(key_enrolment(thiefs_id), "enrolled", key_enrolment(id), "enrolled");
    assert_int_equal(read_enrolment(id), ERR_BAD_SIGNATURE);
    assert_false(got.given);
    assert_every_change_is_refused(key_enrolment(thiefs_id), "enrolled", read_enrolment, thiefs_id);
    redis_do("HSET %s state bogus", key_enrolment(thiefs_id).text);
    assert_true(refused(read_enrolment(thiefs_id)));
}

/* ---- the secret itself ---- */

static void other_secret_reads_nothing_and_rotated_one_everything(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    struct secret *foreign = load_secret("current " OTHER "\n"),
                  *rotated = load_secret("current " OTHER "\nprevious " CURRENT "\n");
    worker_close(&b);
    worker_open(&b, foreign, 2, TIMEOUT_MS);
    assert_int_equal(challenge_get(&b, id, false), ERR_BAD_SIGNATURE);
    assert_int_equal(user_get(&b, person.tag), ERR_BAD_SIGNATURE);
    assert_int_equal(attach(&b, &person, 1, 1), ERR_BAD_SIGNATURE);
    worker_close(&b);
    worker_open(&b, rotated, 2, TIMEOUT_MS);
    assert_int_equal(challenge_get(&b, id, false), ERR_OK);
    assert_int_equal(attach(&b, &person, 1, 1), ERR_OK);
    assert_int_equal(challenge_settle(&b, id, CHALLENGE_APPROVED, &person), ERR_OK);
    assert_int_equal(challenge_get(&b, id, false), ERR_OK);
    assert_int_equal(challenge_get(&a, id, false), ERR_BAD_SIGNATURE); /* of a secret that a does not have */
    worker_close(&b);
    secret_free(foreign);
    secret_free(rotated);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(portal_cannot_be_changed),
        TEST(portal_cannot_be_copied_or_added),
        TEST(value_of_another_type_is_no_record),
        TEST(challenge_cannot_be_changed),
        TEST(state_without_an_answer_is_refused),
        TEST(denial_cannot_become_an_approval),
        TEST(answer_cannot_be_changed),
        TEST(answer_of_another_challenge_is_refused),
        TEST(challenge_of_another_user_is_refused),
        TEST(state_that_was_written_is_not_whose_answer_it_is),
        TEST(device_cannot_be_changed),
        TEST(hidden_device_can_do_nothing),
        TEST(thiefs_phone_under_the_victims_name_is_refused),
        TEST(thiefs_phone_beside_the_victims_is_refused),
        TEST(head_with_another_key_is_refused),
        TEST(device_of_another_id_is_refused),
        TEST(enrolment_cannot_be_changed_or_moved),
        TEST(enrolment_cannot_be_declared_done),
        TEST(other_secret_reads_nothing_and_rotated_one_everything),
    };
    return cmocka_run_group_tests_name("store_attack", tests, group_set_up, group_tear_down);
}
