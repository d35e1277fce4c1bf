#include "domain/permit.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/table.h"
#include "core/metrics.h"

#define BUDGETS_MAX   1024 /* beyond, those that nobody uses are forgotten */
#define OPEN_RETRY_MS 1000

struct permits {
    struct domain *domain;
    struct table budgets; /* by portal */
    unsigned per_s, open_max;
};

/* What this worker has of one portal's. */
struct budget {
    struct table_node node;
    struct permits *permits;
    char portal[NAME_MAX_LEN + 1];
    unsigned rate;         /* a second; as the portal's record said last */
    unsigned left;         /* of the lease, good until until_mono_ms */
    unsigned spent;        /* of it */
    unsigned want;         /* how many to ask for next, 1 to a batch */
    unsigned open;         /* calls that have a permit, or wait for one */
    int64_t until_mono_ms; /* of the lease */
    int64_t empty_mono_ms; /* until then there is none to be had */
    int64_t asked_mono_ms;
    bool asking;
    struct list waiting; /* struct permit */
    size_t waiting_count;
};

struct permits *permits_new(struct domain *domain, unsigned per_s, unsigned open_max)
{
    struct permits *permits = mem_new(sizeof *permits);
    *permits = (struct permits){.domain = domain, .per_s = per_s, .open_max = open_max};
    return permits;
}

static void forget(struct table_node *node, void *arg)
{
    (void)arg;
    struct budget *budget = CONTAINER_OF(node, struct budget, node);
    table_remove(&budget->permits->budgets, node);
    free(budget);
}

static void forget_unused(struct table_node *node, void *arg)
{
    const struct budget *budget = CONTAINER_OF(node, struct budget, node);
    if (budget->open == 0 && !budget->asking && budget->empty_mono_ms <= clock_mono_ms())
        forget(node, arg);
}

void permits_free(struct permits *permits)
{
    if (!permits)
        return;
    table_each(&permits->budgets, forget, NULL);
    table_done(&permits->budgets);
    free(permits);
}

static struct budget *budget_of(struct permits *permits, const char *portal)
{
    uint64_t hash = table_hash(bytes_of(portal));
    for (struct table_node *n = table_first(&permits->budgets, hash); n; n = table_next(n, hash)) {
        struct budget *budget = CONTAINER_OF(n, struct budget, node);
        if (strcmp(budget->portal, portal) == 0)
            return budget;
    }
    if (permits->budgets.count >= BUDGETS_MAX)
        table_each(&permits->budgets, forget_unused, NULL);
    struct budget *budget = mem_new(sizeof *budget);
    budget->permits = permits;
    strncpy(budget->portal, portal, NAME_MAX_LEN);
    budget->want = 1;
    list_init(&budget->waiting);
    if (table_add(&permits->budgets, &budget->node, hash) != ERR_OK)
        abort(); /* the table's first buckets, see mem_new() */
    return budget;
}

/* ---- the lease ---- */

static void answer(struct permit *permit, enum err e, unsigned retry_ms)
{
    list_remove(&permit->node);
    permit->waits = false;
    permit->budget->waiting_count--;
    permit->fn(e, retry_ms, permit->arg); /* which may end it */
}

static struct permit *first_waiting(struct budget *budget)
{
    return list_empty(&budget->waiting) ? NULL : CONTAINER_OF(budget->waiting.next, struct permit, node);
}

static void ask(struct budget *budget);

static void give(struct budget *budget)
{
    for (struct permit *first; budget->left > 0 && (first = first_waiting(budget));) {
        budget->left--;
        budget->spent++;
        answer(first, ERR_OK, 0);
    }
}

static void refuse_all(struct budget *budget, enum err e, unsigned retry_ms)
{
    for (struct permit *first; (first = first_waiting(budget));)
        answer(first, e, retry_ms);
}

static void on_leased(enum err e, unsigned granted, unsigned retry_ms, void *arg)
{
    struct budget *budget = arg;
    int64_t now_mono_ms = clock_mono_ms();
    budget->asking = false;
    if (e != ERR_OK) {
        refuse_all(budget, e, 0);
        return;
    }
    if (budget->until_mono_ms <= now_mono_ms)
        budget->left = 0;
    budget->left += granted;
    budget->spent = 0;
    if (granted > 0)
        budget->until_mono_ms = budget->asked_mono_ms + PERMIT_LEASE_MS;
    else
        budget->empty_mono_ms = now_mono_ms + retry_ms;
    budget->open++; /* who is answered may be the last one */
    give(budget);
    budget->open--;
    if (granted == 0)
        refuse_all(budget, ERR_LIMIT, retry_ms);
    else if (first_waiting(budget))
        ask(budget);
}

/* As many as were of use: twice as many where the lease was used up before its time. */
static void adapt(struct budget *budget, int64_t now_mono_ms)
{
    unsigned batch = PERMIT_BATCH(budget->rate);
    budget->want = budget->until_mono_ms > now_mono_ms ? 2 * budget->want : budget->spent;
    if (budget->want > batch)
        budget->want = batch;
    if (budget->want == 0)
        budget->want = 1;
}

static void ask(struct budget *budget)
{
    budget->asked_mono_ms = clock_mono_ms();
    adapt(budget, budget->asked_mono_ms);
    size_t wanted = budget->waiting_count > budget->want ? budget->waiting_count : budget->want;
    if (wanted > PERMIT_BATCH(budget->rate))
        wanted = PERMIT_BATCH(budget->rate);
    budget->asking = true;
    METRIC_ADD(PERMIT_LEASES, 1);
    store_portal_lease(budget->permits->domain->store, budget->portal, budget->rate,
                       PERMIT_BURST(budget->rate), (unsigned)wanted, on_leased, budget);
}

/* ---- permits ---- */

static enum permit_answer refuse(struct permit *permit, unsigned ms, unsigned *retry_ms)
{
    permit_end(permit);
    *retry_ms = ms;
    return PERMIT_REFUSED;
}

enum permit_answer permit_take(struct permits *permits, const Record__Portal *portal, struct permit *permit,
                               unsigned *retry_ms, permit_fn fn, void *arg)
{
    struct budget *budget = budget_of(permits, portal->id);
    int64_t now_mono_ms = clock_mono_ms();
    budget->rate = portal->calls_per_s ? portal->calls_per_s : permits->per_s;
    *permit = (struct permit){.budget = budget, .fn = fn, .arg = arg};
    list_init(&permit->node);
    if (budget->open++ >= permits->open_max)
        return refuse(permit, OPEN_RETRY_MS, retry_ms);
    bool leased = budget->left > 0 && budget->until_mono_ms > now_mono_ms;
    bool may_ask = !budget->asking && budget->empty_mono_ms <= now_mono_ms;
    if (leased && list_empty(&budget->waiting)) {
        budget->left--;
        budget->spent++;
        if (may_ask && budget->left <= budget->want / 2)
            ask(budget);
        return PERMIT_GIVEN;
    }
    if (!may_ask && !budget->asking)
        return refuse(permit, (unsigned)(budget->empty_mono_ms - now_mono_ms), retry_ms);
    permit->waits = true;
    list_append(&budget->waiting, &permit->node);
    budget->waiting_count++;
    if (may_ask)
        ask(budget);
    return PERMIT_LATER;
}

void permit_end(struct permit *permit)
{
    struct budget *budget = permit->budget;
    if (!budget)
        return;
    if (permit->waits) {
        list_remove(&permit->node);
        budget->waiting_count--;
    }
    budget->open--;
    *permit = (struct permit){0};
}
