#include "domain/router.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "domain/text.h"

#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 2000
#define RETRY_FOR_MS 300000 /* the longest life of a challenge: after that it matters to nobody */

struct router {
    struct loop *loop;
    struct store *store;
    struct list journeys; /* struct journey */
    bool closing;
    const struct router_sinks *sinks;
    void *arg;
};

struct router *router_new(struct loop *loop, struct store *store, const struct router_sinks *sinks, void *arg)
{
    struct router *router = mem_new(sizeof *router);
    router->loop = loop;
    router->store = store;
    router->sinks = sinks;
    router->arg = arg;
    list_init(&router->journeys);
    return router;
}

void router_close(struct router *router)
{
    router->closing = true;
}

/* A hint on its way to another worker: kept to send it again, and to clear the presence that named a dead one. */
struct journey {
    struct list node; /* in router.journeys */
    struct router *router;
    Record__Hint *hint;
    char inbox[INBOX_SIZE];
    struct timer retry;
    int64_t until_mono_ms;
    unsigned wait_ms;
};

static void journey_free(struct journey *journey)
{
    list_remove(&journey->node);
    timer_cancel(&journey->retry);
    record__hint__free_unpacked(journey->hint, NULL);
    free(journey);
}

/* Fenced: a phone that has come back meanwhile stays, and has read what is pending by itself. */
static void clear_presence(struct journey *journey)
{
    struct presence presence = {.connection = journey->hint->connection,
                                .capabilities = journey->hint->capabilities};
    memcpy(presence.inbox, journey->inbox, INBOX_SIZE);
    if (journey->hint->device_id[0])
        store_device_detach(journey->router->store, journey->hint->device_id, &presence, NULL, NULL);
}

static void on_hint_written(enum err e, void *arg)
{
    struct journey *journey = arg;
    bool again = (e == ERR_UNAVAILABLE || e == ERR_TIMEOUT) && clock_mono_ms() < journey->until_mono_ms;
    if (again && !journey->router->closing) {
        timer_start(&journey->retry, journey->wait_ms);
        journey->wait_ms = journey->wait_ms * 2 < RETRY_MAX_MS ? journey->wait_ms * 2 : RETRY_MAX_MS;
        return;
    }
    if (e == ERR_NOT_FOUND) {
        METRIC_ADD(ROUTER_DEAD_INBOX, 1);
        LOG(INFO, DOMAIN, "inbox-dead", "inbox=%s device=%s", journey->inbox, journey->hint->device_id);
        clear_presence(journey);
    } else if (e != ERR_OK) {
        LOG(WARN, DOMAIN, "hint-lost", "inbox=%s error=%s", journey->inbox, err_name(e));
    }
    journey_free(journey);
}

static void journey_go(void *arg)
{
    struct journey *journey = arg;
    store_hint(journey->router->store, journey->inbox, journey->hint, on_hint_written, journey);
}

/* What a hint says of the device that it is for. */
static Record__Hint hint_for(const struct route *route, enum hint_kind kind, const char *id)
{
    Record__Hint hint = RECORD__HINT__INIT;
    hint.kind = kind;
    hint.id = (char *)id;
    hint.device_id = (char *)route->device_id;
    hint.connection = route->presence.connection;
    hint.capabilities = route->presence.capabilities;
    return hint;
}

static void send_hint(struct router *router, const struct route *route, const Record__Hint *hint)
{
    struct journey *journey = mem_new(sizeof *journey);
    list_append(&router->journeys, &journey->node);
    journey->router = router;
    journey->hint = (Record__Hint *)store_record_copy(&hint->base);
    memcpy(journey->inbox, route->presence.inbox, INBOX_SIZE);
    journey->until_mono_ms = clock_mono_ms() + RETRY_FOR_MS;
    journey->wait_ms = RETRY_MIN_MS;
    timer_init(&journey->retry, router->loop, journey_go, journey);
    journey_go(journey);
}

void router_free(struct router *router)
{
    if (!router)
        return;
    while (!list_empty(&router->journeys))
        journey_free(CONTAINER_OF(router->journeys.next, struct journey, node));
    free(router);
}

static bool is_here(const struct router *router, const char *inbox)
{
    return strcmp(inbox, store_inbox(router->store)) == 0;
}

void router_deliver(struct router *router, const struct route *route, enum hint_kind kind,
                    const char *challenge_id, struct bytes frame)
{
    if (!route->presence.inbox[0])
        return;
    if (is_here(router, route->presence.inbox)) {
        router->sinks->deliver(kind, route->device_id, route->presence.connection, challenge_id, frame,
                               router->arg);
        return;
    }
    Record__Hint hint = hint_for(route, kind, challenge_id);
    hint.frame = (ProtobufCBinaryData){.data = (uint8_t *)frame.p, .len = frame.len};
    send_hint(router, route, &hint);
}

void router_take(struct router *router, const struct route *route, bool removed)
{
    if (!route->presence.inbox[0])
        return;
    if (is_here(router, route->presence.inbox)) {
        router->sinks->taken(route->device_id, route->presence.connection, removed, router->arg);
        return;
    }
    Record__Hint hint = hint_for(route, HINT_TAKEN, "");
    hint.removed = removed;
    send_hint(router, route, &hint);
}

static void tell_inboxes(struct router *router, const struct routes *routes, enum hint_kind kind,
                         void (*here)(const char *id, void *arg), const char *id)
{
    for (size_t i = 0; i < routes->inbox_count; i++) {
        struct route route = {0};
        memcpy(route.presence.inbox, routes->inboxes[i], INBOX_SIZE);
        const Record__Hint hint = hint_for(&route, kind, id);
        if (!is_here(router, route.presence.inbox))
            send_hint(router, &route, &hint);
        else if (here)
            here(id, router->arg);
    }
}

void router_changed(struct router *router, const struct routes *routes, const char *id)
{
    tell_inboxes(router, routes, HINT_CHANGED, router->sinks->changed, id);
}

void router_events(struct router *router, const struct routes *routes, const char *organisation)
{
    tell_inboxes(router, routes, HINT_EVENTS, router->sinks->events, organisation);
}

/* Hints are not sealed: whoever writes to Redis can put one there. */
static bool is_sound(const Record__Hint *hint)
{
    if (hint->kind == HINT_PROBE)
        return true;
    if (hint->kind == HINT_EVENTS)
        return text_is_name(bytes_of(hint->id));
    bool challenge = hint->kind == HINT_PUSH || hint->kind == HINT_RESOLVED || hint->kind == HINT_CHANGED;
    return (!challenge || id_valid(bytes_of(hint->id))) &&
           (hint->kind == HINT_CHANGED || id_valid(bytes_of(hint->device_id)));
}

void router_on_hint(struct router *router, const Record__Hint *hint)
{
    if (!is_sound(hint)) {
        LOG(WARN, DOMAIN, "hint-refused", "kind=%u", hint->kind);
        return;
    }
    struct bytes frame = bytes_make(hint->frame.data, hint->frame.len);
    switch ((enum hint_kind)hint->kind) {
    case HINT_PUSH:
    case HINT_RESOLVED:
    case HINT_NOTICE:
        router->sinks->deliver((enum hint_kind)hint->kind, hint->device_id, hint->connection, hint->id, frame,
                               router->arg);
        break;
    case HINT_CHANGED:
        router->sinks->changed(hint->id, router->arg);
        break;
    case HINT_EVENTS:
        if (router->sinks->events)
            router->sinks->events(hint->id, router->arg);
        break;
    case HINT_TAKEN:
        router->sinks->taken(hint->device_id, hint->connection, hint->removed, router->arg);
        break;
    case HINT_PROBE:
        if (router->sinks->probed)
            router->sinks->probed(hint->connection, router->arg);
        break;
    default: /* of a later version */
        break;
    }
}
