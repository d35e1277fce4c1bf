/**
 * What the broker is doing, as one JSON object: what the dashboard, `nanopush stats` and programs read.
 *
 *     version, now_unix_ms, ready
 *     faults    what is not as it should be, [] if nothing is: text, advice, degrades (true: logins work all the same),
 *               worker (0: of none), since_unix_ms
 *     redis     up, since_unix_ms, down (which part is)
 *     workers   number, pid, ready, start_unix_ms, fault (null), probe_age_ms (null), phones, connections, portals,
 *               live, parked, memory_bytes (its own pages, shared ones left out)
 *     recent    newest first: unix_ms, process, severity, kind; names nobody
 *     history   see history_render()
 *     metrics   see metrics_render_json()
 */
#ifndef NANOPUSH_OPS_STATS_JSON_H
#define NANOPUSH_OPS_STATS_JSON_H

#include "core/recent.h"
#include "ops/health.h"
#include "ops/history.h"

#define WORKERS_MAX 64

/** Where the figures come from. */
struct stats_sources {
    const struct metrics_page *page;
    const struct recent *recent;
    const struct history *history;
    unsigned worker_count; /* at most WORKERS_MAX */
    bool redis_up;
    int64_t redis_since_unix_ms;
    const char *redis_part; /* which part of it is down, where it is a part; else "" */
};

#define FAULTS_MAX (WORKERS_MAX + 2) /* one of each worker, of Redis, and of ops */

/** All faults there are now. @param[out] ready  none of them keeps logins from working. @return how many. */
size_t stats_faults(const struct stats_sources *sources, struct fault faults[FAULTS_MAX], bool *ready);

/** @return ERR_OK; ERR_NOMEM (@p out may hold a part). */
MUST_CHECK enum err stats_json(const struct stats_sources *sources, struct buf *out);

#endif
