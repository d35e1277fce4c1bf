/**
 * One server and our connections to it: that of all commands, and the lane of durable writes where the option durability
 * asks for one. Internal to store/.
 */
#ifndef NANOPUSH_STORE_REDIS_NODE_H
#define NANOPUSH_STORE_REDIS_NODE_H

#include "store/durable.h"

struct redis_node;

/** One command under way at a node, embedded in its owner. Fields are the node's; zero-initialised. */
struct redis_errand {
    struct redis_command *command; /* NULL: it goes by the lane */
    struct durable_write write;
};

struct redis_node_handlers {
    void (*on_up)(struct redis_node *node, void *arg);
    void (*on_down)(struct redis_node *node,
                    void *arg); /* one of the connections was lost, or could not be made */
    /* redis_node_mark() has to say another tag, within this call. May be NULL. */
    void (*on_mark_refused)(struct redis_node *node, void *arg);
};

/**
 * It is connected to once redis_node_dial() says where.
 * @param login       kept.
 * @param replicated  durable writes wait for a replica.
 * @param timeout_ms  how long after it was lost commands still wait for it.
 * @param handlers    kept.
 */
struct redis_node *redis_node_open(struct loop *loop, const struct redis_login *login, bool replicated,
                                   unsigned timeout_ms, const struct redis_node_handlers *handlers,
                                   void *arg);

/** As redis_conn_dial(), redis_conn_hold(), redis_conn_close(). */
void redis_node_dial(struct redis_node *node, const struct address *address);
void redis_node_hold(struct redis_node *node);
void redis_node_close(struct redis_node *node);

/** Where it is; NULL while that is not known. */
const struct address *redis_node_address(const struct redis_node *node);

bool redis_node_up(const struct redis_node *node);
int64_t redis_node_since_unix_ms(const struct redis_node *node);

/** The key that marks a group of durable writes has this hash tag from now on: one whose slot the node serves. */
void redis_node_mark(struct redis_node *node, const char *tag);

/**
 * Send; as redis_conn_send(), and durable_send() for what is @p durable and has to be on a replica.
 * @param asking  ASKING goes before it.
 * @return false, and no callback, when it cannot take it.
 */
bool redis_node_send(struct redis_node *node, struct redis_errand *errand, bool durable, bool asking,
                     struct bytes encoded, unsigned timeout_ms, redis_reply_fn fn, void *arg);

/** Ask for a sign of life: one that gives none in time is taken for lost. @p question is kept until then. */
void redis_node_ping(struct redis_node *node, struct bytes question, unsigned timeout_ms);

/** No callback will come. */
void redis_errand_cancel(struct redis_errand *errand);

#endif
