#include "proc/master.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "core/recent.h"
#include "crypto/authority.h"
#include "net/listener.h"
#include "proc/child.h"
#include "proc/ops_process.h"
#include "proc/redis_child.h"
#include "proc/reload.h"
#include "proc/service_notify.h"
#include "proc/worker.h"

#define LISTEN_BACKLOG 4096
#define TICK_MS        50 /* while something is awaited: readiness, a restart, an end */
#define RESTART_MIN_MS 100
#define RESTART_MAX_MS 10000
#define WATCHDOG_MS    1000
#define LIVED_MS       10000 /* a child that dies sooner is started anew with backoff, ready or not */
#define READY_WAIT_MS  10000 /* then the ports file is written all the same */
#define DRAIN_GRACE_MS 5000  /* beyond drain_notice_s and drain_s, then children are killed */

struct child {
    int pid; /* 0: not running */
    unsigned slot;
    int64_t started_mono_ms;
    int64_t restart_mono_ms; /* when it is to run again; 0: not waiting for that */
    unsigned backoff_ms;
};

enum master_state { MASTER_STARTING, MASTER_RUNNING, MASTER_DRAINING, MASTER_CLOSING };

struct master {
    struct config *config;
    enum master_state state;
    struct datadir dir;
    struct child_setup setup;
    struct redis_child redis;
    bool redis_embedded;
    int64_t redis_restart_mono_ms;
    int signal_fd, lifeline_write_fd;
    struct child *children; /* workers, then ops; by slot */
    unsigned child_count;
    int64_t since_mono_ms;    /* of this state */
    int64_t watchdog_mono_ms; /* when the service manager's is due */
    bool serves;              /* as the file ports says */
    bool killed;
    struct buf why;
};

static void set_log_level(const struct config *config)
{
    enum log_level level = LOG_LEVEL_INFO;
    if (log_level_parse(config->log_level, &level) == ERR_OK) /* it was checked when it was read */
        log_set_level(level);
}

static void tell_manager(const char *state)
{
    enum err e = service_notify(state);
    if (e != ERR_OK)
        LOG(WARN, PROC, "manager-not-told", "state=%s error=%s", state, err_name(e));
}

static void set_state(struct master *master, enum master_state state)
{
    static const char *const names[] = {"starting", "running", "draining", "closing"};
    LOG(INFO, PROC, "state", "from=%s to=%s", names[master->state], names[state]);
    master->state = state;
    master->since_mono_ms = clock_mono_ms();
}

static bool is_ops(const struct master *master, const struct child *child)
{
    return child->slot == master->setup.worker_count;
}

/* ---- start ---- */

static enum err open_listener(struct master *master, const char *text, int *fd)
{
    struct address address;
    if (address_parse(text, &address) != ERR_OK)
        return buf_printf(&master->why, "%s: not an address to listen on", text) == ERR_OK ? ERR_CONFIG
                                                                                           : ERR_NOMEM;
    return listener_open(&address, LISTEN_BACKLOG, fd, &master->why);
}

static enum err open_listeners(struct master *master)
{
    char admin[ADDRESS_TEXT_SIZE];
    datadir_socket(&master->dir, "admin.sock", admin);
    TRY(open_listener(master, master->config->device_listen, &master->setup.device_fd));
    TRY(open_listener(master, master->config->portal_listen, &master->setup.portal_fd));
    TRY(open_listener(master, master->config->stats_listen, &master->setup.stats_fd));
    return open_listener(master, admin, &master->setup.admin_fd);
}

/* What phones dial: the option, or the first server name with the port that was given. */
static enum err find_device_address(struct master *master)
{
    const struct config *config = master->config;
    char bound[ADDRESS_TEXT_SIZE];
    struct address address;
    TRY(address_of_socket(master->setup.device_fd, &address));
    address_print(&address, bound);
    const char *port = strrchr(bound, ':');
    bool loopback = strcmp(config->server_names.at[0], "localhost") == 0;
    if (config->device_address[0])
        snprintf(master->setup.device_address, ADDRESS_TEXT_SIZE, "%s", config->device_address);
    else if (loopback || !port || address_is_unix(&address))
        snprintf(master->setup.device_address, ADDRESS_TEXT_SIZE, "%s", bound);
    else
        snprintf(master->setup.device_address, ADDRESS_TEXT_SIZE, "%.*s%s", ADDRESS_TEXT_SIZE - 8,
                 config->server_names.at[0], port);
    return ERR_OK;
}

static int64_t now_unix_s(void)
{
    return clock_unix_ms() / 1000;
}

static enum err load_keys(struct master *master)
{
    char secret[DATADIR_PATH_SIZE], ca[DATADIR_PATH_SIZE];
    struct child_setup *setup = &master->setup;
    datadir_file(&master->dir, "cluster.secret", secret);
    datadir_file(&master->dir, "device-ca.pem", ca);
    enum err e = secret_load(secret, &setup->secret);
    if (e != ERR_OK)
        return buf_printf(&master->why, "%s: %s%s", secret, err_text(e),
                          e == ERR_DENIED ? "; it must be readable by its owner only" : "") == ERR_OK
                   ? e
                   : ERR_NOMEM;
    TRY(authority_spki_sha256(ca, setup->trust_anchor));
    setup->tickets = ticket_ring_new();
    if (!setup->tickets)
        return ERR_NOMEM;
    TRY(ticket_ring_turn(setup->tickets, setup->secret, setup->trust_anchor, now_unix_s()));
    return reload_tls(setup, &setup->device_tls, &setup->portal_tls, &master->why);
}

static enum err start_redis(struct master *master)
{
    master->redis = (struct redis_child){.dir = &master->dir,
                                         .program = master->config->redis_server,
                                         .always = strcmp(master->config->durability, "always") == 0,
                                         .pidfd = -1};
    char embedded[ADDRESS_TEXT_SIZE];
    datadir_socket(&master->dir, "redis/redis.sock", embedded);
    TRY(redis_options_load(master->config, embedded, &master->setup.redis, &master->why));
    master->redis_embedded = !redis_is_named(master->config);
    return master->redis_embedded ? redis_child_start(&master->redis, &master->why) : ERR_OK;
}

static enum err watch_signals(struct master *master)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL); /* children inherit this; each reads those that it means */
    signal(SIGPIPE, SIG_IGN);
    master->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    return master->signal_fd < 0 ? ERR_IO : ERR_OK;
}

static enum err open_lifeline(struct master *master)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return ERR_IO;
    master->setup.lifeline_fd = ends[0];
    master->lifeline_write_fd = ends[1];
    return ERR_OK;
}

static unsigned worker_count(const struct config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return config->workers ? (unsigned)config->workers : cores > 0 && cores < 64 ? (unsigned)cores : 1;
}

/* Keys are in this memory: nothing of it goes to a file. (PR_SET_DUMPABLE would close /proc/self/fd to us.) */
static void forbid_dumps(void)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) < 0)
        LOG(WARN, PROC, "dumps-not-forbidden", "error=%s", LOG_STR(strerror(errno)));
}

static enum err prepare(struct master *master)
{
    const struct config *config = master->config;
    struct child_setup *setup = &master->setup;
    forbid_dumps();
    TRY(watch_signals(master));
    TRY(datadir_open(config->data_dir, &master->dir, &master->why));
    datadir_remove(&master->dir, "ports");
    TRY(datadir_prepare(&master->dir, (const char *const *)config->server_names.at,
                        config->server_names.count, &master->why));
    setup->config = master->config;
    setup->dir = &master->dir;
    setup->worker_count = worker_count(config);
    TRY(load_keys(master));
    TRY(open_listeners(master));
    TRY(find_device_address(master));
    TRY(open_lifeline(master));
    setup->page = metrics_page_new(setup->worker_count + 1);
    setup->recent = recent_new();
    recent_use(setup->recent, setup->worker_count + 1);
    setup->drain_order = drain_order_new();
    if (!setup->page || !setup->recent || !setup->drain_order || !log_share_levels())
        return ERR_NOMEM;
    return start_redis(master);
}

/* ---- children ---- */

static void become_child(struct master *master, struct child *child)
{
    close(master->lifeline_write_fd);
    close(master->signal_fd);
    close(master->dir.lock_fd); /* the lock goes with the master */
    metrics_slot_started(master->setup.page, child->slot, getpid(),
                         clock_unix_ms()); /* before it may be ready */
    secret_forget_root(master->setup.secret);
    int status =
        is_ops(master, child) ? ops_process_run(&master->setup) : worker_run(&master->setup, child->slot + 1);
    secret_free(master->setup.secret);
    SSL_CTX_free(master->setup.device_tls);
    SSL_CTX_free(master->setup.portal_tls);
    redis_options_done(&master->setup.redis);
    buf_done(&master->why);
    free(master->children);
    config_free(master->setup.config);
    metrics_page_free(master->setup.page);
    recent_free(master->setup.recent);
    drain_order_free(master->setup.drain_order);
    ticket_ring_free(master->setup.tickets);
    exit(status);
}

static void start_child(struct master *master, struct child *child)
{
    child->restart_mono_ms = 0;
    int pid = fork();
    if (pid == 0)
        become_child(master, child);
    if (pid < 0) {
        LOG(ERROR, PROC, "fork-failed", "error=%s", LOG_STR(strerror(errno)));
        child->restart_mono_ms = clock_mono_ms() + RESTART_MAX_MS;
        return;
    }
    child->pid = pid;
    child->started_mono_ms = clock_mono_ms();
}

static void on_child_died(struct master *master, struct child *child, int status)
{
    bool lived = clock_mono_ms() - child->started_mono_ms >= LIVED_MS;
    bool wanted = master->state < MASTER_DRAINING;
    child->pid = 0;
    metrics_slot_set_ready(master->setup.page, child->slot, false, clock_unix_ms());
    metrics_reset_gauges(master->setup.page, child->slot);
    if (!wanted)
        return;
    if (lived)
        child->backoff_ms = 0; /* at once: it served for a while */
    else
        child->backoff_ms = child->backoff_ms ? child->backoff_ms * 2 : RESTART_MIN_MS;
    if (child->backoff_ms > RESTART_MAX_MS)
        child->backoff_ms = RESTART_MAX_MS;
    child->restart_mono_ms = clock_mono_ms() + child->backoff_ms;
    LOG(ERROR, PROC, "child-died", "slot=%u role=%s %s=%d restart_in_ms=%u", child->slot,
        is_ops(master, child) ? "ops" : "worker", WIFSIGNALED(status) ? "signal" : "status",
        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), child->backoff_ms);
}

static void reap(struct master *master)
{
    for (unsigned i = 0; i < master->child_count; i++) {
        struct child *child = &master->children[i];
        int status = 0;
        if (child->pid && waitpid(child->pid, &status, WNOHANG) == child->pid)
            on_child_died(master, child, status);
    }
}

static unsigned running(const struct master *master, bool workers_only)
{
    unsigned count = 0;
    for (unsigned i = 0; i < master->child_count; i++)
        count += master->children[i].pid && !(workers_only && is_ops(master, &master->children[i]));
    return count;
}

static void signal_children(const struct master *master, int number, bool workers_only)
{
    for (unsigned i = 0; i < master->child_count; i++)
        if (master->children[i].pid && !(workers_only && is_ops(master, &master->children[i])))
            kill(master->children[i].pid, number);
}

/* ---- life ---- */

static bool all_ready(const struct master *master)
{
    for (unsigned i = 0; i < master->child_count; i++)
        if (!metrics_slot_health(master->setup.page, i).ready)
            return false;
    return true;
}

static void write_ports(struct master *master)
{
    const int fds[] = {master->setup.device_fd, master->setup.portal_fd, master->setup.stats_fd};
    char texts[3][ADDRESS_TEXT_SIZE];
    enum err e = ERR_OK;
    for (size_t i = 0; i < 3 && e == ERR_OK; i++) {
        struct address address;
        e = address_of_socket(fds[i], &address);
        if (e == ERR_OK)
            address_print(&address, texts[i]);
    }
    if (e == ERR_OK)
        e = datadir_write_ports(&master->dir, texts[0], texts[1], texts[2]);
    if (e != ERR_OK)
        LOG(ERROR, PROC, "ports-not-written", "error=%s", err_name(e));
    else
        LOG(INFO, PROC, "ready", "device=%s portal=%s stats=%s workers=%u data=%s", texts[0], texts[1],
            texts[2], master->setup.worker_count, LOG_STR(master->dir.path));
}

/* The file is there while the broker serves; health checks go by it. */
static void follow_drain_order(struct master *master)
{
    bool serves = drain_order_get(master->setup.drain_order) == DRAIN_SERVE;
    if (serves == master->serves)
        return;
    master->serves = serves;
    if (serves)
        write_ports(master);
    else
        datadir_remove(&master->dir, "ports");
    tell_manager(serves ? "STATUS=serving" : "STATUS=drained by an administrator; nanopush drain --undo");
}

/* What is to be done by time: readiness, restarts, the stages of the end. */
static void tick(struct master *master)
{
    int64_t now_mono_ms = clock_mono_ms(), in_state_ms = now_mono_ms - master->since_mono_ms;
    const struct child_setup *setup = &master->setup;
    enum err e = ticket_ring_turn(setup->tickets, setup->secret, setup->trust_anchor, now_unix_s());
    if (e != ERR_OK)
        LOG(ERROR, PROC, "tickets-not-turned", "error=%s", err_name(e));
    for (unsigned i = 0; i < master->child_count; i++)
        if (master->children[i].restart_mono_ms && master->children[i].restart_mono_ms <= now_mono_ms &&
            master->state < MASTER_DRAINING)
            start_child(master, &master->children[i]);
    if (master->redis_restart_mono_ms && master->redis_restart_mono_ms <= now_mono_ms) {
        master->redis_restart_mono_ms = 0;
        buf_done(&master->why);
        if (redis_child_start(&master->redis, &master->why) != ERR_OK) {
            LOG(ERROR, PROC, "redis-not-started", "why=%s", LOG_BYTES(buf_view(&master->why)));
            master->redis_restart_mono_ms =
                clock_mono_ms() + RESTART_MIN_MS; /* one that ended is reaped meanwhile */
        }
    }
    if (master->state == MASTER_STARTING && (all_ready(master) || in_state_ms > READY_WAIT_MS)) {
        set_state(master, MASTER_RUNNING);
        tell_manager("READY=1");
    }
    if (master->state == MASTER_RUNNING)
        follow_drain_order(master);
    int64_t patience_ms = (master->config->drain_notice_s + master->config->drain_s) * 1000 + DRAIN_GRACE_MS;
    if (master->state >= MASTER_DRAINING && in_state_ms > patience_ms && !master->killed) {
        LOG(ERROR, PROC, "children-killed", "running=%u", running(master, false));
        master->killed = true;
        signal_children(master, SIGKILL, false);
    }
    if (master->state == MASTER_DRAINING && running(master, true) == 0) {
        set_state(master, MASTER_CLOSING);
        signal_children(master, SIGTERM, false);
    }
}

/* Each second at most; the unit's WatchdogSec is many of these. Only if it asked: $WATCHDOG_USEC. */
static void tell_watchdog(struct master *master)
{
    int64_t now_mono_ms = clock_mono_ms();
    if (!getenv("WATCHDOG_USEC") || now_mono_ms < master->watchdog_mono_ms)
        return;
    master->watchdog_mono_ms = now_mono_ms + WATCHDOG_MS;
    tell_manager("WATCHDOG=1");
}

static void on_end_signal(struct master *master)
{
    if (master->state < MASTER_DRAINING) {
        datadir_remove(&master->dir, "ports");
        set_state(master, MASTER_DRAINING);
        tell_manager("STOPPING=1");
        signal_children(master, SIGTERM, true);
    } else {
        LOG(WARN, PROC, "drain-cut", "why=second-signal");
        signal_children(master, SIGKILL, true);
    }
}

/* Wrong files leave everything as it was. */
static void reload(struct master *master)
{
    struct child_setup *setup = &master->setup;
    struct reload next;
    struct buf why = {0}, fixed = {0};
    char reloading[64];
    snprintf(reloading, sizeof reloading, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_mono_us());
    tell_manager(reloading);
    enum err e = reload_read(setup, &next, &why);
    if (e == ERR_OK)
        e = config_fixed_differences(setup->config, next.config, &fixed);
    if (e != ERR_OK) {
        LOG(ERROR, CONFIG, "reload-refused", "why=%s error=%s kept=\"what there was\"",
            LOG_BYTES(buf_view(&why)), err_name(e));
    } else {
        if (buf_len(&fixed))
            LOG(WARN, CONFIG, "reload-needs-restart", "options=%s", LOG_BYTES(buf_view(&fixed)));
        reload_adopt(setup, &next);
        set_log_level(setup->config);
        signal_children(master, SIGHUP, true);
        LOG(INFO, CONFIG, "reloaded");
    }
    tell_manager("READY=1");
    buf_done(&why);
    buf_done(&fixed);
}

static void read_signals(struct master *master)
{
    struct signalfd_siginfo signal;
    while (read(master->signal_fd, &signal, sizeof signal) == sizeof signal) {
        if (signal.ssi_signo == SIGTERM || signal.ssi_signo == SIGINT)
            on_end_signal(master);
        else if (signal.ssi_signo == SIGHUP)
            reload(master);
    }
    reap(master);
}

static void on_redis_ended(struct master *master)
{
    redis_child_reap(&master->redis);
    LOG(ERROR, PROC, "redis-died", "hint=see-redis.log");
    master->redis_restart_mono_ms = clock_mono_ms();
}

static void run(struct master *master)
{
    master->since_mono_ms = clock_mono_ms();
    for (unsigned i = 0; i < master->child_count; i++)
        start_child(master, &master->children[i]);
    while (master->state != MASTER_CLOSING || running(master, false)) {
        struct pollfd fds[] = {{.fd = master->signal_fd, .events = POLLIN},
                               {.fd = master->redis.pidfd, .events = POLLIN}};
        bool quiet = master->state == MASTER_RUNNING && !master->redis_restart_mono_ms &&
                     running(master, false) == master->child_count;
        poll(fds, 2, quiet ? 1000 : TICK_MS);
        if (fds[1].revents && master->redis.pidfd >= 0)
            on_redis_ended(master);
        read_signals(master);
        tick(master);
        tell_watchdog(master);
        log_flush(clock_mono_ms());
    }
}

static void serve(struct master *master)
{
    master->child_count = master->setup.worker_count + 1;
    master->children = mem_new(master->child_count * sizeof *master->children);
    for (unsigned i = 0; i < master->child_count; i++)
        master->children[i].slot = i;
    run(master);
}

static void say_why(const struct master *master, enum err e)
{
    struct bytes why = buf_view(&master->why);
    fprintf(stderr, "nanopushd: %.*s\n", why.len ? (int)why.len : (int)strlen(err_text(e)),
            why.len ? (const char *)why.p : err_text(e));
}

int master_run(struct config *config, const char *config_file)
{
    struct master master = {.config = config, .dir = {.fd = -1, .lock_fd = -1}};
    master.setup.config_file = config_file;
    log_init("master", LOG_LEVEL_INFO);
    log_set_json(strcmp(config->log_format, "json") == 0);
    set_log_level(config);
    enum err e = prepare(&master);
    if (e == ERR_OK)
        serve(&master);
    else
        say_why(&master, e);
    if (master.redis_embedded)
        redis_child_stop(&master.redis);
    if (e == ERR_OK)
        datadir_remove(&master.dir, "admin.sock");
    datadir_close(&master.dir);
    secret_free(master.setup.secret);
    SSL_CTX_free(master.setup.device_tls);
    SSL_CTX_free(master.setup.portal_tls);
    redis_options_done(&master.setup.redis);
    metrics_page_free(master.setup.page);
    recent_free(master.setup.recent);
    drain_order_free(master.setup.drain_order);
    ticket_ring_free(master.setup.tickets);
    free(master.children);
    buf_done(&master.why);
    if (e == ERR_OK)
        LOG(INFO, PROC, "ended");
    return e == ERR_OK ? 0 : 1;
}
