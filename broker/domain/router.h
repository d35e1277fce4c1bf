/**
 * Who is told: takes the routes that a script returned and brings the news to each, on this worker directly, on another
 * through its inbox. A challenge that enters here and leaves elsewhere goes through Redis as between two machines.
 *
 * News are hints. What they are about is in Redis already, so one that is lost delays and loses nothing.
 */
#ifndef NANOPUSH_DOMAIN_ROUTER_H
#define NANOPUSH_DOMAIN_ROUTER_H

#include "store/store.h"

struct router;

/** This worker's ends. None of them may call back into the router. */
struct router_sinks {
    /** Write @p frame to the device's connection here, if it still is @p connection. */
    void (*deliver)(enum hint_kind kind, const char *device_id, uint64_t connection, const char *challenge_id,
                    struct bytes frame, void *arg);
    /** The connection has lost its device: to another connection, or, @p removed, because the device is gone. */
    void (*taken)(const char *device_id, uint64_t connection, bool removed, void *arg);
    /** Something waits here for this challenge or enrolment, perhaps. */
    void (*changed)(const char *id, void *arg);
    /** An organisation has new events. NULL where nobody watches any. */
    void (*events)(const char *organisation, void *arg);
    /** The worker's own probe came back (domain/probe.h). NULL where none is sent. */
    void (*probed)(uint64_t number, void *arg);
};

/** @p loop, @p store and @p sinks are kept. */
struct router *router_new(struct loop *loop, struct store *store, const struct router_sinks *sinks,
                          void *arg);

/** Before the store is closed: what cannot be sent any more is given up. */
void router_close(struct router *router);

/** After the store is closed. NULL is allowed. */
void router_free(struct router *router);

/** To one device: @p frame with kind PUSH, RESOLVED or NOTICE. A device that hangs nowhere is skipped. */
void router_deliver(struct router *router, const struct route *route, enum hint_kind kind,
                    const char *challenge_id, struct bytes frame);

/** To the connection that @p route names: the device is another's now, or, @p removed, is no more. */
void router_take(struct router *router, const struct route *route, bool removed);

/** To all inboxes of @p routes that wait for @p id. */
void router_changed(struct router *router, const struct routes *routes, const char *id);

/** To all inboxes of @p routes that watch the organisation's events. */
void router_events(struct router *router, const struct routes *routes, const char *organisation);

/** A hint from this worker's own inbox. */
void router_on_hint(struct router *router, const Record__Hint *hint);

#endif
