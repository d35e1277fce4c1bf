#include "domain/user.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "domain/challenge.h"
#include "domain/enrolment.h"
#include "domain/event.h"
#include "domain/router.h"

/*
 *     store_user_delete -> phones told -> each challenge cancelled -> each enrolment taken back -> store_user_delete
 *
 * The second time takes what cancelling has written into the limits, and must find nothing open any more.
 */
struct user_op {
    struct domain *domain;
    char *organisation, *user;
    char tag[USER_TAG_SIZE], by[EVENT_BY_SIZE];
    user_done_fn fn;
    void *arg;
    bool silent, existed, last;
    size_t phones;
    char (*ids)[ID_SIZE]; /* challenges, then enrolments */
    size_t challenge_count, id_count, at;
    struct deferral failed;
    enum err error;
};

static void next(struct user_op *op);

void user_op_cancel(struct user_op *op)
{
    if (op)
        op->silent = true;
}

static void finish(struct user_op *op, enum err e)
{
    if (!op->silent)
        op->fn(e, op->arg);
    deferral_cancel(&op->failed);
    free(op->organisation);
    free(op->user);
    free(op->ids);
    free(op);
}

static void on_failed(void *arg)
{
    struct user_op *op = arg;
    finish(op, op->error);
}

static void on_unlisted(enum err e, void *arg)
{
    struct user_op *op = arg;
    char detail[32];
    snprintf(detail, sizeof detail, "%zu phones", op->phones);
    const struct event event = {.kind = EVENT_USER_DELETED,
                                .organisation = op->organisation,
                                .user = op->user,
                                .by = op->by,
                                .detail = detail};
    if (e == ERR_OK && op->existed)
        event_emit(op->domain, &event);
    finish(op, e);
}

static void end_phones(struct user_op *op, const struct routes *routes)
{
    METRIC_ADD(DEVICES_REMOVED, (int64_t)routes->device_count);
    op->phones += routes->device_count;
    for (size_t i = 0; i < routes->device_count; i++)
        router_take(op->domain->router, &routes->devices[i], true);
}

static void keep_open(struct user_op *op, const struct user_deleted *deleted)
{
    op->challenge_count = deleted->challenge_count;
    op->id_count = deleted->challenge_count + deleted->enrolment_count;
    op->ids = mem_new((op->id_count + 1) * sizeof *op->ids);
    for (size_t i = 0; i < deleted->challenge_count; i++)
        memcpy(op->ids[i], deleted->challenges[i], ID_SIZE);
    for (size_t i = 0; i < deleted->enrolment_count; i++)
        memcpy(op->ids[op->challenge_count + i], deleted->enrolments[i], ID_SIZE);
}

static void on_deleted(enum err e, const struct user_deleted *deleted, void *arg)
{
    struct user_op *op = arg;
    if (e != ERR_OK) {
        finish(op, e);
        return;
    }
    op->existed = op->existed || deleted->existed;
    end_phones(op, &deleted->routes);
    if (op->last) {
        store_user_index_set(op->domain->store, op->organisation, op->tag[0], op->user, false, on_unlisted,
                             op);
        return;
    }
    LOG(INFO, DOMAIN, "user-deleted", "tag=%s existed=%d phones=%zu", op->tag, deleted->existed,
        deleted->routes.device_count);
    keep_open(op, deleted);
    next(op);
}

/* One that is over, gone or damaged is as good as ended: nothing can come of it without the user. */
static void on_ended(enum err e, void *arg)
{
    struct user_op *op = arg;
    if (e == ERR_UNAVAILABLE || e == ERR_TIMEOUT)
        finish(op, e);
    else
        next(op);
}

static void on_challenge(enum err e, const struct challenge_view *view, void *arg)
{
    struct user_op *op = arg;
    if (e == ERR_OK)
        challenge_cancel(op->domain, view, op->by, on_ended, op);
    else
        on_ended(e, op);
}

static void on_enrolment(enum err e, const struct enrolment_view *view, void *arg)
{
    struct user_op *op = arg;
    if (e == ERR_OK)
        enrolment_cancel(op->domain, view, op->by, on_ended, op);
    else
        on_ended(e, op);
}

static void next(struct user_op *op)
{
    struct store *store = op->domain->store;
    size_t i = op->at++;
    if (i < op->challenge_count) {
        store_challenge_get(store, op->ids[i], false, on_challenge, op);
    } else if (i < op->id_count) {
        store_enrolment_get(store, op->ids[i], false, on_enrolment, op);
    } else {
        op->last = true;
        store_user_delete(store, op->tag, on_deleted, op);
    }
}

struct user_op *user_delete(struct domain *domain, const char *organisation, const char *user, const char *by,
                            user_done_fn fn, void *arg)
{
    struct user_op *op = mem_new(sizeof *op);
    op->domain = domain;
    op->organisation = mem_copy_string(organisation);
    op->user = mem_copy_string(user);
    snprintf(op->by, sizeof op->by, "%s", by);
    op->fn = fn;
    op->arg = arg;
    deferral_init(&op->failed, on_failed, op);
    op->error = secret_user_tag(domain->secret, bytes_of(organisation), bytes_of(user), op->tag);
    if (op->error != ERR_OK)
        loop_defer(domain->loop, &op->failed);
    else
        store_user_delete(domain->store, op->tag, on_deleted, op);
    return op;
}
