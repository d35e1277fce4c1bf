/** base/slab: blocks against a model, chunks that come and go, nothing left in what is put back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/slab.h"

#define BLOCK  144
#define BLOCKS 3000

static bool is_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i])
            return false;
    return true;
}

static void random_takes_and_puts_keep_every_block_apart(void **state)
{
    (void)state;
    static uint8_t *blocks[BLOCKS];
    struct slab slab;
    slab_init(&slab, BLOCK, false);
    srand(7);
    size_t taken = 0;
    for (int i = 0; i < 200000; i++) {
        unsigned at = (unsigned)rand() % BLOCKS;
        uint8_t mark = (uint8_t)(at % 255 + 1);
        if (blocks[at]) {
            for (size_t k = 0; k < BLOCK; k++)
                assert_int_equal(blocks[at][k], mark);
            slab_put(blocks[at]);
            blocks[at] = NULL;
            taken--;
        } else {
            blocks[at] = slab_take(&slab);
            assert_non_null(blocks[at]);
            assert_int_equal((uintptr_t)blocks[at] % 8, 0);
            assert_ptr_equal(slab_of(blocks[at]), &slab);
            assert_true(is_zero(blocks[at], BLOCK));
            memset(blocks[at], mark, BLOCK);
            taken++;
        }
        assert_int_equal(slab.taken, taken);
    }
    for (int i = 0; i < BLOCKS; i++)
        slab_put(blocks[i]);
    assert_int_equal(slab.taken, 0);
    assert_int_equal(slab.chunks, 1);
    slab_done(&slab);
    assert_int_equal(slab.chunks, 0);
}

static void chunks_go_back_after_a_burst(void **state)
{
    (void)state;
    static void *blocks[BLOCKS];
    struct slab slab;
    slab_init(&slab, BLOCK, false);
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = slab_take(&slab);
    size_t most = slab.chunks;
    assert_true(most >= BLOCKS * BLOCK / SLAB_CHUNK_BYTES && most <= BLOCKS * BLOCK / SLAB_CHUNK_BYTES + 1);
    for (int i = 0; i < BLOCKS; i++)
        slab_put(blocks[i]);
    assert_int_equal(slab.chunks, 1);
    slab_done(&slab);
}

static void odd_sizes_are_rounded_up_and_fit_exactly(void **state)
{
    (void)state;
    for (size_t bytes = sizeof(void *); bytes <= SLAB_CHUNK_BYTES / 8; bytes = bytes * 3 / 2 + 1) {
        struct slab slab;
        uint8_t *blocks[32];
        slab_init(&slab, bytes, false);
        for (int i = 0; i < 32; i++) {
            blocks[i] = slab_take(&slab);
            memset(blocks[i], 0xff, bytes);
        }
        for (int i = 0; i < 32; i++)
            slab_put(blocks[i]);
        slab_done(&slab);
    }
}

/* Reads what the flags of the mapping say, since a core file cannot be made here. */
static bool mapping_has(const void *p, const char *flag)
{
    char line[512];
    bool inside = false, found = false;
    FILE *maps = fopen("/proc/self/smaps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        uintptr_t from = 0, to = 0;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = (uintptr_t)p >= from && (uintptr_t)p < to;
        if (inside && strncmp(line, "VmFlags:", 8) == 0)
            found = strstr(line, flag) != NULL;
    }
    fclose(maps);
    return found;
}

static void secret_blocks_stay_out_of_cores_and_children(void **state)
{
    (void)state;
    struct slab secret, plain;
    slab_init(&secret, BLOCK, true);
    slab_init(&plain, BLOCK, false);
    uint8_t *hidden = slab_take(&secret), *shown = slab_take(&plain);
    memset(hidden, 7, BLOCK);
    memset(shown, 7, BLOCK);
    assert_true(mapping_has(hidden, " dd"));
    assert_false(mapping_has(shown, " dd"));
    pid_t child = fork();
    if (child == 0)
        _exit(is_zero(hidden, BLOCK) && !is_zero(shown, BLOCK) ? 0 : 1);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    slab_put(hidden);
    slab_put(shown);
    slab_done(&secret);
    slab_done(&plain);
}

#ifndef __SANITIZE_ADDRESS__
static void what_is_put_back_is_cleansed(void **state)
{
    (void)state;
    struct slab slab;
    slab_init(&slab, BLOCK, true);
    uint8_t *first = slab_take(&slab), *second = slab_take(&slab);
    memset(second, 0x5a, BLOCK);
    slab_put(second);
    assert_true(is_zero(second + sizeof(void *), BLOCK - sizeof(void *)));
    assert_ptr_equal(slab_take(&slab), second);
    assert_true(is_zero(second, BLOCK));
    slab_put(first);
    slab_put(second);
    slab_put(NULL);
    slab_done(&slab);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_takes_and_puts_keep_every_block_apart),
        cmocka_unit_test(chunks_go_back_after_a_burst),
        cmocka_unit_test(odd_sizes_are_rounded_up_and_fit_exactly),
        cmocka_unit_test(secret_blocks_stay_out_of_cores_and_children),
#ifndef __SANITIZE_ADDRESS__
        cmocka_unit_test(what_is_put_back_is_cleansed),
#endif
    };
    return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
