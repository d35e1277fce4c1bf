/** The contract of store/store.h against a real Redis: challenges, and C's table of moves against the scripts'. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

#define SENT      2 /* nanopush.v1.Progress */
#define DELIVERED 3
#define SEEN      4

static void assert_state(const char *id, enum challenge_state expected)
{
    assert_int_equal(challenge_get(&a, id, false), ERR_OK);
    assert_int_equal(got.challenge.state, expected);
}

static void let_time_pass(const char *id)
{
    redis_do("HSET %s expires 1", key_challenge(id).text);
}

static int64_t pending_count(const struct person *person)
{
    return redis_do("HLEN %s", key_user(person->tag, "pending").text);
}

/* ---- create ---- */

static void who_cannot_be_asked(void **state)
{
    (void)state;
    struct person person = person_new();
    char id[ID_SIZE], enrolment[ID_SIZE];
    Record__Challenge record = challenge_of(&person, id, LIFE_MS);
    assert_int_equal(challenge_create_plain(&a, &record), ERR_NOT_FOUND);
    assert_false(got.given);
    Record__Enrolment began = enrolment_of(&person, enrolment, false);
    assert_int_equal(enrolment_create(&a, &began, LIFE_MS), ERR_OK);
    assert_int_equal(challenge_create_plain(&a, &record), ERR_DENIED);
    assert_int_equal(challenge_get(&a, id, true), ERR_NOT_FOUND);
    assert_false(got.given);
    assert_int_equal(redis_do("EXISTS %s", key_challenge(id).text), 0);
    assert_int_equal(pending_count(&person), 0);
}

static void accepted_challenge_waits_and_names_the_phones(void **state)
{
    (void)state;
    struct person person = person_with_phone(), second = person_with_other_phone(&person);
    char id[ID_SIZE];
    enrol(&a, &second);
    assert_int_equal(attach(&b, &second, 1, 4), ERR_OK);
    Record__Challenge record = challenge_of(&person, id, LIFE_MS);
    assert_int_equal(challenge_create_plain(&a, &record), ERR_OK);
    assert_false(got.replay);
    assert_string_equal(got.other_id, "");
    assert_int_equal(got.expire_unix_ms, got.now_unix_ms + LIFE_MS);
    assert_int_equal(got.told.device_count, 2);
    assert_int_equal(got.told.inbox_count, 0);
    size_t at = strcmp(got.told.devices[0].device_id, second.phone) == 0 ? 0 : 1;
    assert_string_equal(got.told.devices[at].device_id, second.phone);
    assert_presence(&got.told.devices[at].presence, store_inbox(b.store), 4);
    assert_string_equal(got.told.devices[1 - at].device_id, person.phone);
    assert_string_equal(got.told.devices[1 - at].presence.inbox, "");
    int64_t expire_unix_ms = got.expire_unix_ms;

    assert_int_equal(challenge_get(&b, id, false), ERR_OK);
    assert_same(got.challenge.record, &record);
    assert_int_equal(got.challenge.state, CHALLENGE_PENDING);
    assert_int_equal(got.challenge.revision, 1);
    assert_int_equal(got.challenge.expire_unix_ms, expire_unix_ms);
    assert_int_equal(got.challenge.create_unix_ms, expire_unix_ms - LIFE_MS);
    assert_int_equal(got.challenge.settle_unix_ms, 0);
    assert_null(got.challenge.settlement);
    assert_int_equal(got.challenge.progress_count, 0);
    assert_in_range(redis_do("PTTL %s", key_challenge(id).text), LIFE_MS + 590000, LIFE_MS + 600000);
    assert_int_equal(pending_count(&person), 1);
}

static void repeat_of_the_same_changes_nothing(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE];
    Record__Challenge record = challenge_of(&person, id, LIFE_MS);
    assert_int_equal(challenge_create_plain(&a, &record), ERR_OK);
    int64_t expire_unix_ms = got.expire_unix_ms;
    assert_int_equal(attach(&b, &person, 1, 1), ERR_OK);
    turn(3);
    assert_int_equal(challenge_create_plain(&a, &record), ERR_OK);
    assert_false(got.replay);
    assert_int_equal(got.expire_unix_ms, expire_unix_ms);
    assert_int_equal(got.told.device_count, 1); /* it is pushed again: the first reply may have been lost */
    assert_presence(&got.told.devices[0].presence, store_inbox(b.store), 1);
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_CANCELLED, NULL), ERR_OK);
    assert_int_equal(challenge_create_plain(&a, &record), ERR_OK);
    assert_state(id, CHALLENGE_CANCELLED); /* and does not come to life again */
    assert_int_equal(pending_count(&person), 0);
}

static void idempotency_key_stands_for_one_request(void **state)
{
    (void)state;
    struct person person = person_with_phone(), other = person_with_phone();
    char first[ID_SIZE], second[ID_SIZE];
    static const char key[] = "aa11", asked[] = "bb22";
    Record__Challenge record = challenge_of(&person, first, LIFE_MS);
    struct challenge_create create = {
        .record = &record, .pending_of = PORTAL, .session = "s", .idempotency = key, .asked = asked};
    assert_int_equal(challenge_create_as(&a, &create), ERR_OK);
    assert_false(got.replay);
    assert_int_equal(challenge_create_as(&b, &create), ERR_OK); /* sent again: the same id */
    assert_false(got.replay);
    record = challenge_of(&person, second, LIFE_MS);
    assert_int_equal(challenge_create_as(&b, &create), ERR_OK); /* asked again: another id */
    assert_true(got.replay);
    assert_string_equal(got.other_id, first);
    assert_int_equal(challenge_get(&a, second, false), ERR_NOT_FOUND);
    assert_int_equal(challenge_settle(&a, first, CHALLENGE_CANCELLED, NULL), ERR_OK);
    assert_int_equal(challenge_create_as(&b, &create), ERR_OK); /* however it ended */
    assert_true(got.replay);
    create.asked = "bb23";
    assert_int_equal(challenge_create_as(&b, &create), ERR_EXISTS);
    assert_false(got.given);
    record = challenge_of(&other, second, LIFE_MS);
    assert_int_equal(challenge_create_as(&b, &create), ERR_OK); /* another user's key is another key */
    assert_false(got.replay);
    assert_in_range(redis_do("PTTL %s", key_idempotency(other.tag, key).text), 590000, 600000);
}

static void refused_request_leaves_its_idempotency_key_free(void **state)
{
    (void)state;
    struct person person = person_new();
    char id[ID_SIZE];
    Record__Challenge record = challenge_of(&person, id, LIFE_MS);
    struct challenge_create create = {
        .record = &record, .pending_of = PORTAL, .session = "", .idempotency = "cc", .asked = "first"};
    assert_int_equal(challenge_create_as(&a, &create), ERR_NOT_FOUND);
    enrol(&a, &person);
    create.asked = "second";
    assert_int_equal(challenge_create_as(&a, &create), ERR_OK);
}

static void one_pending_a_portal(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char first[ID_SIZE], second[ID_SIZE];
    Record__Challenge record = challenge_of(&person, first, LIFE_MS);
    struct challenge_create create = {.record = &record, .pending_of = PORTAL, .session = "one two"};
    assert_int_equal(challenge_create_as(&a, &create), ERR_OK);
    static const struct {
        const char *session;
        bool same;
    } sessions[] = {{"one two", true}, {"one", false}, {"two", false}, {"one two three", false}, {"", false}};
    for (size_t i = 0; i < sizeof sessions / sizeof *sessions; i++) {
        record = challenge_of(&person, second, LIFE_MS);
        create.session = sessions[i].session;
        assert_int_equal(challenge_create_as(&a, &create), ERR_BAD_STATE);
        assert_true(got.given);
        assert_string_equal(got.other_id, first);
        assert_int_equal(got.same_session, sessions[i].same);
        assert_int_equal(challenge_get(&a, second, false), ERR_NOT_FOUND);
    }
    record.portal = "other-portal";
    create.pending_of = record.portal;
    assert_int_equal(challenge_create_as(&a, &create), ERR_OK);
    assert_int_equal(pending_count(&person), 2);
}

static void no_session_is_not_the_same_session(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char first[ID_SIZE], second[ID_SIZE];
    challenge_new(&a, &person, first, LIFE_MS);
    Record__Challenge record = challenge_of(&person, second, LIFE_MS);
    assert_int_equal(challenge_create_plain(&a, &record), ERR_BAD_STATE);
    assert_string_equal(got.other_id, first);
    assert_false(got.same_session);
}

/* What the challenges of one user do to the next one: pending, and the limits that have tests of their own. */
static void forget(const struct person *person)
{
    redis_do("DEL %s %s", key_user(person->tag, "pending").text, key_user(person->tag, "limits").text);
}

static void newer_one_takes_the_place_of_the_old(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char first[ID_SIZE], second[ID_SIZE], third[ID_SIZE];
    challenge_new(&a, &person, first, LIFE_MS);
    assert_int_equal(challenge_get(&b, first, true), ERR_OK);
    Record__Challenge record = challenge_of(&person, second, LIFE_MS);
    struct challenge_create create = {
        .record = &record, .pending_of = PORTAL, .session = "", .supersede = first};
    assert_int_equal(challenge_create_as(&a, &create), ERR_OK);
    assert_int_equal(got.told.inbox_count, 1);
    assert_true(told_inbox(store_inbox(b.store)));
    assert_int_equal(got.told.device_count, 1);
    assert_state(first, CHALLENGE_SUPERSEDED);
    assert_int_equal(got.challenge.revision, 2);
    assert_true(got.challenge.settle_unix_ms >= got.challenge.create_unix_ms);
    assert_in_range(redis_do("PTTL %s", key_challenge(first).text), 590000, 600000);
    assert_state(second, CHALLENGE_PENDING);
    assert_int_equal(pending_count(&person), 1);
    /* One that ended meanwhile is left as it ended; one that is not named still stands in the way. */
    record = challenge_of(&person, third, LIFE_MS);
    assert_int_equal(challenge_create_as(&a, &create), ERR_BAD_STATE);
    assert_string_equal(got.other_id, second);
    create.supersede = second;
    assert_int_equal(challenge_settle(&a, second, CHALLENGE_DENIED, &person), ERR_OK);
    forget(&person);
    assert_int_equal(challenge_create_as(&a, &create), ERR_OK);
    assert_int_equal(got.told.inbox_count, 0);
    assert_state(second, CHALLENGE_DENIED);
    assert_state(third, CHALLENGE_PENDING);
}

static void one_whose_time_is_over_does_not_stand_in_the_way(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char first[ID_SIZE], second[ID_SIZE];
    challenge_new(&a, &person, first, 1);
    Record__Challenge record = challenge_of(&person, second, LIFE_MS);
    TURN_UNTIL(challenge_create_plain(&a, &record) != ERR_BAD_STATE);
    assert_int_equal(got.e, ERR_LIMIT); /* it counts as missed, though nobody has settled it */
    forget(&person);
    assert_int_equal(challenge_create_plain(&a, &record), ERR_OK);
    assert_int_equal(got.e, ERR_OK);
    assert_int_equal(pending_count(&person), 1);
    assert_state(first, CHALLENGE_PENDING); /* who waits for it settles it */
    assert_int_equal(challenge_settle(&a, first, CHALLENGE_EXPIRED, NULL), ERR_OK);
    assert_true(got.moved);
}

/* ---- waiting ---- */

static void who_waits_is_told(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    assert_int_equal(challenge_get(&a, id, false), ERR_OK);
    assert_int_equal(progress(&a, id, person.phone, SENT), ERR_OK);
    assert_int_equal(got.told.inbox_count, 0);
    assert_int_equal(challenge_get(&a, id, true), ERR_OK);
    assert_int_equal(challenge_get(&a, id, true), ERR_OK); /* twice is once */
    assert_int_equal(challenge_get(&b, id, true), ERR_OK);
    assert_int_equal(progress(&a, id, person.phone, DELIVERED), ERR_OK);
    assert_int_equal(got.told.inbox_count, 2);
    assert_true(told_inbox(store_inbox(a.store)) && told_inbox(store_inbox(b.store)));
    assert_int_equal(challenge_get(&a, id, false), ERR_OK);
    assert_int_equal(got.challenge.progress_count, 1); /* waiting shows nowhere else */
}

/* ---- settle ---- */

/* Each state in Redis, each state wanted: what the script does is what challenge_state_may_move() says. */
static void assert_move(struct person *person, enum challenge_state from, enum challenge_state to, bool over)
{
    char id[ID_SIZE];
    struct key key;
    challenge_new(&a, person, id, LIFE_MS);
    key = key_challenge(id);
    redis_do("HSET %s state %s", key.text, challenge_state_name(from));
    if (over || to == CHALLENGE_EXPIRED)
        let_time_pass(id);
    assert_int_equal(challenge_settle(&a, id, to, person), from == CHALLENGE_NONE ? ERR_MALFORMED : ERR_OK);
    if (from == CHALLENGE_NONE) { /* not a state that any script writes */
        forget(person);
        return;
    }
    bool moves = challenge_state_may_move(from, to);
    enum challenge_state now = !moves ? from : over ? CHALLENGE_EXPIRED : to;
    if (got.moved != moves || got.state != now)
        fail_msg("%s to %s: moved %d, %s", challenge_state_name(from), challenge_state_name(to), got.moved,
                 challenge_state_name(got.state));
    assert_string_equal(redis_text(NULL, "HGET %s state", key.text), challenge_state_name(now));
    assert_int_equal(strtoul(redis_text(NULL, "HGET %s revision", key.text), NULL, 10), moves ? 2 : 1);
    assert_int_equal(redis_do("HEXISTS %s settled", key.text), moves);
    bool answered = moves && now != CHALLENGE_EXPIRED;
    assert_int_equal(redis_do("HEXISTS %s settlement", key.text), answered);
    bool names = answered && now != CHALLENGE_CANCELLED && now != CHALLENGE_SUPERSEDED; /* nobody's answer */
    assert_string_equal(got.device_id, names ? person->phone : "");
    forget(person);
}

static void scripts_moves_are_those_of_the_table(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    for (unsigned from = CHALLENGE_NONE; from < CHALLENGE_STATE_COUNT; from++)
        for (unsigned to = CHALLENGE_NONE; to < CHALLENGE_STATE_COUNT; to++)
            assert_move(&person, from, to, to == CHALLENGE_EXPIRED);
}

static void whatever_comes_too_late_is_expired(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    for (unsigned to = CHALLENGE_PENDING; to < CHALLENGE_STATE_COUNT; to++)
        assert_move(&person, CHALLENGE_PENDING, to, true);
}

/* An old phone's word about a new one counts only while the new one waits for it. */
static void answer_about_an_enrolment_counts_while_that_waits(void **state)
{
    static const char *const states[] = {"to-approve", "cancelled", "void", "done", "to-confirm", ""};
    (void)state;
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        for (int over = 0; over < 2; over++) {
            struct person person = person_with_phone();
            char id[ID_SIZE], enrolment[ID_SIZE];
            fill_id(person.tag, enrolment);
            challenge_new(&a, &person, id, LIFE_MS);
            if (states[i][0])
                redis_do("HSET %s state %s expires %s", key_enrolment(enrolment).text, states[i],
                         over ? "1" : "9999999999999");
            settle_enrolment = enrolment;
            assert_int_equal(challenge_settle(&a, id, CHALLENGE_APPROVED, &person), ERR_OK);
            settle_enrolment = NULL;
            assert_int_equal(got.state, i == 0 && !over ? CHALLENGE_APPROVED : CHALLENGE_CANCELLED);
            assert_state(id, got.state);
        }
}

/* Who says "not me" is under attack, whether or not the attacker still waits. */
static void refusal_about_an_enrolment_counts_whether_or_not_that_waits(void **state)
{
    static const enum challenge_state refusals[] = {CHALLENGE_DENIED, CHALLENGE_REPORTED, CHALLENGE_FAILED};
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct person person = person_with_phone();
        char id[ID_SIZE], enrolment[ID_SIZE];
        fill_id(person.tag, enrolment);
        challenge_new(&a, &person, id, LIFE_MS);
        redis_do("HSET %s state cancelled expires 9999999999999", key_enrolment(enrolment).text);
        settle_enrolment = enrolment;
        assert_int_equal(challenge_settle(&a, id, refusals[i], &person), ERR_OK);
        settle_enrolment = NULL;
        assert_int_equal(got.state, refusals[i]);
        assert_int_equal(got.locked_until_unix_ms > 0, refusals[i] == CHALLENGE_REPORTED);
    }
}

static void settled_is_final_and_told(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    assert_int_equal(attach(&b, &person, 1, 3), ERR_OK);
    assert_int_equal(challenge_get(&a, id, true), ERR_OK);
    for (int i = 0; i < 3; i++) { /* a repeat, as after a lost reply, tells the same */
        assert_int_equal(challenge_settle(&b, id, i < 2 ? CHALLENGE_APPROVED : CHALLENGE_DENIED, &person),
                         ERR_OK);
        assert_int_equal(got.moved, i == 0);
        assert_int_equal(got.state, CHALLENGE_APPROVED);
        assert_string_equal(got.device_id, person.phone);
        assert_int_equal(got.told.device_count, 1);
        assert_presence(&got.told.devices[0].presence, store_inbox(b.store), 3);
        assert_int_equal(got.told.inbox_count, 1);
        assert_true(told_inbox(store_inbox(a.store)));
    }
    assert_state(id, CHALLENGE_APPROVED);
    assert_int_equal(got.challenge.revision, 2);
    assert_int_equal(got.challenge.settlement->state, CHALLENGE_APPROVED);
    assert_string_equal(got.challenge.settlement->device_id, person.phone);
    assert_string_equal(got.challenge.settlement->jws, "header.payload.signature");
    assert_in_range(got.challenge.settle_unix_ms, got.challenge.create_unix_ms, got.challenge.now_unix_ms);
    assert_in_range(redis_do("PTTL %s", key_challenge(id).text), 590000, 600000);
    assert_int_equal(pending_count(&person), 0);
}

static void expiry_before_its_time_is_refused(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE];
    challenge_new(&a, &person, id, 40);
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_EXPIRED, NULL), ERR_BAD_STATE);
    assert_false(got.given);
    assert_int_equal(challenge_get(&a, id, false), ERR_OK);
    assert_int_equal(got.challenge.revision, 1);
    int64_t expire_unix_ms = got.challenge.expire_unix_ms;
    TURN_UNTIL(challenge_settle(&a, id, CHALLENGE_EXPIRED, NULL) == ERR_OK);
    assert_true(got.moved);
    assert_int_equal(got.state, CHALLENGE_EXPIRED);
    assert_state(id, CHALLENGE_EXPIRED);
    assert_true(got.challenge.settle_unix_ms >= expire_unix_ms);
    assert_null(got.challenge.settlement);
}

static void settling_what_is_not_there(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE], unknown[ID_SIZE];
    fill_id(person.tag, unknown);
    assert_int_equal(challenge_settle(&a, unknown, CHALLENGE_CANCELLED, NULL), ERR_NOT_FOUND);
    challenge_new(&a, &person, id, LIFE_MS);
    struct challenge_settle settle = {.id = id, .fence = bytes_of("another"), .state = CHALLENGE_CANCELLED};
    assert_int_equal(got_wait(store_challenge_settle(a.store, &settle, on_settled, NULL)), ERR_NOT_FOUND);
    assert_false(got.given);
    assert_state(id, CHALLENGE_PENDING);
}

static void answer_of_what_is_no_device_any_more_is_denied(void **state)
{
    (void)state;
    struct person person = person_with_phone(), unknown = person_with_other_phone(&person), other = person;
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_APPROVED, &unknown), ERR_DENIED);
    assert_false(got.given);
    other.keys[0][0] ^= 1;
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_APPROVED, &other), ERR_DENIED);
    redis_do("HDEL %s %s", key_user(person.tag, "devices").text, person.phone);
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_APPROVED, &person), ERR_DENIED);
    assert_state(id, CHALLENGE_PENDING);
    assert_int_equal(got.challenge.revision, 1);
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_CANCELLED, NULL), ERR_OK); /* that needs none */
    assert_true(got.moved);
}

/* ---- progress ---- */

static const struct challenge_progress *progress_of(const char *id, const struct person *person,
                                                    uint64_t revision)
{
    assert_int_equal(challenge_get(&a, id, false), ERR_OK);
    assert_int_equal(got.challenge.revision, revision);
    for (size_t i = 0; i < got.challenge.progress_count; i++)
        if (strcmp(got.challenge.progress[i].device_id, person->phone) == 0)
            return &got.challenge.progress[i];
    return NULL;
}

static void progress_goes_forward_only(void **state)
{
    (void)state;
    struct person person = person_with_phone(), second = person_with_other_phone(&person);
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    assert_int_equal(challenge_get(&b, id, true), ERR_OK);
    assert_int_equal(progress(&a, id, person.phone, 1), ERR_OK); /* queued: no news */
    assert_int_equal(got.told.inbox_count, 0);
    assert_null(progress_of(id, &person, 1));
    static const struct {
        unsigned step, expected, revision;
    } steps[] = {{SENT, SENT, 2}, {SENT, SENT, 2}, {DELIVERED, DELIVERED, 3}, {SENT, DELIVERED, 3},
                 {SEEN, SEEN, 4}, {SEEN, SEEN, 4}, {DELIVERED, SEEN, 4}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        bool news = i == 0 || steps[i].revision != steps[i - 1].revision;
        assert_int_equal(progress(&a, id, person.phone, steps[i].step), ERR_OK);
        assert_int_equal(got.told.inbox_count, news ? 1 : 0);
        const struct challenge_progress *at = progress_of(id, &person, steps[i].revision);
        assert_non_null(at);
        assert_int_equal(at->progress, steps[i].expected);
        assert_true(at->sent_unix_ms > 0);
        assert_int_equal(at->delivered_unix_ms > 0, steps[i].expected >= DELIVERED);
        assert_int_equal(at->seen_unix_ms > 0, steps[i].expected >= SEEN);
    }
    assert_int_equal(progress(&a, id, second.phone, SENT), ERR_OK); /* each phone has its own */
    assert_int_equal(progress_of(id, &second, 5)->progress, SENT);
    assert_int_equal(progress_of(id, &person, 5)->progress, SEEN);
}

static void skipped_steps_are_dated_too(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    assert_int_equal(progress(&a, id, person.phone, SENT), ERR_OK);
    int64_t sent_unix_ms = progress_of(id, &person, 2)->sent_unix_ms;
    turn(3);
    assert_int_equal(progress(&a, id, person.phone, SEEN), ERR_OK);
    const struct challenge_progress *at = progress_of(id, &person, 3);
    assert_int_equal(at->sent_unix_ms, sent_unix_ms); /* what is dated keeps its date */
    assert_true(at->delivered_unix_ms > sent_unix_ms);
    assert_int_equal(at->delivered_unix_ms, at->seen_unix_ms);
}

static void progress_of_what_is_over_is_no_news(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE], unknown[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    assert_int_equal(challenge_get(&b, id, true), ERR_OK);
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_APPROVED, &person), ERR_OK);
    assert_int_equal(progress(&a, id, person.phone, SEEN), ERR_OK);
    assert_int_equal(got.told.inbox_count, 0);
    assert_null(progress_of(id, &person, 2));
    fill_id(person.tag, unknown);
    assert_int_equal(progress(&a, unknown, person.phone, SEEN), ERR_OK);
    assert_int_equal(got.told.inbox_count, 0);
    assert_int_equal(redis_do("EXISTS %s", key_challenge(unknown).text), 0);
}

/* ---- attach against create ---- */

static struct race {
    bool attached, created, listed, routed;
    const char *id, *phone;
} race;

static void on_race_attached(enum err e, const struct device_attached *attached, void *arg)
{
    (void)arg;
    race.attached = e == ERR_OK;
    for (size_t i = 0; attached && i < attached->pending_count; i++)
        race.listed |= strcmp(attached->pending[i], race.id) == 0;
    loop_stop(loop);
}

static void on_race_created(enum err e, const struct challenge_created *created, void *arg)
{
    (void)arg;
    race.created = e == ERR_OK;
    for (size_t i = 0; created && i < created->routes.device_count; i++)
        race.routed |= strcmp(created->routes.devices[i].device_id, race.phone) == 0 &&
                       strcmp(created->routes.devices[i].presence.inbox, store_inbox(a.store)) == 0;
    loop_stop(loop);
}

static void race_once(struct person *person, uint64_t connection)
{
    char id[ID_SIZE];
    Record__Challenge record = challenge_of(person, id, LIFE_MS);
    const struct challenge_create create = {.record = &record, .pending_of = PORTAL, .session = ""};
    bool attach_first = random() % 2;
    const struct presence presence = store_presence(a.store, connection, 0);
    race = (struct race){.id = id, .phone = person->phone};
    if (random() % 4 == 0)
        redis_do("SCRIPT FLUSH"); /* then one more journey before either takes effect */
    for (int half = 0; half < 2; half++) {
        if ((half == 0) == attach_first)
            store_device_attach(a.store, person->phone, 1, digest_of(person->keys[0]), &presence,
                                on_race_attached, NULL);
        else
            store_challenge_create(b.store, &create, on_race_created, NULL);
        if (random() % 3 == 0)
            turn(1);
    }
    TURN_UNTIL(race.attached && race.created);
    if (!race.listed && !race.routed)
        fail_msg("round %lu: neither saw the other", (unsigned long)connection);
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_CANCELLED, NULL), ERR_OK);
    redis_do("DEL %s", key_user(person->tag, "presence").text);
    forget(person);
}

static void attach_and_create_cannot_miss_each_other(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    unsigned listed = 0, routed = 0;
    srandom(5);
    for (uint64_t round = 1; round <= 200; round++) {
        race_once(&person, round);
        listed += race.listed;
        routed += race.routed;
    }
    assert_true(listed > 20 && routed > 20); /* both orders were seen, or this shows nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(who_cannot_be_asked),
        TEST(accepted_challenge_waits_and_names_the_phones),
        TEST(repeat_of_the_same_changes_nothing),
        TEST(idempotency_key_stands_for_one_request),
        TEST(refused_request_leaves_its_idempotency_key_free),
        TEST(one_pending_a_portal),
        TEST(no_session_is_not_the_same_session),
        TEST(newer_one_takes_the_place_of_the_old),
        TEST(one_whose_time_is_over_does_not_stand_in_the_way),
        TEST(who_waits_is_told),
        TEST(scripts_moves_are_those_of_the_table),
        TEST(whatever_comes_too_late_is_expired),
        TEST(answer_about_an_enrolment_counts_while_that_waits),
        TEST(refusal_about_an_enrolment_counts_whether_or_not_that_waits),
        TEST(settled_is_final_and_told),
        TEST(expiry_before_its_time_is_refused),
        TEST(settling_what_is_not_there),
        TEST(answer_of_what_is_no_device_any_more_is_denied),
        TEST(progress_goes_forward_only),
        TEST(skipped_steps_are_dated_too),
        TEST(progress_of_what_is_over_is_no_news),
        TEST(attach_and_create_cannot_miss_each_other),
    };
    return cmocka_run_group_tests_name("store_challenge", tests, group_set_up, group_tear_down);
}
