#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/recent.h"

static int begin(void **state)
{
    *state = recent_new();
    return *state ? 0 : -1;
}

static int end(void **state)
{
    recent_free(*state);
    return 0;
}

static void nothing_is_kept_without_a_ring(void **state)
{
    struct recent_entry entries[RECENT_MAX];
    recent_add(RECENT_ERROR, "nowhere");
    assert_int_equal(recent_read(*state, entries), 0);
}

static void the_newest_stands_first_and_the_oldest_goes(void **state)
{
    struct recent_entry entries[RECENT_MAX];
    char kind[16], last[16];
    recent_use(*state, 3);
    for (unsigned i = 1; i <= RECENT_MAX + 5; i++) {
        snprintf(kind, sizeof kind, "kind-%u", i);
        recent_add(RECENT_WARNING, kind);
    }
    assert_int_equal(recent_read(*state, entries), RECENT_MAX);
    snprintf(last, sizeof last, "kind-%u", RECENT_MAX + 5);
    assert_string_equal(entries[0].kind, last);
    assert_string_equal(entries[RECENT_MAX - 1].kind, "kind-6");
    assert_int_equal(entries[0].slot, 3);
    assert_int_equal(entries[0].severity, RECENT_WARNING);
}

static void a_child_writes_into_the_shared_ring(void **state)
{
    struct recent_entry entries[RECENT_MAX];
    pid_t child = fork();
    if (child == 0) {
        recent_use(*state, 1);
        recent_add(RECENT_NOTICE, "a-name-that-is-longer-than-there-is-room-for-it");
        _exit(0);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(recent_read(*state, entries), 1);
    assert_int_equal(strlen(entries[0].kind), RECENT_KIND_SIZE - 1);
}

static void warnings_of_the_log_are_in_it_and_what_is_lesser_is_not(void **state)
{
    struct recent_entry entries[RECENT_MAX];
    recent_use(*state, 0);
    log_init("test", LOG_LEVEL_DEBUG);
    LOG(INFO, PROC, "calm");
    LOG(WARN, PROC, "uneasy");
    LOG(ERROR, PROC, "grave");
    assert_int_equal(recent_read(*state, entries), 2);
    assert_string_equal(entries[0].kind, "grave");
    assert_int_equal(entries[0].severity, RECENT_ERROR);
    assert_string_equal(entries[1].kind, "uneasy");
}

int main(void)
{
#define WITH_RING(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest recent_tests[] = {
        WITH_RING(nothing_is_kept_without_a_ring),
        WITH_RING(the_newest_stands_first_and_the_oldest_goes),
        WITH_RING(a_child_writes_into_the_shared_ring),
        WITH_RING(warnings_of_the_log_are_in_it_and_what_is_lesser_is_not),
    };
    return cmocka_run_group_tests_name("recent", recent_tests, NULL, NULL);
}
