#include "domain/router.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"

struct router {
    struct store *store;
    const struct router_sinks *sinks;
    void *arg;
};

struct router *router_new(struct store *store, const struct router_sinks *sinks, void *arg)
{
    struct router *router = mem_new(sizeof *router);
    router->store = store;
    router->sinks = sinks;
    router->arg = arg;
    return router;
}

void router_free(struct router *router)
{
    free(router);
}

/* A hint on its way to another worker; kept to clear the presence that named it, if that worker is dead. */
struct journey {
    struct router *router;
    struct route route; /* device_id "" where no device is concerned */
};

static void on_hint_written(enum err e, void *arg)
{
    struct journey *journey = arg;
    const struct route *route = &journey->route;
    if (e == ERR_NOT_FOUND) {
        METRIC_ADD(ROUTER_DEAD_INBOX, 1);
        LOG(INFO, DOMAIN, "inbox-dead", "inbox=%s device=%s", route->presence.inbox, route->device_id);
        /* Fenced: a phone that has come back meanwhile stays, and has read what is pending by itself. */
        if (route->device_id[0])
            store_device_detach(journey->router->store, route->device_id, &route->presence, NULL, NULL);
    } else if (e != ERR_OK) {
        LOG(WARN, DOMAIN, "hint-lost", "inbox=%s error=%s", route->presence.inbox, err_name(e));
    }
    free(journey);
}

static void send_hint(struct router *router, const struct route *route, enum hint_kind kind, const char *id,
                      struct bytes frame)
{
    Record__Hint hint = RECORD__HINT__INIT;
    hint.kind = kind;
    hint.id = (char *)id;
    hint.device_id = (char *)route->device_id;
    hint.connection = route->presence.connection;
    hint.frame = (ProtobufCBinaryData){.data = (uint8_t *)frame.p, .len = frame.len};
    struct journey *journey = mem_new(sizeof *journey);
    journey->router = router;
    journey->route = *route;
    store_hint(router->store, route->presence.inbox, &hint, on_hint_written, journey);
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
    if (is_here(router, route->presence.inbox))
        router->sinks->deliver(kind, route->device_id, route->presence.connection, challenge_id, frame,
                               router->arg);
    else
        send_hint(router, route, kind, challenge_id, frame);
}

void router_take(struct router *router, const struct route *route)
{
    if (!route->presence.inbox[0])
        return;
    if (is_here(router, route->presence.inbox))
        router->sinks->taken(route->device_id, route->presence.connection, router->arg);
    else
        send_hint(router, route, HINT_TAKEN, "", bytes_make(NULL, 0));
}

void router_changed(struct router *router, const struct routes *routes, const char *id)
{
    for (size_t i = 0; i < routes->inbox_count; i++) {
        struct route route = {0};
        memcpy(route.presence.inbox, routes->inboxes[i], INBOX_SIZE);
        if (is_here(router, route.presence.inbox))
            router->sinks->changed(id, router->arg);
        else
            send_hint(router, &route, HINT_CHANGED, id, bytes_make(NULL, 0));
    }
}

void router_on_hint(struct router *router, const Record__Hint *hint)
{
    struct bytes frame = bytes_make(hint->frame.data, hint->frame.len);
    switch ((enum hint_kind)hint->kind) {
    case HINT_PUSH:
    case HINT_RESOLVED:
        router->sinks->deliver((enum hint_kind)hint->kind, hint->device_id, hint->connection, hint->id, frame,
                               router->arg);
        break;
    case HINT_CHANGED:
        router->sinks->changed(hint->id, router->arg);
        break;
    case HINT_TAKEN:
        router->sinks->taken(hint->device_id, hint->connection, router->arg);
        break;
    default: /* of a later version */
        break;
    }
}
