/**
 * Each worker's share of the phones. Workers accept from one listening socket; whoever is idle at the moment gets the
 * next connection, so that one that came back a second before the others would get nearly all. By the counters' page each
 * sees how many all of them have, and leaves what comes to the others while it has more than its share.
 */
#ifndef NANOPUSH_PROC_FAIR_SHARE_H
#define NANOPUSH_PROC_FAIR_SHARE_H

#include "core/metrics.h"

/**
 * True while the worker of @p slot has more connections of phones than the mean of those that accept, by more than a
 * sixteenth and 16. Those that are not ready, or whose loop has not turned for PROBE_LATE_MS (domain/probe.h), have no
 * share and hold up nobody.
 * @param worker_count  slots 0 and up are workers.
 */
bool fair_share_exceeded(const struct metrics_page *page, unsigned worker_count, unsigned slot,
                         int64_t now_mono_ms);

#endif
