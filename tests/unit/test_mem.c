/** base/mem: when the heap's free pages go back to the kernel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

#define MIB ((size_t)1 << 20)

static void memory_is_given_back_when_a_burst_is_over(void **state)
{
    (void)state;
    for (int second = 0; second < 7; second++) {
        mem_freed(MIB);
        assert_false(mem_tick()); /* it goes on */
    }
    assert_true(mem_tick());
    assert_false(mem_tick());
}

static void a_trickle_behind_a_burst_does_not_keep_it(void **state)
{
    (void)state;
    mem_freed(16 * MIB);
    assert_false(mem_tick());
    mem_freed(MIB);
    assert_true(mem_tick());
}

static void little_is_not_worth_it(void **state)
{
    (void)state;
    mem_freed(MIB / 4 - 1);
    assert_false(mem_tick());
    assert_false(mem_tick());
    mem_freed(1); /* but it is not forgotten */
    assert_true(mem_tick());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_given_back_when_a_burst_is_over),
        cmocka_unit_test(a_trickle_behind_a_burst_does_not_keep_it),
        cmocka_unit_test(little_is_not_worth_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
