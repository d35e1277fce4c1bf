/**
 * What happened, said once: event_emit() counts it, writes it to the audit and puts it into the organisation's events, as
 * its row of core/event.def says.
 */
#ifndef NANOPUSH_DOMAIN_EVENT_H
#define NANOPUSH_DOMAIN_EVENT_H

#include "domain/domain.h"

#define EVENT(ident, name, severity, sinks, sight) EVENT_##ident,
enum event_kind {
#include "core/event.def"
    EVENT_COUNT
};
#undef EVENT

#define EVENT_BY_SIZE 80 /* of what event_by_phone() and event_by_portal() write, NUL included */

/** NULL means: does not apply. Never a secret, a token or a challenge's text. */
struct event {
    enum event_kind kind;
    const char *organisation; /* never NULL */
    const char *user, *portal, *challenge_id, *enrolment_id, *device_id;
    const char *by;     /* who did it: event_by_phone(), event_by_portal(), "administrator"; NULL: "broker" */
    const char *detail; /* in words for a log */
};

/** Says it to all sinks; what one of them cannot take is that one's to tell. Everything is copied. */
void event_emit(struct domain *domain, const struct event *event);

/** "phone <id>" and "portal <id>", in @p room. @return @p room. */
const char *event_by_phone(const char *device_id, char room[EVENT_BY_SIZE]);
const char *event_by_portal(const char *portal, char room[EVENT_BY_SIZE]);

/** The kind's name, "push_locked". */
const char *event_kind_name(enum event_kind kind);

/** @return EVENT_COUNT if there is no kind of that name. */
enum event_kind event_kind_parse(const char *name);

/** True if it is for nobody but the portal whose challenge it is about. */
bool event_kind_is_portals(enum event_kind kind);

#endif
