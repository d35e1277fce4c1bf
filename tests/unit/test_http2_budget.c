/** The token bucket that calms peers: its burst, its refill, what is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/http2_budget.h"

static unsigned take_all(struct http2_budget *budget, int64_t mono_ms)
{
    unsigned count = 0;
    while (count < 1000 && http2_budget_take(budget, mono_ms))
        count++;
    return count;
}

static void the_burst_is_there_at_once(void **state)
{
    (void)state;
    struct http2_budget budget = {.burst = 10, .per_s = 5};
    assert_int_equal(take_all(&budget, 123456789), 10);
    assert_false(http2_budget_take(&budget, 123456789));
}

static void tokens_come_back_with_time_up_to_the_burst(void **state)
{
    (void)state;
    static const struct {
        int64_t after_ms;
        unsigned count;
    } rows[] = {{0, 0},    {199, 0},  {1, 1},     {399, 1},           {1, 1},
                {1000, 5}, {1999, 9}, {2000, 10}, {1000000000000, 10}};
    struct http2_budget budget = {.burst = 10, .per_s = 5};
    int64_t now = 1000;
    assert_int_equal(take_all(&budget, now), 10);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        now += rows[i].after_ms;
        assert_int_equal(take_all(&budget, now), rows[i].count);
    }
}

static void no_part_of_a_token_is_lost(void **state)
{
    (void)state;
    struct http2_budget budget = {.burst = 100, .per_s = 3};
    unsigned count = 0;
    assert_int_equal(take_all(&budget, 0), 100);
    for (int64_t now = 1; now <= 10000; now++)
        count += http2_budget_take(&budget, now);
    assert_in_range(count, 29, 30);
}

static void what_is_given_back_can_be_taken(void **state)
{
    (void)state;
    struct http2_budget budget = {.burst = 10, .per_s = 1};
    http2_budget_give(&budget, 8);
    assert_int_equal(take_all(&budget, 5), 10);
    http2_budget_give(&budget, 8);
    assert_int_equal(take_all(&budget, 5), 8);
    http2_budget_give(&budget, 800);
    assert_int_equal(take_all(&budget, 5), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_burst_is_there_at_once),
        cmocka_unit_test(tokens_come_back_with_time_up_to_the_burst),
        cmocka_unit_test(no_part_of_a_token_is_lost),
        cmocka_unit_test(what_is_given_back_can_be_taken),
    };
    return cmocka_run_group_tests_name("http2 budget", tests, NULL, NULL);
}
