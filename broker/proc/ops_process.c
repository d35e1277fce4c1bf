#include "proc/ops_process.h"

#include "audit/writer.h"
#include "base/clock.h"
#include "core/log.h"
#include "core/recent.h"
#include "domain/event_watch.h"
#include "domain/registry.h"
#include "domain/router.h"
#include "net/listener.h"
#include "ops/admin.h"
#include "ops/stats.h"
#include "portal/services.h"

#define LOG_FLUSH_MS  1000
#define PROBE_MS      1000
#define SILENT_MS     2000 /* whatever store_timeout_ms is: people look on */
#define LAST_TURNS_MS 20

static const struct rpc_service admin_services[] = {
    {admin_service}, {user_service}, {event_service}, {challenge_admin_service}};

struct ops {
    const struct child_setup *setup;
    struct loop *loop;
    struct domain domain; /* without watches: nobody waits here */
    struct stats_port *stats;
    struct rpc_server *admin;
    struct admin_surroundings surroundings;
    struct listener *admin_listener;
    struct child_end end;
    struct timer log_flush, probe, silent, last_turns;
    bool redis_answers;
    int64_t redis_since_unix_ms; /* since when it does or does not */
    struct buf redis_part;       /* which part of a Cluster is gone; NUL behind it */
};

static bool redis_up(int64_t *since_unix_ms, const char **part, void *arg)
{
    struct ops *ops = arg;
    buf_done(&ops->redis_part);
    bool told = store_describe(ops->domain.store, &ops->redis_part) == ERR_OK &&
                buf_append_byte(&ops->redis_part, '\0') == ERR_OK;
    *part = told ? (const char *)buf_view(&ops->redis_part).p : "";
    *since_unix_ms = **part ? store_since_unix_ms(ops->domain.store) : ops->redis_since_unix_ms;
    return ops->redis_answers && !**part;
}

static void set_redis_answers(struct ops *ops, enum err e)
{
    bool answers = e == ERR_OK;
    if (answers == ops->redis_answers)
        return;
    ops->redis_answers = answers;
    ops->redis_since_unix_ms = clock_unix_ms();
    if (answers)
        LOG(INFO, OPS, "redis-answers");
    else
        LOG(ERROR, OPS, "redis-silent", "error=%s", err_name(e));
}

/* A Redis that hangs holds its connections: only an answer shows that it is there. */
static void on_pong(enum err e, void *arg)
{
    struct ops *ops = arg;
    timer_cancel(&ops->silent);
    set_redis_answers(ops, e);
    timer_start(&ops->probe, PROBE_MS);
}

static void on_silent(void *arg)
{
    set_redis_answers(arg, ERR_TIMEOUT);
}

static void on_probe_due(void *arg)
{
    struct ops *ops = arg;
    timer_start(&ops->silent, SILENT_MS);
    store_ping(ops->domain.store, on_pong, ops);
}

/* No device and no waiter hangs here: the router only ever sends hints. */
static const struct router_sinks no_sinks = {0};

static void on_admin_closed(void *arg)
{
    struct ops *ops = arg;
    if (ops->admin_listener)
        listener_release(ops->admin_listener);
}

static void on_admin(int fd, const struct address *peer, void *arg)
{
    struct ops *ops = arg;
    rpc_server_accept(ops->admin, fd, peer);
}

static const struct accepted_handlers admin_accepted = {.on_closed = on_admin_closed};
static const struct listener_handlers admin_handlers = {.on_accept = on_admin};

static void on_end(void *arg)
{
    struct ops *ops = arg;
    loop_stop(ops->loop);
}

static void on_log_flush(void *arg)
{
    struct ops *ops = arg;
    log_flush(clock_mono_ms());
    timer_start(&ops->log_flush, LOG_FLUSH_MS);
}

static enum err start(struct ops *ops)
{
    const struct child_setup *setup = ops->setup;
    struct domain *domain = &ops->domain;
    const struct store_options store = {.redis = &setup->redis,
                                        .timeout_ms = (unsigned)setup->config->store_timeout_ms};
    struct rpc_options rpc = {
        .admin = true,
    };
    const struct listener_options accepting = {.connections_max = 256};

    rpc_set_limits(&rpc, setup->config);
    domain->loop = ops->loop;
    domain->secret = setup->secret;
    domain->store = store_open(ops->loop, setup->secret, &store, NULL, NULL);
    domain->router = router_new(ops->loop, domain->store, &no_sinks, ops);
    domain->registry = registry_new(domain);
    domain->watches_max = (size_t)setup->config->watches_max;
    domain->event_watches = event_watches_new(domain);
    TRY(child_audit_open(setup, ops->loop, "ops", &domain->audit));
    ops->stats = stats_port_new(ops->loop, setup->stats_fd, setup->page, setup->recent, setup->worker_count,
                                redis_up, ops);
    ops->surroundings = (struct admin_surroundings){
        .page = setup->page, .worker_count = setup->worker_count, .drain_order = setup->drain_order};
    ops->admin = rpc_server_new(&rpc, admin_services, sizeof admin_services / sizeof *admin_services, domain,
                                &ops->surroundings, &admin_accepted, ops);
    ops->admin_listener = listener_new(ops->loop, setup->admin_fd, &accepting, &admin_handlers, ops);
    if (!ops->stats || !ops->admin || !ops->admin_listener)
        return ERR_NOMEM;
    timer_init(&ops->log_flush, ops->loop, on_log_flush, ops);
    timer_init(&ops->probe, ops->loop, on_probe_due, ops);
    timer_init(&ops->silent, ops->loop, on_silent, ops);
    timer_init(&ops->last_turns, ops->loop, on_end, ops);
    timer_start(&ops->log_flush, LOG_FLUSH_MS);
    timer_start(&ops->probe, 0);
    ops->redis_since_unix_ms = clock_unix_ms();
    return child_end_watch(&ops->end, ops->loop, setup->lifeline_fd, on_end, NULL, ops);
}

static void stop(struct ops *ops)
{
    child_end_done(&ops->end);
    timer_cancel(&ops->log_flush);
    listener_free(ops->admin_listener);
    ops->admin_listener = NULL;
    rpc_server_drain(ops->admin); /* who watches events lets go of them */
    event_watches_free(ops->domain.event_watches);
    router_close(ops->domain.router);
    registry_close(ops->domain.registry);
    stats_port_stop(ops->stats);
    store_close(ops->domain.store);
    timer_cancel(&ops->probe);
    timer_cancel(&ops->silent);
    rpc_server_abort(ops->admin);
    timer_start(&ops->last_turns, LAST_TURNS_MS);
    loop_run(ops->loop);
    audit_close(ops->domain.audit);
    registry_free(ops->domain.registry);
    buf_done(&ops->redis_part);
    router_free(ops->domain.router);
    stats_port_free(ops->stats);
    rpc_server_free(ops->admin);
    loop_free(ops->loop);
}

int ops_process_run(const struct child_setup *setup)
{
    struct ops ops = {.setup = setup};
    log_set_process("ops");
    metrics_use_slot(setup->page, setup->worker_count);
    recent_use(setup->recent, setup->worker_count);
    ops.loop = loop_new();
    enum err e = ops.loop ? start(&ops) : ERR_NOMEM;
    if (e != ERR_OK) {
        LOG(ERROR, PROC, "start-failed", "error=%s", err_name(e));
        return 1;
    }
    metrics_slot_set_ready(setup->page, setup->worker_count, true, clock_unix_ms());
    LOG(INFO, PROC, "started");
    loop_run(ops.loop);
    stop(&ops);
    LOG(INFO, PROC, "ended");
    return 0;
}
