/**
 * Accepts connections from one listening socket. The master opens the socket with listener_open() and shares
 * it with its workers; each worker has its own struct listener on it.
 *
 *     accept --> on_accept --> handshake --listener_settled()--> open --listener_release()-->
 *
 * At a limit nothing is accepted or closed: what comes waits in the kernel's listen queue, where another worker may take
 * it, and the socket is not polled. Each limit that is met counts in nanopush_accept_pauses_total (accept_limit.def).
 */
#ifndef NANOPUSH_NET_LISTENER_H
#define NANOPUSH_NET_LISTENER_H

#include "base/buf.h"
#include "core/loop.h"
#include "net/address.h"

struct listener;

struct listener_options {
    size_t connections_max; /* accepting stops while so many are open; 0: no limit */
    size_t handshakes_max;  /* or so many are not settled, or wait for their PROXY header; 0: no limit */
    /* Or so many were accepted within a second, a tenth of them at once; 0: no limit. */
    unsigned accepts_per_s;
    /* Or only so many descriptors are free, which are for what else the process opens; 0: none are kept. */
    unsigned descriptors_kept;
    /* Each connection must begin with a PROXY header (net/proxy_header.h), whole within so long; 0: none is taken off,
       and what speaks after accepting meets one as the bytes that it is not. */
    unsigned proxy_timeout_ms;
};

struct listener_handlers {
    /**
     * A new connection: @p fd is non-blocking, close-on-exec and the callee's to close. @p peer is whose it is: the
     * source that the PROXY header names, where there is one.
     */
    void (*on_accept)(int fd, const struct address *peer, void *arg);
    /**
     * Descriptors or memory are out (EMFILE, ENFILE, ENOBUFS, ENOMEM), or all but descriptors_kept: accepting rests for
     * 100 ms. May be NULL.
     */
    void (*on_pressure)(void *arg);
    /**
     * Asked before each that is accepted: true leaves it to others who listen on the same socket, and is asked again 100 ms
     * later. May be NULL.
     */
    bool (*is_over_share)(void *arg);
    /** A connection without the PROXY header that it needs was closed; @p why as proxy_received_fn. May be NULL. */
    void (*on_refused)(enum err why, const struct address *peer, void *arg);
};

/** What a server that connections are handed to tells of each, in this order. Members may be NULL. */
struct accepted_handlers {
    void (*on_settled)(void *arg); /* its handshake has ended, well or not: for listener_settled() */
    void (*on_closed)(void *arg);  /* for listener_release() */
};

/**
 * Bind and listen: non-blocking, close-on-exec, SO_REUSEADDR, and TCP_NODELAY, which accepted sockets
 * inherit. An IPv6 socket takes no IPv4. A unix socket gets mode 0600, whatever the umask; one that nobody
 * listens on any more is replaced.
 * @param[out] fd   the caller's to close.
 * @param      why  gets one line for the operator on error; unchanged on success.
 * @return ERR_OK; ERR_EXISTS if the address is taken; ERR_DENIED; ERR_IO; ERR_NOMEM for @p why's line.
 */
MUST_CHECK enum err listener_open(const struct address *address, int backlog, int *fd, struct buf *why);

/**
 * Accept on @p fd from the next turn on.
 * @param fd        listening, non-blocking; stays the caller's, and open until after listener_free().
 * @param options   copied.
 * @param handlers  kept; must outlive the listener.
 * @return NULL when memory is out.
 */
struct listener *listener_new(struct loop *loop, int fd, const struct listener_options *options,
                              const struct listener_handlers *handlers, void *arg);

/**
 * Stop and free; connections that it handed out live on, those still without their PROXY header are closed. Not from
 * within on_accept. NULL is allowed.
 */
void listener_free(struct listener *l);

/** Stop accepting (what waits in the kernel's queue stays there) until listener_resume(). */
void listener_pause(struct listener *l);
void listener_resume(struct listener *l);

/** One of the connections that on_accept handed out has ended its handshake: once each, before listener_release(). */
void listener_settled(struct listener *l);

/** One of the connections that on_accept handed out has ended: makes room under connections_max. */
void listener_release(struct listener *l);

/** Connections handed out and not released, and those that wait for their PROXY header. */
size_t listener_connections(const struct listener *l);

#endif
