/** base/list: order, removal, and walking while nodes go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
    int before; /* so that the node is not at the object's own address */
    struct list node;
    char letter;
};

static void assert_letters(const struct list *head, const char *expected)
{
    char forward[16] = {0}, backward[16] = {0};
    size_t n = 0, m = 0;
    LIST_EACH (at, (struct list *)(uintptr_t)head)
        forward[n++] = CONTAINER_OF(at, struct item, node)->letter;
    for (const struct list *at = head->prev; at != head; at = at->prev)
        backward[m++] = CONTAINER_OF(at, struct item, node)->letter;
    assert_string_equal(forward, expected);
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(backward[i], forward[n - 1 - i]);
}

static void fill(struct list *head, struct item *items, size_t count)
{
    list_init(head);
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct item){.letter = (char)('a' + (int)i)};
        list_append(head, &items[i].node);
    }
}

static void nodes_stand_in_the_order_of_appending(void **state)
{
    (void)state;
    struct list head;
    struct item items[4];
    fill(&head, items, 0);
    assert_true(list_empty(&head));
    assert_letters(&head, "");
    fill(&head, items, 4);
    assert_false(list_empty(&head));
    assert_letters(&head, "abcd");
}

static void removal_anywhere_and_twice(void **state)
{
    (void)state;
    static const char *const left[] = {"bcd", "acd", "abd", "abc"};
    for (size_t i = 0; i < 4; i++) {
        struct list head;
        struct item items[4];
        fill(&head, items, 4);
        list_remove(&items[i].node);
        assert_letters(&head, left[i]);
        assert_true(list_empty(&items[i].node)); /* it points at itself again */
        list_remove(&items[i].node);
        assert_letters(&head, left[i]);
        list_append(&head, &items[i].node);
        list_remove(&items[i].node);
        assert_letters(&head, left[i]);
    }
}

static void last_removal_leaves_it_empty(void **state)
{
    (void)state;
    struct list head;
    struct item item;
    fill(&head, &item, 1);
    list_remove(&item.node);
    assert_true(list_empty(&head));
    list_append(&head, &item.node);
    assert_letters(&head, "a");
}

/* What redis_conn does with commands in flight: to the front of another queue, in order. */
static void appending_to_the_first_node_inserts_before_it(void **state)
{
    (void)state;
    struct list head;
    struct item items[3], first = {.letter = 'x'};
    fill(&head, items, 3);
    list_append(head.next, &first.node);
    assert_letters(&head, "xabc");
}

static void walk_survives_removal_and_freeing(void **state)
{
    (void)state;
    struct list head;
    list_init(&head);
    for (char letter = 'a'; letter <= 'f'; letter++) {
        struct item *item = calloc(1, sizeof *item);
        assert_non_null(item);
        item->letter = letter;
        list_append(&head, &item->node);
    }
    char seen[8] = {0};
    size_t n = 0;
    LIST_EACH_SAFE (at, &head) {
        struct item *item = CONTAINER_OF(at, struct item, node);
        seen[n++] = item->letter;
        if (item->letter != 'c') {
            list_remove(at);
            free(item);
        }
    }
    assert_string_equal(seen, "abcdef");
    assert_letters(&head, "c");
    free(CONTAINER_OF(head.next, struct item, node));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_stand_in_the_order_of_appending),
        cmocka_unit_test(removal_anywhere_and_twice),
        cmocka_unit_test(last_removal_leaves_it_empty),
        cmocka_unit_test(appending_to_the_first_node_inserts_before_it),
        cmocka_unit_test(walk_survives_removal_and_freeing),
    };
    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
