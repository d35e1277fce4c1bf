/**
 * How a worker sends everybody elsewhere, to end or to stand by.
 *
 *     SERVING --begin--> NOTICE --notice over--> LEAVING --nobody left, or drain_s over and all cut--> EMPTY
 *        '<-----------------undo-------------------'-----------------------------------------------------'
 *
 * In NOTICE it still accepts: load balancers send connections until they have seen that it is not ready. From LEAVING on
 * phones get GoAway, paced, each with a time of its own to return, and portals' calls are handed back.
 */
#ifndef NANOPUSH_PROC_WORKER_DRAIN_H
#define NANOPUSH_PROC_WORKER_DRAIN_H

#include "core/config.h"
#include "device/server.h"
#include "portal/rpc.h"

enum drain_state { DRAIN_STATE_SERVING, DRAIN_STATE_NOTICE, DRAIN_STATE_LEAVING, DRAIN_STATE_EMPTY };

struct worker_drain {
    enum drain_state state;
    const struct config *config;
    struct device_server *devices;
    struct rpc_server *portals;
    struct timer notice, poll;
    int64_t until_mono_ms;
    bool aborted;
    loop_fn on_leaving, on_empty;
    void *arg;
};

/**
 * Nothing happens yet. @p on_leaving: stop accepting, called when NOTICE is over. @p on_empty: no connection is left.
 * The rest is kept.
 */
void worker_drain_init(struct worker_drain *drain, struct loop *loop, const struct config *config,
                       struct device_server *devices, struct rpc_server *portals, loop_fn on_leaving,
                       loop_fn on_empty, void *arg);
void worker_drain_done(struct worker_drain *drain);

/** Begin, unless it has begun. @p notice false: without notice, also where that has begun. */
void worker_drain_begin(struct worker_drain *drain, bool notice);

/** Serve again: who calls must accept again. Those who were told to leave do so. */
void worker_drain_undo(struct worker_drain *drain);

/** To be called each second: tells the log how far it is. */
void worker_drain_progress(const struct worker_drain *drain);

#endif
