#include "core/metrics.h"

#include <string.h>
#include <sys/mman.h>

#include "core/metrics_page.h"

static struct slot nobodys_slot;
static struct slot *own_slot = &nobodys_slot;
static struct metrics_page *own_page; /* NULL: nobody's slot */

/* From what one machine does to how long a person takes. */
const int64_t histogram_bounds_us[HISTOGRAM_BOUNDS] = {
    100,    250,    500,     1000,    2500,    5000,     10000,    25000,    50000,    100000,
    250000, 500000, 1000000, 2500000, 5000000, 10000000, 20000000, 30000000, 60000000, 300000000,
};

static void set(_Atomic int64_t *value, int64_t to)
{
    atomic_store_explicit(value, to, memory_order_relaxed);
}

void metrics_add(enum metric m, int64_t n)
{
    atomic_fetch_add_explicit(&own_slot->values[m], n, memory_order_relaxed);
}

void metrics_set(enum metric m, int64_t value)
{
    set(&own_slot->values[m], value);
}

void metrics_observe(enum histogram h, int64_t us)
{
    struct histogram_values *values = &own_slot->histograms[h];
    size_t bucket = 0;
    while (bucket < HISTOGRAM_BOUNDS && us > histogram_bounds_us[bucket])
        bucket++;
    atomic_fetch_add_explicit(&values->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&values->sum_us, us > 0 ? us : 0, memory_order_relaxed);
}

/* Its place, taken now if it is a new one. One that another process is just taking counts as "other" this once. */
static size_t find_portal(struct metrics_page *page, const char *portal)
{
    if (strlen(portal) >= PORTAL_NAME_SIZE)
        return PORTAL_OTHER;
    for (size_t i = 0; i < METRICS_PORTALS_MAX; i++) {
        struct portal_name *name = &page->portals[i];
        int state = PORTAL_NAME_FREE;
        if (atomic_compare_exchange_strong(&name->state, &state, PORTAL_NAME_TAKEN)) {
            memcpy(name->text, portal, strlen(portal) + 1);
            atomic_store(&name->state, PORTAL_NAME_SET);
            return i;
        }
        if (state == PORTAL_NAME_TAKEN)
            return PORTAL_OTHER;
        if (strcmp(name->text, portal) == 0)
            return i;
    }
    return PORTAL_OTHER;
}

void metrics_add_portal(enum portal_metric m, const char *portal)
{
    if (own_page)
        atomic_fetch_add_explicit(&own_slot->portals[find_portal(own_page, portal)][m], 1,
                                  memory_order_relaxed);
}

static size_t page_bytes(unsigned slot_count)
{
    return sizeof(struct metrics_page) + slot_count * sizeof(struct slot);
}

struct metrics_page *metrics_page_new(unsigned slot_count)
{
    struct metrics_page *page =
        mmap(NULL, page_bytes(slot_count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NULL;
    page->slot_count = slot_count;
    return page;
}

void metrics_page_free(struct metrics_page *page)
{
    if (!page)
        return;
    if (own_page == page)
        metrics_use_slot(NULL, 0);
    munmap(page, page_bytes(page->slot_count));
}

void metrics_use_slot(struct metrics_page *page, unsigned slot)
{
    own_page = page;
    own_slot = page ? &page->slots[slot] : &nobodys_slot;
}

void metrics_reset_gauges(struct metrics_page *page, unsigned slot)
{
    enum metric_kind kind = COUNTER;
    for (const struct metric_row *r = metric_rows; r < metric_rows + metric_row_count; r++) {
        if (r->name)
            kind = r->kind;
        if (kind == GAUGE && r->index >= 0)
            set(&page->slots[slot].values[r->index], 0);
    }
}

void metrics_slot_started(struct metrics_page *page, unsigned slot, int pid, int64_t unix_ms)
{
    struct slot *s = &page->slots[slot];
    atomic_store_explicit(&s->ready, false, memory_order_relaxed);
    atomic_store_explicit(&s->pid, pid, memory_order_relaxed);
    set(&s->started_unix_ms, unix_ms);
    set(&s->ready_changed_unix_ms, unix_ms);
    set(&s->audit_failing_unix_ms, 0);
    for (size_t step = 0; step < PROBE_STEP_COUNT; step++)
        set(&s->probe_mono_ms[step], 0);
}

void metrics_slot_probe(struct metrics_page *page, unsigned slot, enum probe_step step, int64_t mono_ms)
{
    set(&page->slots[slot].probe_mono_ms[step], mono_ms);
}

void metrics_slot_set_ready(struct metrics_page *page, unsigned slot, bool ready, int64_t unix_ms)
{
    struct slot *s = &page->slots[slot];
    if (atomic_exchange_explicit(&s->ready, ready, memory_order_relaxed) != ready)
        set(&s->ready_changed_unix_ms, unix_ms);
}

void metrics_set_audit_failing(int64_t since_unix_ms)
{
    set(&own_slot->audit_failing_unix_ms, since_unix_ms);
}

struct metrics_health metrics_slot_health(const struct metrics_page *page, unsigned slot)
{
    const struct slot *s = &page->slots[slot];
    struct metrics_health health = {
        .pid = atomic_load_explicit(&s->pid, memory_order_relaxed),
        .ready = atomic_load_explicit(&s->ready, memory_order_relaxed),
        .started_unix_ms = atomic_get(&s->started_unix_ms),
        .ready_changed_unix_ms = atomic_get(&s->ready_changed_unix_ms),
        .audit_failing_unix_ms = atomic_get(&s->audit_failing_unix_ms),
    };
    for (size_t step = 0; step < PROBE_STEP_COUNT; step++)
        health.probe_mono_ms[step] = atomic_get(&s->probe_mono_ms[step]);
    return health;
}

int64_t metrics_value(const struct metrics_page *page, unsigned slot, enum metric m)
{
    return atomic_get(&page->slots[slot].values[m]);
}

int64_t metrics_sum(const struct metrics_page *page, enum metric m)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < page->slot_count; i++)
        sum += metrics_value(page, i, m);
    return sum;
}
