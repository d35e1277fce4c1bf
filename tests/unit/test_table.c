/** base/table: against a reference, while it grows, and while what is visited goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/table.h"

#define ITEMS 4000

struct item {
    struct table_node node;
    unsigned key;
    bool there; /* the reference */
    unsigned visits;
};

static uint64_t hash_of(unsigned key)
{
    return table_hash(bytes_make(&key, sizeof key));
}

static struct item *find(const struct table *t, unsigned key)
{
    uint64_t hash = hash_of(key);
    for (struct table_node *n = table_first(t, hash); n; n = table_next(n, hash))
        if (CONTAINER_OF(n, struct item, node)->key == key)
            return CONTAINER_OF(n, struct item, node);
    return NULL;
}

static void empty_finds_nothing(void **state)
{
    (void)state;
    struct table t = {0};
    assert_null(table_first(&t, 0));
    assert_null(table_first(&t, hash_of(1)));
    table_each(&t, NULL, NULL);
    table_done(&t);
}

static void same_key_hashes_alike_and_others_spread(void **state)
{
    (void)state;
    char text[40];
    memset(text, 'a', sizeof text);
    for (size_t len = 0; len <= sizeof text; len++) {
        assert_true(table_hash(bytes_make(text, len)) == table_hash(bytes_make(text, len)));
        if (len) {
            assert_true(table_hash(bytes_make(text, len)) != table_hash(bytes_make(text, len - 1)));
            text[len - 1] ^= 1;
            uint64_t other = table_hash(bytes_make(text, len));
            text[len - 1] ^= 1;
            assert_true(table_hash(bytes_make(text, len)) != other);
        }
    }
    unsigned filled[64] = {0};
    for (unsigned key = 0; key < 6400; key++)
        filled[hash_of(key) & 63]++;
    for (size_t i = 0; i < 64; i++)
        assert_in_range(filled[i], 30, 250); /* 100 each; sequential keys must not cluster */
}

static void growth_keeps_everything(void **state)
{
    (void)state;
    struct table t = {0};
    static struct item items[ITEMS];
    memset(items, 0, sizeof items);
    for (unsigned i = 0; i < ITEMS; i++) {
        items[i].key = i;
        assert_int_equal(table_add(&t, &items[i].node, hash_of(i)), ERR_OK);
        assert_int_equal(t.count, i + 1);
        assert_true(t.bucket_count >= t.count);
        assert_int_equal(t.bucket_count & (t.bucket_count - 1), 0);
        for (unsigned k = i > 20 ? i - 20 : 0; k <= i; k++)
            assert_ptr_equal(find(&t, k), &items[k]);
    }
    for (unsigned i = 0; i < ITEMS; i++)
        assert_ptr_equal(find(&t, i), &items[i]);
    assert_null(find(&t, ITEMS));
    table_done(&t);
    assert_int_equal(t.count, 0);
}

static void equal_hashes_are_newest_first(void **state)
{
    (void)state;
    struct table t = {0};
    struct item items[3] = {{.key = 0}, {.key = 1}, {.key = 2}}, other = {.key = 3};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(table_add(&t, &items[i].node, 5), ERR_OK);
    assert_int_equal(table_add(&t, &other.node, 5 + 16), ERR_OK); /* the same bucket, another hash */
    assert_ptr_equal(table_first(&t, 5), &items[2].node);
    assert_ptr_equal(table_next(&items[2].node, 5), &items[1].node);
    table_remove(&t, &items[1].node);
    assert_ptr_equal(table_next(&items[2].node, 5), &items[0].node);
    assert_null(table_next(&items[0].node, 5));
    assert_ptr_equal(table_first(&t, 5 + 16), &other.node);
    assert_null(table_next(&other.node, 5 + 16));
    table_done(&t);
}

static void random_adds_and_removals_against_a_reference(void **state)
{
    (void)state;
    struct table t = {0};
    static struct item items[ITEMS];
    memset(items, 0, sizeof items);
    size_t count = 0;
    srandom(3);
    for (int turn = 0; turn < 60000; turn++) {
        unsigned key = (unsigned)random() % ITEMS;
        struct item *item = &items[key];
        item->key = key;
        assert_ptr_equal(find(&t, key), item->there ? item : NULL);
        if (item->there)
            table_remove(&t, &item->node);
        else
            assert_int_equal(table_add(&t, &item->node, hash_of(key)), ERR_OK);
        item->there = !item->there;
        count += item->there ? 1 : (size_t)-1;
        assert_int_equal(t.count, count);
    }
    for (unsigned key = 0; key < ITEMS; key++)
        assert_ptr_equal(find(&t, key), items[key].there ? &items[key] : NULL);
    table_done(&t);
}

static void visit(struct table_node *n, void *arg)
{
    struct table *t = arg;
    struct item *item = CONTAINER_OF(n, struct item, node);
    item->visits++;
    if (item->key % 2 == 0) {
        table_remove(t, n);
        memset(item, 0xee, sizeof *item); /* as if freed, and the memory used again */
        free(item);
    }
}

static void visited_nodes_may_remove_and_free_themselves(void **state)
{
    (void)state;
    struct table t = {0};
    struct item *odd[500];
    for (unsigned i = 0; i < 1000; i++) {
        struct item *item = calloc(1, sizeof *item);
        assert_non_null(item);
        item->key = i;
        if (i % 2)
            odd[i / 2] = item;
        assert_int_equal(table_add(&t, &item->node, hash_of(i)), ERR_OK);
    }
    table_each(&t, visit, &t);
    assert_int_equal(t.count, 500);
    for (unsigned i = 0; i < 500; i++) {
        assert_int_equal(odd[i]->visits, 1);
        assert_ptr_equal(find(&t, odd[i]->key), odd[i]);
        assert_null(find(&t, odd[i]->key - 1));
        table_remove(&t, &odd[i]->node);
        free(odd[i]);
    }
    assert_int_equal(t.count, 0);
    table_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_finds_nothing),
        cmocka_unit_test(same_key_hashes_alike_and_others_spread),
        cmocka_unit_test(growth_keeps_everything),
        cmocka_unit_test(equal_hashes_are_newest_first),
        cmocka_unit_test(random_adds_and_removals_against_a_reference),
        cmocka_unit_test(visited_nodes_may_remove_and_free_themselves),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
