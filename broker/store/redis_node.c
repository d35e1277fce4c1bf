#include "store/redis_node.h"

#include <stdlib.h>

#include "base/mem.h"

struct redis_node {
    struct redis_conn *conn;
    struct durable_lane *lane; /* NULL unless durable writes wait for a replica */
    struct address address;    /* len 0: not known */
    const struct redis_node_handlers *handlers;
    void *arg;
};

static void on_up(void *arg)
{
    struct redis_node *node = arg;
    node->handlers->on_up(node, node->arg);
}

static void on_down(void *arg)
{
    struct redis_node *node = arg;
    node->handlers->on_down(node, node->arg);
}

static void on_mark_refused(void *arg)
{
    struct redis_node *node = arg;
    if (node->handlers->on_mark_refused)
        node->handlers->on_mark_refused(node, node->arg);
}

static const struct redis_conn_handlers conn_handlers = {.on_up = on_up, .on_down = on_down};
static const struct durable_handlers lane_handlers = {.on_lost = on_down, .on_mark_refused = on_mark_refused};

struct redis_node *redis_node_open(struct loop *loop, const struct redis_login *login, bool replicated,
                                   unsigned timeout_ms, const struct redis_node_handlers *handlers, void *arg)
{
    struct redis_node *node = mem_new(sizeof *node);
    node->handlers = handlers;
    node->arg = arg;
    node->conn = redis_conn_open(loop, login, NULL, timeout_ms, &conn_handlers, node);
    if (replicated)
        node->lane = durable_lane_open(loop, login, timeout_ms, &lane_handlers, node);
    return node;
}

void redis_node_dial(struct redis_node *node, const struct address *address)
{
    node->address = *address;
    redis_conn_dial(node->conn, address);
    if (node->lane)
        durable_lane_dial(node->lane, address);
}

void redis_node_hold(struct redis_node *node)
{
    redis_conn_hold(node->conn);
    if (node->lane)
        durable_lane_hold(node->lane);
}

void redis_node_close(struct redis_node *node)
{
    if (!node)
        return;
    durable_lane_close(node->lane);
    redis_conn_close(node->conn);
    free(node);
}

const struct address *redis_node_address(const struct redis_node *node)
{
    return node->address.len ? &node->address : NULL;
}

bool redis_node_up(const struct redis_node *node)
{
    return redis_conn_up(node->conn);
}

int64_t redis_node_since_unix_ms(const struct redis_node *node)
{
    return redis_conn_since_unix_ms(node->conn);
}

void redis_node_mark(struct redis_node *node, const char *tag)
{
    if (node->lane)
        durable_lane_mark(node->lane, tag);
}

bool redis_node_send(struct redis_node *node, struct redis_errand *errand, bool durable, bool asking,
                     struct bytes encoded, unsigned timeout_ms, redis_reply_fn fn, void *arg)
{
    *errand = (struct redis_errand){0};
    if (durable && node->lane)
        return durable_send(node->lane, &errand->write, asking, encoded, timeout_ms, fn, arg);
    if (asking && !redis_conn_send_asking(node->conn, timeout_ms))
        return false;
    errand->command = redis_conn_send(node->conn, encoded, timeout_ms, fn, arg);
    return errand->command != NULL;
}

void redis_node_ping(struct redis_node *node, struct bytes question, unsigned timeout_ms)
{
    struct redis_command *ping = redis_conn_send(node->conn, question, timeout_ms, NULL, NULL);
    (void)ping;
}

void redis_errand_cancel(struct redis_errand *errand)
{
    if (errand->command)
        redis_command_cancel(errand->command);
    else
        durable_cancel(&errand->write);
    *errand = (struct redis_errand){0};
}
