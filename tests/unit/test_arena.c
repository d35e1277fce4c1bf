#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/arena.h"

static void pieces_are_aligned_and_apart(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, ARENA_MAX_BYTES);
    uint8_t *pieces[200];
    for (size_t i = 0; i < 200; i++) {
        pieces[i] = arena_alloc(&arena, i);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 8, 0);
        memset(pieces[i], (int)i, i);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t k = 0; k < i; k++)
            assert_int_equal(pieces[i][k], i);
    arena_done(&arena);
}

static void the_cap_can_be_used_up_and_not_passed(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 4096);
    size_t taken = 0;
    while (arena_alloc(&arena, 8))
        taken += 8;
    assert_int_equal(taken, 4096);
    assert_int_equal(arena_failure(&arena), ERR_TOO_BIG);
    arena_done(&arena);
}

static void one_piece_may_be_as_large_as_the_cap(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 4096);
    assert_null(arena_alloc(&arena, 4097));
    assert_int_equal(arena_failure(&arena), ERR_TOO_BIG);
    assert_non_null(arena_alloc(&arena, 4096));
    assert_null(arena_alloc(&arena, 1));
    arena_done(&arena);
}

static void a_length_that_would_wrap_is_refused(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, SIZE_MAX / 2);
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_alloc(&arena, SIZE_MAX - 6));
    assert_int_equal(arena_failure(&arena), ERR_TOO_BIG);
    arena_done(&arena);
}

static void a_done_arena_starts_anew(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 64);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(arena_failure(&arena), ERR_OK);
        assert_non_null(arena_alloc(&arena, 64));
        assert_null(arena_alloc(&arena, 1));
        assert_int_equal(arena_failure(&arena), ERR_TOO_BIG);
        arena_done(&arena);
        assert_null(arena.newest);
    }
}

static void protobuf_c_allocates_from_it(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 64);
    ProtobufCAllocator *allocator = arena_allocator(&arena);
    void *p = allocator->alloc(allocator->allocator_data, 64);
    assert_non_null(p);
    allocator->free(allocator->allocator_data, p);
    assert_null(allocator->alloc(allocator->allocator_data, 1));
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest arena[] = {
        cmocka_unit_test(pieces_are_aligned_and_apart),
        cmocka_unit_test(the_cap_can_be_used_up_and_not_passed),
        cmocka_unit_test(one_piece_may_be_as_large_as_the_cap),
        cmocka_unit_test(a_length_that_would_wrap_is_refused),
        cmocka_unit_test(a_done_arena_starts_anew),
        cmocka_unit_test(protobuf_c_allocates_from_it),
    };
    return cmocka_run_group_tests(arena, NULL, NULL);
}
