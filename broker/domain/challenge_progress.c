#include "domain/challenge_progress.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/table.h"
#include "domain/challenge_op.h"
#include "domain/router.h"

struct note {
    struct table_node node; /* in progress.by_challenge */
    struct list order;      /* in progress.notes */
    char id[ID_SIZE], device_id[ID_SIZE];
    struct challenge_op *op; /* whom to tell when it is stored */
    unsigned step;
    int64_t at_mono_ms[REACHED_STEPS]; /* of SENT, DELIVERED, SEEN, as far as step */
};

struct progress {
    struct domain *domain;
    struct table by_challenge;
    struct list notes; /* struct note, in the order of their first step, which is that of being due */
    struct timer due;
};

static struct note *of_same_challenge(struct table_node *n, uint64_t hash, const char *id)
{
    while (n && strcmp(CONTAINER_OF(n, struct note, node)->id, id) != 0)
        n = table_next(n, hash);
    return n ? CONTAINER_OF(n, struct note, node) : NULL;
}

/* The notes of a challenge, a phone each. */
static struct note *first_of(const struct progress *progress, const char *id)
{
    uint64_t hash = table_hash(bytes_of(id));
    return progress ? of_same_challenge(table_first(&progress->by_challenge, hash), hash, id) : NULL;
}

static struct note *next_of(const struct note *note)
{
    return of_same_challenge(table_next(&note->node, note->node.hash), note->node.hash, note->id);
}

static struct note *find(const struct progress *progress, const char *id, const char *device_id)
{
    struct note *note = first_of(progress, id);
    while (note && strcmp(note->device_id, device_id) != 0)
        note = next_of(note);
    return note;
}

static void note_free(struct progress *progress, struct note *note)
{
    table_remove(&progress->by_challenge, &note->node);
    list_remove(&note->order);
    free(note);
}

/* ---- to the store ---- */

static void note_over(struct challenge_op *op, enum err e)
{
    if (!op->silent && op->fn.done)
        op->fn.done(e, op->arg);
    op_free(op);
}

/* All of a challenge's notes, in one write. */
struct writing {
    struct domain *domain;
    char id[ID_SIZE];
    size_t count;
    struct challenge_op *ops[];
};

static void on_written(enum err e, const struct routes *told, void *arg)
{
    struct writing *writing = arg;
    if (e == ERR_OK)
        router_changed(writing->domain->router, told, writing->id);
    for (size_t i = 0; i < writing->count; i++)
        note_over(writing->ops[i], e);
    free(writing);
}

static void on_not_written(void *arg)
{
    struct challenge_op *op = arg;
    note_over(op, op->error);
}

/* Nothing of it will be stored by us. */
static void give_up(struct progress *progress, struct note *note, enum err e)
{
    if (note->op->fn.done && !note->op->silent)
        op_fail_later(note->op, e, on_not_written);
    else
        op_free(note->op);
    note_free(progress, note);
}

static struct challenge_reached reached_of(const struct note *note)
{
    struct challenge_reached reached = {.step = note->step};
    memcpy(reached.device_id, note->device_id, ID_SIZE);
    int64_t now_mono_ms = clock_mono_ms();
    for (size_t i = 0; i < REACHED_STEPS; i++)
        if (note->at_mono_ms[i])
            reached.ago_ms[i] = (unsigned)(now_mono_ms - note->at_mono_ms[i]);
    return reached;
}

/* What is due first, and with it what else is noted of that challenge: a snapshot shows all its phones. */
static void write_first(struct progress *progress)
{
    const struct note *first = CONTAINER_OF(progress->notes.next, struct note, order);
    struct challenge_reached reached[REACHED_MAX];
    size_t count = progress_noted(progress, first->id, reached);
    struct writing *writing = mem_new(sizeof *writing + count * sizeof *writing->ops);
    writing->domain = progress->domain;
    memcpy(writing->id, first->id, ID_SIZE);
    for (struct note *note = first_of(progress, writing->id), *next; writing->count < count; note = next) {
        next = next_of(note);
        writing->ops[writing->count++] = note->op;
        note_free(progress, note);
    }
    store_challenge_progress(progress->domain->store, writing->id, reached, count, on_written, writing);
}

static int64_t first_left_ms(const struct progress *progress)
{
    const struct note *first = CONTAINER_OF(progress->notes.next, struct note, order);
    return first->at_mono_ms[0] + PROGRESS_DELAY_MS - clock_mono_ms();
}

static void on_due(void *arg)
{
    struct progress *progress = arg;
    while (!list_empty(&progress->notes) && first_left_ms(progress) <= 0)
        write_first(progress);
    if (!list_empty(&progress->notes))
        timer_start(&progress->due, (unsigned)first_left_ms(progress));
}

/* ---- notes ---- */

static struct note *add(struct progress *progress, const char *id, const char *device_id,
                        challenge_done_fn fn, void *arg)
{
    if (progress->by_challenge.count == PROGRESS_MAX)
        write_first(progress);
    struct note *note = mem_new(sizeof *note);
    memcpy(note->id, id, strlen(id));
    memcpy(note->device_id, device_id, strlen(device_id));
    note->op = op_new(progress->domain, note->id, arg);
    note->op->fn.done = fn;
    if (table_add(&progress->by_challenge, &note->node, table_hash(bytes_of(id))) != ERR_OK)
        abort(); /* a few KiB of buckets, see mem_new() */
    list_append(&progress->notes, &note->order);
    if (!timer_armed(&progress->due))
        timer_start(&progress->due, PROGRESS_DELAY_MS);
    return note;
}

struct challenge_op *progress_note(struct progress *progress, const char *id, const char *device_id,
                                   unsigned step, challenge_done_fn fn, void *arg)
{
    if (!progress)
        return NULL;
    struct note *known = find(progress, id, device_id);
    struct note *note = known ? known : add(progress, id, device_id, fn, arg);
    for (size_t i = 0; i < REACHED_STEPS && i + 2 <= step; i++) /* what was skipped was reached as well */
        if (!note->at_mono_ms[i])
            note->at_mono_ms[i] = clock_mono_ms();
    note->step = step > note->step ? step : note->step;
    return known ? NULL : note->op;
}

size_t progress_noted(const struct progress *progress, const char *id, struct challenge_reached *ret)
{
    size_t count = 0;
    for (struct note *note = first_of(progress, id); note && count < REACHED_MAX; note = next_of(note))
        ret[count++] = reached_of(note);
    return count;
}

void progress_forget(struct progress *progress, const char *id)
{
    for (struct note *note = first_of(progress, id), *next; note; note = next) {
        next = next_of(note);
        give_up(progress, note, ERR_OK);
    }
}

struct progress *progress_new(struct domain *domain)
{
    struct progress *progress = mem_new(sizeof *progress);
    progress->domain = domain;
    list_init(&progress->notes);
    timer_init(&progress->due, domain->loop, on_due, progress);
    return progress;
}

void progress_free(struct progress *progress)
{
    if (!progress)
        return;
    timer_cancel(&progress->due);
    while (!list_empty(&progress->notes))
        give_up(progress, CONTAINER_OF(progress->notes.next, struct note, order), ERR_UNAVAILABLE);
    table_done(&progress->by_challenge);
    free(progress);
}
