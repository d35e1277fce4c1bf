/**
 * domain/challenge and domain/router, on two workers and a real Redis: from the request to the phone and from the
 * phone's signed answer to whoever waits, through the other worker's inbox.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "answer_fixture.h"
#include "domain_fixture.h"

static int suite_set_up(void **state)
{
    return make_keys() == 0 ? group_set_up(state) : -1;
}

static int suite_tear_down(void **state)
{
    free_keys();
    return group_tear_down(state);
}

/* Somebody whose phone can sign, and where it hangs. */
static struct person signer(struct node *node, uint64_t connection)
{
    struct person person = person_new();
    memcpy(person.keys[0], points[POSSESSION], sizeof person.keys[0]);
    memcpy(person.keys[1], points[USER_VERIFICATION], sizeof person.keys[1]);
    enrol(&a, &person);
    hang(node, &person, connection);
    return person;
}

/* ---- asking ---- */

static struct {
    unsigned came;
    enum err e;
    char id[ID_SIZE];
    int64_t expire_unix_ms;
    uint8_t nonce[CHALLENGE_NONCE_MAX_BYTES];
    size_t nonce_len;
} asked;

static void on_asked(enum err e, const struct challenge_accepted *accepted, void *arg)
{
    (void)arg;
    asked.came++;
    asked.e = e;
    if (accepted) {
        snprintf(asked.id, sizeof asked.id, "%s", accepted->id);
        asked.expire_unix_ms = accepted->expire_unix_ms;
        memcpy(asked.nonce, accepted->nonce.p, accepted->nonce.len);
        asked.nonce_len = accepted->nonce.len;
    }
    loop_stop(loop);
}

static struct challenge_request request_for(const struct person *person)
{
    return (struct challenge_request){.organisation = ORGANISATION,
                                      .portal = PORTAL,
                                      .user = person->user,
                                      .display = bytes_of("display"),
                                      .mode = 1,
                                      .user_verification = 1,
                                      .life_ms = LIFE_MS,
                                      .browser_session = "browser"};
}

static enum err ask(struct node *node, const struct challenge_request *request)
{
    memset(&asked, 0, sizeof asked);
    challenge_create(&node->domain, request, on_asked, NULL);
    assert_int_equal(asked.came, 0);
    TURN_UNTIL(asked.came);
    return asked.e;
}

static void accepted_challenge_is_pushed_to_the_other_worker(void **state)
{
    (void)state;
    struct person person = signer(&far, 7);
    struct challenge_request request = request_for(&person);
    assert_int_equal(ask(&near, &request), ERR_OK);
    assert_int_equal(asked.nonce_len, CHALLENGE_NONCE_OWN_BYTES);
    TURN_UNTIL(far.push_count == 1);
    assert_string_equal(far.last.id, asked.id);
    assert_string_equal(far.last.device_id, person.phone);
    assert_int_equal(far.last.connection, 7);
    assert_int_equal(near.push_count, 0);
    assert_int_equal(challenge_get(&a, asked.id, false), ERR_OK);
    assert_string_equal(got.challenge.record->user, person.user);
    assert_memory_equal(got.challenge.record->nonce.data, asked.nonce, asked.nonce_len);
    assert_int_equal(got.challenge.expire_unix_ms, asked.expire_unix_ms);
}

static void what_cannot_be_accepted_says_why(void **state)
{
    (void)state;
    struct person person = person_new(), holder = signer(&near, 1);
    struct challenge_request request = request_for(&person);
    assert_int_equal(ask(&near, &request), ERR_NOT_FOUND);
    request = request_for(&holder);
    assert_int_equal(ask(&near, &request), ERR_OK);
    assert_int_equal(near.push_count, 1); /* here, without the way through the inbox */
    request.browser_session = "another browser";
    assert_int_equal(ask(&near, &request), ERR_BAD_STATE);
    request.browser_session = "";
    assert_int_equal(ask(&near, &request), ERR_BAD_STATE);
    assert_int_equal(near.push_count, 1);
}

static const char *only_idempotency_key(const struct person *person)
{
    static char key[128];
    redisReply *stored = redisCommand(redis.raw, "KEYS np1:{%s}:i:*", person->tag);
    assert_int_equal(stored->elements, 1);
    snprintf(key, sizeof key, "%s", stored->element[0]->str);
    freeReplyObject(stored);
    return key;
}

/* The idempotency value is not sealed: one that names another's challenge is no answer. */
static void forged_idempotency_brings_nobody_elses_challenge(void **state)
{
    (void)state;
    struct person victim = signer(&near, 1), thief = signer(&far, 2);
    struct challenge_request request = request_for(&thief);
    char thiefs[ID_SIZE];
    request.idempotency = bytes_of("key");
    request.asked = bytes_of("asked");
    assert_int_equal(ask(&near, &request), ERR_OK);
    memcpy(thiefs, asked.id, ID_SIZE);
    request = request_for(&victim);
    request.idempotency = bytes_of("key");
    request.asked = bytes_of("asked");
    assert_int_equal(ask(&near, &request), ERR_OK);
    const char *key = only_idempotency_key(&victim);
    const char *known = redis_text(NULL, "GET %s", key);
    redis_do("SET %s %s%s", key, thiefs, known + ID_LEN);
    assert_int_equal(ask(&near, &request), ERR_BAD_SIGNATURE);
}

/* Nor does one that names an approval of the same person at the same portal: it was given to another request. */
static void forged_idempotency_brings_no_earlier_approval(void **state)
{
    (void)state;
    struct person person = signer(&near, 1);
    struct challenge_request request = request_for(&person);
    char approved[ID_SIZE];
    request.idempotency = bytes_of("this morning");
    request.asked = bytes_of("asked");
    assert_int_equal(ask(&near, &request), ERR_OK);
    memcpy(approved, asked.id, ID_SIZE);
    assert_int_equal(challenge_settle(&a, approved, CHALLENGE_APPROVED, &person), ERR_OK);
    redis_do("DEL %s", only_idempotency_key(&person));
    request.idempotency = bytes_of("tonight");
    assert_int_equal(ask(&near, &request), ERR_OK);
    const char *key = only_idempotency_key(&person);
    const char *known = redis_text(NULL, "GET %s", key);
    redis_do("SET %s %s%s", key, approved, known + ID_LEN);
    assert_int_equal(ask(&near, &request), ERR_BAD_SIGNATURE);
}

static void same_request_is_answered_the_same(void **state)
{
    (void)state;
    struct person person = signer(&near, 1);
    struct challenge_request request = request_for(&person);
    char first[ID_SIZE];
    request.nonce = bytes_of("0123456789abcdef");
    request.idempotency = bytes_of("key");
    request.asked = bytes_of("request");
    assert_int_equal(ask(&near, &request), ERR_OK);
    memcpy(first, asked.id, sizeof first);
    assert_int_equal(ask(&far, &request), ERR_OK);
    assert_string_equal(asked.id, first);
    assert_memory_equal(asked.nonce, "0123456789abcdef", 16);
    request.asked = bytes_of("another");
    assert_int_equal(ask(&far, &request), ERR_EXISTS);
    request.asked = bytes_of("request");
    request.portal = "other-portal"; /* whose key it is not */
    assert_int_equal(ask(&far, &request), ERR_OK);
    assert_string_not_equal(asked.id, first);
}

/* Whoever accepted it may have died with the reply, before a phone was told: the one that is asked again tells it. */
static void repeated_request_is_pushed_while_nobody_has_it(void **state)
{
    (void)state;
    struct person person = signer(&far, 1);
    struct challenge_request request = request_for(&person);
    request.idempotency = bytes_of("key");
    request.asked = bytes_of("request");
    assert_int_equal(ask(&near, &request), ERR_OK);
    TURN_UNTIL(far.push_count == 1);
    assert_int_equal(ask(&near, &request), ERR_OK);
    TURN_UNTIL(far.push_count == 2);
    assert_string_equal(far.last.id, asked.id);
    assert_int_equal(challenge_settle(&a, asked.id, CHALLENGE_APPROVED, &person), ERR_OK);
    assert_int_equal(ask(&near, &request), ERR_OK);
    turn(50);
    assert_int_equal(far.push_count, 2);
}

static void same_browser_supersedes(void **state)
{
    (void)state;
    struct person person = signer(&far, 1);
    struct challenge_request request = request_for(&person);
    char first[ID_SIZE];
    int64_t before = metrics_sum(metrics, METRIC_CHALLENGES_SUPERSEDED);
    assert_int_equal(ask(&near, &request), ERR_OK);
    memcpy(first, asked.id, sizeof first);
    assert_int_equal(ask(&near, &request), ERR_OK);
    assert_string_not_equal(asked.id, first);
    TURN_UNTIL(far.push_count == 2 && far.resolved_count == 1); /* the phone drops the old one */
    assert_int_equal(challenge_get(&a, first, false), ERR_OK);
    assert_int_equal(got.challenge.state, CHALLENGE_SUPERSEDED);
    assert_int_equal(metrics_sum(metrics, METRIC_CHALLENGES_SUPERSEDED) - before, 1);
}

static void cancelled_operation_is_silent_and_takes_effect(void **state)
{
    (void)state;
    struct person person = signer(&far, 1);
    struct challenge_request request = request_for(&person);
    memset(&asked, 0, sizeof asked);
    challenge_op_cancel(challenge_create(&near.domain, &request, on_asked, NULL));
    challenge_op_cancel(NULL);
    TURN_UNTIL(far.push_count == 1);
    assert_int_equal(asked.came, 0);
}

static void dead_workers_presence_is_cleared(void **state)
{
    (void)state;
    struct person person = signer(&far, 1);
    struct challenge_request request = request_for(&person);
    struct key presence = key_user(person.tag, "presence");
    redis_do("HSET %s %s w9.0011223344556677.1#3#0", presence.text, person.phone);
    assert_int_equal(ask(&near, &request), ERR_OK);
    TURN_UNTIL(strcmp(redis_text(NULL, "HGET %s %s", presence.text, person.phone), "##0") == 0);
    assert_int_equal(far.push_count, 0);
}

static void taken_device_ends_the_old_connection(void **state)
{
    (void)state;
    struct person person = signer(&far, 4);
    struct route old = {.presence = {.connection = 4}};
    memcpy(old.device_id, person.phone, ID_SIZE);
    router_take(near.domain.router, &old, false); /* hung nowhere */
    snprintf(old.presence.inbox, INBOX_SIZE, "%s", store_inbox(far.domain.store));
    router_take(near.domain.router, &old, false);
    router_take(far.domain.router, &old, false);
    TURN_UNTIL(far.taken == 2);
    assert_int_equal(near.taken, 0);
    assert_int_equal(far.removed, 0);
    router_take(near.domain.router, &old,
                true); /* the device is gone, which the other node is told as well */
    router_take(far.domain.router, &old, true);
    TURN_UNTIL(far.removed == 2);
}

/* ---- answering ---- */

static struct {
    unsigned came;
    enum err e;
    enum challenge_state state;
    char device_id[ID_SIZE];
} answered;

static void on_answered(enum err e, enum challenge_state state, const char *device_id, void *arg)
{
    (void)arg;
    answered.came++;
    answered.e = e;
    answered.state = state;
    snprintf(answered.device_id, sizeof answered.device_id, "%s", device_id);
    loop_stop(loop);
}

static enum err send_answer(struct node *node, struct person *person, const char *id, struct bytes jws)
{
    Record__Device device = device_of(person);
    memset(&answered, 0, sizeof answered);
    challenge_answer(&node->domain, &device, id, jws, on_answered, NULL);
    assert_int_equal(answered.came, 0);
    TURN_UNTIL(answered.came);
    return answered.e;
}

/* A good answer of the person's phone to challenge @p id, as it stands in Redis. */
static struct buf answer_of(struct person *person, const char *id, const char *decision, int by)
{
    struct claim claims[CLAIMS_MAX];
    Record__Device device = device_of(person);
    assert_int_equal(challenge_get(&a, id, false), ERR_OK);
    size_t count =
        good_claims(claims, decision, &device, got.challenge.record, got.challenge.expire_unix_ms / 1000);
    return sign(claims, count, strcmp(decision, "approve") == 0 ? JWS_TYP_APPROVAL : JWS_TYP_REFUSAL, by, by);
}

static enum err answer(struct node *node, struct person *person, const char *id, const char *decision, int by)
{
    struct buf jws = answer_of(person, id, decision, by);
    enum err e = send_answer(node, person, id, buf_view(&jws));
    buf_done(&jws);
    return e;
}

static enum challenge_state watched;
static char watched_jws[2048];

static void on_watched(enum err e, const struct challenge_view *view, void *arg)
{
    (void)arg;
    watched = e == ERR_OK ? view->state : CHALLENGE_NONE;
    if (view && view->settlement)
        snprintf(watched_jws, sizeof watched_jws, "%s", view->settlement->jws);
    loop_stop(loop);
}

static int64_t store_commands(void)
{
    return metrics_sum(metrics, METRIC_STORE_COMMANDS);
}

/* What was accepted here is in hand: the store accepts it and the store settles it, and nothing is read in between. */
static void login_on_one_worker_is_two_commands(void **state)
{
    (void)state;
    struct person person = signer(&near, 1);
    struct challenge_request request = request_for(&person);
    int64_t before = store_commands();
    assert_int_equal(ask(&near, &request), ERR_OK);
    watched = CHALLENGE_NONE;
    watch_challenge(near.domain.watches, asked.id, 0, on_watched, NULL);
    TURN_UNTIL(watched == CHALLENGE_PENDING);
    assert_int_equal(store_commands() - before, 1);
    struct buf jws = answer_of(&person, asked.id, "approve", USER_VERIFICATION);
    before = store_commands();
    assert_int_equal(send_answer(&near, &person, asked.id, buf_view(&jws)), ERR_OK);
    assert_int_equal(answered.state, CHALLENGE_APPROVED);
    assert_int_equal(watched, CHALLENGE_APPROVED);
    assert_memory_equal(watched_jws, buf_view(&jws).p, buf_len(&jws));
    assert_int_equal(store_commands() - before, 1);
    buf_done(&jws);
}

/* What is in hand is not believed where it can have become something else. */
static void what_is_in_hand_is_held_against_the_store(void **state)
{
    (void)state;
    struct person person = signer(&near, 1);
    struct challenge_request request = request_for(&person);
    assert_int_equal(ask(&near, &request), ERR_OK);
    struct buf jws = answer_of(&person, asked.id, "approve", USER_VERIFICATION);
    assert_int_equal(challenge_settle(&a, asked.id, CHALLENGE_CANCELLED, NULL), ERR_OK); /* nobody is told */
    assert_int_equal(send_answer(&near, &person, asked.id, buf_view(&jws)), ERR_OK);
    assert_int_equal(answered.state, CHALLENGE_CANCELLED);
    buf_done(&jws);
    assert_int_equal(ask(&near, &request), ERR_OK);
    jws = answer_of(&person, asked.id, "approve", USER_VERIFICATION);
    redis_do("DEL %s", key_challenge(asked.id).text); /* lost by a fail-over */
    assert_int_equal(send_answer(&near, &person, asked.id, buf_view(&jws)), ERR_NOT_FOUND);
    buf_done(&jws);
}

static void answer_reaches_who_waits_and_the_other_phones(void **state)
{
    (void)state;
    static const struct {
        const char *decision;
        enum challenge_state state;
        int by;
    } decisions[] = {{"approve", CHALLENGE_APPROVED, USER_VERIFICATION},
                     {"deny", CHALLENGE_DENIED, POSSESSION},
                     {"not_me", CHALLENGE_REPORTED, USER_VERIFICATION}};
    for (size_t i = 0; i < 3; i++) {
        struct person person = signer(&far, 1), second = person_with_other_phone(&person);
        struct challenge_request request = request_for(&person);
        enrol(&a, &second);
        hang(&near, &second, 2);
        assert_int_equal(ask(&near, &request), ERR_OK);
        watch_challenge(near.domain.watches, asked.id, 0, on_watched, NULL);
        TURN_UNTIL(watched == CHALLENGE_PENDING);
        size_t resolved = near.resolved_count;
        struct buf jws = answer_of(&person, asked.id, decisions[i].decision, decisions[i].by);
        assert_int_equal(send_answer(&far, &person, asked.id, buf_view(&jws)), ERR_OK);
        assert_int_equal(answered.state, decisions[i].state);
        assert_string_equal(answered.device_id, person.phone);
        TURN_UNTIL(watched == decisions[i].state && near.resolved_count > resolved);
        assert_true(bytes_equal(bytes_of(watched_jws), buf_view(&jws))); /* as the phone signed it */
        buf_done(&jws);
    }
}

static void first_answer_wins_and_a_repeat_is_told_the_same(void **state)
{
    (void)state;
    struct person person = signer(&far, 1);
    struct challenge_request request = request_for(&person);
    int64_t before = metrics_sum(metrics, METRIC_CHALLENGES_DENIED);
    assert_int_equal(ask(&near, &request), ERR_OK);
    struct buf late = answer_of(&person, asked.id, "approve", USER_VERIFICATION);
    assert_int_equal(answer(&far, &person, asked.id, "deny", POSSESSION), ERR_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(send_answer(i ? &near : &far, &person, asked.id, buf_view(&late)), ERR_OK);
        assert_int_equal(answered.state, CHALLENGE_DENIED);
        assert_string_equal(answered.device_id, person.phone);
    }
    assert_int_equal(metrics_sum(metrics, METRIC_CHALLENGES_DENIED) - before, 1);
    buf_done(&late);
}

/* Sent, delivered and answered within PROGRESS_DELAY_MS: one script, and it knows when each was. */
static void answer_takes_the_phones_progress_along(void **state)
{
    (void)state;
    struct person person = signer(&far, 1);
    struct challenge_request request = request_for(&person);
    assert_int_equal(ask(&near, &request), ERR_OK);
    struct buf jws = answer_of(&person, asked.id, "approve", USER_VERIFICATION);
    progress_note(far.domain.progress, asked.id, person.phone, 2, NULL, NULL);
    turn(20);
    progress_note(far.domain.progress, asked.id, person.phone, 3, NULL, NULL);
    assert_int_equal(send_answer(&far, &person, asked.id, buf_view(&jws)), ERR_OK);
    assert_int_equal(challenge_get(&a, asked.id, false), ERR_OK);
    assert_int_equal(got.challenge.state, CHALLENGE_APPROVED);
    assert_int_equal(got.challenge.revision, 2); /* nothing was written between */
    assert_int_equal(got.challenge.progress_count, 1);
    assert_int_equal(got.progress[0].progress, 3);
    assert_in_range(got.progress[0].delivered_unix_ms - got.progress[0].sent_unix_ms, 15, PATIENCE_MS);
    assert_true(got.progress[0].delivered_unix_ms <= got.challenge.settle_unix_ms);
    assert_int_equal(got.progress[0].seen_unix_ms, 0);
    turn(PROGRESS_DELAY_MS + 20); /* it was taken away, not copied */
    assert_int_equal(challenge_get(&a, asked.id, false), ERR_OK);
    assert_int_equal(got.challenge.revision, 2);
    buf_done(&jws);
}

/* The other phones' too; and what the worker of another has noted is written late, but with its own time. */
static void answer_takes_all_phones_progress_along(void **state)
{
    (void)state;
    struct person person = signer(&far, 1), second = person_with_other_phone(&person), third = second;
    struct challenge_request request = request_for(&person);
    enrol(&a, &second);
    hang(&far, &second, 2);
    fill_id(person.tag, third.phone);
    assert_int_equal(ask(&near, &request), ERR_OK);
    struct buf jws = answer_of(&person, asked.id, "approve", USER_VERIFICATION);
    progress_note(far.domain.progress, asked.id, person.phone, 3, NULL, NULL);
    progress_note(far.domain.progress, asked.id, second.phone, 2, NULL, NULL);
    progress_note(near.domain.progress, asked.id, third.phone, 4, NULL, NULL);
    turn(3);
    assert_int_equal(send_answer(&far, &person, asked.id, buf_view(&jws)), ERR_OK);
    assert_int_equal(challenge_get(&a, asked.id, false), ERR_OK);
    assert_int_equal(got.challenge.revision, 2);
    assert_int_equal(got.challenge.progress_count, 2);
    TURN_UNTIL(challenge_get(&a, asked.id, false) == ERR_OK && got.challenge.progress_count == 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(got.progress[i].sent_unix_ms <= got.challenge.settle_unix_ms);
    assert_int_equal(progress(&a, asked.id, person.phone, 4),
                     ERR_OK); /* reached after the end: that is not shown */
    assert_int_equal(challenge_get(&a, asked.id, false), ERR_OK);
    for (size_t i = 0; i < 3; i++)
        if (strcmp(got.progress[i].device_id, person.phone) == 0)
            assert_int_equal(got.progress[i].progress, 3);
    assert_int_equal(got.challenge.revision, 2);
    buf_done(&jws);
}

static void progress_that_no_answer_takes_along_is_written_soon(void **state)
{
    (void)state;
    struct person person = signer(&far, 1);
    struct challenge_request request = request_for(&person);
    assert_int_equal(ask(&near, &request), ERR_OK);
    progress_note(far.domain.progress, asked.id, person.phone, 2, NULL, NULL);
    progress_note(far.domain.progress, asked.id, person.phone, 4, NULL, NULL);
    TURN_UNTIL(challenge_get(&a, asked.id, false) == ERR_OK && got.challenge.progress_count == 1);
    assert_int_equal(got.progress[0].progress, 4);
    assert_int_equal(got.challenge.revision, 2); /* together */
    for (unsigned i = 0; i < 3; i++) {
        char other[ID_SIZE];
        fill_id(person.tag, other);
        progress_note(far.domain.progress, asked.id, other, 2, NULL, NULL);
    }
    TURN_UNTIL(challenge_get(&a, asked.id, false) == ERR_OK && got.challenge.progress_count > 1);
    assert_int_equal(got.challenge.progress_count, 4); /* and those of all phones together */
    assert_int_equal(got.challenge.revision, 3);
}

/* An acknowledgement costs its sender nothing: what is held of them has a limit. */
static void progress_beyond_the_limit_pushes_out_the_oldest(void **state)
{
    (void)state;
    struct person person = signer(&far, 1);
    struct challenge_request request = request_for(&person);
    struct challenge_reached reached[REACHED_MAX];
    assert_int_equal(ask(&near, &request), ERR_OK);
    progress_note(far.domain.progress, asked.id, person.phone, 3, NULL, NULL);
    assert_int_equal(progress_noted(far.domain.progress, asked.id, reached), 1);
    for (unsigned i = 0; i < PROGRESS_MAX; i++) {
        char id[ID_SIZE];
        fill_id(person.tag, id);
        progress_note(far.domain.progress, id, person.phone, 2, NULL, NULL);
    }
    assert_int_equal(progress_noted(far.domain.progress, asked.id, reached), 0);
    TURN_UNTIL(challenge_get(&a, asked.id, false) == ERR_OK && got.challenge.progress_count == 1);
}

static void answer_that_does_not_count_changes_nothing(void **state)
{
    (void)state;
    struct person person = signer(&far, 1), other = signer(&far, 2), stranger = person;
    struct challenge_request request = request_for(&person);
    static char much[9000];
    char mine[ID_SIZE], others[ID_SIZE];
    memset(much, 'A', sizeof much - 1);
    assert_int_equal(ask(&near, &request), ERR_OK);
    memcpy(mine, asked.id, ID_SIZE);
    request = request_for(&other);
    assert_int_equal(ask(&near, &request), ERR_OK);
    memcpy(others, asked.id, ID_SIZE);
    struct buf jws = answer_of(&person, mine, "approve", USER_VERIFICATION);
    assert_int_equal(answer(&far, &person, mine, "approve", POSSESSION), ERR_DENIED);
    assert_int_equal(answer(&far, &person, mine, "approve", STRANGER), ERR_BAD_SIGNATURE);
    assert_int_equal(send_answer(&far, &person, mine, bytes_of("a.b.c")), ERR_INVALID);
    assert_int_equal(send_answer(&far, &person, mine, bytes_of("")), ERR_INVALID);
    assert_int_equal(send_answer(&far, &person, mine, bytes_of(much)), ERR_INVALID);
    assert_int_equal(send_answer(&far, &person, others, buf_view(&jws)), ERR_NOT_FOUND); /* another user's */
    assert_int_equal(send_answer(&far, &person, "no id", buf_view(&jws)), ERR_NOT_FOUND);
    assert_int_equal(send_answer(&far, &person, "", buf_view(&jws)), ERR_NOT_FOUND);
    memcpy(stranger.keys[0], points[STRANGER], sizeof stranger.keys[0]); /* a device of other keys */
    assert_int_equal(send_answer(&far, &stranger, mine, buf_view(&jws)), ERR_DENIED);
    assert_int_equal(answered.state, CHALLENGE_NONE);
    assert_int_equal(challenge_get(&a, mine, false), ERR_OK);
    assert_int_equal(got.challenge.state, CHALLENGE_PENDING);
    assert_int_equal(got.challenge.revision, 1);
    buf_done(&jws);
}

static void answer_to_another_challenge_is_refused(void **state)
{
    (void)state;
    struct person person = signer(&far, 1);
    struct challenge_request request = request_for(&person);
    assert_int_equal(ask(&near, &request), ERR_OK);
    struct buf jws = answer_of(&person, asked.id, "approve", USER_VERIFICATION);
    assert_int_equal(ask(&near, &request), ERR_OK); /* which takes its place */
    assert_int_equal(send_answer(&far, &person, asked.id, buf_view(&jws)), ERR_INVALID);
    assert_int_equal(challenge_get(&a, asked.id, false), ERR_OK);
    assert_int_equal(got.challenge.state, CHALLENGE_PENDING);
    buf_done(&jws);
}

static void answer_that_comes_too_late_is_expired(void **state)
{
    (void)state;
    struct person person = signer(&far, 1);
    struct challenge_request request = request_for(&person);
    request.life_ms = 50;
    assert_int_equal(ask(&near, &request), ERR_OK);
    struct buf jws = answer_of(&person, asked.id, "approve", USER_VERIFICATION);
    TURN_UNTIL(challenge_get(&a, asked.id, false) == ERR_OK &&
               got.challenge.now_unix_ms >= got.challenge.expire_unix_ms);
    assert_int_equal(send_answer(&far, &person, asked.id, buf_view(&jws)), ERR_OK);
    assert_int_equal(answered.state, CHALLENGE_EXPIRED);
    assert_int_equal(challenge_get(&a, asked.id, false), ERR_OK);
    assert_int_equal(got.challenge.state, CHALLENGE_EXPIRED);
    assert_null(got.challenge.settlement);
    buf_done(&jws);
}

/* ---- taking back ---- */

static unsigned cancelled;

static void on_cancelled(enum err e, void *arg)
{
    (void)arg;
    assert_int_equal(e, ERR_OK);
    cancelled++;
    loop_stop(loop);
}

static void cancelling_tells_the_phone_and_leaves_what_is_final(void **state)
{
    (void)state;
    struct person person = signer(&far, 1);
    struct challenge_request request = request_for(&person);
    assert_int_equal(ask(&near, &request), ERR_OK);
    assert_int_equal(challenge_get(&a, asked.id, false), ERR_OK);
    cancelled = 0;
    challenge_cancel(&near.domain, &got.challenge, NULL, on_cancelled, NULL);
    TURN_UNTIL(cancelled == 1 && far.resolved_count == 1);
    assert_int_equal(challenge_get(&a, asked.id, false), ERR_OK);
    assert_int_equal(got.challenge.state, CHALLENGE_CANCELLED);

    assert_int_equal(ask(&near, &request), ERR_OK);
    assert_int_equal(answer(&far, &person, asked.id, "approve", USER_VERIFICATION), ERR_OK);
    assert_int_equal(challenge_get(&a, asked.id, false), ERR_OK);
    challenge_cancel(&near.domain, &got.challenge, NULL, on_cancelled, NULL);
    TURN_UNTIL(cancelled == 2);
    assert_int_equal(challenge_get(&a, asked.id, false), ERR_OK);
    assert_int_equal(got.challenge.state, CHALLENGE_APPROVED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, nodes_set_up, nodes_tear_down)
        TEST(accepted_challenge_is_pushed_to_the_other_worker),
        TEST(forged_idempotency_brings_nobody_elses_challenge),
        TEST(forged_idempotency_brings_no_earlier_approval),
        TEST(what_cannot_be_accepted_says_why),
        TEST(same_request_is_answered_the_same),
        TEST(repeated_request_is_pushed_while_nobody_has_it),
        TEST(same_browser_supersedes),
        TEST(cancelled_operation_is_silent_and_takes_effect),
        TEST(dead_workers_presence_is_cleared),
        TEST(taken_device_ends_the_old_connection),
        TEST(login_on_one_worker_is_two_commands),
        TEST(what_is_in_hand_is_held_against_the_store),
        TEST(answer_reaches_who_waits_and_the_other_phones),
        TEST(first_answer_wins_and_a_repeat_is_told_the_same),
        TEST(answer_takes_the_phones_progress_along),
        TEST(answer_takes_all_phones_progress_along),
        TEST(progress_that_no_answer_takes_along_is_written_soon),
        TEST(progress_beyond_the_limit_pushes_out_the_oldest),
        TEST(answer_that_does_not_count_changes_nothing),
        TEST(answer_to_another_challenge_is_refused),
        TEST(answer_that_comes_too_late_is_expired),
        TEST(cancelling_tells_the_phone_and_leaves_what_is_final),
    };
    return cmocka_run_group_tests_name("challenge", tests, suite_set_up, suite_tear_down);
}
