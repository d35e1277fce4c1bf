#include "core/metrics.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <sys/mman.h>

#ifndef NANOPUSH_VERSION
#define NANOPUSH_VERSION "unversioned"
#endif

#define CACHE_LINE_BYTES 64

/* Aligned, so that two processes never write one cache line. */
struct slot {
    _Alignas(CACHE_LINE_BYTES) _Atomic int64_t values[METRIC_COUNT];
    _Atomic int64_t started_unix_ms, ready_changed_unix_ms;
    _Atomic int pid;
    _Atomic bool ready;
};

struct metrics_page {
    unsigned slot_count;
    struct slot slots[];
};

enum kind { COUNTER, GAUGE };

/* A row of metric.def: the head of a family (name is set), or one of its series, or both at once. */
struct row {
    const char *name, *label, *help;
    enum kind kind;
    const char *value;
    int metric; /* -1: head only */
};

#define METRIC(ident, kind, name, help) {name, NULL, help, kind, NULL, METRIC_##ident},
#define FAMILY(kind, name, label, help) {name, label, help, kind, NULL, -1},
#define SERIES(ident, value)            {NULL, NULL, NULL, COUNTER, value, METRIC_##ident},
static const struct row rows[] = {
#include "core/metric.def"
};
#undef METRIC
#undef FAMILY
#undef SERIES

#define ROW_COUNT (sizeof rows / sizeof rows[0])

static struct slot nobodys_slot;
static struct slot *own_slot = &nobodys_slot;

static int64_t get(const _Atomic int64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

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
    if (own_slot >= page->slots && own_slot < page->slots + page->slot_count)
        own_slot = &nobodys_slot;
    munmap(page, page_bytes(page->slot_count));
}

void metrics_use_slot(struct metrics_page *page, unsigned slot)
{
    own_slot = page ? &page->slots[slot] : &nobodys_slot;
}

void metrics_reset_gauges(struct metrics_page *page, unsigned slot)
{
    enum kind kind = COUNTER;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (rows[i].name)
            kind = rows[i].kind;
        if (kind == GAUGE && rows[i].metric >= 0)
            set(&page->slots[slot].values[rows[i].metric], 0);
    }
}

void metrics_slot_started(struct metrics_page *page, unsigned slot, int pid, int64_t unix_ms)
{
    struct slot *s = &page->slots[slot];
    atomic_store_explicit(&s->ready, false, memory_order_relaxed);
    atomic_store_explicit(&s->pid, pid, memory_order_relaxed);
    set(&s->started_unix_ms, unix_ms);
    set(&s->ready_changed_unix_ms, unix_ms);
}

void metrics_slot_set_ready(struct metrics_page *page, unsigned slot, bool ready, int64_t unix_ms)
{
    struct slot *s = &page->slots[slot];
    if (atomic_exchange_explicit(&s->ready, ready, memory_order_relaxed) != ready)
        set(&s->ready_changed_unix_ms, unix_ms);
}

struct metrics_health metrics_slot_health(const struct metrics_page *page, unsigned slot)
{
    const struct slot *s = &page->slots[slot];
    return (struct metrics_health){
        .pid = atomic_load_explicit(&s->pid, memory_order_relaxed),
        .ready = atomic_load_explicit(&s->ready, memory_order_relaxed),
        .started_unix_ms = get(&s->started_unix_ms),
        .ready_changed_unix_ms = get(&s->ready_changed_unix_ms),
    };
}

int64_t metrics_sum(const struct metrics_page *page, enum metric m)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < page->slot_count; i++)
        sum += get(&page->slots[i].values[m]);
    return sum;
}

static enum err render_head(struct buf *out, const char *name, enum kind kind, const char *help)
{
    return buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
                      kind == GAUGE ? "gauge" : "counter");
}

static enum err render_sample(struct buf *out, const struct row *family, const char *value, int64_t sum)
{
    if (!value)
        return buf_printf(out, "%s %" PRId64 "\n", family->name, sum);
    return buf_printf(out, "%s{%s=\"%s\"} %" PRId64 "\n", family->name, family->label, value, sum);
}

enum err metrics_render(const struct metrics_page *page, struct buf *out)
{
    static const struct row build = {
        "nanopush_build_info", "version", "Always 1; the label says what runs.", GAUGE, NULL, -1};
    TRY(render_head(out, build.name, build.kind, build.help));
    TRY(render_sample(out, &build, NANOPUSH_VERSION, 1));
    const struct row *family = NULL;
    for (const struct row *r = rows; r < rows + ROW_COUNT; r++) {
        if (r->name) {
            family = r;
            TRY(render_head(out, r->name, r->kind, r->help));
        }
        if (r->metric >= 0)
            TRY(render_sample(out, family, r->value, metrics_sum(page, (enum metric)r->metric)));
    }
    return ERR_OK;
}
