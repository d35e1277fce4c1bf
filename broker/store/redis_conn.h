/**
 * One connection to Redis: commands out in order, replies back in order, hiredis as the RESP codec only. It connects,
 * and connects again with full-jitter backoff, by itself.
 *
 *     redis_conn_send() -> waiting ... (connected) ... -> in flight -> reply or deadline -> callback
 *                             ^----------- connection lost -----------'
 *
 * Commands are sent again after a loss, since the reply may have been lost after Redis acted: only what may take effect
 * twice may be sent. A command whose deadline passes fails; one that was in flight then takes the connection with it,
 * because a server that is silent for that long answers nobody.
 */
#ifndef NANOPUSH_STORE_REDIS_CONN_H
#define NANOPUSH_STORE_REDIS_CONN_H

#include <hiredis/hiredis.h>

#include "base/bytes.h"
#include "core/loop.h"
#include "net/address.h"

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
 * @param handlers  kept; must outlive the connection.
 */
struct redis_conn *redis_conn_open(struct loop *loop, const struct address *address,
                                   const struct redis_conn_handlers *handlers, void *arg);

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
 * @param argv        copied.
 * @param timeout_ms  until the callback says ERR_UNAVAILABLE (never sent) or ERR_TIMEOUT (sent, outcome unknown).
 * @return the handle until the callback; NULL when memory is out or REDIS_COMMANDS_MAX is reached (no callback then).
 */
struct redis_command *redis_conn_send(struct redis_conn *c, size_t argc, const struct bytes *argv,
                                      unsigned timeout_ms, redis_reply_fn fn, void *arg);

/** No callback will come. A command that still waits is not sent; one that was sent may take effect. */
void redis_command_cancel(struct redis_command *command);

#endif
