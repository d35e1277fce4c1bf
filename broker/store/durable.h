/**
 * Writes that count only once a replica has them (option durability = "replicated"), over a connection of their own,
 * which WAIT blocks: whatever else is asked of Redis goes by another.
 *
 *     durable_send() -> queue -> group: its commands, one SET, one WAIT -> replies kept -> WAIT says >= 1 -> callbacks
 *                         ^---- connection lost: the whole group again ----'
 *
 * The SET makes WAIT mean something for a command that was repeated and wrote nothing any more: what a connection has
 * not written WAIT takes for replicated. Replication keeps the order, so a replica that has the SET has all before it.
 * A group whose SET was refused (its slot has left this node of a Cluster) is sent again, with a SET elsewhere.
 * While there is no replica nothing is sent, and every write is refused at once.
 */
#ifndef NANOPUSH_STORE_DURABLE_H
#define NANOPUSH_STORE_DURABLE_H

#include "store/redis_conn.h"

struct durable_lane;

/** One write, embedded in its owner. Fields are the lane's; zero-initialised before durable_send(). */
struct durable_write {
    struct list node; /* in queue or group */
    struct durable_lane *lane;
    struct bytes encoded;
    bool asking;
    int64_t due_mono_ms;
    redis_reply_fn fn;
    void *arg;
    struct redis_command *command; /* in flight */
    redisReply *reply;             /* kept until WAIT has answered */
};

/** Called from the loop. */
struct durable_handlers {
    void (*on_lost)(void *arg);         /* its connection was lost, or could not be made */
    void (*on_mark_refused)(void *arg); /* durable_lane_mark() has to say another tag, within this call */
};

/** @param login  kept. @param handlers  kept. @param timeout_ms  of every write, from durable_send() to its callback. */
struct durable_lane *durable_lane_open(struct loop *loop, const struct redis_login *login,
                                       unsigned timeout_ms, const struct durable_handlers *handlers,
                                       void *arg);

/** As redis_conn_dial(). */
void durable_lane_dial(struct durable_lane *lane, const struct address *address);

/** The key of the SET has this hash tag from now on. */
void durable_lane_mark(struct durable_lane *lane, const char *tag);

/** As redis_conn_hold(). */
void durable_lane_hold(struct durable_lane *lane);

/** What is queued ends in silence. NULL is allowed. */
void durable_lane_close(struct durable_lane *lane);

/**
 * Send. @p fn runs once, never within this call: its error is ERR_UNAVAILABLE when no replica has it, ERR_TIMEOUT.
 * @param asking      ASKING goes before it.
 * @param encoded     as of redis_encode(); the caller's until the callback or the cancellation.
 * @param timeout_ms  until the callback.
 * @return false, and no callback, while there is no replica or no connection.
 */
bool durable_send(struct durable_lane *lane, struct durable_write *write, bool asking, struct bytes encoded,
                  unsigned timeout_ms, redis_reply_fn fn, void *arg);

/** No callback will come; what was sent may take effect. */
void durable_cancel(struct durable_write *write);

#endif
