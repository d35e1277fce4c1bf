/* Start an enrolment, take it back; and what the files of enrolment.h share. */
#include "domain/enrolment_op.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "crypto/digest.h"
#include "domain/router.h"

void enrolment_op_free(struct enrolment_op *op)
{
    deferral_cancel(&op->failed);
    if (op->enrolled)
        record__enrolled__free_unpacked(op->enrolled, NULL);
    if (op->record)
        record__enrolment__free_unpacked(op->record, NULL);
    buf_done(&op->fence);
    free(op->organisation);
    bytes_cleanse(op->token, sizeof op->token);
    free(op);
}

struct enrolment_op *enrolment_op_new(struct domain *domain, void *arg)
{
    struct enrolment_op *op = mem_new(sizeof *op);
    op->domain = domain;
    op->arg = arg;
    deferral_init(&op->failed, NULL, NULL);
    return op;
}

void enrolment_op_cancel(struct enrolment_op *op)
{
    if (op)
        op->silent = true;
}

void enrolment_op_fail_later(struct enrolment_op *op, enum err e, loop_fn fn)
{
    op->error = e;
    deferral_init(&op->failed, fn, op);
    loop_defer(op->domain->loop, &op->failed);
}

bool enrolment_op_may(const struct enrolment_op *op, const Record__Enrolment *record)
{
    return bytes_equal_secret(bytes_make(op->token_hash, sizeof op->token_hash),
                              bytes_make(record->token_hash.data, record->token_hash.len)) &&
           strcmp(record->organisation, op->organisation) == 0;
}

enum err enrolment_op_keep(struct enrolment_op *op, const struct enrolment_view *view)
{
    op->record = (Record__Enrolment *)store_record_copy(&view->record->base);
    op->left_ms = view->expire_unix_ms - view->now_unix_ms;
    op->state = view->state;
    return buf_append(&op->fence, view->fence);
}

void enrolment_emit(struct domain *domain, enum event_kind kind, const Record__Enrolment *record,
                    const Record__Device *device, const char *by)
{
    const struct event event = {
        .kind = kind,
        .organisation = record->organisation,
        .user = record->user,
        .portal = record->portal,
        .enrolment_id = record->id,
        .device_id = device ? device->id : NULL,
        .by = by,
        .detail = device ? device->name : NULL,
    };
    event_emit(domain, &event);
}

void enrolment_seen(struct domain *domain, const struct enrolment_view *view)
{
    if (!view->just_expired)
        return;
    enrolment_emit(domain, EVENT_ENROLMENT_EXPIRED, view->record, NULL, NULL);
    router_changed(domain->router, &view->told, view->record->id);
    enrolment_withdraw(domain, view->record->id);
}

/* ---- create ---- */

static void on_created(enum err e, int64_t expire_unix_ms, void *arg)
{
    struct enrolment_op *op = arg;
    struct enrolment_created created = {.id = op->id, .expire_unix_ms = expire_unix_ms};
    memcpy(created.token, op->token, sizeof created.token);
    if (e == ERR_OK) {
        METRIC_ADD(ENROLMENTS_CREATED, 1);
        store_user_index_set(op->domain->store, op->record->organisation, id_tag(op->id)[0], op->record->user,
                             true, NULL, NULL);
        LOG(INFO, DOMAIN, "enrolment-created", "enrolment=%s", op->id);
        enrolment_emit(op->domain, EVENT_ENROLMENT_CREATED, op->record, NULL, op->by);
        if (op->record->may_add) /* no old phone is asked */
            enrolment_emit(op->domain, EVENT_ENROLMENT_OVERRIDE, op->record, NULL, op->by);
    }
    if (!op->silent)
        op->fn.create(e, e == ERR_OK ? &created : NULL, op->arg);
    bytes_cleanse(created.token, sizeof created.token);
    enrolment_op_free(op);
}

static void on_create_failed(void *arg)
{
    struct enrolment_op *op = arg;
    if (!op->silent)
        op->fn.create(op->error, NULL, op->arg);
    enrolment_op_free(op);
}

static enum err create_send(struct enrolment_op *op, const struct enrolment_request *request)
{
    uint8_t bits[ID_RANDOM_BYTES];
    char tag[USER_TAG_SIZE];
    TRY(secret_user_tag(op->domain->secret, bytes_of(request->organisation), bytes_of(request->user), tag));
    TRY(random_bytes(bits, sizeof bits));
    TRY(random_bytes(op->token, sizeof op->token));
    TRY(sha256(bytes_make(op->token, sizeof op->token), op->token_hash));
    id_make(bits, tag, op->id);
    Record__Enrolment record = RECORD__ENROLMENT__INIT;
    record.id = op->id;
    record.organisation = (char *)request->organisation;
    record.organisation_name = (char *)request->organisation_name;
    record.user = (char *)request->user;
    record.portal = (char *)request->portal;
    record.portal_name = (char *)request->portal_name;
    record.token_hash = (ProtobufCBinaryData){.data = op->token_hash, .len = sizeof op->token_hash};
    record.may_add = request->may_add;
    record.confirm = request->confirm;
    record.platform = request->platform;
    op->record = (Record__Enrolment *)store_record_copy(&record.base);
    store_enrolment_create(op->domain->store, &record, request->life_ms, on_created, op);
    return ERR_OK;
}

struct enrolment_op *enrolment_create(struct domain *domain, const struct enrolment_request *request,
                                      enrolment_create_fn fn, void *arg)
{
    struct enrolment_op *op = enrolment_op_new(domain, arg);
    op->fn.create = fn;
    snprintf(op->by, sizeof op->by, "%s", request->by);
    enum err e = create_send(op, request);
    if (e != ERR_OK)
        enrolment_op_fail_later(op, e, on_create_failed);
    return op;
}

/* ---- cancel ---- */

static void on_cancelled(enum err e, const struct routes *told, void *arg)
{
    struct enrolment_op *op = arg;
    if (e == ERR_OK && enrolment_state_open(op->state))
        enrolment_emit(op->domain, EVENT_ENROLMENT_CANCELLED, op->record, NULL, op->by);
    if (e == ERR_OK) {
        router_changed(op->domain->router, told, op->id);
        enrolment_withdraw(op->domain, op->id);
    }
    if (!op->silent && op->fn.done)
        op->fn.done(e, op->arg);
    enrolment_op_free(op);
}

struct enrolment_op *enrolment_cancel(struct domain *domain, const struct enrolment_view *view,
                                      const char *by, enrolment_done_fn fn, void *arg)
{
    struct enrolment_op *op = enrolment_op_new(domain, arg);
    snprintf(op->by, sizeof op->by, "%s", by);
    memcpy(op->id, view->record->id, ID_SIZE);
    op->fn.done = fn;
    op->state = view->state;
    op->record = (Record__Enrolment *)store_record_copy(&view->record->base);
    store_enrolment_cancel(domain->store, op->id, view->fence, on_cancelled, op);
    return op;
}
