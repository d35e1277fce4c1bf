#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/metrics.h"
#include "net/proxy_reception.h"

#define ACCEPTS_PER_WAKE_UP 16
#define PRESSURE_REST_MS    100
#define SHARE_REST_MS       100
#define RATE_BURST_US       100000 /* so much of a second's accepts may come at once */

enum accept_limit {
    LIMIT_NONE,
#define LIMIT(name, label) LIMIT_##name,
#include "net/accept_limit.def"
#undef LIMIT
};

struct listener {
    struct io io;
    struct timer rest; /* armed while accepting rests, for resting_for */
    enum accept_limit resting_for;
    enum accept_limit told; /* that was counted, and has held since */
    int fd;
    struct listener_options options;
    const struct listener_handlers *handlers;
    void *arg;
    size_t connections, handshakes;
    /* When all would have come that were accepted, had they come evenly and at the highest rate. */
    int64_t rate_mono_us;
    struct list receptions; /* of PROXY headers */
    bool paused;
};

/* A socket file that refuses connections has been left behind by a process that is gone. Other files refuse
 * them too. */
static bool is_stale(const struct address *address, const char *path)
{
    struct stat st;
    int fd = -1;
    if (lstat(path, &st) || !S_ISSOCK(st.st_mode) ||
        (fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0)
        return false;
    bool stale =
        connect(fd, (const struct sockaddr *)&address->storage, address->len) && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

static int bind_socket(int fd, const struct address *address)
{
    const struct sockaddr *sa = (const struct sockaddr *)&address->storage;
    int on = 1;
    if (!address_is_unix(address)) {
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
            (sa->sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on))))
            return -1;
        return bind(fd, sa, address->len);
    }
    /* Linux takes the file's mode from the socket's at bind, so there is no moment in which it is open to
     * others. */
    if (fchmod(fd, S_IRUSR | S_IWUSR))
        return -1;
    struct sockaddr_un un;
    memcpy(&un, &address->storage, sizeof(un));
    int failed = bind(fd, sa, address->len);
    if (!failed || errno != EADDRINUSE)
        return failed;
    if (is_stale(address, un.sun_path) && unlink(un.sun_path) == 0)
        return bind(fd, sa, address->len);
    errno = EADDRINUSE;
    return -1;
}

static enum err err_of_errno(int number)
{
    switch (number) {
    case EADDRINUSE:
        return ERR_EXISTS;
    case EACCES:
    case EPERM:
        return ERR_DENIED;
    default:
        return ERR_IO;
    }
}

enum err listener_open(const struct address *address, int backlog, int *fd, struct buf *why)
{
    int made = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (made >= 0 && bind_socket(made, address) == 0 && listen(made, backlog) == 0) {
        *fd = made;
        return ERR_OK;
    }
    int number = errno;
    if (made >= 0)
        close(made);
    char text[ADDRESS_TEXT_SIZE];
    address_print(address, text);
    TRY(buf_printf(why, "cannot listen on %s: %s", text, strerror(number)));
    return err_of_errno(number);
}

/* ---- limits ---- */

static void rest(struct listener *l, enum accept_limit why, unsigned ms)
{
    l->resting_for = why;
    timer_start(&l->rest, ms);
}

static void rest_under_pressure(struct listener *l)
{
    rest(l, LIMIT_DESCRIPTORS, PRESSURE_REST_MS);
    if (l->handlers->on_pressure)
        l->handlers->on_pressure(l->arg);
}

static enum accept_limit limit_of(const struct listener *l)
{
    const struct listener_options *o = &l->options;
    if (timer_armed(&l->rest))
        return l->resting_for;
    if (o->connections_max && l->connections >= o->connections_max)
        return LIMIT_CONNECTIONS;
    return o->handshakes_max && l->handshakes >= o->handshakes_max ? LIMIT_HANDSHAKES : LIMIT_NONE;
}

#define LIMIT(name, label) [LIMIT_##name] = METRIC_ACCEPT_PAUSES_##name,
static void count_limit(struct listener *l)
{
    static const enum metric metrics[] = {
#include "net/accept_limit.def"
    };
    enum accept_limit now = limit_of(l);
    if (now != LIMIT_NONE && now != l->told)
        metrics_add(metrics[now], 1);
    l->told = now;
}
#undef LIMIT

static bool may_accept(const struct listener *l)
{
    return !l->paused && limit_of(l) == LIMIT_NONE;
}

static void watch(struct listener *l)
{
    if (io_want(&l->io, may_accept(l), false) != ERR_OK)
        rest_under_pressure(l); /* its end tries again */
}

/* The first descriptor that is not to be taken: the kernel gives the lowest that is free. */
static rlim_t descriptors_end(const struct listener *l)
{
    struct rlimit limit;
    rlim_t kept = l->options.descriptors_kept;
    if (!kept || getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == RLIM_INFINITY)
        return RLIM_INFINITY;
    return limit.rlim_cur > kept ? limit.rlim_cur - kept : 0;
}

static bool is_free_below(const struct listener *l, rlim_t end)
{
    int lowest = end == RLIM_INFINITY ? -1 : fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
    if (lowest < 0)
        return true; /* where it is for lack of descriptors, accept4() will say so */
    close(lowest);
    return (rlim_t)lowest < end;
}

/* One was accepted. */
static void spend_rate(struct listener *l)
{
    int64_t now_us = clock_mono_us();
    if (!l->options.accepts_per_s)
        return;
    if (l->rate_mono_us < now_us)
        l->rate_mono_us = now_us;
    l->rate_mono_us += 1000000 / l->options.accepts_per_s;
    int64_t over_us = l->rate_mono_us - now_us - RATE_BURST_US;
    if (over_us > 0)
        rest(l, LIMIT_RATE, (unsigned)(over_us / 1000 + 1));
}

static bool leaves_it_to_others(struct listener *l)
{
    if (!l->handlers->is_over_share || !l->handlers->is_over_share(l->arg))
        return false;
    rest(l, LIMIT_SHARE, SHARE_REST_MS);
    return true;
}

/* ---- accepting ---- */

static bool is_pressure(int number)
{
    return number == EMFILE || number == ENFILE || number == ENOBUFS || number == ENOMEM;
}

static void on_proxy_header(enum err e, int fd, const struct address *source, void *arg)
{
    struct listener *l = arg;
    if (e == ERR_OK) {
        l->handlers->on_accept(fd, source, l->arg);
        return;
    }
    listener_settled(l);
    listener_release(l);
    if (l->handlers->on_refused)
        l->handlers->on_refused(e, source, l->arg);
}

static void hand_out(struct listener *l, int fd, const struct address *peer)
{
    l->connections++;
    l->handshakes++;
    spend_rate(l);
    if (!l->options.proxy_timeout_ms) {
        l->handlers->on_accept(fd, peer, l->arg);
        return;
    }
    struct proxy_reception *reception =
        proxy_reception_start(l->io.loop, fd, peer, l->options.proxy_timeout_ms, on_proxy_header, l);
    if (reception) {
        list_append(&l->receptions, proxy_reception_node(reception));
        return;
    }
    l->connections--;
    l->handshakes--;
}

static void on_readable(unsigned events, void *arg)
{
    (void)events;
    struct listener *l = arg;
    const rlim_t end = descriptors_end(l);
    if (!is_free_below(l, end))
        rest_under_pressure(l);
    for (int i = 0; i < ACCEPTS_PER_WAKE_UP && may_accept(l) && !leaves_it_to_others(l); i++) {
        struct address peer = {.len = sizeof(peer.storage)};
        int fd = accept4(l->fd, (struct sockaddr *)&peer.storage, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            hand_out(l, fd, &peer);
            if ((rlim_t)fd + 1 >= end)
                rest_under_pressure(l);
        } else if (is_pressure(errno)) {
            rest_under_pressure(l);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            break;
        } /* anything else concerns that one connection only (accept(2)) */
    }
    count_limit(l);
    watch(l);
}

static void on_rested(void *arg)
{
    struct listener *l = arg;
    l->told = LIMIT_NONE;
    watch(l);
}

struct listener *listener_new(struct loop *loop, int fd, const struct listener_options *options,
                              const struct listener_handlers *handlers, void *arg)
{
    struct listener *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    *l = (struct listener){.fd = fd, .options = *options, .handlers = handlers, .arg = arg};
    list_init(&l->receptions);
    io_init(&l->io, loop, fd, on_readable, l);
    timer_init(&l->rest, loop, on_rested, l);
    watch(l);
    return l;
}

void listener_free(struct listener *l)
{
    if (!l)
        return;
    LIST_EACH_SAFE (at, &l->receptions)
        proxy_reception_cancel(proxy_reception_at(at));
    timer_cancel(&l->rest);
    io_done(&l->io);
    free(l);
}

void listener_pause(struct listener *l)
{
    l->paused = true;
    watch(l);
}

void listener_resume(struct listener *l)
{
    l->paused = false;
    watch(l);
}

void listener_settled(struct listener *l)
{
    l->handshakes--;
    watch(l);
}

void listener_release(struct listener *l)
{
    l->connections--;
    watch(l);
}

size_t listener_connections(const struct listener *l)
{
    return l->connections;
}
