#include "domain/event_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "domain/watch.h"

#define REREAD_MS       5000 /* also keeps the inbox registered */
#define REREAD_ALONE_MS 1000 /* no inbox: nobody tells of new ones */
#define NEXT_PAGE_MS    20   /* a reader that catches up is given time to read */

struct event_watches {
    struct domain *domain;
    struct list all; /* struct event_watch */
};

struct event_watch {
    struct list node;
    struct event_watches *owner;
    char organisation[NAME_MAX_LEN + 1];
    char by[NAME_MAX_LEN + 1];
    char after[EVENT_ID_SIZE]; /* cursor; "$" until the newest is known */
    uint64_t number;           /* of the cursor */
    bool from_oldest;          /* no cursor yet: nothing can be missing */
    struct store_call *read;
    bool again; /* new ones came while it read */
    bool busy;  /* in the callback: it must not be freed now */
    bool cancelled;
    struct timer timer;
    event_watch_fn fn;
    void *arg;
};

static void read_now(struct event_watch *watch);

static void watch_free(struct event_watch *watch)
{
    watches_count(watch->owner->domain, -1);
    list_remove(&watch->node);
    store_cancel(watch->read);
    timer_cancel(&watch->timer);
    free(watch);
}

static void set_cursor(struct event_watch *watch, const char *id, uint64_t number)
{
    snprintf(watch->after, sizeof watch->after, "%s", id);
    watch->number = number;
    watch->from_oldest = false;
}

/* Events behind the cursor are missing up to @p number, exclusively. */
static void tell_gap(struct event_watch *watch, int64_t unix_ms, uint64_t number)
{
    char until[EVENT_ID_SIZE];
    struct event_news gap = {.id = until, .missing = number > watch->number ? number - watch->number - 1 : 0};
    uint64_t last = number ? number - 1 : 0;
    snprintf(until, sizeof until, "%lld-%llu", (long long)unix_ms, (unsigned long long)last);
    set_cursor(watch, until, last);
    watch->fn(&gap, watch->arg);
}

static void tell_event(struct event_watch *watch, const struct stored_event *stored)
{
    const struct event_news news = {
        .event = (const Nanopush__V1__Event *)stored->message, .unix_ms = stored->unix_ms, .id = stored->id};
    set_cursor(watch, stored->id, stored->number);
    watch->fn(&news, watch->arg);
}

static void hand_out(struct event_watch *watch, const struct events_view *view)
{
    const struct stored_event *newest = &view->newest;
    if (strcmp(watch->after, "$") == 0) {
        set_cursor(watch, newest->number ? newest->id : "0-0", newest->number);
        return;
    }
    if (view->count == 0 && !watch->from_oldest && newest->number != watch->number)
        tell_gap(watch, newest->unix_ms,
                 newest->number + 1); /* all of it is trimmed, or the store was lost */
    for (size_t i = 0; i < view->count && !watch->cancelled; i++) {
        const struct stored_event *stored = &view->events[i];
        if (!stored->message) { /* nobody's number; a damaged one's is missed at the next */
            snprintf(watch->after, sizeof watch->after, "%s", stored->id);
            continue;
        }
        if (!watch->from_oldest && stored->number != watch->number + 1)
            tell_gap(watch, stored->unix_ms, stored->number);
        if (!watch->cancelled)
            tell_event(watch, stored);
    }
}

static void read_later(struct event_watch *watch, bool more)
{
    const struct store *store = watch->owner->domain->store;
    timer_start(&watch->timer, more ? NEXT_PAGE_MS : store_inbox(store)[0] ? REREAD_MS : REREAD_ALONE_MS);
}

static void on_read(enum err e, const struct events_view *view, void *arg)
{
    struct event_watch *watch = arg;
    watch->read = NULL;
    watch->busy = true;
    if (e == ERR_OK)
        hand_out(watch, view);
    watch->busy = false;
    if (watch->cancelled)
        watch_free(watch);
    else
        read_later(watch, e == ERR_OK && (view->count == EVENTS_READ_COUNT || watch->again));
}

static void read_now(struct event_watch *watch)
{
    watch->again = watch->read != NULL;
    if (watch->read)
        return;
    timer_cancel(&watch->timer);
    watch->read = store_events_read(watch->owner->domain->store, watch->organisation, watch->after,
                                    &nanopush__v1__event__descriptor, on_read, watch);
}

static void on_timer(void *arg)
{
    read_now(arg);
}

bool event_id_valid(const char *id)
{
    unsigned long long ms, number;
    char again[EVENT_ID_SIZE];
    if (!id[0])
        return true;
    if (strlen(id) >= sizeof again || sscanf(id, "%18llu-%18llu", &ms, &number) != 2)
        return false;
    snprintf(again, sizeof again, "%llu-%llu", ms, number);
    return strcmp(again, id) == 0;
}

static bool has_too_many(const struct event_watches *watches, const char *by)
{
    unsigned count = 0;
    LIST_EACH (node, &watches->all)
        count += strcmp(CONTAINER_OF(node, struct event_watch, node)->by, by) == 0;
    return count >= EVENT_WATCHES_MAX;
}

struct event_watch *event_watch_start(struct event_watches *watches, const char *organisation, const char *by,
                                      const char *after, bool only_new, event_watch_fn fn, void *arg)
{
    if (has_too_many(watches, by))
        return NULL;
    struct event_watch *watch = mem_new(sizeof *watch);
    unsigned long long number = 0;
    watch->owner = watches;
    watch->fn = fn;
    watch->arg = arg;
    snprintf(watch->organisation, sizeof watch->organisation, "%s", organisation);
    snprintf(watch->by, sizeof watch->by, "%s", by);
    snprintf(watch->after, sizeof watch->after, "%s", after[0] ? after : only_new ? "$" : "");
    watch->from_oldest = !after[0];
    if (sscanf(after, "%*u-%18llu", &number) == 1)
        watch->number = number;
    timer_init(&watch->timer, watches->domain->loop, on_timer, watch);
    list_append(&watches->all, &watch->node);
    watches_count(watches->domain, 1);
    read_now(watch);
    return watch;
}

void event_watch_cancel(struct event_watch *watch)
{
    if (!watch)
        return;
    watch->cancelled = true;
    if (!watch->busy)
        watch_free(watch);
}

void event_watches_changed(struct event_watches *watches, const char *organisation)
{
    LIST_EACH (node, &watches->all) {
        struct event_watch *watch = CONTAINER_OF(node, struct event_watch, node);
        if (strcmp(watch->organisation, organisation) == 0)
            read_now(watch);
    }
}

void event_watches_renew(struct event_watches *watches)
{
    LIST_EACH (node, &watches->all)
        read_now(CONTAINER_OF(node, struct event_watch, node));
}

struct event_watches *event_watches_new(struct domain *domain)
{
    struct event_watches *watches = mem_new(sizeof *watches);
    watches->domain = domain;
    list_init(&watches->all);
    return watches;
}

void event_watches_free(struct event_watches *watches)
{
    if (!watches)
        return;
    while (!list_empty(&watches->all))
        watch_free(CONTAINER_OF(watches->all.next, struct event_watch, node));
    free(watches);
}
