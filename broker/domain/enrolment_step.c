/* What follows when a phone has used its token: its code, an old phone's approval, and who is told. */
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "core/metrics.h"
#include "domain/enrolment_op.h"
#include "domain/notice.h"
#include "domain/router.h"
#include "nanopush/v1/device.pb-c.h"

void enrolment_tell_step(struct enrolment_op *op, const struct enrolment_step *step,
                         const Record__Device *device)
{
    router_changed(op->domain->router, &step->told, op->id);
    if (step->state == ENROLMENT_TO_APPROVE)
        enrolment_ask(op, device, !step->moved);
    if (step->state != ENROLMENT_DONE || !step->moved)
        return;
    METRIC_ADD(ENROLMENTS_DONE, 1);
    store_user_index_set(op->domain->store, device->organisation, id_tag(device->id)[0], device->user, true,
                         NULL, NULL);
    store_key_claim(op->domain->store, bytes_make(device->possession_key.data, device->possession_key.len),
                    device->id, true, NULL, NULL);
    store_key_claim(op->domain->store,
                    bytes_make(device->user_verification_key.data, device->user_verification_key.len),
                    device->id, true, NULL, NULL);
    LOG(INFO, DOMAIN, "enrolment-done", "enrolment=%s device=%s", op->id, device->id);
    enrolment_emit(op->domain, EVENT_PHONE_ADDED, op->record, device, op->by);
    notice_send(op->domain, &step->told, NANOPUSH__V1__NOTICE__KIND__KIND_PHONE_ADDED, device->name, 0);
}

/* ---- confirm, decide ---- */

static void finish(struct enrolment_op *op, enum err e)
{
    if (!op->silent)
        op->fn.done(e, op->arg);
    enrolment_op_free(op);
}

static void on_failed(void *arg)
{
    struct enrolment_op *op = arg;
    finish(op, op->error);
}

static void on_advanced(enum err e, const struct enrolment_step *step, void *arg)
{
    struct enrolment_op *op = arg;
    if (e == ERR_OK) {
        LOG(INFO, DOMAIN, "enrolment-step", "enrolment=%s good=%d", op->id, op->good);
        if (step->state == ENROLMENT_VOID) {
            METRIC_ADD(ENROLMENTS_VOID, 1);
            enrolment_emit(op->domain, EVENT_ENROLMENT_VOID, op->record, op->enrolled->device, op->by);
        }
        enrolment_tell_step(op, step, op->enrolled->device);
    }
    finish(op, e);
}

static void advance(struct enrolment_op *op)
{
    const struct enrolment_advance step = {
        .id = op->id,
        .fence = buf_view(&op->fence),
        .from = op->state,
        .good = op->good,
        .device = op->enrolled->device,
        .may_add = op->record->may_add,
        .devices_max = op->domain->devices_max,
    };
    store_enrolment_advance(op->domain->store, &step, on_advanced, op);
}

/* Keep what the step needs. @return ERR_BAD_STATE where it is not in the state that is asked for. */
static enum err take(struct enrolment_op *op, const struct enrolment_view *view, enum enrolment_state wanted)
{
    if (view->state != wanted || !view->enrolled)
        return ERR_BAD_STATE;
    memcpy(op->id, view->record->id, ID_SIZE);
    op->enrolled = (Record__Enrolled *)store_record_copy(&view->enrolled->base);
    return enrolment_op_keep(op, view);
}

struct enrolment_op *enrolment_confirm(struct domain *domain, const struct enrolment_view *view,
                                       const char *code, enrolment_done_fn fn, void *arg)
{
    struct enrolment_op *op = enrolment_op_new(domain, arg);
    char right[CODE_MAX_DIGITS + 1];
    op->fn.done = fn;
    enum err e = take(op, view, ENROLMENT_TO_CONFIRM);
    if (e == ERR_OK)
        e = secret_challenge_code(domain->secret, bytes_of(op->id), ENROLMENT_CODE_DIGITS, right);
    if (e != ERR_OK) {
        enrolment_op_fail_later(op, e, on_failed);
        return op;
    }
    op->good = bytes_equal_secret(bytes_of(code), bytes_of(right));
    event_by_portal(op->record->portal, op->by);
    advance(op);
    return op;
}

static void on_decide_read(enum err e, const struct enrolment_view *view, void *arg)
{
    struct enrolment_op *op = arg;
    if (e == ERR_OK)
        e = take(op, view, ENROLMENT_TO_APPROVE);
    if (e != ERR_OK)
        finish(op, e);
    else
        advance(op);
}

struct enrolment_op *enrolment_decide(struct domain *domain, const char *id, bool approved,
                                      const char *device_id, enrolment_done_fn fn, void *arg)
{
    struct enrolment_op *op = enrolment_op_new(domain, arg);
    op->fn.done = fn;
    op->good = approved;
    if (device_id)
        event_by_phone(device_id, op->by);
    else
        snprintf(op->by, sizeof op->by, "broker");
    store_enrolment_get(domain->store, id, false, on_decide_read, op);
    return op;
}
