#include "store/redis.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/metrics.h"
#include "store/cluster.h"
#include "store/redis_node.h"
#include "store/sentinel.h"

#define REST_MS 50 /* until what a Cluster could not take is sent again */

struct redis {
    const struct redis_options *options;
    unsigned timeout_ms;
    const struct redis_handlers *handlers;
    void *arg;
    struct cluster *cluster;     /* NULL without; else the rest up to requests is not there */
    struct redis_node *node;     /* the server */
    struct sentinels *sentinels; /* NULL without */
    struct redis_login login; /* that of the options; with Sentinels, only to the group that it was before */
    struct redis_lineage lineage;
    struct list requests, resting; /* struct redis_request: at a node; waiting for one */
    size_t resting_count;
    struct timer rest;
    int64_t down_mono_ms; /* since when the Cluster says nothing but that it is down; 0: it is not so */
};

struct redis_request {
    struct list node; /* in requests or resting */
    struct redis *redis;
    struct redis_node *at; /* NULL while it rests */
    struct redis_errand errand;
    unsigned slot;
    bool durable, moved; /* it was sent on once, at once */
    int64_t due_mono_ms;
    struct buf encoded;
    redis_reply_fn fn;
    void *arg;
};

static void request_free(struct redis_request *request)
{
    list_remove(&request->node);
    if (!request->at)
        request->redis->resting_count--;
    buf_done(&request->encoded);
    free(request);
}

static void finish(struct redis_request *request, enum err e, const redisReply *reply)
{
    redis_reply_fn fn = request->fn;
    void *arg = request->arg;
    request_free(request);
    if (fn)
        fn(e, reply, arg);
}

/* ---- to a node, and from there to another ---- */

static void on_reply(enum err e, const redisReply *reply, void *arg);

static bool send_to(struct redis_request *request, struct redis_node *node, bool asking)
{
    int64_t left_ms = request->due_mono_ms - clock_mono_ms();
    if (left_ms <= 0 || !redis_node_send(node, &request->errand, request->durable, asking,
                                         buf_view(&request->encoded), (unsigned)left_ms, on_reply, request))
        return false;
    if (!request->at)
        request->redis->resting_count--;
    request->at = node;
    list_remove(&request->node);
    list_append(&request->redis->requests, &request->node);
    return true;
}

static void let_rest(struct redis_request *request)
{
    struct redis *redis = request->redis;
    if (request->at)
        redis->resting_count++;
    request->at = NULL;
    list_remove(&request->node);
    list_append(&redis->resting, &request->node);
    if (!timer_armed(&redis->rest))
        timer_start(&redis->rest, REST_MS);
}

static struct redis_node *node_of(const struct redis *redis, unsigned slot)
{
    return redis->cluster ? cluster_node(redis->cluster, slot) : redis->node;
}

static bool is_past(int64_t since_mono_ms, unsigned patience_ms)
{
    return since_mono_ms && clock_mono_ms() - since_mono_ms >= patience_ms;
}

/* Nobody serves its slot: wait for who will, but not once that has been so for long. */
static bool wait_for_node(struct redis_request *request)
{
    struct redis *redis = request->redis;
    if (is_past(cluster_gap_since_mono_ms(redis->cluster), redis->timeout_ms) ||
        redis->resting_count > REDIS_COMMANDS_MAX || request->due_mono_ms <= clock_mono_ms())
        return false;
    let_rest(request);
    return true;
}

static bool dispatch(struct redis_request *request)
{
    struct redis_node *node = node_of(request->redis, request->slot);
    return node ? send_to(request, node, false) : wait_for_node(request);
}

static void on_rest_due(void *arg)
{
    struct redis *redis = arg;
    struct list due;
    list_init(&due);
    list_move(&redis->resting, &due);
    while (!list_empty(&due)) {
        struct redis_request *request = CONTAINER_OF(due.next, struct redis_request, node);
        if (!dispatch(request))
            finish(request, ERR_UNAVAILABLE, NULL);
    }
}

/* A node that does not serve the slot, or not now, has done nothing. @return false when the request is over. */
static bool redirect(struct redis_request *request, const struct redirect *to)
{
    struct redis *redis = request->redis;
    struct redis_node *node = NULL;
    METRIC_ADD(STORE_REDIRECTS, 1);
    if (to->down && !redis->down_mono_ms)
        redis->down_mono_ms = clock_mono_ms();
    if (is_past(redis->down_mono_ms, redis->timeout_ms) || request->due_mono_ms <= clock_mono_ms())
        return false;
    if (to->kind == REDIRECT_MOVED)
        cluster_moved(redis->cluster, to->slot, &to->address);
    else if (to->down)
        cluster_outdated(redis->cluster);
    if (to->kind == REDIRECT_ASK || (to->kind == REDIRECT_MOVED && !request->moved))
        node = cluster_node_at(redis->cluster, &to->address);
    request->moved = request->moved || to->kind == REDIRECT_MOVED;
    if (!node || !send_to(request, node, to->kind == REDIRECT_ASK))
        let_rest(request);
    return true;
}

static void on_reply(enum err e, const redisReply *reply, void *arg)
{
    struct redis_request *request = arg;
    struct redis *redis = request->redis;
    struct redirect to = {0};
    request->errand = (struct redis_errand){0};
    if (redis->cluster && e == ERR_OK && reply->type == REDIS_REPLY_ERROR)
        to = redirect_parse(bytes_make(reply->str, (size_t)reply->len));
    if (e == ERR_OK && to.kind == REDIRECT_NONE)
        redis->down_mono_ms = 0;
    if (to.kind == REDIRECT_NONE)
        finish(request, e, reply);
    else if (!redirect(request, &to))
        finish(request, ERR_UNAVAILABLE, NULL);
}

struct redis_request *redis_send(struct redis *redis, const struct key *key, bool durable, size_t argc,
                                 const struct bytes *argv, redis_reply_fn fn, void *arg)
{
    struct redis_request *request = mem_new(sizeof *request);
    list_append(&redis->resting, &request->node);
    redis->resting_count++;
    request->redis = redis;
    request->slot = redis->cluster ? slot_of(bytes_of(key->text)) : 0;
    request->durable = durable;
    request->due_mono_ms = clock_mono_ms() + redis->timeout_ms;
    request->fn = fn;
    request->arg = arg;
    if (redis_encode(argc, argv, &request->encoded) == ERR_OK && dispatch(request))
        return request;
    request_free(request);
    return NULL;
}

void redis_cancel(struct redis_request *request)
{
    if (request->at)
        redis_errand_cancel(&request->errand);
    request_free(request);
}

/* ---- a Cluster ---- */

static void on_cluster_up(void *arg)
{
    struct redis *redis = arg;
    if (redis->handlers->on_up)
        redis->handlers->on_up(redis->arg);
}

static void on_cluster_down(void *arg)
{
    struct redis *redis = arg;
    if (redis->handlers->on_down)
        redis->handlers->on_down(redis->arg);
}

/* What waits for a node that was lost, or was sent to one that serves nothing any more, goes to who serves it now. */
static void on_map(void *arg)
{
    struct redis *redis = arg;
    LIST_EACH_SAFE (item, &redis->requests) {
        struct redis_request *request = CONTAINER_OF(item, struct redis_request, node);
        struct redis_node *now = node_of(redis, request->slot);
        bool serves = cluster_serves(redis->cluster, redis_node_address(request->at));
        if (request->at == now || (serves && redis_node_up(request->at)))
            continue;
        redis_errand_cancel(&request->errand);
        let_rest(request);
    }
    timer_start(&redis->rest, 0);
}

static const struct cluster_handlers cluster_handlers = {
    .on_up = on_cluster_up, .on_down = on_cluster_down, .on_map = on_map};

/* ---- one server, be it one after the other ---- */

static void on_up(struct redis_node *node, void *arg)
{
    struct redis *redis = arg;
    (void)node;
    if (redis->sentinels)
        sentinels_reached(redis->sentinels);
    if (redis->handlers->on_up)
        redis->handlers->on_up(redis->arg);
}

/* Whoever answers there next may not be what was there: the Sentinels have to say so first. */
static void on_down(struct redis_node *node, void *arg)
{
    struct redis *redis = arg;
    if (redis->sentinels) {
        redis_node_hold(node);
        sentinels_lost(redis->sentinels);
    }
    if (redis->handlers->on_down)
        redis->handlers->on_down(redis->arg);
}

static const struct redis_node_handlers node_handlers = {.on_up = on_up, .on_down = on_down};

static void on_master(const struct address *master, void *arg)
{
    struct redis *redis = arg;
    redis_node_dial(redis->node, master);
}

static void open_node(struct redis *redis, struct loop *loop)
{
    const struct redis_options *options = redis->options;
    redis->login = options->login;
    if (options->kind == REDIS_SENTINEL)
        redis->login.lineage = &redis->lineage;
    redis->node =
        redis_node_open(loop, &redis->login, options->replicated, redis->timeout_ms, &node_handlers, redis);
    if (options->kind == REDIS_SENTINEL)
        redis->sentinels = sentinels_new(loop, options, on_master, redis);
    else
        on_master(&options->addresses[0], redis);
}

struct redis *redis_open(struct loop *loop, const struct redis_options *options, unsigned timeout_ms,
                         const struct redis_handlers *handlers, void *arg)
{
    struct redis *redis = mem_new(sizeof *redis);
    redis->options = options;
    redis->timeout_ms = timeout_ms;
    redis->handlers = handlers;
    redis->arg = arg;
    list_init(&redis->requests);
    list_init(&redis->resting);
    timer_init(&redis->rest, loop, on_rest_due, redis);
    if (options->kind == REDIS_CLUSTER)
        redis->cluster = cluster_open(loop, options, timeout_ms, &cluster_handlers, redis);
    else
        open_node(redis, loop);
    return redis;
}

void redis_close(struct redis *redis)
{
    if (!redis)
        return;
    timer_cancel(&redis->rest);
    sentinels_free(redis->sentinels);
    cluster_close(redis->cluster);
    redis_node_close(redis->node);
    struct list *const queues[] = {&redis->requests, &redis->resting};
    for (size_t i = 0; i < 2; i++)
        while (!list_empty(queues[i]))
            request_free(CONTAINER_OF(queues[i]->next, struct redis_request, node));
    free(redis);
}

bool redis_up(const struct redis *redis)
{
    return redis->cluster ? cluster_up(redis->cluster) : redis_node_up(redis->node);
}

int64_t redis_since_unix_ms(const struct redis *redis)
{
    return redis->cluster ? cluster_since_unix_ms(redis->cluster) : redis_node_since_unix_ms(redis->node);
}

bool redis_find(const struct redis *redis, const struct key *key, struct address *ret)
{
    struct redis_node *node = node_of(redis, slot_of(bytes_of(key->text)));
    const struct address *address = node ? redis_node_address(node) : NULL;
    if (address)
        *ret = *address;
    return address != NULL;
}

bool redis_serves(const struct redis *redis, const struct address *address)
{
    if (redis->cluster)
        return cluster_serves(redis->cluster, address);
    const struct address *server = redis_node_address(redis->node);
    return server && address_equal(server, address);
}

bool redis_moved(struct redis *redis, struct bytes error)
{
    struct redirect to = redis->cluster ? redirect_parse(error) : (struct redirect){0};
    if (to.kind == REDIRECT_MOVED)
        cluster_moved(redis->cluster, to.slot, &to.address);
    else if (to.kind != REDIRECT_NONE)
        cluster_outdated(redis->cluster);
    return to.kind != REDIRECT_NONE;
}

enum err redis_describe(const struct redis *redis, struct buf *out)
{
    return redis->cluster ? cluster_describe(redis->cluster, out) : ERR_OK;
}
