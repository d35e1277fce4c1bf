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

enum metric {
#define METRIC(ident, kind, name, help) METRIC_##ident,
#define SERIES(ident, value)            METRIC_##ident,
#include "core/metric.def"
    METRIC_COUNT
};

enum histogram {
#define HISTOGRAM(ident, name, help)   HISTOGRAM_##ident,
#define HISTOGRAM_SERIES(ident, value) HISTOGRAM_##ident,
#include "core/metric.def"
    HISTOGRAM_COUNT
};

enum portal_metric {
#define PORTAL_SERIES(ident, value) PORTAL_METRIC_##ident,
#include "core/metric.def"
    PORTAL_METRIC_COUNT
};

#define METRICS_PORTALS_MAX 64 /* that are told apart; the others are one, "other" */

struct metrics_page;

/** How far a worker's probe has come (domain/probe.h). */
enum probe_step { PROBE_TURNED, PROBE_WRITTEN, PROBE_RETURNED, PROBE_STEP_COUNT };

/** What a slot says about its process. */
struct metrics_health {
    int pid; /* 0: never started */
    bool ready;
    int64_t started_unix_ms, ready_changed_unix_ms;
    int64_t audit_failing_unix_ms;           /* since when its audit cannot be written; 0: it can */
    int64_t probe_mono_ms[PROBE_STEP_COUNT]; /* when it last came to that step; 0: not since the start */
};

/** Add to a row of core/metric.def (what is negative, to a gauge only), or set a gauge, in the own slot. */
#define METRIC_ADD(ident, n)     metrics_add(METRIC_##ident, (n))
#define METRIC_SET(ident, value) metrics_set(METRIC_##ident, (value))

/** Note that something took @p us microseconds, in the own slot. */
#define HISTOGRAM_ADD(ident, us) metrics_observe(HISTOGRAM_##ident, (us))
void metrics_observe(enum histogram h, int64_t us);

/** Count for the portal of that id, in the own slot. The first METRICS_PORTALS_MAX ids are told apart. */
#define PORTAL_METRIC_ADD(ident, portal) metrics_add_portal(PORTAL_METRIC_##ident, (portal))
void metrics_add_portal(enum portal_metric m, const char *portal);

/** What METRIC_ADD and METRIC_SET call; for a metric that is computed, as METRIC_CLOSED_x from a close reason. */
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

/** Note that the process's probe has come to @p step. */
void metrics_slot_probe(struct metrics_page *page, unsigned slot, enum probe_step step, int64_t mono_ms);

/** Note since when the calling process's audit cannot be written, in the own slot; 0: it can. */
void metrics_set_audit_failing(int64_t since_unix_ms);

/** What the slot says now. */
struct metrics_health metrics_slot_health(const struct metrics_page *page, unsigned slot);

/** Sum of a metric over all slots. */
int64_t metrics_sum(const struct metrics_page *page, enum metric m);

/** The metric in one slot. */
int64_t metrics_value(const struct metrics_page *page, unsigned slot, enum metric m);

/**
 * Append all metrics in Prometheus' text format, version 0.0.4: METRICS_CONTENT_TYPE. nanopush_build_info
 * carries NANOPUSH_VERSION, which the build sets.
 * @return ERR_OK; ERR_NOMEM (@p out may hold a part).
 */
MUST_CHECK enum err metrics_render(const struct metrics_page *page, struct buf *out);

/**
 * Append all metrics as a JSON object: "<name>": {"type", "help", "samples": [{"labels": {}, "value"}]}, a histogram's
 * sample with "buckets" (cumulative, the last is the count), "sum" and "count" instead; "bounds" once, in seconds.
 * @return as metrics_render().
 */
MUST_CHECK enum err metrics_render_json(const struct metrics_page *page, struct buf *out);

/** Append the table of all metrics in Markdown: broker/METRICS.md. @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err metrics_render_reference(struct buf *out);

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

#endif
