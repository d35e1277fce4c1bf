/**
 * Whether the workers are to serve, in memory that all processes of a broker share: an administrator says it (ops), the
 * master says it when another broker takes its place, and each worker follows within a second.
 */
#ifndef NANOPUSH_CORE_DRAIN_ORDER_H
#define NANOPUSH_CORE_DRAIN_ORDER_H

enum drain_wish {
    DRAIN_SERVE,
    DRAIN_AWAY,      /* send everybody elsewhere, and stay */
    DRAIN_SUCCEEDED, /* another broker serves the same sockets: no notice is needed */
};

struct drain_order;

/** DRAIN_SERVE, shared with every child that is forked after this. @return freed with drain_order_free(); NULL: no memory. */
struct drain_order *drain_order_new(void);

/** Unmap it in this process. NULL is allowed. */
void drain_order_free(struct drain_order *order);

/** DRAIN_SUCCEEDED is for good: nothing changes it. */
void drain_order_set(struct drain_order *order, enum drain_wish wish);
enum drain_wish drain_order_get(const struct drain_order *order);

#endif
