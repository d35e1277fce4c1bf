/* Permits for portals' calls, of two workers on one real Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "domain/permit.h"
#include "store_fixture.h"

#define OPEN_MAX  100
#define CALLS_MAX 600

static struct domain here, there;
static struct permit held[CALLS_MAX];
static unsigned held_count, answered, given, refused, failed;

static int set_up_permits(void **state)
{
    if (set_up(state) != 0)
        return -1;
    here = (struct domain){.loop = loop, .store = a.store, .secret = secret};
    there = (struct domain){.loop = loop, .store = b.store, .secret = secret};
    here.permits = permits_new(&here, 1000, OPEN_MAX);
    there.permits = permits_new(&there, 1000, OPEN_MAX);
    held_count = answered = given = refused = failed = 0;
    return 0;
}

static int tear_down_permits(void **state)
{
    for (unsigned i = 0; i < held_count; i++)
        permit_end(&held[i]);
    worker_close(&a);
    worker_close(&b);
    permits_free(here.permits);
    permits_free(there.permits);
    return tear_down(state);
}

static void on_permit(enum err e, unsigned retry_ms, void *arg)
{
    (void)arg;
    answered++;
    given += e == ERR_OK;
    refused += e == ERR_LIMIT;
    failed += e != ERR_OK && e != ERR_LIMIT;
    assert_true((e == ERR_LIMIT) == (retry_ms > 0));
}

static enum permit_answer take(struct domain *domain, char *portal, unsigned per_s)
{
    Record__Portal record = RECORD__PORTAL__INIT;
    unsigned retry_ms = 0;
    record.id = portal;
    record.calls_per_s = per_s;
    assert_true(held_count < CALLS_MAX);
    enum permit_answer answer =
        permit_take(domain->permits, &record, &held[held_count++], &retry_ms, on_permit, NULL);
    assert_true((answer == PERMIT_REFUSED) == (retry_ms > 0));
    return answer;
}

/* One call, over when it is answered. True if it got through. */
static bool call(struct domain *domain, char *portal, unsigned per_s)
{
    unsigned before_answered = answered, before_given = given;
    enum permit_answer answer = take(domain, portal, per_s);
    if (answer == PERMIT_LATER) {
        assert_int_equal(answered, before_answered); /* never within the call */
        TURN_UNTIL(!held[held_count - 1].waits);
    }
    permit_end(&held[--held_count]);
    return answer == PERMIT_GIVEN || given > before_given;
}

static int64_t leases(void)
{
    return metrics_sum(metrics, METRIC_PERMIT_LEASES);
}

static void most_calls_cost_no_lease(void **state)
{
    (void)state;
    int64_t before = leases();
    for (int i = 0; i < 500; i++)
        assert_true(call(&here, "busy", 1000));
    assert_in_range(leases() - before, 1, 60);
}

static void two_workers_share_one_budget(void **state)
{
    (void)state;
    unsigned through = 0;
    int64_t from_mono_ms = clock_mono_ms();
    for (int i = 0; i < 300; i++)
        through += call(i % 2 ? &here : &there, "shared", 20);
    int64_t passed_ms = clock_mono_ms() - from_mono_ms;
    assert_in_range(through, 1, 20 * passed_ms / 1000 + PERMIT_BURST(20) + 2);
    assert_true(through >= PERMIT_BURST(20) - 2);
}

static void portals_do_not_share(void **state)
{
    (void)state;
    while (call(&here, "greedy", 1))
        ;
    assert_true(call(&here, "modest", 1));
}

static void refused_from_memory_until_there_is_one_again(void **state)
{
    (void)state;
    while (call(&here, "spent", 5))
        ;
    int64_t before = leases();
    assert_int_equal(take(&here, "spent", 5), PERMIT_REFUSED);
    assert_int_equal(leases(), before);
    turn(400);
    assert_true(call(&here, "spent", 5));
}

static void who_waits_may_go(void **state)
{
    (void)state;
    assert_int_equal(take(&here, "left", 1000), PERMIT_LATER);
    permit_end(&held[--held_count]);
    turn(50);
    assert_int_equal(answered, 0);
    assert_true(call(&here, "left", 1000));
}

static void calls_at_a_time_are_limited(void **state)
{
    (void)state;
    while (held_count < OPEN_MAX)
        take(&here, "holding", 100000);
    TURN_UNTIL(answered > 0);
    assert_int_equal(take(&here, "holding", 100000), PERMIT_REFUSED);
    permit_end(&held[0]);
    assert_int_not_equal(take(&here, "holding", 100000), PERMIT_REFUSED);
    assert_true(call(&there, "holding", 100000));
}

static void closing_store_answers_who_waits(void **state)
{
    (void)state;
    assert_int_equal(take(&here, "closing", 10), PERMIT_LATER);
    worker_close(&a);
    assert_int_equal(failed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_permits, tear_down_permits)
        TEST(most_calls_cost_no_lease),
        TEST(two_workers_share_one_budget),
        TEST(portals_do_not_share),
        TEST(refused_from_memory_until_there_is_one_again),
        TEST(who_waits_may_go),
        TEST(calls_at_a_time_are_limited),
        TEST(closing_store_answers_who_waits),
    };
    return cmocka_run_group_tests_name("permit", tests, group_set_up, group_tear_down);
}
