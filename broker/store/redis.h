/**
 * Redis as it is deployed: which connection a command goes over. Internal to store/.
 *
 *     redis_send(key, command) -> the server that has the key -> its connection -> reply
 *                                     ^--- MOVED, ASK, TRYAGAIN, CLUSTERDOWN -----'
 *
 * What a node of a Cluster refuses is sent on until its time is over: to where MOVED or ASK says, at once, and else, after
 * a moment, to whom the map names by then. What waits for a node that was lost follows its slot to the next one.
 */
#ifndef NANOPUSH_STORE_REDIS_H
#define NANOPUSH_STORE_REDIS_H

#include "store/key.h"
#include "store/redis_conn.h"
#include "store/redis_options.h"

struct redis;
struct redis_request;

/** Called from the loop, never inside a call. Members may be NULL. */
struct redis_handlers {
    void (*on_up)(void *arg);   /* a server can be reached, again */
    void (*on_down)(void *arg); /* one cannot */
};

/**
 * @param options     kept; must outlive it.
 * @param timeout_ms  of every command.
 * @param handlers    kept.
 */
struct redis *redis_open(struct loop *loop, const struct redis_options *options, unsigned timeout_ms,
                         const struct redis_handlers *handlers, void *arg);

/** Requests end in silence, though what was written still goes out. NULL is allowed. */
void redis_close(struct redis *redis);

/** True while every server can be reached, and each key has one. */
bool redis_up(const struct redis *redis);

/** Since when redis_up() says what it says. */
int64_t redis_since_unix_ms(const struct redis *redis);

/**
 * Send a command to the server that has @p key. The callback runs once, never within this call; its errors are those of
 * redis_conn_send().
 *
 * @param durable  it must not be lost once it is answered: the option durability says what that takes.
 * @param argv     copied.
 * @param fn       may be NULL.
 * @return the handle until the callback; NULL when memory is out or the server cannot take it (no callback then).
 */
struct redis_request *redis_send(struct redis *redis, const struct key *key, bool durable, size_t argc,
                                 const struct bytes *argv, redis_reply_fn fn, void *arg);

/** No callback will come; what was sent may take effect. */
void redis_cancel(struct redis_request *request);

/** The server that has @p key, for a connection of the caller's own. False while that is not known. */
bool redis_find(const struct redis *redis, const struct key *key, struct address *ret);

/** True while the server at @p address has keys. One that has none any more has handed over, or lost, what it had. */
bool redis_serves(const struct redis *redis, const struct address *address);

/**
 * An error reply on a connection of the caller's own.
 * @return true where it is one of a Cluster's: ask redis_find() again in a moment, and send again.
 */
bool redis_moved(struct redis *redis, struct bytes error);

/** For people, which part is gone, where it is a part: "slots 0-5460 have no master that answers". @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err redis_describe(const struct redis *redis, struct buf *out);

#endif
