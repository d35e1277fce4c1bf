/**
 * Metrics and health of all processes, in one page of memory that they share.
 *
 *     master:  metrics_page_new(), then fork
 *                    | slot 0: worker 1 | slot 1: worker 2 | ... | slot n: ops |
 *     each child:  metrics_use_slot(), then METRIC_ADD() writes its own slot only
 *     ops:         metrics_render() sums the slots; metrics_slot_health()
 *
 * The metrics are rows of core/metric.def. All is relaxed atomics: no lock, no order between two metrics. A
 * slot outlives the process that writes it, so its counters go on where a dead worker left them.
 */
#ifndef NANOPUSH_CORE_METRICS_H
#define NANOPUSH_CORE_METRICS_H

#include "base/buf.h"

#define METRIC(ident, kind, name, help) METRIC_##ident,
#define FAMILY(kind, name, label, help)
#define SERIES(ident, value) METRIC_##ident,
enum metric {
#include "core/metric.def"
    METRIC_COUNT
};
#undef METRIC
#undef FAMILY
#undef SERIES

struct metrics_page;

/** What a slot says about its process. */
struct metrics_health {
    int pid; /* 0: never started */
    bool ready;
    int64_t started_unix_ms, ready_changed_unix_ms;
};

/** Add to a row of core/metric.def (what is negative, to a gauge only), or set a gauge, in the own slot. */
#define METRIC_ADD(ident, n)     metrics_add(METRIC_##ident, (n))
#define METRIC_SET(ident, value) metrics_set(METRIC_##ident, (value))

/** What these two call; for a metric that is computed, as METRIC_CLOSED_x from a close reason. */
void metrics_add(enum metric m, int64_t n);
void metrics_set(enum metric m, int64_t value);

/**
 * A page of zeros, shared with every child that is forked after this.
 * @param slot_count  processes that will write, at least 1.
 * @return freed with metrics_page_free(); NULL when memory is out.
 */
struct metrics_page *metrics_page_new(unsigned slot_count);

/** Unmap the page in this process and end metrics_use_slot() on it; others keep theirs. NULL is allowed. */
void metrics_page_free(struct metrics_page *page);

/**
 * Make @p slot, less than the page's slot count, the calling process's own. Before this call, and after one
 * with NULL for @p page, what is counted goes to memory that nobody reads.
 */
void metrics_use_slot(struct metrics_page *page, unsigned slot);

/** Set the gauges of a slot to 0, since the process that they described is gone. Counters stay. */
void metrics_reset_gauges(struct metrics_page *page, unsigned slot);

/** Note a (re)started process: not ready, since now. Called by the master. */
void metrics_slot_started(struct metrics_page *page, unsigned slot, int pid, int64_t unix_ms);

/** Note readiness, by the process itself or the master; the time is kept where nothing changes. */
void metrics_slot_set_ready(struct metrics_page *page, unsigned slot, bool ready, int64_t unix_ms);

/** What the slot says now. */
struct metrics_health metrics_slot_health(const struct metrics_page *page, unsigned slot);

/** Sum of a metric over all slots. */
int64_t metrics_sum(const struct metrics_page *page, enum metric m);

/**
 * Append all metrics in Prometheus' text format, version 0.0.4: METRICS_CONTENT_TYPE. nanopush_build_info
 * carries NANOPUSH_VERSION, which the build sets.
 * @return ERR_OK; ERR_NOMEM (@p out may hold a part).
 */
MUST_CHECK enum err metrics_render(const struct metrics_page *page, struct buf *out);

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

#endif
