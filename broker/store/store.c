#include "store/store.h"

#include <stdlib.h>

#include "base/mem.h"
#include "core/metrics.h"
#include "store/call.h"
#include "store/inbox.h"

static void on_up(void *arg)
{
    struct store *store = arg;
    METRIC_SET(STORE_UP, redis_up(store->redis));
    if (store->inbox)
        inbox_check(store->inbox);
    if (store->events && store->events->on_up)
        store->events->on_up(store->arg);
}

static void on_down(void *arg)
{
    (void)arg;
    METRIC_SET(STORE_UP, 0);
}

static const struct redis_handlers handlers = {.on_up = on_up, .on_down = on_down};

struct store *store_open(struct loop *loop, const struct secret *secret, const struct store_options *options,
                         const struct store_events *events, void *arg)
{
    struct store *store = mem_new(sizeof *store);
    store->loop = loop;
    store->secret = secret;
    store->options = *options;
    store->events = events;
    store->arg = arg;
    list_init(&store->calls);
    store->redis = redis_open(loop, options->redis, options->timeout_ms, &handlers, store);
    if (events && events->on_hint)
        store->inbox = inbox_new(store);
    return store;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    inbox_free(store->inbox);
    store->inbox = NULL; /* what fails now may ask for its name */
    while (!list_empty(&store->calls))
        call_fail(CONTAINER_OF(store->calls.next, struct store_call, node));
    redis_close(store->redis);
    free(store);
}

static void on_pong(enum err e, const redisReply *reply, void *arg)
{
    struct store_call *call = arg;
    call->request = NULL;
    if (e == ERR_OK && reply->type != REDIS_REPLY_STATUS) /* LOADING, BUSY: it does not do what is asked */
        e = ERR_UNAVAILABLE;
    call->on_reply(call, e, NULL);
    call_free(call);
}

static void on_ping_done(struct store_call *call, enum err e, const redisReply *reply)
{
    (void)reply;
    call->fn.done(e, call->arg);
}

struct store_call *store_ping(struct store *store, store_done_fn fn, void *arg)
{
    const struct bytes argv[] = {bytes_of("PING")};
    struct store_call *call = call_new(store, SCRIPT_COUNT, "", on_ping_done, arg);
    call->fn.done = fn;
    call_key(call, key_index("organisations")); /* whoever has that one */
    call_send_command(call, 1, argv, on_pong);
    return call;
}

enum err store_describe(const struct store *store, struct buf *out)
{
    return redis_describe(store->redis, out);
}

bool store_up(const struct store *store)
{
    return redis_up(store->redis);
}

int64_t store_since_unix_ms(const struct store *store)
{
    return redis_since_unix_ms(store->redis);
}
