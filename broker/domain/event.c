#include "domain/event.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/writer.h"
#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/recent.h"
#include "crypto/digest.h"
#include "domain/router.h"
#include "nanopush/v1/event.pb-c.h"
#include "wire/json.h"

#define UID_BYTES 16

enum sinks { SINKS_AUDIT = 1, SINKS_STREAM = 2, SINKS_BOTH = 3 };
enum sight { SIGHT_PORTAL, SIGHT_ORGANISATION };

static const struct {
    const char *name;
    int severity; /* nanopush.v1.Severity */
    enum sinks sinks;
    enum sight sight;
} kinds[EVENT_COUNT] = {
#define EVENT(ident, name, severity, sinks, sight)                                                           \
    {name, NANOPUSH__V1__SEVERITY__SEVERITY_##severity, SINKS_##sinks, SIGHT_##sight},
#include "core/event.def"
#undef EVENT
};

/* The metrics of core/metric.def stand in the table's order. */
#define EVENT(ident, name, severity, sinks, sight)                                                           \
    _Static_assert((int)METRIC_EVENT_##ident - (int)METRIC_EVENT_CHALLENGE_ASKED == (int)EVENT_##ident,      \
                   "a metric for each kind");
#include "core/event.def"
#undef EVENT

const char *event_kind_name(enum event_kind kind)
{
    return kinds[kind].name;
}

enum event_kind event_kind_parse(const char *name)
{
    unsigned kind = 0;
    while (kind < EVENT_COUNT && strcmp(kinds[kind].name, name) != 0)
        kind++;
    return (enum event_kind)kind;
}

bool event_kind_is_portals(enum event_kind kind)
{
    return kinds[kind].sight == SIGHT_PORTAL;
}

const char *event_by_phone(const char *device_id, char room[EVENT_BY_SIZE])
{
    snprintf(room, EVENT_BY_SIZE, "phone %s", device_id);
    return room;
}

const char *event_by_portal(const char *portal, char room[EVENT_BY_SIZE])
{
    snprintf(room, EVENT_BY_SIZE, "portal %s", portal);
    return room;
}

static char *or_empty(const char *text)
{
    return (char *)(text ? text : "");
}

/* ---- the sinks ---- */

static void to_audit(const struct domain *domain, const Nanopush__V1__Event *message)
{
    struct buf entry = {0};
    if (!domain->audit)
        return;
    if (json_encode(&message->base, &entry) == ERR_OK)
        audit_append(domain->audit, buf_view(&entry));
    else
        LOG(ERROR, AUDIT, "entry-not-written", "kind=%s", message->kind);
    buf_done(&entry);
}

/* Who watches the organisation's events is told once the store has it. */
struct streaming {
    struct domain *domain;
    char organisation[NAME_MAX_LEN + 1];
};

static void on_streamed(enum err e, const struct routes *told, void *arg)
{
    struct streaming *streaming = arg;
    if (e == ERR_OK)
        router_events(streaming->domain->router, told, streaming->organisation);
    else
        LOG(WARN, DOMAIN, "event-not-stored", "organisation=%s error=%s", streaming->organisation,
            err_name(e));
    free(streaming);
}

static void to_stream(struct domain *domain, const Nanopush__V1__Event *message)
{
    struct streaming *streaming = mem_new(sizeof *streaming);
    streaming->domain = domain;
    snprintf(streaming->organisation, sizeof streaming->organisation, "%s", message->organisation);
    store_event_add(domain->store, message->organisation, message->uid, &message->base, on_streamed,
                    streaming);
}

void event_emit(struct domain *domain, const struct event *event)
{
    Nanopush__V1__Event message = NANOPUSH__V1__EVENT__INIT;
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    uint8_t bits[UID_BYTES] = {0};
    char uid[HEX_SIZE(UID_BYTES)];
    int64_t now_unix_ms = clock_unix_ms();
    if (random_bytes(bits, sizeof bits) != ERR_OK)
        LOG(ERROR, DOMAIN, "no-random");
    hex_encode(bytes_make(bits, sizeof bits), uid);
    time.seconds = now_unix_ms / 1000;
    time.nanos = (int32_t)(now_unix_ms % 1000) * 1000000;
    message.time = &time;
    message.kind = (char *)kinds[event->kind].name;
    message.severity = (Nanopush__V1__Severity)kinds[event->kind].severity;
    message.organisation = or_empty(event->organisation);
    message.user = or_empty(event->user);
    message.portal = or_empty(event->portal);
    message.challenge_id = or_empty(event->challenge_id);
    message.enrolment_id = or_empty(event->enrolment_id);
    message.device_id = or_empty(event->device_id);
    message.by = or_empty(event->by ? event->by : "broker");
    message.detail = or_empty(event->detail);
    message.uid = uid;
    metrics_add((enum metric)(METRIC_EVENT_CHALLENGE_ASKED + (int)event->kind), 1);
    if (kinds[event->kind].severity != NANOPUSH__V1__SEVERITY__SEVERITY_INFO)
        recent_add(kinds[event->kind].severity == NANOPUSH__V1__SEVERITY__SEVERITY_WARNING ? RECENT_WARNING
                                                                                           : RECENT_NOTICE,
                   kinds[event->kind].name);
    if (kinds[event->kind].sinks & SINKS_AUDIT)
        to_audit(domain, &message);
    if (kinds[event->kind].sinks & SINKS_STREAM)
        to_stream(domain, &message);
}
