/* The rules against push bombing (store/lua/limits.lua), on a clock that the test turns: each with the victim who still
 * gets in. The scripts are the broker's own, on a real Redis; only time.lua is replaced (virtual_time.lua). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "core/log.h"
#include "core/loop.h"
#include "crypto/digest.h"
#include "crypto/secret.h"
#include "redis_fixture.h"
#include "store/record.h"
#include "store/store.h"

#define SECOND   1000LL
#define MINUTE   (60 * SECOND)
#define HOUR     (60 * MINUTE)
#define DAY      (24 * HOUR)
#define LIFE_MS  60000
#define PORTAL   "nano-demo"
#define PATIENCE 10000

static struct loop *loop;
static struct secret *secret;
static struct store *store;
static Record__Device *device;
static char tag[TAG_SIZE];
static int64_t now;
static unsigned serial;

/* What the last call brought. */
static struct {
    bool came;
    enum err e;
    bool locked, moved;
    int64_t until;
    enum challenge_state state;
    size_t others;
} got;

static void turn_to(int64_t ms)
{
    now = ms;
    redis_do("SET test:now %lld", (long long)now);
}

static void pass(int64_t ms)
{
    turn_to(now + ms);
}

static void on_patience(void *arg)
{
    (void)arg;
    fail_msg("the store did not answer");
}

static void await(void)
{
    struct timer patience;
    timer_init(&patience, loop, on_patience, NULL);
    timer_start(&patience, PATIENCE);
    while (!got.came)
        loop_run(loop);
    timer_cancel(&patience);
}

static void arrived(enum err e)
{
    got.came = true;
    got.e = e;
    loop_stop(loop);
}

/* ---- a challenge, and how it ends ---- */

struct asked {
    Record__Challenge record;
    char id[ID_SIZE];
    struct buf fence;
};

static void on_created(enum err e, const struct challenge_created *created, void *arg)
{
    (void)arg;
    if (created) {
        got.locked = created->locked;
        got.until = created->until_unix_ms;
    }
    arrived(e);
}

/* The portal asks; @p session is the hash of the browser session, or "". @p place: the one before, which this takes the
 * place of where it has an id; NULL: any number may wait. */
static enum err ask_in_place_of(const struct asked *place, struct asked *asked, const char *session)
{
    uint8_t bits[ID_RANDOM_BYTES] = {0};
    uint8_t nonce[16] = {0};
    memcpy(bits, &serial, sizeof serial);
    serial++;
    id_make(bits, tag, asked->id);
    record__challenge__init(&asked->record);
    asked->record.id = asked->id;
    asked->record.organisation = "nano";
    asked->record.user = "ada";
    asked->record.portal = PORTAL;
    asked->record.nonce = (ProtobufCBinaryData){.data = nonce, .len = sizeof nonce};
    asked->record.mode = 1;
    asked->record.user_verification = 1;
    asked->record.life_ms = LIFE_MS;
    const struct challenge_create create = {.record = &asked->record,
                                            .pending_of = place ? PORTAL : asked->id,
                                            .session = session,
                                            .asked = "",
                                            .supersede = place && place->id[0] ? place->id : NULL};
    memset(&got, 0, sizeof got);
    store_challenge_create(store, &create, on_created, NULL);
    await();
    return got.e;
}

static enum err ask(struct asked *asked, const char *session)
{
    return ask_in_place_of(NULL, asked, session);
}

static void on_read(enum err e, const struct challenge_view *view, void *arg)
{
    struct asked *asked = arg;
    if (e == ERR_OK) {
        buf_done(&asked->fence);
        assert_int_equal(buf_append(&asked->fence, view->fence), ERR_OK);
        got.state = view->state;
    }
    arrived(e);
}

static enum challenge_state state_of(struct asked *asked)
{
    memset(&got, 0, sizeof got);
    store_challenge_get(store, asked->id, false, on_read, asked);
    await();
    assert_int_equal(got.e, ERR_OK);
    return got.state;
}

static void on_settled(enum err e, const struct challenge_settled *settled, void *arg)
{
    (void)arg;
    if (settled) {
        got.moved = settled->moved;
        got.state = settled->state;
        got.until = settled->locked_until_unix_ms;
        got.others = settled->other_count;
    }
    arrived(e);
}

static void settle(struct asked *asked, enum challenge_state state)
{
    Record__Settlement settlement = RECORD__SETTLEMENT__INIT;
    bool answer = state == CHALLENGE_APPROVED || state == CHALLENGE_DENIED || state == CHALLENGE_REPORTED ||
                  state == CHALLENGE_FAILED;
    state_of(asked);
    settlement.state = (uint32_t)state;
    settlement.device_id = device->id;
    settlement.jws = "x";
    const struct challenge_settle wanted = {.id = asked->id,
                                            .fence = buf_view(&asked->fence),
                                            .state = state,
                                            .device = answer ? device : NULL,
                                            .settlement = answer ? &settlement : NULL};
    memset(&got, 0, sizeof got);
    store_challenge_settle(store, &wanted, on_settled, NULL);
    await();
    assert_int_equal(got.e, ERR_OK);
    buf_done(&asked->fence);
}

/* Ask and end it so, at this very time. */
static void ask_and_end(enum challenge_state state, const char *session)
{
    struct asked asked = {0};
    assert_int_equal(ask(&asked, session), ERR_OK);
    if (state == CHALLENGE_EXPIRED)
        pass(LIFE_MS);
    settle(&asked, state);
    assert_int_equal(got.state, state);
}

static void assert_refused(const char *session, bool locked, int64_t until)
{
    struct asked asked = {0};
    assert_int_equal(ask(&asked, session), ERR_LIMIT);
    assert_int_equal(got.locked, locked);
    assert_int_equal(got.until, until);
}

static void assert_can_log_in(const char *session)
{
    ask_and_end(CHALLENGE_APPROVED, session);
}

static void on_told(enum err e, const struct routes *told, void *arg)
{
    (void)told;
    (void)arg;
    arrived(e);
}

static enum err unlock(const Record__Device *by)
{
    memset(&got, 0, sizeof got);
    store_user_unlock(store, tag, by, on_told, NULL);
    await();
    return got.e;
}

/* ---- a user with a phone, for each test ---- */

static int group_set_up(void **state)
{
    char path[64];
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    if (redis_start() != 0)
        return -1;
    snprintf(path, sizeof path, "%s/secret", redis.dir);
    if (secret_create(path) != ERR_OK || secret_load(path, &secret) != ERR_OK)
        return -1;
    loop = loop_new();
    const struct store_options options = {.redis = &redis.options, .timeout_ms = 3000};
    store = store_open(loop, secret, &options, NULL, NULL);
    return 0;
}

static void on_end(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static int group_tear_down(void **state)
{
    (void)state;
    store_close(store);
    struct timer end; /* a last turn: the connection's end is deferred */
    timer_init(&end, loop, on_end, NULL);
    timer_start(&end, 20);
    loop_run(loop);
    loop_free(loop);
    secret_free(secret);
    redis_end();
    return 0;
}

static int set_up(void **state)
{
    static uint8_t key[65] = {4};
    static char id[ID_SIZE];
    static Record__Device ada;
    struct buf sealed = {0};
    uint8_t bits[ID_RANDOM_BYTES] = {1};
    (void)state;
    redis_do("FLUSHALL");
    turn_to(1800000000000);
    assert_int_equal(secret_user_tag(secret, bytes_of("nano"), bytes_of("ada"), tag), ERR_OK);
    id_make(bits, tag, id);
    record__device__init(&ada);
    ada.id = id;
    ada.organisation = "nano";
    ada.user = "ada";
    ada.generation = 1;
    ada.possession_key = (ProtobufCBinaryData){.data = key, .len = sizeof key};
    device = &ada;
    assert_int_equal(record_seal_device(secret, device, &sealed), ERR_OK);
    redis_do("HSET np1:{%s}:user name ada", tag);
    redis_do("HSET np1:{%s}:devices %s %b", tag, id, buf_view(&sealed).p, buf_len(&sealed));
    buf_done(&sealed);
    return 0;
}

/* ---- the rules ---- */

static void nothing_speaks_against_a_first_push(void **state)
{
    (void)state;
    assert_can_log_in("");
    assert_can_log_in("");
}

static void a_denial_delays_the_next_push_by_ten_seconds(void **state)
{
    (void)state;
    ask_and_end(CHALLENGE_DENIED, "");
    assert_refused("", false, now + 10 * SECOND);
    pass(10 * SECOND - 1);
    assert_refused("", false, now + 1);
    pass(1);
    assert_can_log_in("");
}

static void delays_after_denials_double_up_to_an_hour(void **state)
{
    (void)state;
    for (int64_t delay = 10 * SECOND, n = 0; n < 12; n++) {
        ask_and_end(CHALLENGE_DENIED, "");
        assert_refused("", false, now + delay);
        pass(delay < 11 * MINUTE ? 11 * MINUTE : delay); /* further apart than what locks */
        delay = 2 * delay < HOUR ? 2 * delay : HOUR;
    }
    assert_can_log_in("");
    ask_and_end(CHALLENGE_DENIED, "");
    assert_refused("", false, now + 10 * SECOND); /* an approval has reset it */
}

static void three_denials_in_ten_minutes_lock_for_fifteen(void **state)
{
    (void)state;
    ask_and_end(CHALLENGE_DENIED, "");
    pass(5 * MINUTE);
    ask_and_end(CHALLENGE_DENIED, "");
    assert_int_equal(got.until, 0);
    pass(5 * MINUTE - 1);
    ask_and_end(CHALLENGE_DENIED, "");
    assert_int_equal(got.until, now + 15 * MINUTE);
    assert_refused("", true, now + 15 * MINUTE);
    pass(15 * MINUTE - 1);
    assert_refused("", true, now + 1);
    pass(1);
    assert_can_log_in("");
}

static void three_denials_in_more_than_ten_minutes_do_not_lock(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        ask_and_end(CHALLENGE_DENIED, "");
        assert_int_equal(got.until, 0);
        pass(5 * MINUTE);
    }
    assert_can_log_in("");
}

static void one_report_locks_and_ends_what_else_waits(void **state)
{
    struct asked reported = {0}, other = {0};
    (void)state;
    assert_int_equal(ask(&reported, ""), ERR_OK);
    assert_int_equal(ask(&other, ""), ERR_OK);
    pass(SECOND);
    settle(&reported, CHALLENGE_REPORTED);
    assert_int_equal(got.until, now + 15 * MINUTE);
    assert_int_equal(got.others, 1);
    /* Even if the worker dies before it cancels the other one, no approval of it counts any more. */
    settle(&other, CHALLENGE_APPROVED);
    assert_int_equal(got.state, CHALLENGE_CANCELLED);
    assert_refused("", true, now + 15 * MINUTE);
}

static void a_lock_holds_for_known_browsers_too(void **state)
{
    (void)state;
    assert_can_log_in("known");
    ask_and_end(CHALLENGE_REPORTED, "");
    assert_refused("known", true, now + 15 * MINUTE);
}

static void the_phone_lifts_the_lock(void **state)
{
    (void)state;
    ask_and_end(CHALLENGE_REPORTED, "");
    assert_int_equal(unlock(device), ERR_OK);
    assert_can_log_in("");
}

static void a_phone_of_other_keys_does_not_lift_the_lock(void **state)
{
    Record__Device rotated = *device;
    (void)state;
    rotated.generation = 2;
    ask_and_end(CHALLENGE_REPORTED, "");
    assert_int_equal(unlock(&rotated), ERR_DENIED);
    assert_refused("", true, now + 15 * MINUTE);
}

static void an_administrator_lifts_the_lock(void **state)
{
    (void)state;
    ask_and_end(CHALLENGE_REPORTED, "");
    assert_int_equal(unlock(NULL), ERR_OK);
    assert_can_log_in("");
}

static void two_wrong_numbers_in_ten_minutes_lock(void **state)
{
    (void)state;
    ask_and_end(CHALLENGE_FAILED, "");
    assert_int_equal(got.until, 0);
    pass(10 * MINUTE - 1);
    ask_and_end(CHALLENGE_FAILED, "");
    assert_int_equal(got.until, now + 15 * MINUTE);
    pass(15 * MINUTE);
    assert_can_log_in("");
}

static void two_wrong_numbers_further_apart_do_not_lock(void **state)
{
    (void)state;
    ask_and_end(CHALLENGE_FAILED, "");
    pass(10 * MINUTE);
    ask_and_end(CHALLENGE_FAILED, "");
    assert_int_equal(got.until, 0);
    assert_can_log_in("");
}

static void missed_pushes_delay_by_a_minute_at_most_and_never_lock(void **state)
{
    static const int64_t delays[] = {10 * SECOND, 20 * SECOND, 40 * SECOND,
                                     60 * SECOND, 60 * SECOND, 60 * SECOND};
    (void)state;
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        ask_and_end(CHALLENGE_EXPIRED, "");
        assert_int_equal(got.until, 0);
        assert_refused("", false, now + delays[i]);
        pass(delays[i]);
    }
    assert_can_log_in("");
}

static void what_nobody_settled_counts_as_missed_once(void **state)
{
    struct asked asked = {0};
    int64_t expired;
    (void)state;
    assert_int_equal(ask(&asked, ""), ERR_OK);
    pass(LIFE_MS);
    expired = now;
    assert_refused("", false, expired + 10 * SECOND); /* the thief's browser was closed: nobody waited */
    settle(&asked, CHALLENGE_EXPIRED);                /* somebody reads it after all */
    assert_refused("", false, expired + 10 * SECOND);
    pass(10 * SECOND);
    assert_can_log_in("");
}

static void pushes_that_are_taken_back_are_slowed_but_for_the_first(void **state)
{
    static const int64_t delays[] = {10 * SECOND, 20 * SECOND, 40 * SECOND, 60 * SECOND, 60 * SECOND};
    (void)state;
    ask_and_end(CHALLENGE_CANCELLED, ""); /* a page was closed: the person begins anew at once */
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        ask_and_end(CHALLENGE_CANCELLED, "");
        assert_int_equal(got.until, 0);
        assert_refused("", false, now + delays[i]);
        pass(delays[i]);
    }
    assert_can_log_in("");
    ask_and_end(CHALLENGE_CANCELLED, "");
    assert_can_log_in(""); /* an approval has reset it */
}

static void pushes_that_take_each_others_place_are_slowed_alike(void **state)
{
    struct asked asked[5] = {0};
    (void)state;
    assert_int_equal(ask_in_place_of(&asked[0], &asked[1], "s"), ERR_OK);
    assert_int_equal(ask_in_place_of(&asked[1], &asked[2], "s"), ERR_OK);
    assert_int_equal(ask_in_place_of(&asked[2], &asked[3], "s"), ERR_OK);
    assert_int_equal(state_of(&asked[2]), CHALLENGE_SUPERSEDED);
    buf_done(&asked[2].fence);
    assert_int_equal(ask_in_place_of(&asked[3], &asked[4], "s"), ERR_LIMIT);
    assert_false(got.locked);
    assert_int_equal(got.until, now + 10 * SECOND);
    settle(&asked[3], CHALLENGE_APPROVED); /* the person answers what waits */
    assert_int_equal(got.state, CHALLENGE_APPROVED);
    assert_can_log_in("");
}

static void a_push_taken_back_makes_no_delay_shorter(void **state)
{
    struct asked waits[3] = {0};
    int64_t denied;
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(ask(&waits[i], ""), ERR_OK);
    ask_and_end(CHALLENGE_DENIED, "");
    pass(11 * SECOND);
    ask_and_end(CHALLENGE_DENIED, "");
    denied = now;
    for (int i = 0; i < 3; i++)
        settle(&waits[i], CHALLENGE_CANCELLED);
    assert_refused("", false, denied + 20 * SECOND);
    pass(20 * SECOND);
    assert_can_log_in("");
}

static void the_victims_own_browser_is_not_slowed(void **state)
{
    (void)state;
    assert_can_log_in("known");
    for (int i = 0; i < 5; i++)
        ask_and_end(CHALLENGE_CANCELLED, "known");
    assert_refused("", false, now + 60 * SECOND);
    assert_can_log_in("known");
}

/* So far apart that nothing is delayed: when the first one was. */
static int64_t ask_and_cancel(int times)
{
    int64_t began = now;
    for (int i = 0; i < times; i++) {
        ask_and_end(CHALLENGE_CANCELLED, "");
        pass(MINUTE);
    }
    return began;
}

static void twenty_pushes_a_day_whatever_their_outcome(void **state)
{
    (void)state;
    int64_t began = ask_and_cancel(20);
    assert_refused("", true, began + DAY);
    turn_to(began + DAY - 1);
    assert_refused("", true, began + DAY);
    turn_to(began + DAY);
    assert_can_log_in("");
}

static void the_phone_lifts_the_daily_limit(void **state)
{
    (void)state;
    assert_refused("", true, ask_and_cancel(20) + DAY);
    assert_int_equal(unlock(device), ERR_OK);
    assert_can_log_in("");
}

static void an_approval_resets_the_daily_count(void **state)
{
    (void)state;
    ask_and_cancel(19);
    assert_can_log_in("");
    assert_refused("", true, ask_and_cancel(20) + DAY);
}

static void a_browser_that_succeeded_before_is_exempt_from_delay_and_count(void **state)
{
    (void)state;
    assert_can_log_in("known");
    ask_and_end(CHALLENGE_DENIED, "");
    assert_refused("", false, now + 10 * SECOND);
    assert_refused("unknown", false, now + 10 * SECOND);
    assert_can_log_in("known");
    assert_refused("", true, ask_and_cancel(20) + DAY);
    assert_can_log_in("known");
}

static void only_so_many_browsers_are_remembered(void **state)
{
    char session[24];
    (void)state;
    for (int i = 0; i < 40; i++) {
        snprintf(session, sizeof session, "browser%d", i);
        assert_can_log_in(session);
        pass(SECOND);
    }
    assert_true(redis_do("HLEN np1:{%s}:limits", tag) <= 32 + 2);
    ask_and_end(CHALLENGE_DENIED, "");
    assert_refused("browser0", false, now + 10 * SECOND); /* the oldest is forgotten */
    assert_can_log_in("browser39");
}

static void limits_are_one_users_only(void **state)
{
    (void)state;
    ask_and_end(CHALLENGE_REPORTED, "");
    assert_int_equal(redis_do("EXISTS np1:{%s}:limits", tag), 1);
    assert_int_equal(redis_do("EXISTS np1:{%s}:limits", "00000000000000000000"), 0);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest limits[] = {
        TEST(nothing_speaks_against_a_first_push),
        TEST(a_denial_delays_the_next_push_by_ten_seconds),
        TEST(delays_after_denials_double_up_to_an_hour),
        TEST(three_denials_in_ten_minutes_lock_for_fifteen),
        TEST(three_denials_in_more_than_ten_minutes_do_not_lock),
        TEST(one_report_locks_and_ends_what_else_waits),
        TEST(a_lock_holds_for_known_browsers_too),
        TEST(the_phone_lifts_the_lock),
        TEST(a_phone_of_other_keys_does_not_lift_the_lock),
        TEST(an_administrator_lifts_the_lock),
        TEST(two_wrong_numbers_in_ten_minutes_lock),
        TEST(two_wrong_numbers_further_apart_do_not_lock),
        TEST(missed_pushes_delay_by_a_minute_at_most_and_never_lock),
        TEST(what_nobody_settled_counts_as_missed_once),
        TEST(pushes_that_are_taken_back_are_slowed_but_for_the_first),
        TEST(pushes_that_take_each_others_place_are_slowed_alike),
        TEST(a_push_taken_back_makes_no_delay_shorter),
        TEST(the_victims_own_browser_is_not_slowed),
        TEST(twenty_pushes_a_day_whatever_their_outcome),
        TEST(the_phone_lifts_the_daily_limit),
        TEST(an_approval_resets_the_daily_count),
        TEST(a_browser_that_succeeded_before_is_exempt_from_delay_and_count),
        TEST(only_so_many_browsers_are_remembered),
        TEST(limits_are_one_users_only),
    };
    return cmocka_run_group_tests(limits, group_set_up, group_tear_down);
}
