#include "domain/watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/table.h"
#include "core/log.h"
#include "core/metrics.h"
#include "domain/challenge.h"
#include "domain/challenge_cache.h"
#include "domain/enrolment.h"

/* When an unfinished subject is read again without a hint, counted from its first read. */
static const int64_t reread_at_ms[] = {2000, 10000};
#define REREADS    (sizeof reread_at_ms / sizeof *reread_at_ms)
#define RETRY_MS   1000 /* Redis did not answer, or its clock says that the time is not quite over */
#define LONGEST_MS 600000

/* With a new inbox, or a Redis that is back, what is watched is read again at this pace: some 12,000 a second. */
#define RENEW_PER_TICK 256
#define RENEW_TICK_MS  20

enum subject_kind { SUBJECT_CHALLENGE, SUBJECT_ENROLMENT };

/* Every watch on one id. */
struct subject {
    struct table_node node; /* in watches.subjects, by id */
    struct list renewal;    /* in watches.renewals, or alone */
    struct watches *owner;
    enum subject_kind kind;
    char id[ID_SIZE];
    struct list watches; /* struct watch; when it is empty the subject goes */
    struct store_call *read;
    struct deferral look; /* at what is in hand */
    bool again;           /* it changed while the read was under way */
    bool waited;          /* it was read while it was pending */
    bool seen;            /* it was read once: it is there, or was lost */
    bool busy;            /* a reply is being handed out: it must not be freed now */
    struct timer timer;
    int64_t started_mono_ms;
    size_t rereads;
};

struct watch {
    struct list node;
    struct subject *subject;
    uint64_t after; /* the revision that was last handed out */
    bool answered;
    watch_challenge_fn on_challenge;
    watch_enrolment_fn on_enrolment;
    void *arg;
};

struct watches {
    struct domain *domain;
    struct table subjects;
    struct list renewals; /* to be read again, in turn */
    struct timer renew;
};

static void read_now(struct subject *subject);

static struct subject *find_subject(struct watches *watches, const char *id, enum subject_kind kind)
{
    uint64_t hash = table_hash(bytes_of(id));
    for (struct table_node *n = table_first(&watches->subjects, hash); n; n = table_next(n, hash)) {
        struct subject *subject = CONTAINER_OF(n, struct subject, node);
        if (subject->kind == kind && strcmp(subject->id, id) == 0)
            return subject;
    }
    return NULL;
}

static void subject_free(struct subject *subject)
{
    table_remove(&subject->owner->subjects, &subject->node);
    list_remove(&subject->renewal);
    store_cancel(subject->read);
    deferral_cancel(&subject->look);
    timer_cancel(&subject->timer);
    free(subject);
}

static void watch_free(struct watch *watch)
{
    watches_count(watch->subject->owner->domain, -1);
    list_remove(&watch->node);
    free(watch);
}

/* The callbacks may start and cancel watches, this subject's too: so each turn begins at the list's head anew. */
static void hand_out(struct subject *subject, enum err e, uint64_t revision, bool final, const void *view)
{
    struct list due;
    list_init(&due);
    LIST_EACH_SAFE (node, &subject->watches) {
        struct watch *watch = CONTAINER_OF(node, struct watch, node);
        if (e != ERR_OK || final || revision > watch->after) {
            list_remove(node);
            list_append(&due, node);
        }
    }
    while (!list_empty(&due)) {
        struct watch *watch = CONTAINER_OF(due.next, struct watch, node);
        watch_challenge_fn on_challenge = watch->on_challenge;
        watch_enrolment_fn on_enrolment = watch->on_enrolment;
        void *arg = watch->arg;
        watch->after = revision;
        watch->answered = true;
        list_remove(&watch->node);
        if (e != ERR_OK || final)
            watch_free(watch);
        else
            list_append(&subject->watches, &watch->node);
        if (on_challenge)
            on_challenge(e, view, arg);
        else
            on_enrolment(e, view, arg);
    }
}

static void on_timer(void *arg)
{
    read_now(arg);
}

static void read_later(struct subject *subject, int64_t until_over_ms)
{
    int64_t passed_ms = clock_mono_ms() - subject->started_mono_ms;
    while (subject->rereads < REREADS && reread_at_ms[subject->rereads] <= passed_ms)
        subject->rereads++;
    int64_t wait_ms = until_over_ms > 0 ? until_over_ms : RETRY_MS;
    if (subject->rereads < REREADS && reread_at_ms[subject->rereads] - passed_ms < wait_ms)
        wait_ms = reread_at_ms[subject->rereads] - passed_ms;
    timer_start(&subject->timer, (unsigned)(wait_ms < LONGEST_MS ? wait_ms : LONGEST_MS));
}

/* After a read that was handed out: go on waiting, read again at once, or be done. */
static void go_on(struct subject *subject, int64_t until_over_ms)
{
    subject->busy = false;
    if (list_empty(&subject->watches)) {
        subject_free(subject);
    } else if (subject->again && !subject->read) {
        read_now(subject);
    } else {
        read_later(subject, until_over_ms);
    }
}

/* Redis is away: whoever has had a snapshot goes on waiting, the others are told. */
static void on_read_failed(struct subject *subject, enum err e)
{
    if (e == ERR_NOT_FOUND && subject->seen) {
        METRIC_ADD(WATCHED_LOST, 1);
        LOG(WARN, DOMAIN, "watched-lost", "id=%s", subject->id);
        e = ERR_LOST;
    }
    bool passing = e == ERR_UNAVAILABLE || e == ERR_TIMEOUT;
    struct list waiting;
    list_init(&waiting);
    LIST_EACH_SAFE (node, &subject->watches)
        if (passing && CONTAINER_OF(node, struct watch, node)->answered) {
            list_remove(node);
            list_append(&waiting, node);
        }
    hand_out(subject, e, 0, false, NULL);
    while (!list_empty(&waiting)) {
        struct list *node = waiting.next;
        list_remove(node);
        list_append(&subject->watches, node);
    }
    go_on(subject, RETRY_MS);
}

/* By Redis' clock, since it is two workers' doing. Who asks after the end only has not waited for it. */
static void measure(const struct challenge_view *view)
{
    int64_t first_unix_ms = 0;
    for (size_t i = 0; i < view->progress_count; i++) {
        int64_t delivered_unix_ms = view->progress[i].delivered_unix_ms;
        if (delivered_unix_ms && (!first_unix_ms || delivered_unix_ms < first_unix_ms))
            first_unix_ms = delivered_unix_ms;
    }
    if (first_unix_ms)
        HISTOGRAM_ADD(LOGIN_PUSH, (first_unix_ms - view->create_unix_ms) * 1000);
    if (view->settlement)
        HISTOGRAM_ADD(LOGIN_WHOLE, (view->settle_unix_ms - view->create_unix_ms) * 1000);
    HISTOGRAM_ADD(LOGIN_RETURN, (view->now_unix_ms - view->settle_unix_ms) * 1000);
}

static void show_challenge(struct subject *subject, const struct challenge_view *view)
{
    struct domain *domain = subject->owner->domain;
    subject->busy = true;
    subject->seen = true;
    bool over = view->now_unix_ms >= view->expire_unix_ms;
    bool late = clock_mono_ms() - subject->started_mono_ms >= reread_at_ms[0] && challenge_lacks_phone(view);
    if (view->state == CHALLENGE_PENDING && over)
        challenge_expire(domain, view);
    else if (view->state == CHALLENGE_PENDING && late)
        challenge_push_again(domain, view);
    if (challenge_state_final(view->state) && subject->waited)
        measure(view);
    subject->waited = !challenge_state_final(view->state);
    int64_t left_ms = view->expire_unix_ms - view->now_unix_ms;
    hand_out(subject, ERR_OK, view->revision, challenge_state_final(view->state), view);
    go_on(subject, left_ms);
}

static void on_challenge_read(enum err e, const struct challenge_view *view, void *arg)
{
    struct subject *subject = arg;
    subject->read = NULL;
    subject->busy = true;
    if (e != ERR_OK)
        on_read_failed(subject, e);
    else
        show_challenge(subject, view);
}

static void on_enrolment_read(enum err e, const struct enrolment_view *view, void *arg)
{
    struct subject *subject = arg;
    subject->read = NULL;
    subject->busy = true;
    if (e != ERR_OK) {
        on_read_failed(subject, e);
        return;
    }
    subject->seen = true;
    enrolment_seen(subject->owner->domain, view);
    bool final = !enrolment_state_open(view->state);
    int64_t left_ms = view->expire_unix_ms - view->now_unix_ms;
    hand_out(subject, ERR_OK, view->revision, final, view);
    go_on(subject, left_ms);
}

static void read_now(struct subject *subject)
{
    struct store *store = subject->owner->domain->store;
    timer_cancel(&subject->timer);
    list_remove(&subject->renewal);
    subject->again = subject->read != NULL;
    if (subject->read)
        return;
    subject->read = subject->kind == SUBJECT_CHALLENGE
                        ? store_challenge_get(store, subject->id, true, on_challenge_read, subject)
                        : store_enrolment_get(store, subject->id, true, on_enrolment_read, subject);
}

/* The first snapshot of what was accepted here costs nothing, unless Redis is away: then nobody would hear of a change. */
static void on_look(void *arg)
{
    struct subject *subject = arg;
    struct domain *domain = subject->owner->domain;
    struct challenge_view view;
    if (!subject->read && store_up(domain->store) &&
        challenge_cache_unchanged(domain->challenge_cache, subject->id, &view))
        show_challenge(subject, &view);
    else
        read_now(subject);
}

static struct watch *watch_new(struct watches *watches, const char *id, enum subject_kind kind, void *arg)
{
    struct subject *subject = find_subject(watches, id, kind);
    if (!subject) {
        subject = mem_new(sizeof *subject);
        subject->owner = watches;
        subject->kind = kind;
        memcpy(subject->id, id, ID_SIZE);
        list_init(&subject->watches);
        list_init(&subject->renewal);
        timer_init(&subject->timer, watches->domain->loop, on_timer, subject);
        deferral_init(&subject->look, on_look, subject);
        subject->started_mono_ms = clock_mono_ms();
        if (table_add(&watches->subjects, &subject->node, table_hash(bytes_of(id))) != ERR_OK)
            abort(); /* the table's first buckets: a few hundred bytes, see mem_new() */
    }
    struct watch *watch = mem_new(sizeof *watch);
    watch->subject = subject;
    watch->arg = arg;
    list_append(&subject->watches, &watch->node);
    watches_count(watches->domain, 1);
    loop_defer(watches->domain->loop, &subject->look);
    return watch;
}

struct watch *watch_challenge(struct watches *watches, const char *id, uint64_t after, watch_challenge_fn fn,
                              void *arg)
{
    struct watch *watch = watch_new(watches, id, SUBJECT_CHALLENGE, arg);
    watch->on_challenge = fn;
    watch->after = after;
    return watch;
}

struct watch *watch_enrolment(struct watches *watches, const char *id, watch_enrolment_fn fn, void *arg)
{
    struct watch *watch = watch_new(watches, id, SUBJECT_ENROLMENT, arg);
    watch->on_enrolment = fn;
    return watch;
}

void watch_cancel(struct watch *watch)
{
    if (!watch)
        return;
    struct subject *subject = watch->subject;
    watch_free(watch);
    if (list_empty(&subject->watches) && !subject->busy)
        subject_free(subject);
}

void watches_changed(struct watches *watches, const char *id)
{
    const enum subject_kind kinds[] = {SUBJECT_CHALLENGE, SUBJECT_ENROLMENT};
    challenge_cache_changed(watches->domain->challenge_cache, id);
    for (size_t i = 0; i < 2; i++) {
        struct subject *subject = find_subject(watches, id, kinds[i]);
        if (subject)
            read_now(subject);
    }
}

void watches_settled(struct watches *watches, const struct challenge_view *view)
{
    struct subject *subject = find_subject(watches, view->record->id, SUBJECT_CHALLENGE);
    if (!subject || subject->busy)
        return;
    store_cancel(subject->read); /* what it would say is older, or the same */
    subject->read = NULL;
    show_challenge(subject, view);
}

static void on_renew_tick(void *arg)
{
    struct watches *watches = arg;
    for (unsigned i = 0; i < RENEW_PER_TICK && !list_empty(&watches->renewals); i++)
        read_now(CONTAINER_OF(watches->renewals.next, struct subject, renewal));
    if (!list_empty(&watches->renewals))
        timer_start(&watches->renew, RENEW_TICK_MS);
}

static void renew(struct table_node *node, void *arg)
{
    struct watches *watches = arg;
    struct subject *subject = CONTAINER_OF(node, struct subject, node);
    list_remove(&subject->renewal);
    list_append(&watches->renewals, &subject->renewal);
}

void watches_renew(struct watches *watches)
{
    challenge_cache_doubt(watches->domain->challenge_cache);
    table_each(&watches->subjects, renew, watches);
    timer_start(&watches->renew, 0);
}

bool watches_full(const struct domain *domain)
{
    return domain->watches_held >= domain->watches_max;
}

void watches_count(struct domain *domain, int change)
{
    domain->watches_held += (size_t)change;
    METRIC_ADD(WATCHES_HELD, change);
}

struct watches *watches_new(struct domain *domain)
{
    struct watches *watches = mem_new(sizeof *watches);
    watches->domain = domain;
    list_init(&watches->renewals);
    timer_init(&watches->renew, domain->loop, on_renew_tick, watches);
    return watches;
}

static void drop(struct table_node *node, void *arg)
{
    (void)arg;
    struct subject *subject = CONTAINER_OF(node, struct subject, node);
    while (!list_empty(&subject->watches))
        watch_free(CONTAINER_OF(subject->watches.next, struct watch, node));
    subject_free(subject);
}

void watches_free(struct watches *watches)
{
    if (!watches)
        return;
    timer_cancel(&watches->renew);
    table_each(&watches->subjects, drop, NULL);
    table_done(&watches->subjects);
    free(watches);
}
