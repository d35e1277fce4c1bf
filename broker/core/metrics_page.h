/**
 * The layout of the shared page, and the rows of core/metric.def. Internal to core/metrics*.c.
 */
#ifndef NANOPUSH_CORE_METRICS_PAGE_H
#define NANOPUSH_CORE_METRICS_PAGE_H

#include <stdatomic.h>

#include "core/metrics.h"

#define CACHE_LINE_BYTES  64
#define HISTOGRAM_BOUNDS  20
#define PORTAL_NAME_SIZE  65
#define PORTAL_OTHER      METRICS_PORTALS_MAX
#define PORTAL_OTHER_NAME "other"

/** Upper bounds, in microseconds; what is above falls into one bucket more. */
extern const int64_t histogram_bounds_us[HISTOGRAM_BOUNDS];

struct histogram_values {
    _Atomic int64_t buckets[HISTOGRAM_BOUNDS + 1]; /* each its own, not cumulative */
    _Atomic int64_t sum_us;
};

/* Aligned, so that two processes never write one cache line. */
struct slot {
    _Alignas(CACHE_LINE_BYTES) _Atomic int64_t values[METRIC_COUNT];
    struct histogram_values histograms[HISTOGRAM_COUNT];
    _Atomic int64_t portals[METRICS_PORTALS_MAX + 1][PORTAL_METRIC_COUNT];
    _Atomic int64_t started_unix_ms, ready_changed_unix_ms, audit_failing_unix_ms;
    _Atomic int64_t probe_mono_ms[PROBE_STEP_COUNT];
    _Atomic int pid;
    _Atomic bool ready;
};

/* FREE -> TAKEN -> SET; the text is read in SET only. */
enum portal_name_state { PORTAL_NAME_FREE, PORTAL_NAME_TAKEN, PORTAL_NAME_SET };

struct portal_name {
    _Atomic int state;
    char text[PORTAL_NAME_SIZE];
};

struct metrics_page {
    unsigned slot_count;
    struct portal_name portals[METRICS_PORTALS_MAX]; /* in the order in which they were first counted */
    struct slot slots[];
};

enum metric_kind { COUNTER, GAUGE, HISTOGRAM_KIND, PORTAL_COUNTER };

/** A row of metric.def: the head of a family (name is set), or one of its series, or both at once. */
struct metric_row {
    const char *name, *label, *help;
    enum metric_kind kind; /* of a head */
    const char *value;
    int index; /* enum metric, histogram or portal_metric, by the family's kind; -1: head only */
};

extern const struct metric_row metric_rows[];
extern const size_t metric_row_count;

static inline int64_t atomic_get(const _Atomic int64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

#endif
