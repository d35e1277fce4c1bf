/**
 * The event loop of one process: descriptors, timers and deferred calls, all from one thread. Underneath is
 * epoll, whose own word a descriptor is the only thing that the loop keeps for it: a watch costs its owner the
 * few bytes of a struct io, and nothing else that user space holds (adr/0005).
 *
 * One turn:   poll -> descriptors' callbacks -> due timers' callbacks -> deferred calls -> poll ...
 *
 * Two rules make callbacks safe to write, and loop_defer() is how they are kept: no callback runs inside the
 * call that started it, and nothing is freed inside its own callback.
 */
#ifndef NANOPUSH_CORE_LOOP_H
#define NANOPUSH_CORE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

struct loop;

typedef void (*loop_fn)(void *arg);

/** @return NULL when memory or descriptors are out. */
struct loop *loop_new(void);

/** Free the loop. Nothing may be watched, armed or deferred on it any more. NULL is allowed. */
void loop_free(struct loop *loop);

/** Turn until loop_stop(). Deferred calls that still wait then are run before it returns. */
void loop_run(struct loop *loop);

/** Let loop_run() return at the end of this turn; without effect while it does not run. */
void loop_stop(struct loop *loop);

/**
 * A one-shot timer, embedded in its owner. Fields are the loop's; set by timer_init(). Arming never fails.
 */
struct timer {
    struct loop *loop;
    loop_fn fn;
    void *arg;
    int64_t due_ms;             /* monotonic */
    struct timer *child, *next; /* place in the loop's pairing heap */
    struct timer **link;        /* what points at this timer there; NULL while not armed */
};

/** Prepare @p t, not armed. It must stay where it is in memory while armed. */
void timer_init(struct timer *t, struct loop *loop, loop_fn fn, void *arg);

/** Call fn once, at least @p ms from now, 0 meaning 1. Armed already: starts anew. */
void timer_start(struct timer *t, unsigned ms);

/** Not armed afterwards, and fn is not called. Harmless when it is not armed. */
void timer_cancel(struct timer *t);

bool timer_armed(const struct timer *t);

enum io_event {
    IO_READ = 1,
    IO_WRITE = 2,
};

/**
 * @param events  the io_events that are possible now; an error of the descriptor shows as all that are
 * wanted.
 */
typedef void (*io_fn)(unsigned events, void *arg);

/**
 * A watch on one descriptor, embedded in its owner. Fields are the loop's; set by io_init(). While something is
 * wanted it must stay where it is in memory: epoll holds its address.
 */
struct io {
    struct loop *loop;
    io_fn fn;
    void *arg;
    int fd;
    unsigned wanted; /* io_events */
};

/** Prepare a watch on @p fd, which stays the caller's; nothing is wanted yet. */
void io_init(struct io *io, struct loop *loop, int fd, io_fn fn, void *arg);

/**
 * Say what is wanted from now on; level-triggered. Costs a system call only where it changes something. Where
 * neither is wanted the descriptor is not polled at all, so that a reset one cannot spin.
 * @return ERR_OK; ERR_IO if the kernel refuses or memory is out (nothing is wanted then).
 */
MUST_CHECK enum err io_want(struct io *io, bool read, bool write);

/**
 * Stop watching; fn is not called again, not even for what this turn's poll has found. Before the close().
 */
void io_done(struct io *io);

/** A call put off, embedded in its owner. Fields are the loop's; set by deferral_init(). */
struct deferral {
    struct list node;
    loop_fn fn;
    void *arg;
};

void deferral_init(struct deferral *d, loop_fn fn, void *arg);

/**
 * Call fn once, after the callback that is running now and before the loop sleeps. In order; deferring what
 * waits already changes nothing. What a deferred call defers itself runs after a further poll, so that no
 * chain of them starves the descriptors. fn may free the deferral's owner.
 */
void loop_defer(struct loop *loop, struct deferral *d);

/** fn is not called. Harmless when it does not wait. */
void deferral_cancel(struct deferral *d);

#endif
