/** The contract of store/store.h against a real Redis: enrolments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

#define LIMIT 8

/* An enrolment that waits for the person's phone. */
static void begin(struct person *person, char id[ID_SIZE], bool may_add, unsigned life_ms)
{
    Record__Enrolment record = enrolment_of(person, id, may_add);
    assert_int_equal(enrolment_create(&a, &record, life_ms), ERR_OK);
}

static enum err use_with(const char *id, struct person *person, bool may_add)
{
    size_t len;
    const char *fence = redis_text(&len, "HGET %s record", key_enrolment(id).text);
    return enrolment_use(&b, id, bytes_make(fence, len), person, may_add, LIMIT);
}

static enum err cancel(const char *id)
{
    size_t len;
    const char *fence = redis_text(&len, "HGET %s record", key_enrolment(id).text);
    return got_wait(store_enrolment_cancel(b.store, id, bytes_make(fence, len), on_told, NULL));
}

static void assert_state(const char *id, enum enrolment_state expected)
{
    assert_int_equal(enrolment_get(&a, id, false), ERR_OK);
    assert_int_equal(got.enrolment.state, expected);
}

static size_t phones_of(const struct person *person)
{
    assert_int_equal(user_get(&a, person->tag), ERR_OK);
    return got.device_count;
}

/* As if so much time had passed: what counts is written in Redis. */
static void let_time_pass(const char *id)
{
    redis_do("HSET %s expires 1", key_enrolment(id).text);
}

static void new_enrolment_waits(void **state)
{
    (void)state;
    struct person person = person_new();
    char id[ID_SIZE];
    Record__Enrolment record = enrolment_of(&person, id, false);
    assert_int_equal(enrolment_create(&a, &record, 600000), ERR_OK);
    int64_t expire_unix_ms = got.expire_unix_ms;
    assert_int_equal(enrolment_get(&b, id, false), ERR_OK);
    assert_same(got.enrolment.record, &record);
    assert_int_equal(got.enrolment.state, ENROLMENT_WAITING);
    assert_int_equal(got.enrolment.revision, 1);
    assert_null(got.enrolment.enrolled);
    assert_int_equal(got.enrolment.expire_unix_ms, expire_unix_ms);
    assert_int_equal(got.enrolment.expire_unix_ms, got.enrolment.create_unix_ms + 600000);
    assert_in_range(got.enrolment.now_unix_ms, got.enrolment.create_unix_ms, clock_unix_ms() + 1);
    assert_in_range(redis_do("PTTL %s", key_enrolment(id).text), 1190000, 1200000); /* readable afterwards */
    assert_in_range(redis_do("TTL %s", key_user(person.tag, "user").text), 86000, 86400);
    /* A repeat, as after a lost reply, changes nothing. */
    assert_int_equal(enrolment_create(&a, &record, 999), ERR_OK);
    assert_int_equal(got.expire_unix_ms, expire_unix_ms);
}

static void unknown_enrolments_are_not_found(void **state)
{
    (void)state;
    struct person person = person_new();
    char id[ID_SIZE];
    fill_id(person.tag, id);
    assert_int_equal(enrolment_get(&a, id, true), ERR_NOT_FOUND);
    assert_false(got.given);
    assert_int_equal(use_with(id, &person, true), ERR_NOT_FOUND);
    assert_int_equal(cancel(id), ERR_NOT_FOUND);
    assert_int_equal(redis_do("EXISTS %s", key_enrolment(id).text), 0); /* waiting made none */
}

static void used_enrolment_makes_the_device(void **state)
{
    (void)state;
    struct person person = person_new();
    char id[ID_SIZE];
    Record__Device device = device_of(&person);
    begin(&person, id, false, LIFE_MS);
    assert_int_equal(enrolment_get(&a, id, true), ERR_OK);
    assert_int_equal(enrolment_get(&b, id, true), ERR_OK);
    assert_int_equal(use_with(id, &person, false), ERR_OK);
    assert_false(got.replay);
    assert_int_equal(got.told.device_count, 0);
    assert_int_equal(got.told.inbox_count, 2);
    assert_true(told_inbox(store_inbox(a.store)) && told_inbox(store_inbox(b.store)));
    assert_state(id, ENROLMENT_DONE);
    assert_same(got.enrolment.enrolled->device, &device);
    assert_int_equal(got.enrolment.revision, 2);
    assert_int_equal(phones_of(&person), 1);
    assert_same(got.devices[0], &device);
    assert_int_equal(redis_do("TTL %s", key_user(person.tag, "user").text), -1); /* the user stays */
    assert_int_equal(attach(&a, &person, 1, 1), ERR_OK);
}

static void same_keys_may_repeat(void **state)
{
    (void)state;
    struct person person = person_new();
    char id[ID_SIZE];
    begin(&person, id, false, LIFE_MS);
    assert_int_equal(enrolment_get(&a, id, true), ERR_OK);
    assert_int_equal(use_with(id, &person, false), ERR_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(use_with(id, &person, false), ERR_OK);
        assert_true(got.replay);
        assert_true(told_inbox(store_inbox(a.store)));
        assert_state(id, ENROLMENT_DONE);
        assert_int_equal(got.enrolment.revision, 2);
        let_time_pass(id); /* also when it is over: the answer may have been lost just before */
    }
    assert_int_equal(phones_of(&person), 1);
}

static void other_keys_void_it_and_the_device_is_gone(void **state)
{
    (void)state;
    for (size_t other_key = 0; other_key < 2; other_key++) {
        struct person person = person_new(), thief = person_with_other_phone(&person);
        char id[ID_SIZE];
        memcpy(thief.keys[other_key], person.keys[other_key], sizeof thief.keys[0]); /* one key is the same */
        begin(&person, id, false, LIFE_MS);
        assert_int_equal(use_with(id, &person, false), ERR_OK);
        assert_int_equal(attach(&a, &person, 1, 9), ERR_OK);
        assert_int_equal(enrolment_get(&a, id, true), ERR_OK);
        assert_int_equal(use_with(id, &thief, true), ERR_BAD_STATE);
        assert_true(got.given);
        assert_int_equal(got.told.device_count, 1);
        assert_string_equal(got.told.devices[0].device_id, person.phone);
        assert_presence(&got.told.devices[0].presence, store_inbox(a.store), 9);
        assert_true(told_inbox(store_inbox(a.store)));
        assert_state(id, ENROLMENT_VOID);
        assert_null(got.enrolment.enrolled);
        assert_int_equal(got.enrolment.revision, 3);
        assert_int_equal(phones_of(&person), 0);
        assert_int_equal(attach(&a, &person, 1, 9), ERR_DENIED);
        assert_int_equal(redis_do("HLEN %s", key_user(person.tag, "presence").text), 0);
        /* Void stays void, for both. */
        assert_int_equal(use_with(id, &person, true), ERR_BAD_STATE);
        assert_int_equal(got.told.device_count, 1); /* told again: the first reply may have been lost */
        assert_presence(&got.told.devices[0].presence, store_inbox(a.store), 9);
        assert_int_equal(use_with(id, &thief, true), ERR_BAD_STATE);
        assert_int_equal(phones_of(&person), 0);
    }
}

static void other_keys_after_its_time_change_nothing(void **state)
{
    (void)state;
    struct person person = person_new(), late = person_with_other_phone(&person);
    char id[ID_SIZE];
    begin(&person, id, false, LIFE_MS);
    assert_int_equal(use_with(id, &person, false), ERR_OK);
    let_time_pass(id);
    assert_int_equal(use_with(id, &late, true), ERR_EXPIRED);
    assert_state(id, ENROLMENT_DONE);
    assert_int_equal(phones_of(&person), 1);
}

static void it_expires_by_redis_clock(void **state)
{
    (void)state;
    struct person person = person_new();
    char id[ID_SIZE];
    begin(&person, id, false, 30);
    assert_state(id, ENROLMENT_WAITING);
    assert_int_equal(enrolment_get(&b, id, true), ERR_OK);
    int64_t expire_unix_ms = got.enrolment.expire_unix_ms;
    TURN_UNTIL(enrolment_get(&a, id, false) == ERR_OK && got.enrolment.state != ENROLMENT_WAITING);
    assert_int_equal(got.enrolment.state, ENROLMENT_EXPIRED);
    assert_true(got.enrolment.now_unix_ms >= expire_unix_ms);
    assert_int_equal(got.enrolment.revision, 2);
    assert_true(told_inbox(store_inbox(b.store))); /* by the read that moved it, and by no other */
    assert_state(id, ENROLMENT_EXPIRED);
    assert_int_equal(got.enrolment.revision, 2);
    assert_int_equal(got.told.inbox_count, 0);
    assert_int_equal(use_with(id, &person, true), ERR_EXPIRED);
    assert_int_equal(phones_of(&person), 0);
}

static void use_after_its_time_is_refused_though_nobody_read_it(void **state)
{
    (void)state;
    struct person person = person_new();
    char id[ID_SIZE];
    begin(&person, id, false, LIFE_MS);
    let_time_pass(id);
    assert_int_equal(use_with(id, &person, true), ERR_EXPIRED);
    assert_int_equal(phones_of(&person), 0);
}

static void wrong_fence_is_not_found(void **state)
{
    (void)state;
    struct person person = person_new();
    char id[ID_SIZE], other[ID_SIZE];
    begin(&person, id, true, LIFE_MS);
    begin(&person, other, true, LIFE_MS);
    assert_int_equal(enrolment_get(&a, other, false), ERR_OK);
    assert_int_equal(enrolment_use(&a, id, got.enrolment.fence, &person, true, LIMIT), ERR_NOT_FOUND);
    assert_int_equal(enrolment_use(&a, id, bytes_make(NULL, 0), &person, true, LIMIT), ERR_NOT_FOUND);
    assert_int_equal(got_wait(store_enrolment_cancel(a.store, id, bytes_of("x"), on_told, NULL)),
                     ERR_NOT_FOUND);
    assert_state(id, ENROLMENT_WAITING);
    assert_int_equal(phones_of(&person), 0);
}

static enum err advance(const char *id, enum enrolment_state from, bool good)
{
    assert_int_equal(enrolment_get(&a, id, false), ERR_OK);
    const Record__Device *device =
        got.enrolment.enrolled ? got.enrolment.enrolled->device : &(Record__Device)RECORD__DEVICE__INIT;
    const struct enrolment_advance step = {.id = id,
                                           .fence = got.enrolment.fence,
                                           .from = from,
                                           .good = good,
                                           .device = device,
                                           .devices_max = LIMIT};
    return got_wait(store_enrolment_advance(a.store, &step, on_enrolment_step, NULL));
}

static void who_has_a_phone_adds_one_only_where_allowed(void **state)
{
    (void)state;
    struct person person = person_with_phone(), second = person_with_other_phone(&person);
    char id[ID_SIZE];
    begin(&person, id, true, LIFE_MS);
    assert_int_equal(use_with(id, &person, true), ERR_EXISTS); /* that very phone is there */
    assert_int_equal(use_with(id, &second, false), ERR_OK);
    assert_int_equal(got.step, ENROLMENT_TO_APPROVE);
    assert_state(id, ENROLMENT_TO_APPROVE);
    assert_int_equal(phones_of(&person), 1);
    assert_int_equal(advance(id, ENROLMENT_TO_CONFIRM, true), ERR_BAD_STATE); /* not what it waits for */
    assert_int_equal(advance(id, ENROLMENT_TO_APPROVE, true), ERR_OK);
    assert_int_equal(got.step, ENROLMENT_DONE);
    assert_int_equal(got.told.device_count, 1); /* the old phone is told */
    assert_string_equal(got.told.devices[0].device_id, person.phone);
    assert_int_equal(phones_of(&person), 2);
    assert_int_equal(advance(id, ENROLMENT_TO_APPROVE, true), ERR_BAD_STATE);
}

static void waiting_phone_is_stored_as_no_device(void **state)
{
    (void)state;
    struct person person = person_with_phone(), second = person_with_other_phone(&person);
    char id[ID_SIZE];
    begin(&person, id, false, LIFE_MS);
    assert_int_equal(use_with(id, &second, false), ERR_OK);
    /* Whoever writes to Redis finds no sealed device to put among the devices. */
    assert_int_equal(redis_do("HEXISTS %s device_value", key_enrolment(id).text), 0);
}

static enum err claim(const struct person *person, const char *device_id, bool keep)
{
    return got_wait(store_key_claim(a.store, bytes_make(person->keys[0], sizeof person->keys[0]), device_id,
                                    keep, on_done, NULL));
}

static void key_is_claimed_for_a_while_and_then_for_good(void **state)
{
    (void)state;
    struct person person = person_new(), other = person_new();
    uint8_t digest[SHA256_BYTES];
    char hash[HEX_SIZE(SHA256_BYTES)];
    assert_int_equal(sha256(bytes_make(person.keys[0], sizeof person.keys[0]), digest), ERR_OK);
    hex_encode(bytes_make(digest, sizeof digest), hash);
    assert_int_equal(claim(&person, person.phone, false), ERR_OK);
    assert_in_range(redis_do("TTL %s", key_public(hash).text), 1, 900);
    assert_int_equal(claim(&person, other.phone, false), ERR_EXISTS);
    assert_int_equal(claim(&person, person.phone, true), ERR_OK);
    assert_int_equal(redis_do("TTL %s", key_public(hash).text), -1);
    assert_int_equal(claim(&person, other.phone, true), ERR_EXISTS);
    assert_int_equal(claim(&person, person.phone, false), ERR_OK);
    assert_int_equal(redis_do("TTL %s", key_public(hash).text), -1);
}

static void refused_on_the_old_phone_is_void(void **state)
{
    (void)state;
    struct person person = person_with_phone(), second = person_with_other_phone(&person);
    char id[ID_SIZE];
    begin(&person, id, false, LIFE_MS);
    assert_int_equal(use_with(id, &second, false), ERR_OK);
    assert_int_equal(advance(id, ENROLMENT_TO_APPROVE, false), ERR_OK);
    assert_int_equal(got.step, ENROLMENT_VOID);
    assert_state(id, ENROLMENT_VOID);
    assert_null(got.enrolment.enrolled);
    assert_int_equal(phones_of(&person), 1);
}

static void approved_after_its_time_changes_nothing(void **state)
{
    (void)state;
    struct person person = person_with_phone(), second = person_with_other_phone(&person);
    char id[ID_SIZE];
    begin(&person, id, false, LIFE_MS);
    assert_int_equal(use_with(id, &second, false), ERR_OK);
    let_time_pass(id);
    assert_int_equal(advance(id, ENROLMENT_TO_APPROVE, true), ERR_BAD_STATE);
    assert_int_equal(phones_of(&person), 1);
}

static void race_of_two_enrolments_is_decided_at_use(void **state)
{
    (void)state;
    struct person person = person_new(), second = person_with_other_phone(&person);
    char first_id[ID_SIZE], second_id[ID_SIZE];
    begin(&person, first_id, false, LIFE_MS);
    begin(&person, second_id, false, LIFE_MS);
    assert_int_equal(use_with(first_id, &person, false), ERR_OK);
    assert_int_equal(use_with(second_id, &second, false), ERR_OK);
    assert_int_equal(got.step, ENROLMENT_TO_APPROVE); /* the first one is asked */
    assert_int_equal(phones_of(&person), 1);
}

static void phones_are_limited(void **state)
{
    (void)state;
    struct person person = person_new();
    char id[ID_SIZE];
    for (int i = 0; i < LIMIT; i++) {
        struct person phone = person_with_other_phone(&person);
        begin(&person, id, true, LIFE_MS);
        assert_int_equal(use_with(id, &phone, true), ERR_OK);
    }
    begin(&person, id, true, LIFE_MS);
    assert_int_equal(use_with(id, &person, true), ERR_LIMIT);
    assert_state(id, ENROLMENT_WAITING);
    assert_int_equal(phones_of(&person), LIMIT);
}

static void cancelled_stays_cancelled(void **state)
{
    (void)state;
    struct person person = person_new();
    char id[ID_SIZE];
    begin(&person, id, false, LIFE_MS);
    assert_int_equal(enrolment_get(&a, id, true), ERR_OK);
    assert_int_equal(cancel(id), ERR_OK);
    assert_true(told_inbox(store_inbox(a.store)));
    assert_state(id, ENROLMENT_CANCELLED);
    assert_int_equal(got.enrolment.revision, 2);
    assert_int_equal(cancel(id), ERR_OK);
    assert_int_equal(got.told.inbox_count, 0);
    assert_int_equal(use_with(id, &person, true), ERR_EXPIRED);
    let_time_pass(id);
    assert_state(id, ENROLMENT_CANCELLED);
    assert_int_equal(got.enrolment.revision, 2);
    assert_int_equal(phones_of(&person), 0);
}

static void cancelling_what_is_done_changes_nothing(void **state)
{
    (void)state;
    struct person person = person_new();
    char id[ID_SIZE];
    begin(&person, id, false, LIFE_MS);
    assert_int_equal(use_with(id, &person, false), ERR_OK);
    assert_int_equal(cancel(id), ERR_OK);
    assert_state(id, ENROLMENT_DONE);
    assert_int_equal(phones_of(&person), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(new_enrolment_waits),
        TEST(unknown_enrolments_are_not_found),
        TEST(used_enrolment_makes_the_device),
        TEST(same_keys_may_repeat),
        TEST(other_keys_void_it_and_the_device_is_gone),
        TEST(other_keys_after_its_time_change_nothing),
        TEST(it_expires_by_redis_clock),
        TEST(use_after_its_time_is_refused_though_nobody_read_it),
        TEST(wrong_fence_is_not_found),
        TEST(who_has_a_phone_adds_one_only_where_allowed),
        TEST(refused_on_the_old_phone_is_void),
        TEST(waiting_phone_is_stored_as_no_device),
        TEST(key_is_claimed_for_a_while_and_then_for_good),
        TEST(approved_after_its_time_changes_nothing),
        TEST(race_of_two_enrolments_is_decided_at_use),
        TEST(phones_are_limited),
        TEST(cancelled_stays_cancelled),
        TEST(cancelling_what_is_done_changes_nothing),
    };
    return cmocka_run_group_tests_name("store_enrolment", tests, group_set_up, group_tear_down);
}
