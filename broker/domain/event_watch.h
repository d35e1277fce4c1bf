/**
 * Watching an organisation's events: those that are kept behind a cursor, then each as it happens, on whatever worker.
 *
 *     event_emit() -> stream in Redis -> inboxes that watch -> hint -> read behind the cursor -> watcher
 *
 * A hint may be lost: each watch reads again every few seconds, which also keeps its inbox registered. What was trimmed
 * before it was read is told as a gap, found by the events' numbers.
 */
#ifndef NANOPUSH_DOMAIN_EVENT_WATCH_H
#define NANOPUSH_DOMAIN_EVENT_WATCH_H

#include "domain/domain.h"
#include "nanopush/v1/event.pb-c.h"

struct event_watch;
struct event_watches;

/** Either an event or a gap; valid during the callback. */
struct event_news {
    const Nanopush__V1__Event *event; /* NULL: a gap */
    int64_t unix_ms;                  /* of the event, Redis' clock */
    uint64_t missing;                 /* of a gap: how many; 0: not known, the store was lost */
    const char *id;                   /* the event's; of a gap, that of the last that is missing */
};

/** Never called within event_watch_start(); may cancel the watch. */
typedef void (*event_watch_fn)(const struct event_news *news, void *arg);

/** @p domain is kept. */
struct event_watches *event_watches_new(struct domain *domain);

/** Watches that are left end in silence. Before the store is closed. NULL is allowed. */
void event_watches_free(struct event_watches *watches);

/** True for "" and what can be an event's id. */
bool event_id_valid(const char *id);

#define EVENT_WATCHES_MAX 16 /* of one portal: each reads the store for itself, at every event */

/**
 * @param by     the portal that watches, "" for an administrator; see EVENT_WATCHES_MAX.
 * @param after  id of the last event that is known; "": from the oldest that is kept, or, with @p only_new, from now on.
 * @return NULL where @p by watches EVENT_WATCHES_MAX times already.
 */
struct event_watch *event_watch_start(struct event_watches *watches, const char *organisation, const char *by,
                                      const char *after, bool only_new, event_watch_fn fn, void *arg);

/** Silence, at once. NULL is allowed. */
void event_watch_cancel(struct event_watch *watch);

/** A hint: the organisation has new events. */
void event_watches_changed(struct event_watches *watches, const char *organisation);

/** This worker has a new inbox, or Redis is back: register there, and read. */
void event_watches_renew(struct event_watches *watches);

#endif
