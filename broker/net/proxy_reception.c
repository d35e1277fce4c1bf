#include "net/proxy_reception.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/proxy_header.h"

struct proxy_reception {
    struct list node;
    struct loop *loop;
    struct io io;
    struct timer timeout;
    struct deferral end;
    enum err outcome; /* of the end that is deferred */
    int fd;
    struct address peer, source;
    proxy_received_fn fn;
    void *arg;
    size_t have; /* bytes of the header, never more than its length */
    uint8_t header[PROXY_HEADER_MAX_BYTES];
};

static void end(struct proxy_reception *r, enum err outcome)
{
    io_done(&r->io);
    timer_cancel(&r->timeout);
    r->outcome = outcome;
    loop_defer(r->loop, &r->end);
}

static void on_end(void *arg)
{
    struct proxy_reception *r = arg;
    list_remove(&r->node);
    if (r->outcome != ERR_OK)
        close(r->fd);
    r->fn(r->outcome, r->fd, r->source.len ? &r->source : &r->peer, r->arg);
    free(r);
}

static void on_timeout(void *arg)
{
    end(arg, ERR_TIMEOUT);
}

/* Reads to the end of the header as far as that is known, so that TLS finds its first byte in the socket.
   @return ERR_OK and *whole; ERR_OK and not *whole, when nothing more is there now; else why it ends. */
static enum err receive(struct proxy_reception *r, bool *whole)
{
    for (size_t length;;) {
        TRY(proxy_header_length(bytes_make(r->header, r->have), &length));
        *whole = r->have == length;
        if (*whole)
            return proxy_header_source(bytes_make(r->header, length), &r->source);
        ssize_t got = read(r->fd, r->header + r->have, length - r->have);
        if (got == 0)
            return ERR_CLOSED;
        if (got < 0)
            return errno == EAGAIN || errno == EINTR ? ERR_OK : ERR_IO;
        r->have += (size_t)got;
    }
}

static void on_readable(unsigned events, void *arg)
{
    struct proxy_reception *r = arg;
    bool whole = false;
    (void)events;
    enum err e = receive(r, &whole);
    if (e != ERR_OK || whole)
        end(r, e);
}

struct proxy_reception *proxy_reception_start(struct loop *loop, int fd, const struct address *peer,
                                              unsigned timeout_ms, proxy_received_fn fn, void *arg)
{
    struct proxy_reception *r = calloc(1, sizeof *r);
    if (!r) {
        close(fd);
        return NULL;
    }
    *r = (struct proxy_reception){.loop = loop, .fd = fd, .peer = *peer, .fn = fn, .arg = arg};
    list_init(&r->node);
    io_init(&r->io, loop, fd, on_readable, r);
    timer_init(&r->timeout, loop, on_timeout, r);
    deferral_init(&r->end, on_end, r);
    timer_start(&r->timeout, timeout_ms);
    if (io_want(&r->io, true, false) != ERR_OK)
        end(r, ERR_IO);
    return r;
}

void proxy_reception_cancel(struct proxy_reception *r)
{
    list_remove(&r->node);
    io_done(&r->io);
    timer_cancel(&r->timeout);
    deferral_cancel(&r->end);
    close(r->fd);
    free(r);
}

struct list *proxy_reception_node(struct proxy_reception *r)
{
    return &r->node;
}

struct proxy_reception *proxy_reception_at(struct list *node)
{
    return CONTAINER_OF(node, struct proxy_reception, node);
}
