/**
 * Takes the PROXY header off an accepted connection, and not a byte more: what follows is TLS's.
 */
#ifndef NANOPUSH_NET_PROXY_RECEPTION_H
#define NANOPUSH_NET_PROXY_RECEPTION_H

#include "core/loop.h"
#include "net/address.h"

struct proxy_reception;

/**
 * @param e       ERR_OK, or why there is no header: what proxy_header.h says, ERR_TIMEOUT, ERR_CLOSED, ERR_IO.
 * @param fd      the connection; the callee's to close, unless @p e says otherwise: then it is closed.
 * @param source  whose it is; where the header names none, @p peer as given.
 */
typedef void (*proxy_received_fn)(enum err e, int fd, const struct address *source, void *arg);

/**
 * Wait for the header of @p fd. @p fn is called once, out of a turn of the loop to come, and the reception is gone then.
 *
 * @param fd          non-blocking; the reception's from now on, also when it fails to start.
 * @param peer        the connection's own peer; copied.
 * @param timeout_ms  for the whole header.
 * @return NULL when memory is out (@p fd is closed).
 */
struct proxy_reception *proxy_reception_start(struct loop *loop, int fd, const struct address *peer,
                                              unsigned timeout_ms, proxy_received_fn fn, void *arg);

/** End it; its connection is closed and fn is not called. */
void proxy_reception_cancel(struct proxy_reception *reception);

/** For the list of whoever started it; the reception leaves it by itself when it ends. */
struct list *proxy_reception_node(struct proxy_reception *reception);
struct proxy_reception *proxy_reception_at(struct list *node);

#endif
