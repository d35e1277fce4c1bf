/* What the files of challenge.h share: operations, telling, pushing. */
#include "domain/challenge_op.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "domain/challenge_cache.h"
#include "domain/challenge_progress.h"
#include "domain/event.h"
#include "domain/notice.h"
#include "domain/number.h"
#include "domain/router.h"
#include "domain/watch.h"
#include "nanopush/v1/device.pb-c.h"
#include "wire/device_message.h"

void op_free(struct challenge_op *op)
{
    if (op->record)
        record__challenge__free_unpacked(op->record, NULL);
    if (op->device)
        record__device__free_unpacked(op->device, NULL);
    if (op->answer_is_open)
        answer_done(&op->answer);
    deferral_cancel(&op->failed);
    buf_done(&op->jws);
    buf_done(&op->other_display);
    free(op->pending_of);
    free(op);
}

struct challenge_op *op_new(struct domain *domain, const char *id, void *arg)
{
    struct challenge_op *op = mem_new(sizeof *op);
    op->domain = domain;
    op->begin_mono_us = clock_mono_us();
    memcpy(op->id, id, ID_SIZE);
    op->arg = arg;
    deferral_init(&op->failed, NULL, NULL);
    return op;
}

void challenge_op_cancel(struct challenge_op *op)
{
    if (op)
        op->silent = true;
}

void op_fail_later(struct challenge_op *op, enum err e, loop_fn fn)
{
    op->error = e;
    deferral_init(&op->failed, fn, op);
    loop_defer(op->domain->loop, &op->failed);
}

unsigned capability_of(uint32_t mode)
{
    return mode == NANOPUSH__V1__MODE__MODE_CHOOSE ? CAPABILITY_CHOOSE
           : mode == NANOPUSH__V1__MODE__MODE_CODE ? CAPABILITY_CODE
                                                   : 0;
}

bool challenge_fits(const struct challenge_view *view, unsigned capabilities)
{
    unsigned needed = capability_of(view->record->mode);
    return (capabilities & needed) == needed;
}

/* ---- telling ---- */

static void tell_resolved(struct domain *domain, const char *id, enum challenge_state state, const char *by,
                          const struct routes *routes, const char *except)
{
    struct buf frame = {0};
    if (device_message_resolved(id, (int)state, by, &frame) == ERR_OK)
        for (size_t i = 0; i < routes->device_count; i++)
            if (strcmp(routes->devices[i].device_id, except) != 0)
                router_deliver(domain->router, &routes->devices[i], HINT_RESOLVED, id, buf_view(&frame));
    buf_done(&frame);
    router_changed(domain->router, routes, id);
}

static void emit_settled(struct domain *domain, const char *id, const Record__Challenge *record,
                         enum challenge_state state, const char *device_id, const char *ended_by)
{
    static const enum event_kind kinds[CHALLENGE_STATE_COUNT] = {
        [CHALLENGE_APPROVED] = EVENT_CHALLENGE_APPROVED,
        [CHALLENGE_DENIED] = EVENT_CHALLENGE_DENIED,
        [CHALLENGE_REPORTED] = EVENT_CHALLENGE_REPORTED,
        [CHALLENGE_FAILED] = EVENT_CHALLENGE_FAILED,
        [CHALLENGE_EXPIRED] = EVENT_CHALLENGE_EXPIRED,
        [CHALLENGE_CANCELLED] = EVENT_CHALLENGE_CANCELLED,
        [CHALLENGE_SUPERSEDED] = EVENT_CHALLENGE_SUPERSEDED,
    };
    char by[EVENT_BY_SIZE];
    const struct event event = {
        .kind = kinds[state],
        .organisation = record->organisation,
        .user = record->user,
        .portal = record->portal,
        .challenge_id = id,
        .enrolment_id = record->enrolment,
        .device_id = device_id,
        .by = device_id[0] ? event_by_phone(device_id, by) : ended_by,
    };
    event_emit(domain, &event);
}

static void count_settled(struct domain *domain, const char *id, const Record__Challenge *record,
                          enum challenge_state state, const char *by, const char *ended_by)
{
    static const struct {
        enum metric all;
        enum portal_metric portals;
    } metrics[CHALLENGE_STATE_COUNT] = {
#define COUNTED_AS(state) [CHALLENGE_##state] = {METRIC_CHALLENGES_##state, PORTAL_METRIC_##state}
        COUNTED_AS(APPROVED), COUNTED_AS(DENIED),    COUNTED_AS(REPORTED),   COUNTED_AS(FAILED),
        COUNTED_AS(EXPIRED),  COUNTED_AS(CANCELLED), COUNTED_AS(SUPERSEDED),
#undef COUNTED_AS
    };
    metrics_add(metrics[state].all, 1);
    metrics_add_portal(metrics[state].portals, record->portal);
    LOG(INFO, DOMAIN, "challenge-settled", "challenge=%s state=%s device=%s", id, challenge_state_name(state),
        by[0] ? by : "none");
    emit_settled(domain, id, record, state, by, ended_by);
}

/* One of those that a lock ends: whatever it is now, the settle script decides. */
static void on_other_read(enum err e, const struct challenge_view *view, void *arg)
{
    if (e == ERR_OK && view->state == CHALLENGE_PENDING)
        challenge_cancel(arg, view, NULL, NULL, NULL);
}

static void tell_locked(struct domain *domain, const Record__Challenge *record,
                        const struct challenge_settled *settled)
{
    char by[EVENT_BY_SIZE], detail[64];
    snprintf(detail, sizeof detail, "after a challenge was %s", challenge_state_name(settled->state));
    const struct event event = {
        .kind = EVENT_PUSH_LOCKED,
        .organisation = record->organisation,
        .user = record->user,
        .device_id = settled->device_id,
        .by = settled->device_id[0] ? event_by_phone(settled->device_id, by) : NULL,
        .detail = detail,
    };
    METRIC_ADD(LOCKS, settled->moved);
    LOG(INFO, DOMAIN, "push-locked", "challenge=%s state=%s", record->id,
        challenge_state_name(settled->state));
    if (settled->moved)
        event_emit(domain, &event);
    notice_send(domain, &settled->routes, NANOPUSH__V1__NOTICE__KIND__KIND_LOCKED, "",
                settled->locked_until_unix_ms);
    for (size_t i = 0; i < settled->other_count; i++)
        store_challenge_get(domain->store, settled->others[i], false, on_other_read, domain);
}

/* It needs not be in hand any more; who waits on this worker has it from the reply; what is waited for elsewhere is read there. */
static void show_outcome(struct domain *domain, const Record__Challenge *record,
                         const struct challenge_view *view)
{
    challenge_cache_drop(domain->challenge_cache, record->id);
    progress_forget(domain->progress, record->id);
    if (!view || !domain->watches)
        return;
    struct challenge_view whole = *view;
    whole.record = record;
    watches_settled(domain->watches, &whole);
}

void tell_outcome(struct domain *domain, const Record__Challenge *record,
                  const struct challenge_settled *settled, const char *except, const char *by)
{
    if (settled->moved)
        count_settled(domain, record->id, record, settled->state, settled->device_id, by);
    show_outcome(domain, record, settled->view);
    tell_resolved(domain, record->id, settled->state, settled->device_id, &settled->routes, except);
    if (settled->locked_until_unix_ms)
        tell_locked(domain, record, settled);
}

void tell_superseded(struct domain *domain, const char *id, const Record__Challenge *record,
                     const struct routes *routes)
{
    count_settled(domain, id, record, CHALLENGE_SUPERSEDED, "", NULL);
    tell_resolved(domain, id, CHALLENGE_SUPERSEDED, "", routes, "");
}

/* ---- pushing ---- */

static enum err push_frame(const struct domain *domain, const Record__Challenge *record, uint32_t attempt,
                           int64_t now_unix_ms, int64_t expire_unix_ms, const char *device_id,
                           struct buf *ret)
{
    char numbers[NUMBER_OPTIONS][NUMBER_SIZE];
    const char *options[NUMBER_OPTIONS];
    struct push_message push = {
        .challenge_id = record->id,
        .device_id = device_id,
        .portal_id = record->portal,
        .attempt = attempt,
        .display = bytes_make(record->display.data, record->display.len),
        .nonce = bytes_make(record->nonce.data, record->nonce.len),
        .mode = (int)record->mode,
        .user_verification = (int)record->user_verification,
        .expire_unix_ms = expire_unix_ms,
        .broker_unix_ms = now_unix_ms,
    };
    if (record->mode == NANOPUSH__V1__MODE__MODE_CHOOSE) {
        TRY(number_options(domain->secret, record->id, numbers));
        for (size_t i = 0; i < NUMBER_OPTIONS; i++)
            options[i] = numbers[i];
        push.options = options;
        push.option_count = NUMBER_OPTIONS;
    }
    return device_message_push(&push, ret);
}

enum err challenge_push_frame(const struct domain *domain, const struct challenge_view *view,
                              const char *device_id, struct buf *ret)
{
    return push_frame(domain, view->record, view->attempt, view->now_unix_ms, view->expire_unix_ms, device_id,
                      ret);
}

void push_to(struct domain *domain, const Record__Challenge *record, uint32_t attempt, int64_t now_unix_ms,
             int64_t expire_unix_ms, const struct route *route)
{
    struct buf frame = {0};
    if (push_frame(domain, record, attempt, now_unix_ms, expire_unix_ms, route->device_id, &frame) == ERR_OK)
        router_deliver(domain->router, route, HINT_PUSH, record->id, buf_view(&frame));
    buf_done(&frame);
}

/* ---- pushing again ---- */

struct push_again {
    struct domain *domain;
    Record__Challenge *record;
    uint32_t attempt;
    int64_t now_unix_ms, expire_unix_ms;
    size_t progress_count;
    struct challenge_progress progress[]; /* of those that have it */
};

static bool has_it(const struct push_again *again, const char *device_id)
{
    for (size_t i = 0; i < again->progress_count; i++)
        if (strcmp(again->progress[i].device_id, device_id) == 0)
            return true;
    return false;
}

static void on_devices_again(enum err e, const struct user_view *view, void *arg)
{
    struct push_again *again = arg;
    for (size_t i = 0; e == ERR_OK && i < view->device_count; i++) {
        struct route route = {.presence = view->devices[i].presence};
        unsigned needed = capability_of(again->record->mode);
        if ((route.presence.capabilities & needed) != needed || has_it(again, view->devices[i].record->id))
            continue;
        memcpy(route.device_id, view->devices[i].record->id, ID_SIZE);
        push_to(again->domain, again->record, again->attempt, again->now_unix_ms, again->expire_unix_ms,
                &route);
    }
    record__challenge__free_unpacked(again->record, NULL);
    free(again);
}

bool challenge_lacks_phone(const struct challenge_view *view)
{
    return view->progress_count == 0 || view->progress_count < view->attached_count;
}

void challenge_push_again(struct domain *domain, const struct challenge_view *view)
{
    struct push_again *again = mem_new(sizeof *again + view->progress_count * sizeof *view->progress);
    again->domain = domain;
    again->progress_count = view->progress_count;
    for (size_t i = 0; i < view->progress_count; i++)
        again->progress[i] = view->progress[i];
    again->attempt = view->attempt;
    again->now_unix_ms = view->now_unix_ms;
    again->expire_unix_ms = view->expire_unix_ms;
    again->record = (Record__Challenge *)store_record_copy(&view->record->base);
    store_user_get(domain->store, id_tag(again->record->id), on_devices_again, again);
}
