#include "proc/master.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
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
#include "proc/privilege.h"
#include "proc/redis_child.h"
#include "proc/reload.h"
#include "proc/service_notify.h"
#include "proc/succession.h"
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
    struct activation inherited;
    struct succession succession;
    char program[PATH_MAX]; /* this one's file, whatever stands there now */
    char *const *argv;
    bool serves; /* as the file ports says */
    bool failed; /* to be started */
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

static enum err open_listener(struct master *master, const char *text, int inherited, int *fd)
{
    struct address address;
    *fd = inherited;
    if (inherited >= 0)
        return ERR_OK;
    if (address_parse(text, &address) != ERR_OK)
        return buf_printf(&master->why, "%s: not an address to listen on", text) == ERR_OK ? ERR_CONFIG
                                                                                           : ERR_NOMEM;
    return listener_open(&address, LISTEN_BACKLOG, fd, &master->why);
}

static enum err open_listeners(struct master *master)
{
    const struct config *config = master->config;
    const int *inherited = master->inherited.fds;
    struct child_setup *setup = &master->setup;
    char admin[ADDRESS_TEXT_SIZE];
    datadir_socket(&master->dir, succession_admin_name(&master->succession), admin);
    TRY(open_listener(master, config->device_listen, inherited[ACTIVATION_DEVICE], &setup->device_fd));
    TRY(open_listener(master, config->portal_listen, inherited[ACTIVATION_PORTAL], &setup->portal_fd));
    TRY(open_listener(master, config->stats_listen, inherited[ACTIVATION_STATS], &setup->stats_fd));
    TRY(open_listener(master, admin, -1, &setup->admin_fd));
    return succession_note_admin(&master->succession, &master->dir);
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
    bool start =
        master->redis_embedded && !master->succession.predecessor_pid; /* else it has one that runs */
    return start ? redis_child_start(&master->redis, &master->why) : ERR_OK;
}

static enum err watch_signals(struct master *master)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, SIGUSR2);
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
    TRY(privilege_become(config->user, config->data_dir, &master->why));
    TRY(activation_take(&master->inherited, &master->why));
    if (readlink("/proc/self/exe", master->program, sizeof master->program - 1) < 0)
        return ERR_IO;
    TRY(datadir_open(config->data_dir, &master->dir, &master->why));
    if (master->dir.locked)
        datadir_remove(&master->dir, "ports");
    else
        TRY(succession_begin(&master->succession, &master->dir, &master->inherited, &master->why));
    setup->succeeds = !master->dir.locked;
    TRY(datadir_prepare(&master->dir, (const char *const *)config->server_names.at,
                        config->server_names.count, &master->why));
    setup->config = master->config;
    setup->dir = &master->dir;
    setup->worker_count = worker_count(config);
    TRY(load_keys(master));
    TRY(open_listeners(master));
    TRY(privilege_drop(&master->why));
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

static void on_successor_died(struct master *master, int status)
{
    master->succession.successor_pid = 0;
    LOG(ERROR, PROC, "successor-failed", "status=%d hint=\"its own lines say why; this one serves on\"",
        status);
}

static void reap(struct master *master)
{
    int successor_status = 0, successor = master->succession.successor_pid;
    if (successor && waitpid(successor, &successor_status, WNOHANG) == successor)
        on_successor_died(master, successor_status);
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

static bool all_ready(const struct master *master, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
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

static void restart_redis(struct master *master)
{
    master->redis_restart_mono_ms = 0;
    buf_done(&master->why);
    if (redis_child_start(&master->redis, &master->why) == ERR_OK)
        return;
    LOG(ERROR, PROC, "redis-not-started", "why=%s", LOG_BYTES(buf_view(&master->why)));
    master->redis_restart_mono_ms = clock_mono_ms() + RESTART_MIN_MS; /* one that ended is reaped meanwhile */
}

/* It has let go, or it is gone: what it had is ours. */
static void succeed(struct master *master)
{
    if (!master->succession.announced && succession_announce(&master->succession, &master->dir) != ERR_OK)
        LOG(ERROR, PROC, "admin-socket-not-placed", "error=%s", LOG_STR(strerror(errno)));
    LOG(INFO, PROC, "succeeded", "pid=%d", master->succession.predecessor_pid);
    master->succession.predecessor_pid = 0;
    master->setup.succeeds = false; /* nor do workers that are started anew */
    if (!master->children[master->setup.worker_count].pid)
        start_child(master, &master->children[master->setup.worker_count]);
    if (master->redis_embedded)
        restart_redis(master);
}

/* Nothing of the predecessor's is touched before everything here is ready. */
static void follow_predecessor(struct master *master, int64_t in_state_ms)
{
    struct succession *succession = &master->succession;
    struct child *ops = &master->children[master->setup.worker_count];
    if (datadir_lock(&master->dir) == ERR_OK)
        succeed(master);
    else if (!ops->pid && !ops->restart_mono_ms && all_ready(master, master->setup.worker_count))
        start_child(master, ops);
    else if (!succession->announced && all_ready(master, master->child_count)) {
        if (succession_announce(succession, &master->dir) != ERR_OK)
            LOG(ERROR, PROC, "admin-socket-not-placed", "error=%s", LOG_STR(strerror(errno)));
    } else if (!succession->announced && in_state_ms > READY_WAIT_MS) {
        LOG(ERROR, PROC, "succession-failed", "why=not-ready waited_ms=%lld predecessor=%d",
            (long long)in_state_ms, succession->predecessor_pid);
        master->failed = true;
        drain_order_set(master->setup.drain_order, DRAIN_SUCCEEDED);
        set_state(master, MASTER_DRAINING);
        signal_children(master, SIGTERM, true);
    }
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
    if (master->redis_restart_mono_ms && master->redis_restart_mono_ms <= now_mono_ms)
        restart_redis(master);
    if (master->state == MASTER_STARTING && master->succession.predecessor_pid)
        follow_predecessor(master, in_state_ms);
    else if (master->state == MASTER_STARTING &&
             (all_ready(master, master->child_count) || in_state_ms > READY_WAIT_MS)) {
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
        if (master->dir.locked)
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

/* ---- another master in this one's place ---- */

static void start_successor(struct master *master)
{
    const struct child_setup *setup = &master->setup;
    const struct activation sockets = {.fds = {[ACTIVATION_DEVICE] = setup->device_fd,
                                               [ACTIVATION_PORTAL] = setup->portal_fd,
                                               [ACTIVATION_STATS] = setup->stats_fd}};
    enum err e = master->state == MASTER_RUNNING
                     ? succession_start(&master->succession, &sockets, master->program, master->argv)
                     : ERR_BAD_STATE;
    if (e != ERR_OK)
        LOG(ERROR, PROC, "successor-not-started", "program=%s error=%s", LOG_STR(master->program),
            err_name(e));
    else
        LOG(INFO, PROC, "successor-started", "pid=%d program=%s", master->succession.successor_pid,
            LOG_STR(master->program));
}

/* Our successor is ready: it has all that we had. Our workers need no notice, for it accepts where they did. */
static void hand_over(struct master *master, int pid)
{
    char main_pid[32];
    if (master->state == MASTER_CLOSING || !master->dir.locked ||
        !succession_displaced(&master->succession, &master->dir)) {
        LOG(WARN, PROC, "no-successor", "signal=USR1 from_pid=%d", pid);
        return;
    }
    LOG(INFO, PROC, "handed-over", "to_pid=%d", pid);
    snprintf(main_pid, sizeof main_pid, "MAINPID=%d", pid);
    tell_manager(pid == master->succession.successor_pid ? main_pid : "STOPPING=1");
    unsetenv("NOTIFY_SOCKET"); /* from now on it is the successor who speaks */
    drain_order_set(master->setup.drain_order, DRAIN_SUCCEEDED);
    redis_child_release(&master->redis);
    master->redis_embedded = false;
    master->redis_restart_mono_ms = 0;
    datadir_unlock(&master->dir);
    if (master->state < MASTER_DRAINING)
        set_state(master, MASTER_DRAINING);
    signal_children(master, SIGTERM, false);
}

static void read_signals(struct master *master)
{
    struct signalfd_siginfo signal;
    while (read(master->signal_fd, &signal, sizeof signal) == sizeof signal) {
        if (signal.ssi_signo == SIGTERM || signal.ssi_signo == SIGINT)
            on_end_signal(master);
        else if (signal.ssi_signo == SIGHUP)
            reload(master);
        else if (signal.ssi_signo == SIGUSR2)
            start_successor(master);
        else if (signal.ssi_signo == SIGUSR1)
            hand_over(master, (int)signal.ssi_pid);
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
        if (!master->succession.predecessor_pid || !is_ops(master, &master->children[i]))
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

int master_run(struct config *config, const char *config_file, char *const *argv)
{
    struct master master = {.config = config,
                            .dir = {.fd = -1, .lock_fd = -1},
                            .redis = {.pidfd = -1},
                            .inherited = {{-1, -1, -1}},
                            .argv = argv};
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
    if (e == ERR_OK && (master.dir.locked || master.succession.predecessor_pid))
        datadir_remove(&master.dir, succession_admin_name(&master.succession));
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
    return e == ERR_OK && !master.failed ? 0 : 1;
}
