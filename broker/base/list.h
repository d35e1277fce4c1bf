/**
 * Doubly linked list, the node inside the object; an object may stand in several lists by several nodes.
 */
#ifndef NANOPUSH_BASE_LIST_H
#define NANOPUSH_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

/** A node or a head. A head, and a node in no list, point at themselves; list_init() makes them so. */
struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

/** Take @p node out of whatever list it is in; harmless when it is in none. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/** Put @p node, in no list now, at the end of @p head. */
static inline void list_append(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/** Move every node of @p from to the end of @p to, in order. */
static inline void list_move(struct list *from, struct list *to)
{
    while (!list_empty(from)) {
        struct list *node = from->next;
        list_remove(node);
        list_append(to, node);
    }
}

/** The object of @p type whose member @p member is at @p node. */
#define CONTAINER_OF(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

#define LIST_EACH(at, head)              for (struct list *at = (head)->next; at != (head); at = at->next)

/** As LIST_EACH, and @p at may be removed and freed in the body; nothing else of the list may. */
#define LIST_EACH_SAFE(at, head)                                                                             \
    for (struct list *at = (head)->next, *at##_next = at->next; at != (head);                                \
         at = at##_next, at##_next = at->next)

#endif
