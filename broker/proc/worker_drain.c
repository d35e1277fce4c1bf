#include "proc/worker_drain.h"

#include "base/clock.h"
#include "core/log.h"
#include "core/metrics.h"

#define POLL_MS    20
#define GOODBYE_MS 1000 /* for what was said last to be read, however short the drain is */

static size_t connections(const struct worker_drain *drain)
{
    return device_server_connections(drain->devices) + rpc_server_connections(drain->portals);
}

static void set_state(struct worker_drain *drain, enum drain_state state)
{
    drain->state = state;
    METRIC_SET(WORKERS_DRAINING, state == DRAIN_STATE_NOTICE || state == DRAIN_STATE_LEAVING);
    METRIC_SET(WORKERS_DRAINED, state == DRAIN_STATE_EMPTY);
}

static void on_poll(void *arg)
{
    struct worker_drain *drain = arg;
    if (connections(drain) == 0) {
        set_state(drain, DRAIN_STATE_EMPTY);
        LOG(INFO, PROC, "drained");
        drain->on_empty(drain->arg);
        return;
    }
    if (clock_mono_ms() >= drain->until_mono_ms && !drain->aborted) {
        LOG(WARN, PROC, "drain-cut", "devices=%zu portals=%zu", device_server_connections(drain->devices),
            rpc_server_connections(drain->portals));
        drain->aborted = true;
        device_server_abort(drain->devices);
        rpc_server_abort(drain->portals);
    }
    timer_start(&drain->poll, POLL_MS);
}

static void on_notice_over(void *arg)
{
    struct worker_drain *drain = arg;
    unsigned within_ms = (unsigned)drain->config->drain_s * 1000;
    set_state(drain, DRAIN_STATE_LEAVING);
    drain->until_mono_ms = clock_mono_ms() + within_ms + GOODBYE_MS;
    drain->on_leaving(drain->arg);
    rpc_server_drain(drain->portals);
    device_server_drain(drain->devices, within_ms);
    timer_start(&drain->poll, 0);
}

void worker_drain_init(struct worker_drain *drain, struct loop *loop, const struct config *config,
                       struct device_server *devices, struct rpc_server *portals, loop_fn on_leaving,
                       loop_fn on_empty, void *arg)
{
    *drain = (struct worker_drain){.config = config,
                                   .devices = devices,
                                   .portals = portals,
                                   .on_leaving = on_leaving,
                                   .on_empty = on_empty,
                                   .arg = arg};
    timer_init(&drain->notice, loop, on_notice_over, drain);
    timer_init(&drain->poll, loop, on_poll, drain);
}

void worker_drain_done(struct worker_drain *drain)
{
    timer_cancel(&drain->notice);
    timer_cancel(&drain->poll);
}

void worker_drain_begin(struct worker_drain *drain, bool notice)
{
    unsigned notice_ms = notice ? (unsigned)drain->config->drain_notice_s * 1000 : 0;
    if (drain->state == DRAIN_STATE_NOTICE && !notice)
        timer_start(&drain->notice, 0);
    if (drain->state != DRAIN_STATE_SERVING)
        return;
    set_state(drain, DRAIN_STATE_NOTICE);
    drain->aborted = false;
    drain->until_mono_ms = clock_mono_ms() + notice_ms + drain->config->drain_s * 1000 + GOODBYE_MS;
    LOG(INFO, PROC, "drain", "notice_ms=%u within_ms=%lld devices=%zu portals=%zu", notice_ms,
        (long long)drain->config->drain_s * 1000, device_server_connections(drain->devices),
        rpc_server_connections(drain->portals));
    timer_start(&drain->notice, notice_ms);
}

void worker_drain_undo(struct worker_drain *drain)
{
    if (drain->state == DRAIN_STATE_SERVING)
        return;
    LOG(INFO, PROC, "drain-undone", "devices=%zu portals=%zu", device_server_connections(drain->devices),
        rpc_server_connections(drain->portals));
    worker_drain_done(drain);
    device_server_drain_undo(drain->devices);
    rpc_server_drain_undo(drain->portals);
    set_state(drain, DRAIN_STATE_SERVING);
}

void worker_drain_progress(const struct worker_drain *drain)
{
    if (drain->state == DRAIN_STATE_NOTICE || drain->state == DRAIN_STATE_LEAVING)
        LOG(INFO, PROC, "drain-progress", "devices=%zu portals=%zu left_ms=%lld",
            device_server_connections(drain->devices), rpc_server_connections(drain->portals),
            (long long)(drain->until_mono_ms - clock_mono_ms()));
}
