#include "proc/worker.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "audit/writer.h"
#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "core/recent.h"
#include "device/server.h"
#include "domain/challenge_cache.h"
#include "domain/challenge_progress.h"
#include "domain/event_watch.h"
#include "domain/permit.h"
#include "domain/probe.h"
#include "domain/registry.h"
#include "domain/router.h"
#include "domain/watch.h"
#include "net/listener.h"
#include "net/parking.h"
#include "portal/services.h"
#include "proc/fair_share.h"
#include "proc/reload.h"
#include "proc/worker_drain.h"

#define SECOND_MS        1000
#define LAST_TURNS_MS    20
#define OVERLOAD_ROOM    64 /* connections of phones beyond connections_max, to be told when to come back */
#define DESCRIPTORS_KEPT 32 /* for connections to Redis that are made anew, the audit's files, and the log */

static const struct rpc_service portal_services[] = {
    {challenge_service}, {enrolment_service}, {user_service}, {event_service}, {health_service}};

struct worker {
    struct child_setup *setup;
    unsigned number;
    char name[24];
    struct loop *loop;
    struct domain domain;
    struct parking *parking; /* NULL: off */
    struct device_server *devices;
    struct rpc_server *portals;
    struct portal_surroundings surroundings;
    struct listener *device_listener, *portal_listener;
    struct child_end end;
    struct worker_drain drain;
    struct timer second, last_turns;
};

/* ---- wiring: news that the router brings, and a new inbox ---- */

static void deliver(enum hint_kind kind, const char *device_id, uint64_t connection, const char *challenge_id,
                    struct bytes frame, void *arg)
{
    struct worker *worker = arg;
    device_server_deliver(worker->devices, kind, device_id, connection, challenge_id, frame);
}

static void taken(const char *device_id, uint64_t connection, bool removed, void *arg)
{
    struct worker *worker = arg;
    device_server_taken(worker->devices, device_id, connection, removed);
}

static void changed(const char *id, void *arg)
{
    struct worker *worker = arg;
    watches_changed(worker->domain.watches, id);
}

static void new_events(const char *organisation, void *arg)
{
    struct worker *worker = arg;
    event_watches_changed(worker->domain.event_watches, organisation);
}

static void probed(uint64_t number, void *arg)
{
    struct worker *worker = arg;
    if (worker->domain.probe)
        probe_returned(worker->domain.probe, number);
}

static const struct router_sinks sinks = {
    .deliver = deliver, .taken = taken, .changed = changed, .events = new_events, .probed = probed};

static enum err start_accepting(struct worker *worker);

/* Ready is who has seen a hint come through; whether they still do is for the stats port to say. */
static void on_probe(enum probe_step step, void *arg)
{
    struct worker *worker = arg;
    metrics_slot_probe(worker->setup->page, worker->number - 1, step, clock_mono_ms());
    if (step != PROBE_RETURNED || worker->drain.state != DRAIN_STATE_SERVING)
        return;
    if (!worker->device_listener && start_accepting(worker) != ERR_OK)
        LOG(ERROR, PROC, "not-accepting", "error=%s", err_name(ERR_NOMEM));
    metrics_slot_set_ready(worker->setup->page, worker->number - 1, true, clock_unix_ms());
}

static void on_hint(const Record__Hint *hint, void *arg)
{
    struct worker *worker = arg;
    router_on_hint(worker->domain.router, hint);
}

static void on_inbox(void *arg)
{
    struct worker *worker = arg;
    probe_send(worker->domain.probe);
    device_server_renew(worker->devices);
    watches_renew(worker->domain.watches);
    event_watches_renew(worker->domain.event_watches);
}

static void on_store_up(void *arg)
{
    struct worker *worker = arg;
    if (worker->domain.watches) /* not at the very first time */
        watches_renew(worker->domain.watches);
}

static const struct store_events store_events = {
    .on_hint = on_hint, .on_up = on_store_up, .on_inbox = on_inbox};

static void on_portal_changed(const char *id, const struct portal *now, void *arg)
{
    struct worker *worker = arg;
    rpc_server_portal_changed(worker->portals, id, now);
}

/* ---- connections ---- */

static bool turns_away(const struct worker *worker)
{
    return worker->drain.state >= DRAIN_STATE_LEAVING;
}

static void turn_away(struct listener *listener, int fd)
{
    close(fd);
    listener_settled(listener);
    listener_release(listener);
}

static void on_device(int fd, const struct address *peer, void *arg)
{
    struct worker *worker = arg;
    if (turns_away(worker))
        turn_away(worker->device_listener, fd);
    else
        device_server_accept(worker->devices, fd, peer);
}

static void on_portal(int fd, const struct address *peer, void *arg)
{
    struct worker *worker = arg;
    if (turns_away(worker))
        turn_away(worker->portal_listener, fd);
    else
        rpc_server_accept(worker->portals, fd, peer);
}

static void on_pressure(void *arg)
{
    (void)arg;
    LOG(WARN, PROC, "accept-paused", "why=descriptors");
}

/* A balancer's check that only connects, and closes, is nothing to speak of. */
static void on_refused(enum err why, const struct address *peer, void *arg)
{
    char text[ADDRESS_TEXT_SIZE];
    (void)arg;
    if (why == ERR_CLOSED)
        return;
    METRIC_ADD(PROXY_REFUSED, 1);
    address_print(peer, text);
    LOG(WARN, NET, "proxy-refused", "peer=%s why=%s", text, err_name(why));
}

static bool has_more_than_its_share(void *arg)
{
    const struct worker *worker = arg;
    return fair_share_exceeded(worker->setup->page, worker->setup->worker_count, worker->number - 1,
                               clock_mono_ms());
}

static const struct listener_handlers device_handlers = {.on_accept = on_device,
                                                         .on_pressure = on_pressure,
                                                         .is_over_share = has_more_than_its_share,
                                                         .on_refused = on_refused};
static const struct listener_handlers portal_handlers = {
    .on_accept = on_portal, .on_pressure = on_pressure, .on_refused = on_refused};

static void on_device_settled(void *arg)
{
    struct worker *worker = arg;
    if (worker->device_listener)
        listener_settled(worker->device_listener);
}

static void on_portal_settled(void *arg)
{
    struct worker *worker = arg;
    if (worker->portal_listener)
        listener_settled(worker->portal_listener);
}

static void on_device_closed(void *arg)
{
    struct worker *worker = arg;
    if (worker->device_listener)
        listener_release(worker->device_listener);
}

static void on_portal_closed(void *arg)
{
    struct worker *worker = arg;
    if (worker->portal_listener)
        listener_release(worker->portal_listener);
}

static const struct accepted_handlers device_accepted = {.on_settled = on_device_settled,
                                                         .on_closed = on_device_closed};
static const struct accepted_handlers portal_accepted = {.on_settled = on_portal_settled,
                                                         .on_closed = on_portal_closed};

/* ---- parking ---- */

static void on_mismatch(void *arg)
{
    (void)arg;
    LOG(ERROR, NET, "parking-mismatch",
        "openssl=%s advice=\"the record counters of a connection did not prove themselves; such connections "
        "keep "
        "their OpenSSL object. Set parking to off and report this.\"",
        OpenSSL_version(OPENSSL_VERSION_STRING));
}

/* Whatever fails here, connections only keep their SSL objects. */
static void start_parking(struct worker *worker)
{
    const char *ports = worker->setup->config->parking;
    if (strcmp(ports, "off") == 0)
        return;
    if (!parking_version_known())
        LOG(WARN, NET, "openssl-untested",
            "openssl=%s parking=\"tested with other versions; its self-test decides\"",
            OpenSSL_version(OPENSSL_VERSION_STRING));
    struct parking_options options = parking_options_default;
    if (strcmp(worker->setup->config->parking_secrets, "keylog") == 0)
        options.secrets = SECRETS_KEYLOG;
    enum err e = parking_start(&options, on_mismatch, worker, &worker->parking);
    if (e != ERR_OK) {
        METRIC_ADD(PARKING_REFUSED_SELF_TEST, 1);
        LOG(ERROR, NET, "parking-off", "openssl=%s why=self-test error=%s",
            OpenSSL_version(OPENSSL_VERSION_STRING), err_name(e));
        parking_free(worker->parking);
        worker->parking = NULL;
    }
    if (worker->parking && worker->parking->options.secrets != options.secrets)
        LOG(WARN, NET, "kdf-off", "openssl=%s why=self-test parking_secrets=keylog",
            OpenSSL_version(OPENSSL_VERSION_STRING));
}

/* ---- the end ---- */

static void stop_accepting(struct worker *worker)
{
    listener_free(worker->device_listener);
    listener_free(worker->portal_listener);
    worker->device_listener = worker->portal_listener = NULL;
}

/* Who stays goes on accepting, to turn away who comes: in the queue of the socket he would wait for nothing. */
static void on_leaving(void *arg)
{
    struct worker *worker = arg;
    if (worker->end.ending)
        stop_accepting(worker);
}

static void on_empty(void *arg)
{
    struct worker *worker = arg;
    if (worker->end.ending)
        loop_stop(worker->loop);
}

static void begin_drain(struct worker *worker)
{
    metrics_slot_set_ready(worker->setup->page, worker->number - 1, false, clock_unix_ms());
    worker_drain_begin(&worker->drain, drain_order_get(worker->setup->drain_order) != DRAIN_SUCCEEDED);
}

static void on_end(void *arg)
{
    struct worker *worker = arg;
    begin_drain(worker);
    if (turns_away(worker))
        stop_accepting(worker);
    if (worker->drain.state == DRAIN_STATE_EMPTY)
        loop_stop(worker->loop);
}

static void follow_order(struct worker *worker)
{
    enum drain_wish wish = drain_order_get(worker->setup->drain_order);
    if (wish == DRAIN_SUCCEEDED || (wish == DRAIN_AWAY && !worker->end.ending))
        begin_drain(worker);
    else if (!worker->end.ending)
        worker_drain_undo(&worker->drain);
}

static void on_second(void *arg)
{
    struct worker *worker = arg;
    follow_order(worker);
    worker_drain_progress(&worker->drain);
    log_flush(clock_mono_ms());
    mem_tick();
    timer_start(&worker->second, SECOND_MS);
}

/* ---- what the configuration says ---- */

static struct device_options device_options(const struct config *config)
{
    return (struct device_options){
        .heartbeat_ms = (unsigned)config->heartbeat_s * 1000,
        .jitter_percent = (unsigned)config->heartbeat_jitter,
        .connection_life_s = (unsigned)config->connection_life_s,
        .unauthenticated_max = (unsigned)config->unauthenticated_max,
        .attached_max = (unsigned)config->connections_max,
        .hello_timeout_ms = (unsigned)config->hello_timeout_ms,
        .handshake_timeout_ms = (unsigned)config->handshake_timeout_ms,
    };
}

static void set_domain_limits(struct domain *domain, const struct config *config)
{
    domain->watches_max = (size_t)config->watches_max;
    domain->devices_max = (unsigned)config->devices_per_user_max;
}

/* The ports whose connections the worker parks; in which contexts, is started or reloaded alike. */
static enum err attach_parking(struct worker *worker, SSL_CTX *device_tls, SSL_CTX *portal_tls)
{
    if (!worker->parking)
        return ERR_OK;
    TRY(parking_attach(worker->parking, device_tls, DEVICE_RECORD_BYTES));
    return strcmp(worker->setup->config->parking, "all") == 0 ? parking_attach(worker->parking, portal_tls, 1)
                                                              : ERR_OK;
}

/* The master has read all this before, and found it good; the files may have changed since. */
static void on_reload(void *arg)
{
    struct worker *worker = arg;
    struct child_setup *setup = worker->setup;
    struct reload next = {0};
    struct buf why = {0};
    enum err e = reload_read(setup, &next, &why);
    if (e == ERR_OK)
        e = attach_parking(worker, next.device_tls, next.portal_tls);
    if (e != ERR_OK) {
        LOG(ERROR, CONFIG, "reload-refused", "why=%s error=%s", LOG_BYTES(buf_view(&why)), err_name(e));
        reload_drop(&next);
    } else {
        reload_adopt(setup, &next);
        const struct device_options device = device_options(setup->config);
        device_server_set_options(worker->devices, &device);
        device_server_set_tls(worker->devices, setup->device_tls);
        rpc_server_reload(worker->portals, setup->config, setup->portal_tls);
        set_domain_limits(&worker->domain, setup->config);
        LOG(INFO, CONFIG, "reloaded");
    }
    buf_done(&why);
}

/* ---- life ---- */

static struct listener_options accepting(const struct config *config, const char *proxy, size_t more)
{
    return (struct listener_options){
        .connections_max = (size_t)config->connections_max + more,
        .handshakes_max = (size_t)config->handshakes_max,
        .accepts_per_s = (unsigned)config->accepts_per_s,
        .descriptors_kept = DESCRIPTORS_KEPT,
        .proxy_timeout_ms = strcmp(proxy, "required") == 0 ? (unsigned)config->handshake_timeout_ms : 0,
    };
}

static enum err start_accepting(struct worker *worker)
{
    const struct child_setup *setup = worker->setup;
    const struct config *config = setup->config;
    const struct listener_options device = accepting(config, config->device_proxy, OVERLOAD_ROOM);
    const struct listener_options portal = accepting(config, config->portal_proxy, 0);
    worker->device_listener = listener_new(worker->loop, setup->device_fd, &device, &device_handlers, worker);
    worker->portal_listener = listener_new(worker->loop, setup->portal_fd, &portal, &portal_handlers, worker);
    return worker->device_listener && worker->portal_listener ? ERR_OK : ERR_NOMEM;
}

static enum err start(struct worker *worker)
{
    const struct child_setup *setup = worker->setup;
    const struct config *config = setup->config;
    struct domain *domain = &worker->domain;
    const struct store_options store = {
        .redis = &setup->redis, .timeout_ms = (unsigned)config->store_timeout_ms, .slot = worker->number};
    struct device_options device = device_options(config);
    struct rpc_options rpc = {
        .tls = setup->portal_tls,
        .worker = worker->number,
    };

    rpc_set_limits(&rpc, config);
    domain->loop = worker->loop;
    domain->secret = setup->secret;
    set_domain_limits(domain, config);
    TRY(child_audit_open(setup, worker->loop, worker->name, &domain->audit));
    domain->store = store_open(worker->loop, setup->secret, &store, &store_events, worker);
    domain->router = router_new(worker->loop, domain->store, &sinks, worker);
    domain->watches = watches_new(domain);
    domain->challenge_cache = challenge_cache_new();
    domain->progress = progress_new(domain);
    domain->event_watches = event_watches_new(domain);
    domain->probe = probe_new(domain, on_probe, worker);
    domain->registry = registry_new(domain);
    domain->permits =
        permits_new(domain, (unsigned)config->portal_calls_per_s, (unsigned)config->portal_calls_open_max);
    registry_on_change(domain->registry, on_portal_changed, worker);

    for (size_t i = 0; i < SHA256_BYTES; i++)
        device.trust_anchor[i] = worker->surroundings.trust_anchor[i] = setup->trust_anchor[i];
    worker->surroundings.device_address = setup->device_address;
    worker->surroundings.server_name = config->server_names.at[0];
    start_parking(worker);
    TRY(attach_parking(worker, setup->device_tls, setup->portal_tls));
    worker->devices = device_server_new(domain, setup->device_tls, &device, &device_accepted, worker);
    worker->portals = rpc_server_new(&rpc, portal_services, sizeof portal_services / sizeof *portal_services,
                                     domain, &worker->surroundings, &portal_accepted, worker);
    if (!worker->devices || !worker->portals)
        return ERR_NOMEM;
    if (!setup->succeeds) /* else not before it can serve: what comes meanwhile is the other broker's */
        TRY(start_accepting(worker));
    timer_init(&worker->second, worker->loop, on_second, worker);
    worker_drain_init(&worker->drain, worker->loop, config, worker->devices, worker->portals, on_leaving,
                      on_empty, worker);
    timer_start(&worker->second, SECOND_MS);
    follow_order(worker);
    return child_end_watch(&worker->end, worker->loop, setup->lifeline_fd, on_end, on_reload, worker);
}

static void on_last_turns(void *arg)
{
    struct worker *worker = arg;
    loop_stop(worker->loop);
}

/* What operations are under way ends with the store; only then can go what they work on. */
static void stop(struct worker *worker)
{
    struct domain *domain = &worker->domain;
    child_end_done(&worker->end);
    timer_cancel(&worker->second);
    worker_drain_done(&worker->drain);
    watches_free(domain->watches);
    event_watches_free(domain->event_watches);
    router_close(domain->router);
    registry_close(domain->registry);
    probe_free(domain->probe);
    domain->probe = NULL;
    progress_free(domain->progress);
    domain->progress = NULL;
    store_close(domain->store);
    timer_init(&worker->last_turns, worker->loop, on_last_turns, worker);
    timer_start(&worker->last_turns, LAST_TURNS_MS);
    loop_run(worker->loop); /* what was deferred, and the store's last words */
    audit_close(domain->audit);
    registry_free(domain->registry);
    router_free(domain->router);
    challenge_cache_free(domain->challenge_cache);
    device_server_free(worker->devices);
    rpc_server_free(worker->portals);
    permits_free(domain->permits);
    parking_free(worker->parking);
    loop_free(worker->loop);
}

int worker_run(struct child_setup *setup, unsigned number)
{
    struct worker worker = {.setup = setup, .number = number};
    snprintf(worker.name, sizeof worker.name, "worker-%u", number);
    log_set_process(worker.name);
    metrics_use_slot(setup->page, number - 1);
    recent_use(setup->recent, number - 1);
    worker.loop = loop_new();
    enum err e = worker.loop ? start(&worker) : ERR_NOMEM;
    if (e != ERR_OK) {
        LOG(ERROR, PROC, "start-failed", "error=%s", err_name(e));
        return 1;
    }
    LOG(INFO, PROC, "started");
    loop_run(worker.loop);
    stop(&worker);
    LOG(INFO, PROC, "ended");
    return 0;
}
