#include "store/redis.h"

#include <stdlib.h>

#include "base/mem.h"
#include "store/durable.h"
#include "store/sentinel.h"

struct redis {
    const struct redis_options *options;
    unsigned timeout_ms;
    const struct redis_handlers *handlers;
    void *arg;
    struct redis_conn *conn;
    struct durable_lane *lane;   /* NULL unless durable writes wait for a replica */
    struct address address;      /* of the server; len 0: not known */
    struct sentinels *sentinels; /* NULL without */
    struct redis_login login; /* that of the options; with Sentinels, only to the group that it was before */
    struct redis_lineage lineage;
    struct list requests;
};

struct redis_request {
    struct list node;
    struct redis_command *command; /* NULL: it goes by the lane */
    struct durable_write write;
    struct buf encoded;
    redis_reply_fn fn;
    void *arg;
};

static void request_free(struct redis_request *request)
{
    list_remove(&request->node);
    buf_done(&request->encoded);
    free(request);
}

static void on_reply(enum err e, const redisReply *reply, void *arg)
{
    struct redis_request *request = arg;
    redis_reply_fn fn = request->fn;
    void *fn_arg = request->arg;
    request_free(request);
    if (fn)
        fn(e, reply, fn_arg);
}

static bool send_request(struct redis *redis, struct redis_request *request, bool durable)
{
    struct bytes encoded = buf_view(&request->encoded);
    if (durable && redis->lane)
        return durable_send(redis->lane, &request->write, encoded, on_reply, request);
    request->command = redis_conn_send(redis->conn, encoded, redis->timeout_ms, on_reply, request);
    return request->command != NULL;
}

struct redis_request *redis_send(struct redis *redis, const struct key *key, bool durable, size_t argc,
                                 const struct bytes *argv, redis_reply_fn fn, void *arg)
{
    struct redis_request *request = mem_new(sizeof *request);
    (void)key;
    list_append(&redis->requests, &request->node);
    request->fn = fn;
    request->arg = arg;
    if (redis_encode(argc, argv, &request->encoded) == ERR_OK && send_request(redis, request, durable))
        return request;
    request_free(request);
    return NULL;
}

void redis_cancel(struct redis_request *request)
{
    if (request->command)
        redis_command_cancel(request->command);
    else
        durable_cancel(&request->write);
    request_free(request);
}

static void on_up(void *arg)
{
    struct redis *redis = arg;
    if (redis->sentinels)
        sentinels_reached(redis->sentinels);
    if (redis->handlers->on_up)
        redis->handlers->on_up(redis->arg);
}

/* Whoever answers there next may not be what was there: the Sentinels have to say so first. */
static void on_lost(void *arg)
{
    struct redis *redis = arg;
    if (!redis->sentinels)
        return;
    redis_conn_hold(redis->conn);
    if (redis->lane)
        durable_lane_hold(redis->lane);
    sentinels_lost(redis->sentinels);
}

static void on_down(void *arg)
{
    struct redis *redis = arg;
    on_lost(redis);
    if (redis->handlers->on_down)
        redis->handlers->on_down(redis->arg);
}

static void on_master(const struct address *master, void *arg)
{
    struct redis *redis = arg;
    redis->address = *master;
    redis_conn_dial(redis->conn, master);
    if (redis->lane)
        durable_lane_dial(redis->lane, master);
}

static const struct redis_conn_handlers conn_handlers = {.on_up = on_up, .on_down = on_down};

struct redis *redis_open(struct loop *loop, const struct redis_options *options, unsigned timeout_ms,
                         const struct redis_handlers *handlers, void *arg)
{
    struct redis *redis = mem_new(sizeof *redis);
    redis->options = options;
    redis->timeout_ms = timeout_ms;
    redis->handlers = handlers;
    redis->arg = arg;
    list_init(&redis->requests);
    redis->login = options->login;
    if (options->kind == REDIS_SENTINEL)
        redis->login.lineage = &redis->lineage;
    redis->conn = redis_conn_open(loop, &redis->login, NULL, timeout_ms, &conn_handlers, redis);
    if (options->replicated)
        redis->lane = durable_lane_open(loop, &redis->login, timeout_ms, on_lost, redis);
    if (options->kind == REDIS_SENTINEL)
        redis->sentinels = sentinels_new(loop, options, on_master, redis);
    else
        on_master(&options->addresses[0], redis);
    return redis;
}

void redis_close(struct redis *redis)
{
    if (!redis)
        return;
    sentinels_free(redis->sentinels);
    durable_lane_close(redis->lane);
    redis_conn_close(redis->conn);
    while (!list_empty(&redis->requests))
        request_free(CONTAINER_OF(redis->requests.next, struct redis_request, node));
    free(redis);
}

bool redis_up(const struct redis *redis)
{
    return redis_conn_up(redis->conn);
}

int64_t redis_since_unix_ms(const struct redis *redis)
{
    return redis_conn_since_unix_ms(redis->conn);
}

bool redis_find(const struct redis *redis, const struct key *key, struct address *ret)
{
    (void)key;
    *ret = redis->address;
    return ret->len != 0;
}
