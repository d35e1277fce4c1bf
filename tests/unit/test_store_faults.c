/**
 * The contract of store/store.h while Redis is lost, silent or forgetful: every call ends within its time, and what was
 * lost comes back by itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <sys/un.h>

#include "store_fixture.h"

#define SHORT_MS  300 /* of store calls that are expected to fail */
#define SLACK_MS  700 /* how late a busy machine may be */
#define PROMPT_MS 3000

static int restart(void **state)
{
    (void)state;
    if (redis.pid > 0)
        kill(redis.pid, SIGCONT);
    else if (redis_start() != 0)
        return -1;
    return tear_down(state);
}

/* ---- calls that go out together ---- */

static struct {
    unsigned answered, unavailable, timed_out, others;
    int64_t last_mono_ms;
} calls;

static unsigned ended(void)
{
    return calls.answered + calls.unavailable + calls.timed_out + calls.others;
}

static void on_end(enum err e, void *arg)
{
    (void)arg;
    *(e == ERR_OK            ? &calls.answered
      : e == ERR_UNAVAILABLE ? &calls.unavailable
      : e == ERR_TIMEOUT     ? &calls.timed_out
                             : &calls.others) += 1;
    calls.last_mono_ms = clock_mono_ms();
    loop_stop(loop);
}

static void on_user_end(enum err e, const struct user_view *view, void *arg)
{
    (void)view;
    on_end(e, arg);
}

static void send_calls(struct worker *w, const char *tag, unsigned count)
{
    memset(&calls, 0, sizeof calls);
    for (unsigned i = 0; i < count; i++)
        store_user_get(w->store, tag, on_user_end, NULL);
    assert_int_equal(ended(), 0); /* never inside the call */
}

/* Workers whose calls do not wait long. */
static int set_up_short(void **state)
{
    if (set_up(state) != 0)
        return -1;
    worker_close(&a);
    worker_open(&a, secret, 1, SHORT_MS);
    TURN_UNTIL(a.inboxes == 1);
    return 0;
}

/* ---- scripts ---- */

static void flushed_scripts_are_sent_again(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE];
    redis_do("SCRIPT FLUSH");
    challenge_new(&a, &person, id, LIFE_MS);
    redis_do("SCRIPT FLUSH");
    assert_int_equal(challenge_get(&b, id, false), ERR_OK);
    redis_do("SCRIPT FLUSH");
    send_calls(&a, person.tag, 50); /* all of them meet it */
    TURN_UNTIL(ended() == 50);
    assert_int_equal(calls.answered, 50);
    redis_do("SCRIPT FLUSH");
    store_cancel(store_user_get(a.store, person.tag, on_user_end, NULL));
    assert_int_equal(got_wait(store_ping(a.store, on_done, NULL)), ERR_OK);
    assert_int_equal(ended(), 50);
}

/* ---- a lost connection ---- */

/* A hint to the worker's present inbox arrives sooner than a read that blocks on another one would end. */
static void assert_prompt_hint(struct worker *from, struct worker *to)
{
    Record__Hint hint = RECORD__HINT__INIT;
    int64_t start_mono_ms = clock_mono_ms();
    size_t before = to->hint_count;
    hint.kind = HINT_CHANGED;
    assert_int_equal(got_wait(store_hint(from->store, store_inbox(to->store), &hint, on_done, NULL)), ERR_OK);
    TURN_UNTIL(to->hint_count == before + 1);
    assert_true(clock_mono_ms() - start_mono_ms < PROMPT_MS);
}

static void lost_connection_is_made_again_and_the_inbox_stays(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char inbox[INBOX_SIZE];
    snprintf(inbox, sizeof inbox, "%s", store_inbox(b.store));
    send_calls(&b, person.tag, 100);
    redis_do("CLIENT KILL TYPE normal SKIPME yes"); /* before it reads one of them, or their replies are */
    TURN_UNTIL(ended() == 100);
    assert_int_equal(calls.answered, 100); /* what was in flight is sent again */
    TURN_UNTIL(store_up(a.store) && store_up(b.store));
    assert_string_equal(store_inbox(b.store), inbox);
    assert_int_equal(b.inboxes, 1);
    assert_prompt_hint(&a, &b);
}

static void lost_inbox_is_followed_by_one_of_another_name(void **state)
{
    (void)state;
    char old[INBOX_SIZE];
    Record__Hint hint = RECORD__HINT__INIT;
    snprintf(old, sizeof old, "%s", store_inbox(b.store));
    redis_do("DEL %s", key_inbox(old).text);
    assert_int_equal(got_wait(store_hint(a.store, old, &hint, on_done, NULL)), ERR_NOT_FOUND);
    TURN_UNTIL(b.inboxes == 2); /* found by the renewal */
    assert_string_not_equal(store_inbox(b.store), old);
    assert_int_equal(redis_do("EXISTS %s", key_inbox(old).text), 0);
    assert_int_equal(redis_do("EXISTS %s", key_inbox(store_inbox(b.store)).text), 1);
    assert_int_equal(a.inboxes, 1);
    assert_prompt_hint(&a, &b);
}

static void inbox_lost_with_the_connection_is_found_at_once(void **state)
{
    (void)state;
    char old[INBOX_SIZE];
    snprintf(old, sizeof old, "%s", store_inbox(b.store));
    int64_t start_mono_ms = clock_mono_ms();
    redis_do("DEL %s", key_inbox(old).text);
    redis_do("CLIENT KILL TYPE normal SKIPME yes");
    TURN_UNTIL(b.inboxes == 2);
    assert_true(clock_mono_ms() - start_mono_ms < PROMPT_MS);
    assert_string_not_equal(store_inbox(b.store), old);
    assert_prompt_hint(&a, &b);
}

/* As while Redis loads its file: errors come back at once, and must not be asked for again at once. */
static void inbox_that_cannot_be_read_is_not_read_in_a_tight_loop(void **state)
{
    (void)state;
    struct key key = key_inbox(store_inbox(b.store));
    redis_do("CONFIG RESETSTAT");
    redis_do("DEL %s", key.text);
    redis_do("SET %s other", key.text);
    redis_do("CLIENT KILL TYPE normal SKIPME yes");
    turn(500);
    const char *reads = strstr(redis_text(NULL, "INFO commandstats"), "cmdstat_xread:calls=");
    assert_non_null(reads);
    assert_in_range(strtoul(reads + strlen("cmdstat_xread:calls="), NULL, 10), 1, 50);
    redis_do("DEL %s", key.text);
}

/* ---- Redis killed and started again ---- */

/* ---- lost replies ---- */

/* Redis gets what was sent, and does it; the connections that it answers on are gone. */
static void lose_replies(void)
{
    kill(redis.pid, SIGSTOP);
    turn(20); /* what is to be sent stands in the sockets */
    for (int fd = 3; fd < 64; fd++) {
        struct sockaddr_un peer = {0};
        socklen_t len = sizeof peer;
        if (fd != redis.raw->fd && getpeername(fd, (struct sockaddr *)&peer, &len) == 0 &&
            strcmp(peer.sun_path, "redis.sock") == 0) /* as the server bound it */
            shutdown(fd, SHUT_RDWR);
    }
    turn(20); /* the store has seen it, and sends again */
    kill(redis.pid, SIGCONT);
}

static void lock_is_told_though_the_reply_was_lost(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE], other[ID_SIZE], later[ID_SIZE];
    Record__Challenge record = challenge_of(&person, other, LIFE_MS);
    challenge_new(&a, &person, id, LIFE_MS);
    record.portal = "another";
    assert_int_equal(challenge_create_plain(&a, &record), ERR_OK);
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_EXPIRED, NULL),
                     ERR_BAD_STATE); /* the script is known now */
    got_meanwhile = lose_replies;
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_REPORTED, &person), ERR_OK);
    assert_true(got.moved); /* by this call, though it was sent twice */
    int64_t until = got.locked_until_unix_ms;
    assert_true(until > 0);
    assert_int_equal(got.other_count, 1);

    /* The worker died instead, and the phone says it again; meanwhile the lock was lifted, and the portal asks anew. */
    assert_int_equal(got_wait(store_user_unlock(a.store, person.tag, NULL, on_told, NULL)), ERR_OK);
    record = challenge_of(&person, later, LIFE_MS);
    record.portal = "a third";
    assert_int_equal(challenge_create_plain(&a, &record), ERR_OK);
    assert_int_equal(challenge_settle(&b, id, CHALLENGE_REPORTED, &person), ERR_OK);
    assert_false(got.moved);
    assert_true(got.locked_until_unix_ms == until);
    assert_int_equal(got.other_count, 1); /* what waited then, not what came since */
    assert_int_equal(challenge_settle(&b, id, CHALLENGE_CANCELLED, NULL), ERR_OK);
    assert_true(got.locked_until_unix_ms == 0); /* somebody else's business */
}

static void superseding_is_told_though_the_reply_was_lost(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char first[ID_SIZE], second[ID_SIZE];
    challenge_new(&a, &person, first, LIFE_MS);
    assert_int_equal(challenge_get(&b, first, true), ERR_OK); /* waits for it */
    Record__Challenge record = challenge_of(&person, second, LIFE_MS);
    const struct challenge_create create = {
        .record = &record, .pending_of = PORTAL, .session = "", .shows_code = true, .supersede = first};
    got_meanwhile = lose_replies;
    assert_int_equal(challenge_create_as(&a, &create), ERR_OK);
    assert_true(got.superseded);
    assert_true(told_inbox(store_inbox(b.store)));
}

static void inbox_that_was_refused_is_soon_tried_again(void **state)
{
    (void)state;
    worker_close(&b);
    redis_do("CONFIG SET min-replicas-to-write 1");
    worker_open(&b, secret, 2, TIMEOUT_MS);
    turn(500);
    assert_string_equal(store_inbox(b.store), "");
    redis_do("CONFIG SET min-replicas-to-write 0");
    int64_t since = clock_mono_ms();
    TURN_UNTIL(store_inbox(b.store)[0]);
    assert_true(clock_mono_ms() - since < PROMPT_MS);
}

static void killed_redis_comes_back_with_everything(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE], inbox[INBOX_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    snprintf(inbox, sizeof inbox, "%s", store_inbox(a.store));
    int64_t up_since_unix_ms = store_since_unix_ms(a.store);
    turn(3);
    kill(redis.pid, SIGSTOP); /* so that it dies with all of them in flight */
    send_calls(&a, person.tag, 100);
    turn(5);
    redis_kill();
    TURN_UNTIL(!store_up(a.store));
    assert_int_equal(ended(), 0);
    int64_t down_since_unix_ms = store_since_unix_ms(a.store);
    assert_true(down_since_unix_ms > up_since_unix_ms);
    turn(50);
    assert_int_equal(redis_start(), 0);
    TURN_UNTIL(ended() == 100);
    assert_int_equal(calls.answered, 100);
    assert_true(store_up(a.store));
    assert_true(store_since_unix_ms(a.store) > down_since_unix_ms);
    assert_int_equal(challenge_get(&a, id, false), ERR_OK);
    assert_int_equal(got.challenge.state, CHALLENGE_PENDING);
    assert_string_equal(store_inbox(a.store), inbox); /* it was written down, too */
    Record__Hint hint = RECORD__HINT__INIT;
    hint.kind = HINT_CHANGED;
    assert_int_equal(got_wait(store_hint(b.store, inbox, &hint, on_done, NULL)), ERR_OK);
    TURN_UNTIL(a.hint_count == 1);
}

/* The callbacks' order, as digits. */
static char order[16];

static void on_attach_end(enum err e, const struct device_attached *attached, void *arg)
{
    (void)attached;
    strncat(order, arg, 1);
    on_end(e, NULL);
}

/* One of each digit, with that connection. */
static void send_attaches(const struct person *person, const char *digits)
{
    for (; *digits; digits++) {
        const struct presence presence = store_presence(a.store, (uint64_t)(*digits - '0'), 0);
        store_device_attach(a.store, person->phone, 1, digest_of(person->keys[0]), &presence, on_attach_end,
                            (void *)(uintptr_t)digits);
    }
}

static void order_of_calls_survives_a_loss(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char last[96];
    memset(&calls, 0, sizeof calls);
    order[0] = '\0';
    kill(redis.pid, SIGSTOP);
    send_attaches(&person, "12345"); /* in flight when it dies */
    turn(5);
    redis_kill();
    TURN_UNTIL(!store_up(a.store));
    send_attaches(&person, "6789"); /* waiting for the next connection */
    assert_int_equal(redis_start(), 0);
    TURN_UNTIL(ended() == 9);
    assert_int_equal(calls.answered, 9);
    assert_string_equal(order, "123456789");
    snprintf(last, sizeof last, "%s#9#0", store_inbox(a.store));
    assert_string_equal(redis_text(NULL, "HGET %s %s", key_user(person.tag, "presence").text, person.phone),
                        last);
}

static void calls_fail_in_time_while_redis_is_away(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    kill(redis.pid, SIGSTOP);
    send_calls(&a, person.tag, 40); /* in flight */
    turn(5);
    redis_kill();
    int64_t start_mono_ms = clock_mono_ms();
    for (unsigned i = 0; i < 40; i++)
        store_ping(a.store, on_end, NULL);
    TURN_UNTIL(ended() == 80);
    assert_true(calls.last_mono_ms - start_mono_ms <= SHORT_MS + SLACK_MS);
    assert_int_equal(calls.timed_out + calls.unavailable, 80);
    assert_true(calls.timed_out >= 40); /* the first 40 wait to be sent again; they were sent before */
    assert_false(store_up(a.store));
    turn(SHORT_MS);
    /* One that is made now is refused at once: Redis has been away for as long as a call may take. */
    start_mono_ms = clock_mono_ms();
    assert_int_equal(got_wait(store_ping(a.store, on_done, NULL)), ERR_UNAVAILABLE);
    assert_true(clock_mono_ms() - start_mono_ms < SHORT_MS - 1);
    store_cancel(store_ping(a.store, on_end, NULL));
    assert_int_equal(redis_start(), 0);
    TURN_UNTIL(got_wait(store_ping(a.store, on_done, NULL)) == ERR_OK);
    assert_int_equal(ended(), 80);
}

static void call_cancelled_while_redis_is_away_is_not_sent(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE];
    Record__Challenge record = challenge_of(&person, id, LIFE_MS);
    const struct challenge_create create = {.record = &record, .pending_of = PORTAL, .session = ""};
    redis_kill();
    TURN_UNTIL(!store_up(b.store));
    got_forget();
    store_cancel(store_challenge_create(b.store, &create, on_created, NULL));
    assert_int_equal(redis_start(), 0);
    TURN_UNTIL(store_up(b.store));
    turn(20);
    assert_false(got.came);
    assert_int_equal(challenge_get(&b, id, false), ERR_NOT_FOUND);
}

static void store_opened_while_redis_is_away_waits_for_it(void **state)
{
    (void)state;
    worker_close(&b);
    redis_kill();
    worker_open(&b, secret, 2, TIMEOUT_MS);
    turn(100);
    assert_false(store_up(b.store));
    assert_string_equal(store_inbox(b.store), "");
    assert_int_equal(redis_start(), 0);
    TURN_UNTIL(b.inboxes == 1);
    assert_true(store_up(b.store));
}

static void store_can_be_closed_while_redis_is_away(void **state)
{
    (void)state;
    redis_kill();
    TURN_UNTIL(!store_up(b.store));
    memset(&calls, 0, sizeof calls);
    store_ping(b.store, on_end, NULL);
    worker_close(&b);
    assert_int_equal(calls.unavailable, 1);
}

/* ---- Redis stopped ---- */

static void silent_redis_fails_calls_in_time(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    int64_t start_mono_ms = clock_mono_ms();
    kill(redis.pid, SIGSTOP);
    send_calls(&a, person.tag, 40);
    TURN_UNTIL(ended() == 40);
    assert_in_range(calls.last_mono_ms - start_mono_ms, SHORT_MS - 1, SHORT_MS + SLACK_MS);
    assert_int_equal(calls.timed_out, 40); /* they were sent: what they did is not known */
    TURN_UNTIL(!store_up(a.store));
    start_mono_ms = clock_mono_ms();
    send_calls(&a, person.tag, 40); /* and again, whether or not it has connected meanwhile */
    TURN_UNTIL(ended() == 40);
    assert_true(calls.last_mono_ms - start_mono_ms <= SHORT_MS + SLACK_MS);
    assert_int_equal(calls.timed_out + calls.unavailable, 40);
    kill(redis.pid, SIGCONT);
    TURN_UNTIL(user_get(&a, person.tag) == ERR_OK);
    assert_int_equal(got.device_count, 1);
}

/* The first call that is late takes the connection along; what was sent after it waits for the next one. */
static void call_that_was_sent_never_ends_as_one_that_was_not(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    kill(redis.pid, SIGSTOP);
    send_calls(&a, person.tag, 1);
    for (unsigned i = 0; i < 20; i++) {
        turn(3);
        store_user_get(a.store, person.tag, on_user_end, NULL);
    }
    TURN_UNTIL(ended() == 21);
    kill(redis.pid, SIGCONT);
    assert_int_equal(calls.timed_out, 21);
}

static void cancelled_in_flight_stays_silent(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    kill(redis.pid, SIGSTOP);
    memset(&calls, 0, sizeof calls);
    struct store_call *cancelled = store_user_get(a.store, person.tag, on_user_end, NULL);
    turn(20);
    store_cancel(cancelled);
    kill(redis.pid, SIGCONT);
    TURN_UNTIL(user_get(&a, person.tag) == ERR_OK);
    turn(20);
    assert_int_equal(ended(), 0);
    assert_int_equal(got.device_count, 1); /* its reply was not taken for the next one's */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name)       cmocka_unit_test_setup_teardown(name, set_up, restart)
#define SHORT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_short, restart)
        TEST(flushed_scripts_are_sent_again),
        TEST(lost_connection_is_made_again_and_the_inbox_stays),
        TEST(lost_inbox_is_followed_by_one_of_another_name),
        TEST(inbox_lost_with_the_connection_is_found_at_once),
        TEST(inbox_that_cannot_be_read_is_not_read_in_a_tight_loop),
        TEST(lock_is_told_though_the_reply_was_lost),
        TEST(superseding_is_told_though_the_reply_was_lost),
        TEST(inbox_that_was_refused_is_soon_tried_again),
        TEST(killed_redis_comes_back_with_everything),
        TEST(order_of_calls_survives_a_loss),
        SHORT_TEST(calls_fail_in_time_while_redis_is_away),
        TEST(call_cancelled_while_redis_is_away_is_not_sent),
        TEST(store_opened_while_redis_is_away_waits_for_it),
        TEST(store_can_be_closed_while_redis_is_away),
        SHORT_TEST(silent_redis_fails_calls_in_time),
        SHORT_TEST(call_that_was_sent_never_ends_as_one_that_was_not),
        SHORT_TEST(cancelled_in_flight_stays_silent),
    };
    return cmocka_run_group_tests_name("store_faults", tests, group_set_up, group_tear_down);
}
