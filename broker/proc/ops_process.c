#include "proc/ops_process.h"

#include "base/clock.h"
#include "core/log.h"
#include "domain/registry.h"
#include "net/listener.h"
#include "ops/admin.h"
#include "ops/stats.h"
#include "portal/services.h"

#define LOG_FLUSH_MS  1000
#define LAST_TURNS_MS 20

static const struct rpc_service admin_services[] = {{admin_service}, {user_service}};

struct ops {
    const struct child_setup *setup;
    struct loop *loop;
    struct domain domain; /* store, secret and registry only: nothing is pushed or waited for here */
    struct stats_port *stats;
    struct rpc_server *admin;
    struct listener *admin_listener;
    struct child_end end;
    struct timer timer;
};

static bool redis_up(int64_t *since_unix_ms, void *arg)
{
    struct ops *ops = arg;
    *since_unix_ms = store_since_unix_ms(ops->domain.store);
    return store_up(ops->domain.store);
}

static void on_admin(int fd, const struct address *peer, void *arg)
{
    struct ops *ops = arg;
    (void)peer;
    rpc_server_accept(ops->admin, fd);
}

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
    timer_start(&ops->timer, LOG_FLUSH_MS);
}

static enum err start(struct ops *ops)
{
    const struct child_setup *setup = ops->setup;
    struct domain *domain = &ops->domain;
    const struct store_options store = {.redis = setup->redis,
                                        .timeout_ms = (unsigned)setup->config->store_timeout_ms};
    const struct rpc_options rpc = {
        .admin = true,
        .body_max = (size_t)setup->config->request_max_bytes,
        .handshake_ms = (unsigned)setup->config->handshake_timeout_ms,
    };
    const struct listener_options accepting = {.connections_max = 256};

    domain->loop = ops->loop;
    domain->secret = setup->secret;
    TRY(store_open(ops->loop, setup->secret, &store, NULL, NULL, &domain->store));
    domain->registry = registry_new(domain);
    ops->stats = stats_port_new(ops->loop, setup->stats_fd, setup->page, setup->worker_count, redis_up, ops);
    ops->admin = rpc_server_new(&rpc, admin_services, sizeof admin_services / sizeof *admin_services, domain,
                                NULL, NULL, NULL);
    ops->admin_listener = listener_new(ops->loop, setup->admin_fd, &accepting, &admin_handlers, ops);
    if (!ops->stats || !ops->admin || !ops->admin_listener)
        return ERR_NOMEM;
    timer_init(&ops->timer, ops->loop, on_log_flush, ops);
    timer_start(&ops->timer, LOG_FLUSH_MS);
    return child_end_watch(&ops->end, ops->loop, setup->lifeline_fd, on_end, ops);
}

static void stop(struct ops *ops)
{
    child_end_done(&ops->end);
    timer_cancel(&ops->timer);
    listener_free(ops->admin_listener);
    stats_port_stop(ops->stats);
    store_close(ops->domain.store);
    rpc_server_abort(ops->admin);
    timer_init(&ops->timer, ops->loop, on_end, ops);
    timer_start(&ops->timer, LAST_TURNS_MS);
    loop_run(ops->loop);
    registry_free(ops->domain.registry);
    stats_port_free(ops->stats);
    rpc_server_free(ops->admin);
    loop_free(ops->loop);
}

int ops_process_run(const struct child_setup *setup)
{
    struct ops ops = {.setup = setup};
    enum log_level level = LOG_LEVEL_INFO;
    if (log_level_parse(setup->config->log_level, &level) != ERR_OK)
        return 1;
    log_init("ops", level);
    metrics_use_slot(setup->page, setup->worker_count);
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
