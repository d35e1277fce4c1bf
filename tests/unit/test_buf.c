/** base/buf: a queue of bytes against a plain array, and the memory that it keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void empty_owns_nothing(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_len(&b), 0);
    assert_int_equal(buf_view(&b).len, 0);
    assert_int_equal(buf_append(&b, bytes_make(NULL, 0)), ERR_OK);
    assert_null(b.p);
    assert_int_equal(buf_append(&b, bytes_of("abc")), ERR_OK);
    buf_consume(&b, 3);
    assert_null(b.p);
    assert_int_equal(buf_len(&b), 0);
    buf_consume(&b, 0);
    buf_done(&b);
    buf_done(&b);
}

static void bytes_come_out_in_order(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_append(&b, bytes_of("one ")), ERR_OK);
    assert_int_equal(buf_append_byte(&b, 0), ERR_OK);
    assert_int_equal(buf_append(&b, bytes_of(" two")), ERR_OK);
    assert_true(bytes_equal(buf_view(&b), bytes_make("one \0 two", 9)));
    buf_consume(&b, 4);
    assert_true(bytes_equal(buf_view(&b), bytes_make("\0 two", 5)));
    assert_int_equal(buf_append(&b, bytes_of("!")), ERR_OK);
    assert_true(bytes_equal(buf_view(&b), bytes_make("\0 two!", 6)));
    buf_done(&b);
    assert_int_equal(buf_append(&b, bytes_of("again")), ERR_OK);
    assert_true(bytes_equal(buf_view(&b), bytes_of("again")));
    buf_done(&b);
}

static void printed_text_has_no_nul(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_printf(&b, "%s=%d", "n", 42), ERR_OK);
    assert_int_equal(buf_printf(&b, "%s", ""), ERR_OK);
    assert_int_equal(buf_printf(&b, ";%0600d", 7), ERR_OK); /* more than the first allocation */
    assert_int_equal(buf_len(&b), 4 + 1 + 600);
    assert_memory_equal(buf_view(&b).p, "n=42;000", 8);
    assert_int_equal(buf_view(&b).p[604], '7');
    buf_done(&b);
}

static void reserved_room_counts_once_committed(void **state)
{
    (void)state;
    struct buf b = {0};
    uint8_t *at = buf_reserve(&b, 1000);
    assert_non_null(at);
    memset(at, 'x', 1000);
    assert_int_equal(buf_len(&b), 0);
    buf_commit(&b, 10);
    assert_int_equal(buf_len(&b), 10);
    assert_ptr_equal(buf_reserve(&b, 990), at + 10); /* it is there already */
    buf_done(&b);
}

static void impossible_room_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_append(&b, bytes_of("kept")), ERR_OK);
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_null(buf_reserve(&b, SIZE_MAX / 2));
    assert_null(buf_reserve(&b, SIZE_MAX / 4 + 1));
    assert_true(bytes_equal(buf_view(&b), bytes_of("kept")));
    buf_done(&b);
}

/* A queue that never empties, of which as much goes as comes, must not grow. */
static void steady_queue_stays_small(void **state)
{
    (void)state;
    struct buf b = {0};
    uint8_t block[100] = {0};
    size_t most = 0;
    assert_int_equal(buf_append_byte(&b, 1), ERR_OK);
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(buf_append(&b, bytes_make(block, sizeof block)), ERR_OK);
        buf_consume(&b, sizeof block);
        most = b.cap > most ? b.cap : most;
    }
    assert_in_range(most, 101, 1024);
    buf_done(&b);
}

static void random_traffic_against_an_array(void **state)
{
    (void)state;
    struct buf b = {0};
    static uint8_t sent[400000];
    size_t in = 0, out = 0;
    srandom(11);
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (uint8_t)random();
    while (in + 2000 < sizeof sent) {
        size_t len = (size_t)random() % (random() % 8 ? 50 : 2000);
        assert_int_equal(buf_append(&b, bytes_make(sent + in, len)), ERR_OK);
        in += len;
        size_t take = (size_t)random() % (in - out + 1);
        if (random() % 3 == 0)
            take = in - out < 30 ? in - out : 30;
        assert_true(bytes_equal(buf_view(&b), bytes_make(sent + out, in - out)));
        buf_consume(&b, take);
        out += take;
        assert_int_equal(buf_len(&b), in - out);
        assert_true(b.head <= b.tail && b.tail <= b.cap);
    }
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_owns_nothing),
        cmocka_unit_test(bytes_come_out_in_order),
        cmocka_unit_test(printed_text_has_no_nul),
        cmocka_unit_test(reserved_room_counts_once_committed),
        cmocka_unit_test(impossible_room_is_refused_and_changes_nothing),
        cmocka_unit_test(steady_queue_stays_small),
        cmocka_unit_test(random_traffic_against_an_array),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
