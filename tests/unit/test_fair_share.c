/** Which worker leaves connections to the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "domain/probe.h"
#include "proc/fair_share.h"

#define WORKERS 3
#define NOW_MS  100000

static struct metrics_page *page;

/* Worker @p slot as it says of itself. */
static void say(unsigned slot, int64_t connections, bool ready, int64_t turned_mono_ms)
{
    metrics_use_slot(page, slot);
    METRIC_SET(OPEN_DEVICE, connections);
    metrics_slot_set_ready(page, slot, ready, 1);
    metrics_slot_probe(page, slot, PROBE_TURNED, turned_mono_ms);
}

static int set_up(void **state)
{
    (void)state;
    page = metrics_page_new(WORKERS + 1);
    if (!page)
        return -1;
    for (unsigned slot = 0; slot < WORKERS; slot++)
        say(slot, 0, true, NOW_MS);
    say(WORKERS, 1000000, true, NOW_MS); /* ops: no worker */
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    metrics_page_free(page);
    return 0;
}

static bool exceeds(unsigned slot)
{
    return fair_share_exceeded(page, WORKERS, slot, NOW_MS);
}

static void alone_it_takes_all(void **state)
{
    (void)state;
    say(0, 19000, true, NOW_MS);
    assert_false(fair_share_exceeded(page, 1, 0, NOW_MS));
}

static void share_is_the_mean_and_a_little(void **state)
{
    (void)state;
    say(0, 24, true, NOW_MS); /* mean 8, no sixteenth, 16 */
    assert_false(exceeds(0));
    say(0, 25, true, NOW_MS);
    assert_true(exceeds(0));
    assert_false(exceeds(1));

    say(1, 3000, true, NOW_MS);
    say(2, 3000, true, NOW_MS);
    say(0, 3315, true, NOW_MS); /* mean 3105: 3315 */
    assert_false(exceeds(0));
    say(0, 3320, true, NOW_MS); /* mean 3106: 3316 */
    assert_true(exceeds(0));
    assert_false(exceeds(1));
    assert_false(exceeds(2));
}

static void those_that_do_not_accept_hold_up_nobody(void **state)
{
    (void)state;
    say(0, 500, true, NOW_MS);
    say(1, 500, true, NOW_MS);
    assert_true(exceeds(0));
    say(2, 0, true, NOW_MS - PROBE_LATE_MS);
    assert_true(exceeds(0));
    say(2, 0, true, NOW_MS - PROBE_LATE_MS - 1); /* stopped */
    assert_false(exceeds(0));
    say(2, 0, false, NOW_MS); /* dead, not there yet, or draining */
    assert_false(exceeds(0));
    assert_false(exceeds(1));
    say(1, 0, true, 0);
    assert_false(exceeds(0));
}

static void what_it_says_of_itself_counts_however_late(void **state)
{
    (void)state;
    say(0, 500, false, 0); /* before its own first probe */
    assert_true(exceeds(0));
    say(1, 500, true, NOW_MS);
    say(2, 500, true, NOW_MS);
    assert_false(exceeds(0));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(alone_it_takes_all),
        TEST(share_is_the_mean_and_a_little),
        TEST(those_that_do_not_accept_hold_up_nobody),
        TEST(what_it_says_of_itself_counts_however_late),
    };
    return cmocka_run_group_tests_name("fair_share", tests, NULL, NULL);
}
