/** The loop's turns: timers in order, deferred calls, descriptors, and cancelling from within callbacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/loop.h"

static struct loop *loop;
static char trace[64]; /* one letter a callback */

static void note(char letter)
{
    size_t len = strlen(trace);
    assert_true(len + 1 < sizeof(trace));
    trace[len] = letter;
    trace[len + 1] = '\0';
}

static int set_up(void **state)
{
    (void)state;
    trace[0] = '\0';
    loop = loop_new();
    return loop ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

static void stop(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static void note_arg(void *arg)
{
    note(*(const char *)arg);
}

static void run_for(unsigned ms)
{
    struct timer end;
    timer_init(&end, loop, stop, NULL);
    timer_start(&end, ms);
    loop_run(loop);
}

static void timers_fire_in_order_and_once(void **state)
{
    (void)state;
    struct timer a, b, c;
    timer_init(&a, loop, note_arg, "a");
    timer_init(&b, loop, note_arg, "b");
    timer_init(&c, loop, note_arg, "c");
    timer_start(&c, 9);
    timer_start(&a, 3);
    timer_start(&b, 6);
    assert_true(timer_armed(&a));
    int64_t start_ms = clock_mono_ms();
    run_for(20);
    assert_string_equal(trace, "abc");
    assert_false(timer_armed(&a));
    assert_true(clock_mono_ms() - start_ms >= 20);
}

static void timer_cancelled_stays_silent_and_restart_moves_it(void **state)
{
    (void)state;
    struct timer a, b;
    timer_init(&a, loop, note_arg, "a");
    timer_init(&b, loop, note_arg, "b");
    timer_cancel(&a);
    timer_start(&a, 1);
    timer_start(&b, 1);
    timer_start(&b, 40);
    timer_cancel(&a);
    assert_false(timer_armed(&a));
    run_for(10);
    assert_string_equal(trace, "");
    assert_true(timer_armed(&b));
    timer_cancel(&b);
}

static struct timer victim;

static void cancel_victim(void *arg)
{
    (void)arg;
    note('x');
    timer_cancel(&victim);
}

static void timer_can_cancel_another_that_is_due(void **state)
{
    (void)state;
    struct timer killer;
    timer_init(&killer, loop, cancel_victim, NULL);
    timer_init(&victim, loop, note_arg, "v");
    timer_start(&killer, 1);
    timer_start(&victim, 2);
    usleep(5000); /* both are due in the same turn */
    run_for(5);
    assert_string_equal(trace, "x");
}

static int64_t last_due_ms;
static unsigned fired;

static void check_order(void *arg)
{
    struct timer *t = arg;
    assert_true(t->due_ms >= last_due_ms);
    last_due_ms = t->due_ms;
    fired++;
}

/* Against a count kept by hand: random starts, restarts and cancels. */
static void random_timers_keep_the_heap_whole(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    static struct timer timers[COUNT];
    unsigned armed = 0;
    srandom(1);
    last_due_ms = 0;
    fired = 0;
    for (int i = 0; i < COUNT; i++)
        timer_init(&timers[i], loop, check_order, &timers[i]);
    for (int i = 0; i < 5000; i++) {
        struct timer *t = &timers[random() % COUNT];
        if (random() % 3)
            timer_start(t, 1 + (unsigned)random() % 30);
        else
            timer_cancel(t);
    }
    for (int i = 0; i < COUNT; i++)
        armed += timer_armed(&timers[i]);
    run_for(60);
    assert_int_equal(fired, armed);
}

static struct deferral first, second;

static void defer_again(void *arg)
{
    (void)arg;
    note('d');
    if (strlen(trace) < 3)
        loop_defer(loop, &first);
}

static int chain_fds[2];

static void note_readable(unsigned events, void *arg)
{
    assert_int_equal(events, IO_READ);
    note('i');
    io_done(arg);
}

static void make_readable_and_defer_again(void *arg)
{
    (void)arg;
    note('d');
    if (strlen(trace) == 1)
        assert_int_equal(write(chain_fds[1], "x", 1), 1);
    if (strlen(trace) < 4)
        loop_defer(loop, &first);
}

static void deferred_call_that_defers_itself_lets_the_loop_poll_between(void **state)
{
    (void)state;
    struct io io;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, chain_fds), 0);
    io_init(&io, loop, chain_fds[0], note_readable, &io);
    assert_int_equal(io_want(&io, true, false), ERR_OK);
    deferral_init(&first, make_readable_and_defer_again, NULL);
    loop_defer(loop, &first);
    loop_defer(loop, &first); /* changes nothing */
    run_for(5);
    assert_string_equal(trace, "didd");
    close(chain_fds[0]);
    close(chain_fds[1]);
}

static void cancel_second(void *arg)
{
    (void)arg;
    note('1');
    deferral_cancel(&second);
}

static void deferred_calls_run_in_order_and_can_be_cancelled_by_each_other(void **state)
{
    (void)state;
    struct deferral third;
    deferral_init(&first, cancel_second, NULL);
    deferral_init(&second, note_arg, "2");
    deferral_init(&third, note_arg, "3");
    loop_defer(loop, &first);
    loop_defer(loop, &second);
    loop_defer(loop, &third);
    run_for(2);
    assert_string_equal(trace, "13");
}

static void deferred_calls_that_wait_at_the_end_are_still_run(void **state)
{
    (void)state;
    struct deferral end;
    deferral_init(&end, stop, NULL);
    deferral_init(&first, defer_again, NULL);
    loop_defer(loop, &end);
    loop_defer(loop, &first);
    loop_run(loop);
    assert_string_equal(trace, "ddd");
}

static struct io left, right;

static void on_either(unsigned events, void *arg)
{
    assert_int_equal(events, IO_READ);
    note(*(const char *)arg);
    io_done(&left); /* what this turn's poll has found for the other one is void */
    io_done(&right);
}

static void io_done_silences_what_the_poll_has_found_already(void **state)
{
    (void)state;
    int a[2], b[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
    io_init(&left, loop, a[0], on_either, "i");
    io_init(&right, loop, b[0], on_either, "i");
    assert_int_equal(io_want(&left, true, false), ERR_OK);
    assert_int_equal(io_want(&right, true, false), ERR_OK);
    assert_int_equal(write(a[1], "x", 1), 1);
    assert_int_equal(write(b[1], "x", 1), 1);
    run_for(5);
    assert_string_equal(trace, "i");
    close(a[0]), close(a[1]), close(b[0]), close(b[1]);
}

static void on_writable(unsigned events, void *arg)
{
    note(events & IO_WRITE ? 'w' : 'r');
    if (strlen(trace) == 2)
        assert_int_equal(io_want(arg, true, false), ERR_OK);
}

static void io_want_changes_what_is_polled(void **state)
{
    (void)state;
    int fds[2];
    struct io io;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    io_init(&io, loop, fds[0], on_writable, &io);
    assert_int_equal(io_want(&io, false, true), ERR_OK);
    run_for(10); /* level-triggered: twice, then nobody writes */
    assert_string_equal(trace, "ww");
    io_done(&io);
    io_done(&io);
    close(fds[0]), close(fds[1]);
}

static void io_want_fails_on_what_cannot_be_polled(void **state)
{
    (void)state;
    struct io io;
    io_init(&io, loop, 9999, on_writable, &io);
    assert_int_equal(io_want(&io, true, false), ERR_IO);
    assert_int_equal(io_want(&io, false, false), ERR_OK);
}

static void note_events(unsigned events, void *arg)
{
    note(events == IO_READ ? 'r' : events == IO_WRITE ? 'w' : 'b');
    io_done(arg);
}

static void io_shows_the_end_of_the_other_side_as_all_that_is_wanted(void **state)
{
    (void)state;
    static const bool wants[][2] = {{true, false}, {false, true}, {true, true}};
    for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++) {
        int fds[2];
        struct io io;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        close(fds[1]); /* a hang-up, which epoll reports wanted or not */
        io_init(&io, loop, fds[0], note_events, &io);
        assert_int_equal(io_want(&io, wants[i][0], wants[i][1]), ERR_OK);
        run_for(2);
        close(fds[0]);
    }
    assert_string_equal(trace, "rwb");
}

static void want_only_writing_of_right(unsigned events, void *arg)
{
    (void)events;
    note('l');
    io_done(arg);
    assert_int_equal(io_want(&right, false, true), ERR_OK);
}

static void io_want_counts_for_what_the_poll_has_found_already(void **state)
{
    (void)state;
    int a[2], b[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
    io_init(&left, loop, a[0], want_only_writing_of_right, &left);
    io_init(&right, loop, b[0], note_events, &right);
    assert_int_equal(io_want(&left, true, false), ERR_OK);
    assert_int_equal(io_want(&right, true, false), ERR_OK);
    assert_int_equal(write(a[1], "x", 1), 1); /* ready first, so called first */
    assert_int_equal(write(b[1], "x", 1), 1);
    run_for(5);
    assert_string_equal(trace, "lw"); /* not r: that is not wanted any more */
    close(a[0]), close(a[1]), close(b[0]), close(b[1]);
}

#define MANY 600 /* more than one poll brings */
static int called;

static void count_call(unsigned events, void *arg)
{
    assert_int_equal(events, IO_READ);
    called++;
    io_done(arg);
}

static void io_of_many_ready_descriptors_are_all_called(void **state)
{
    (void)state;
    static struct io many[MANY];
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    for (int i = 0; i < MANY; i++) {
        int fd = dup(fds[0]);
        assert_true(fd >= 0);
        io_init(&many[i], loop, fd, count_call, &many[i]);
        assert_int_equal(io_want(&many[i], true, false), ERR_OK);
    }
    run_for(20);
    assert_int_equal(called, MANY);
    for (int i = 0; i < MANY; i++)
        close(many[i].fd);
    close(fds[0]), close(fds[1]);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(timers_fire_in_order_and_once),
        TEST(timer_cancelled_stays_silent_and_restart_moves_it),
        TEST(timer_can_cancel_another_that_is_due),
        TEST(random_timers_keep_the_heap_whole),
        TEST(deferred_call_that_defers_itself_lets_the_loop_poll_between),
        TEST(deferred_calls_run_in_order_and_can_be_cancelled_by_each_other),
        TEST(deferred_calls_that_wait_at_the_end_are_still_run),
        TEST(io_done_silences_what_the_poll_has_found_already),
        TEST(io_want_changes_what_is_polled),
        TEST(io_want_fails_on_what_cannot_be_polled),
        TEST(io_shows_the_end_of_the_other_side_as_all_that_is_wanted),
        TEST(io_want_counts_for_what_the_poll_has_found_already),
        TEST(io_of_many_ready_descriptors_are_all_called),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
