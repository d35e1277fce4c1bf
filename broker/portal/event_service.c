/* EventService: what happens to an organisation's users (proto/nanopush/v1/event.proto). */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "domain/event.h"
#include "domain/event_watch.h"
#include "domain/text.h"
#include "nanopush/v1/admin.pb-c.h"
#include "portal/services.h"
#include "portal/snapshot.h"

struct watching {
    struct rpc_call *call;
    struct event_watch *watch;
    bool organisation_wide;   /* the caller may see more than what is its own portal's */
    bool wanted[EVENT_COUNT]; /* as the caller filters */
    char *user;               /* "" for all */
};

static void watching_free(struct watching *watching)
{
    event_watch_cancel(watching->watch);
    free(watching->user);
    free(watching);
}

static void watching_end(void *state)
{
    watching_free(state);
}

static bool is_own(const struct watching *watching, const char *portal)
{
    const Record__Portal *caller = rpc_portal(watching->call);
    return !caller || strcmp(caller->id, portal) == 0;
}

static bool is_for(const struct watching *watching, const Nanopush__V1__Event *event)
{
    enum event_kind kind = event_kind_parse(event->kind);
    return kind < EVENT_COUNT && watching->wanted[kind] &&
           (event_kind_is_portals(kind) ? is_own(watching, event->portal) : watching->organisation_wide) &&
           (!watching->user[0] || strcmp(watching->user, event->user) == 0);
}

/* What is another portal's does not exist for this one. */
static void hide_other_portal(const struct watching *watching, Nanopush__V1__Event *event)
{
    static char nothing[] = "", another[] = "another portal";
    const Record__Portal *caller = rpc_portal(watching->call);
    char own[EVENT_BY_SIZE];
    if (!is_own(watching, event->portal))
        event->portal = event->challenge_id = event->enrolment_id = nothing;
    if (caller && strncmp(event->by, "portal ", strlen("portal ")) == 0 &&
        strcmp(event->by, event_by_portal(caller->id, own)) != 0)
        event->by = another;
}

static bool send_event(struct watching *watching, const struct event_news *news)
{
    Nanopush__V1__WatchEventsResponse response = NANOPUSH__V1__WATCH_EVENTS_RESPONSE__INIT;
    Nanopush__V1__Event event = *news->event;
    Google__Protobuf__Timestamp time = snapshot_time(news->unix_ms);
    if (!is_for(watching, news->event))
        return true;
    hide_other_portal(watching, &event);
    event.id = (char *)news->id;
    event.time = &time;
    response.event = &event;
    return rpc_send(watching->call, &response.base);
}

static bool send_gap(struct watching *watching, const struct event_news *news)
{
    Nanopush__V1__WatchEventsResponse response = NANOPUSH__V1__WATCH_EVENTS_RESPONSE__INIT;
    Nanopush__V1__Gap gap = NANOPUSH__V1__GAP__INIT;
    gap.count = news->missing;
    gap.until = (char *)news->id;
    response.gap = &gap;
    return rpc_send(watching->call, &response.base);
}

static void on_news(const struct event_news *news, void *arg)
{
    struct watching *watching = arg;
    bool going_on = news->event ? send_event(watching, news) : send_gap(watching, news);
    if (!going_on)
        watching_free(watching);
}

/* @return false if the call was ended with an error. */
static bool read_filter(const Nanopush__V1__WatchEventsRequest *request, struct rpc_call *call,
                        bool wanted[EVENT_COUNT])
{
    for (size_t i = 0; i < EVENT_COUNT; i++)
        wanted[i] = request->n_kinds == 0;
    for (size_t i = 0; i < request->n_kinds; i++) {
        enum event_kind kind = event_kind_parse(request->kinds[i]);
        if (kind == EVENT_COUNT) {
            rpc_fail(call, RPC_INVALID_ARGUMENT, "kinds[%zu]: not one that is known", i);
            return false;
        }
        wanted[kind] = true;
    }
    return true;
}

static void watch_events(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__WatchEventsRequest *request = (const Nanopush__V1__WatchEventsRequest *)message;
    const Record__Portal *portal = rpc_portal(call);
    const char *organisation = portal ? portal->organisation : request->organisation;
    bool wanted[EVENT_COUNT];
    bool all = rpc_has_scope(call, NANOPUSH__V1__SCOPE__SCOPE_EVENTS);
    if (!all && !rpc_has_scope(call, NANOPUSH__V1__SCOPE__SCOPE_CHALLENGE)) {
        rpc_fail(call, RPC_PERMISSION_DENIED,
                 "the call needs scope challenge or events, and this credential has neither");
        return;
    }
    if (!text_is_name(bytes_of(organisation))) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "organisation: must be named on the admin socket");
        return;
    }
    if (!event_id_valid(request->after)) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "after: not an event's id");
        return;
    }
    if (!read_filter(request, call, wanted) || !rpc_may_wait(call))
        return;
    struct watching *watching = mem_new(sizeof *watching);
    watching->call = call;
    watching->organisation_wide = all;
    memcpy(watching->wanted, wanted, sizeof wanted);
    watching->user = mem_copy_string(request->user);
    rpc_on_end(call, watching_end, watching);
    watching->watch =
        event_watch_start(rpc_domain(call)->event_watches, organisation, portal ? portal->id : "",
                          request->after, request->only_new, on_news, watching);
    if (watching->watch)
        return;
    rpc_on_end(call, NULL, NULL);
    watching_free(watching);
    rpc_fail(
        call, RPC_RESOURCE_EXHAUSTED,
        "this portal watches events %d times at this worker; one watch is enough for all of an organisation",
        EVENT_WATCHES_MAX);
}

const struct rpc_method event_service[] = {
    RPC_METHOD(EventService, WatchEvents, watch_events_request, true, 0, watch_events),
    {0},
};
