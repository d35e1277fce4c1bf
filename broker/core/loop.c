#include "core/loop.h"

#include <event2/event.h>
#include <stdlib.h>

#include "base/clock.h"

struct loop {
    struct event_base *base;
    struct event *wake;    /* ends the poll when the first timer is due */
    struct timer *timers;  /* root of a pairing heap: due first */
    struct list deferrals; /* waiting, in order */
    bool stopping;
};

static void on_wake(evutil_socket_t fd, short events, void *arg)
{
    (void)fd, (void)events, (void)arg; /* the turn runs what is due */
}

/* What libevent would print is returned to the caller as an error. */
static void print_nothing(int severity, const char *message)
{
    (void)severity, (void)message;
}

struct loop *loop_new(void)
{
    event_set_log_callback(print_nothing);
    struct loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return NULL;
    list_init(&loop->deferrals);
    struct event_config *config = event_config_new();
    if (config && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV) == 0)
        loop->base = event_base_new_with_config(config);
    if (config)
        event_config_free(config);
    if (loop->base)
        loop->wake = evtimer_new(loop->base, on_wake, NULL);
    if (!loop->wake) {
        loop_free(loop);
        return NULL;
    }
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    if (loop->wake)
        event_free(loop->wake);
    if (loop->base)
        event_base_free(loop->base);
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

static void poll_descriptors(struct loop *loop)
{
    int flags = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY;
    if (!list_empty(&loop->deferrals)) {
        flags |= EVLOOP_NONBLOCK;
    } else if (loop->timers) {
        int64_t wait_ms = loop->timers->due_ms - clock_mono_ms();
        if (wait_ms < 0)
            wait_ms = 0;
        struct timeval tv = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};
        if (event_add(loop->wake, &tv))
            flags |= EVLOOP_NONBLOCK; /* out of memory: turning without sleep keeps every deadline */
    } else {
        event_del(loop->wake);
    }
    event_base_loop(loop->base, flags);
}

void loop_run(struct loop *loop)
{
    loop->stopping = false;
    while (!loop->stopping) {
        poll_descriptors(loop);
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

static void on_event(evutil_socket_t fd, short events, void *arg)
{
    (void)fd;
    struct io *io = arg;
    io->fn((events & EV_READ ? IO_READ : 0u) | (events & EV_WRITE ? IO_WRITE : 0u), io->arg);
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
    io_done(io);
    if (!wanted)
        return ERR_OK;
    short events = (short)(EV_PERSIST | (read ? EV_READ : 0) | (write ? EV_WRITE : 0));
    if (event_assign(&io->event, io->loop->base, io->fd, events, on_event, io) || event_add(&io->event, NULL))
        return ERR_IO;
    io->wanted = wanted;
    return ERR_OK;
}

void io_done(struct io *io)
{
    if (io->wanted)
        event_del(&io->event);
    io->wanted = 0;
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
