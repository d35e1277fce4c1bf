/**
 * One connection to Redis: commands out in order, replies back in order, hiredis as the RESP codec only. It connects,
 * logs in (redis_login.h), and connects again with full-jitter backoff, by itself.
 *
 *     redis_conn_send() -> waiting ... (up) ... -> in flight -> reply or deadline -> callback
 *                             ^------- connection lost -------'
 *
 * Commands are sent again after a loss, since the reply may have been lost after Redis acted: only what may take effect
 * twice may be sent. A command whose deadline passes fails; one that was in flight then takes the connection with it,
 * because a server that is silent for that long answers nobody. A server that turns out to be no master any more, or to
 * be loading its file, is left, and what it refused for that is sent again to the next.
 *
 * While the connection is down commands wait for it, so that a short gap is not noticed; once it has been down for its
 * patience they are refused at once.
 */
#ifndef NANOPUSH_STORE_REDIS_CONN_H
#define NANOPUSH_STORE_REDIS_CONN_H

#include <hiredis/hiredis.h>

#include "base/bytes.h"
#include "core/loop.h"
#include "net/address.h"
#include "store/redis_login.h"

#define REDIS_COMMANDS_MAX 20000 /* waiting and in flight together; more are refused */

struct redis_conn;
struct redis_command;

/** @p reply is NULL unless @p e is ERR_OK; it may be an error reply. Valid during the callback. */
typedef void (*redis_reply_fn)(enum err e, const redisReply *reply, void *arg);

struct redis_conn_handlers {
    void (*on_up)(void *arg);   /* connected; may send. May be NULL */
    void (*on_down)(void *arg); /* lost, or could not be reached. May be NULL */
};

/**
 * Connect, and stay connected until redis_conn_close().
 * @param login        kept; must outlive the connection.
 * @param address      copied; NULL: not yet known, redis_conn_dial() will say.
 * @param patience_ms  how long after it was lost commands still wait for it.
 * @param handlers     kept; must outlive the connection.
 */
struct redis_conn *redis_conn_open(struct loop *loop, const struct redis_login *login,
                                   const struct address *address, unsigned patience_ms,
                                   const struct redis_conn_handlers *handlers, void *arg);

/**
 * Be connected to @p address from now on: a connection to another one is cut, and what was in flight there is sent again
 * here. Not from within one of its callbacks.
 */
void redis_conn_dial(struct redis_conn *c, const struct address *address);

/** Once it is lost, do not connect again before redis_conn_dial() says where, be it the same address. */
void redis_conn_hold(struct redis_conn *c);

/**
 * Close; commands end in silence, though those written still go out. Not from within one of its callbacks. NULL is
 * allowed.
 */
void redis_conn_close(struct redis_conn *c);

/** True while commands go out at once. */
bool redis_conn_up(const struct redis_conn *c);

/** Wall-clock time since which redis_conn_up() says what it says. */
int64_t redis_conn_since_unix_ms(const struct redis_conn *c);

/**
 * Send a command, or let it wait for the connection. The callback runs once, never within this call.
 *
 * @param encoded     as of redis_encode(); stays the caller's, and as it is, until the callback or the cancellation.
 * @param timeout_ms  until the callback says ERR_UNAVAILABLE (never sent) or ERR_TIMEOUT (sent, outcome unknown).
 * @param fn          may be NULL.
 * @return the handle until the callback; NULL when REDIS_COMMANDS_MAX is reached, or the connection has been down for
 *         too long (no callback then).
 */
struct redis_command *redis_conn_send(struct redis_conn *c, struct bytes encoded, unsigned timeout_ms,
                                      redis_reply_fn fn, void *arg);

/**
 * Have the command that is sent next taken by a node of a Cluster that only imports its slot. After a loss it is not
 * said again: that command is then told where to go anew.
 * @return false as redis_conn_send() returns NULL.
 */
MUST_CHECK bool redis_conn_send_asking(struct redis_conn *c, unsigned timeout_ms);

/** Within a redis_reply_fn: the reply becomes the caller's, to be freed with freeReplyObject(). */
void redis_conn_keep_reply(struct redis_conn *c);

/** No callback will come. A command that still waits is not sent; one that was sent may take effect. */
void redis_command_cancel(struct redis_command *command);

#endif
