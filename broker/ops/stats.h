/**
 * The stats port: plain HTTP for Prometheus, load balancers and people. It reads the shared page only, so it
 * answers while the workers are saturated, and it names no user.
 *
 *     GET /              the dashboard (ops/dashboard.html)
 *     GET /metrics   all metrics, Prometheus' text format
 *     GET /stats.json  the same and more, for programs (ops/stats_json.h)
 *     GET /healthz   200 "ok": this process answers
 *     GET /readyz    200 "ready", or a line for each fault, "worker 2 gets no hints since ..." (ops/fault.def): with 503
 *                    where one keeps logins from working, with 200 where they work all the same
 *
 * HEAD works as GET does; another path is 404, another method 405. A Host that is neither an IP address nor
 * localhost gets 403: a web page whose own name was made to point here (DNS rebinding) reads nothing.
 */
#ifndef NANOPUSH_OPS_STATS_H
#define NANOPUSH_OPS_STATS_H

#include "core/loop.h"
#include "core/metrics.h"
#include "core/recent.h"

struct stats_port;

/**
 * Whether Redis can be used.
 * @param[out] since_unix_ms  since when it cannot; set with false only.
 * @param[out] part           which part of it cannot, "" where that is all; valid until the next call.
 */
typedef bool (*stats_redis_up_fn)(int64_t *since_unix_ms, const char **part, void *arg);

/**
 * Serve on @p fd from the next turn of the loop on.
 *
 * @param fd            listening and non-blocking; stays the caller's, open until after stats_port_stop().
 * @param page, recent  read, not kept alive; recent may be NULL.
 * @param worker_count  workers that must be ready; worker i, from 1 on, is slot i - 1.
 * @param redis_up      asked for each /readyz; must not block.
 * @return freed with stats_port_free(); NULL when memory is out.
 */
struct stats_port *stats_port_new(struct loop *loop, int fd, const struct metrics_page *page,
                                  const struct recent *recent, unsigned worker_count,
                                  stats_redis_up_fn redis_up, void *arg);

/** Stop accepting and cut the connections, which end in this turn of the loop. */
void stats_port_stop(struct stats_port *port);

/** Free after stats_port_stop() and the end of that turn. NULL is allowed. */
void stats_port_free(struct stats_port *port);

#endif
