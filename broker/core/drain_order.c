#include "core/drain_order.h"

#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

struct drain_order {
    _Atomic int wish;
};

struct drain_order *drain_order_new(void)
{
    void *order =
        mmap(NULL, sizeof(struct drain_order), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return order == MAP_FAILED ? NULL : order;
}

void drain_order_free(struct drain_order *order)
{
    if (order)
        munmap(order, sizeof *order);
}

void drain_order_set(struct drain_order *order, enum drain_wish wish)
{
    int was = DRAIN_SERVE;
    if (wish == DRAIN_SUCCEEDED)
        atomic_store(&order->wish, wish);
    else
        while (was != DRAIN_SUCCEEDED && !atomic_compare_exchange_weak(&order->wish, &was, (int)wish)) {
        }
}

enum drain_wish drain_order_get(const struct drain_order *order)
{
    return (enum drain_wish)atomic_load(&order->wish);
}
