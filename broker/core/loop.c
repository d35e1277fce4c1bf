#include "core/loop.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/metrics.h"

#define EVENTS_PER_TURN 256

struct loop {
    int epoll_fd;
    bool stopping;
    struct epoll_event found[EVENTS_PER_TURN]; /* by this turn's poll; ptr: struct io, NULL once it is done */
    int found_at, found_count;                 /* found_at..found_count have still to be called */
    struct timer *timers;                      /* root of a pairing heap: due first */
    struct list deferrals;                     /* waiting, in order */
};

struct loop *loop_new(void)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return NULL;
    list_init(&loop->deferrals);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        free(loop);
        return NULL;
    }
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    close(loop->epoll_fd);
    free(loop);
}

/* Only what waits now: what these calls defer themselves is left for the next turn. */
static void run_deferred(struct loop *loop)
{
    struct list batch;
    list_init(&batch);
    LIST_EACH_SAFE (at, &loop->deferrals) {
        list_remove(at);
        list_append(&batch, at);
    }
    while (!list_empty(&batch)) {
        struct deferral *d = CONTAINER_OF(batch.next, struct deferral, node);
        list_remove(&d->node);
        d->fn(d->arg);
    }
}

static void run_timers(struct loop *loop)
{
    int64_t now_ms = clock_mono_ms();
    while (loop->timers && loop->timers->due_ms <= now_ms) {
        struct timer *t = loop->timers;
        timer_cancel(t);
        t->fn(t->arg);
    }
}

/* How long the poll may sleep, in the terms of epoll_wait(2). */
static int sleep_ms(const struct loop *loop)
{
    if (!list_empty(&loop->deferrals))
        return 0;
    if (!loop->timers)
        return -1;
    int64_t wait_ms = loop->timers->due_ms - clock_mono_ms();
    return wait_ms < 0 ? 0 : wait_ms > INT_MAX ? INT_MAX : (int)wait_ms;
}

/* A descriptor's error or hang-up shows as all that is wanted: whoever reads or writes then meets it. */
static unsigned io_events(const struct io *io, uint32_t epoll_events)
{
    if (epoll_events & (EPOLLERR | EPOLLHUP))
        return io->wanted;
    return io->wanted & ((epoll_events & EPOLLIN ? IO_READ : 0u) | (epoll_events & EPOLLOUT ? IO_WRITE : 0u));
}

static void poll_descriptors(struct loop *loop)
{
    int count = epoll_wait(loop->epoll_fd, loop->found, EVENTS_PER_TURN, sleep_ms(loop));
    loop->found_count = count > 0 ? count : 0;
    for (loop->found_at = 0; loop->found_at < loop->found_count;) {
        const struct epoll_event *event = &loop->found[loop->found_at++];
        struct io *io = event->data.ptr;
        unsigned events = io ? io_events(io, event->events) : 0;
        if (events)
            io->fn(events, io->arg);
    }
}

void loop_run(struct loop *loop)
{
    loop->stopping = false;
    while (!loop->stopping) {
        poll_descriptors(loop);
        METRIC_ADD(LOOP_TURNS, 1);
        run_timers(loop);
        run_deferred(loop);
    }
    while (!list_empty(&loop->deferrals))
        run_deferred(loop);
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}

/* Pairing heap: both arguments are roots, in no list of siblings, or NULL. */
static struct timer *meld(struct timer *a, struct timer *b)
{
    if (!a || !b)
        return a ? a : b;
    if (b->due_ms < a->due_ms) {
        struct timer *later = a;
        a = b;
        b = later;
    }
    b->next = a->child;
    if (b->next)
        b->next->link = &b->next;
    a->child = b;
    b->link = &a->child;
    return a;
}

static struct timer *meld_siblings(struct timer *first)
{
    struct timer *pairs = NULL; /* last pair first, which is what gives the heap its bounds */
    while (first) {
        struct timer *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->next = NULL;
        if (b)
            b->next = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    struct timer *root = NULL;
    while (pairs) {
        struct timer *pair = pairs;
        pairs = pair->next;
        pair->next = NULL;
        root = meld(root, pair);
    }
    return root;
}

static void add_to_heap(struct loop *loop, struct timer *t)
{
    loop->timers = meld(loop->timers, t);
    if (loop->timers)
        loop->timers->link = &loop->timers;
}

void timer_init(struct timer *t, struct loop *loop, loop_fn fn, void *arg)
{
    *t = (struct timer){.loop = loop, .fn = fn, .arg = arg};
}

void timer_start(struct timer *t, unsigned ms)
{
    timer_cancel(t);
    t->due_ms = clock_mono_ms() + (ms ? ms : 1);
    add_to_heap(t->loop, t);
}

void timer_cancel(struct timer *t)
{
    if (!t->link)
        return;
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    struct timer *children = meld_siblings(t->child);
    t->child = t->next = NULL;
    t->link = NULL;
    add_to_heap(t->loop, children);
}

bool timer_armed(const struct timer *t)
{
    return t->link != NULL;
}

void io_init(struct io *io, struct loop *loop, int fd, io_fn fn, void *arg)
{
    *io = (struct io){.loop = loop, .fd = fd, .fn = fn, .arg = arg};
}

enum err io_want(struct io *io, bool read, bool write)
{
    unsigned wanted = (read ? IO_READ : 0u) | (write ? IO_WRITE : 0u);
    if (wanted == io->wanted)
        return ERR_OK;
    if (!wanted) {
        io_done(io);
        return ERR_OK;
    }
    struct epoll_event event = {.events = (read ? (uint32_t)EPOLLIN : 0) | (write ? (uint32_t)EPOLLOUT : 0),
                                .data.ptr = io};
    if (epoll_ctl(io->loop->epoll_fd, io->wanted ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, io->fd, &event)) {
        io_done(io);
        return ERR_IO;
    }
    io->wanted = wanted;
    return ERR_OK;
}

void io_done(struct io *io)
{
    struct loop *loop = io->loop;
    if (!io->wanted)
        return;
    io->wanted = 0;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
    for (int i = loop->found_at; i < loop->found_count; i++)
        if (loop->found[i].data.ptr == io)
            loop->found[i].data.ptr = NULL;
}

void deferral_init(struct deferral *d, loop_fn fn, void *arg)
{
    list_init(&d->node);
    d->fn = fn;
    d->arg = arg;
}

void loop_defer(struct loop *loop, struct deferral *d)
{
    if (list_empty(&d->node))
        list_append(&loop->deferrals, &d->node);
}

void deferral_cancel(struct deferral *d)
{
    list_remove(&d->node);
}
