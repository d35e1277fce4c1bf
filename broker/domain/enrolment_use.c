/* A phone uses its token. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "crypto/digest.h"
#include "crypto/inputs.h"
#include "crypto/p256.h"
#include "domain/enrolment_op.h"
#include "domain/registry.h"
#include "domain/router.h"
#include "domain/text.h"
#include "nanopush/v1/common.pb-c.h"

/* ---- what can be checked without the store ---- */

static enum err check_signatures(const struct enrolment_presented *p)
{
    char possession[P256_THUMBPRINT_SIZE], verification[P256_THUMBPRINT_SIZE];
    struct buf input = {0};
    if (p256_check_public(p->possession_key) != ERR_OK ||
        p256_check_public(p->user_verification_key) != ERR_OK ||
        bytes_equal(p->possession_key, p->user_verification_key) ||
        p->possession_signature.len != P256_SIGNATURE_BYTES ||
        p->user_verification_signature.len != P256_SIGNATURE_BYTES)
        return ERR_INVALID;
    TRY(p256_thumbprint(p->possession_key.p, possession));
    TRY(p256_thumbprint(p->user_verification_key.p, verification));
    TRY(input_enrol(p->channel_binding, bytes_of(p->organisation), bytes_of(p->id), possession, verification,
                    &input));
    enum err e = p256_verify(p->possession_key.p, buf_view(&input), p->possession_signature.p);
    if (e == ERR_OK)
        e = p256_verify(p->user_verification_key.p, buf_view(&input), p->user_verification_signature.p);
    buf_done(&input);
    return e == ERR_BAD_SIGNATURE ? ERR_INVALID : e;
}

/* What the phone presents, as the record that it will become; whose it is is filled in later. */
static enum err present(struct enrolment_op *op, const struct enrolment_presented *p)
{
    uint8_t digest[SHA256_BYTES];
    char id[ID_SIZE];
    TRY(sha256(p->possession_key, digest));
    id_make(digest, id_tag(p->id), id);
    Record__Device device = RECORD__DEVICE__INIT;
    Record__Enrolled enrolled = RECORD__ENROLLED__INIT;
    device.id = id;
    device.generation = 1;
    device.possession_key =
        (ProtobufCBinaryData){.data = (uint8_t *)p->possession_key.p, .len = p->possession_key.len};
    device.user_verification_key = (ProtobufCBinaryData){.data = (uint8_t *)p->user_verification_key.p,
                                                         .len = p->user_verification_key.len};
    device.name = (char *)p->name;
    device.platform = p->platform;
    device.organisation = device.user = "-"; /* not empty, so that the copy owns them */
    enrolled.device = &device;
    enrolled.proof = (ProtobufCBinaryData){.data = (uint8_t *)p->proof.p, .len = p->proof.len};
    op->enrolled = (Record__Enrolled *)store_record_copy(&enrolled.base);
    op->organisation = mem_copy_string(p->organisation);
    event_by_phone(id, op->by);
    op->capabilities = p->capabilities;
    return sha256(p->token, op->token_hash);
}

static enum err prepare(struct enrolment_op *op, const struct enrolment_presented *p)
{
    if (p->token.len != ENROLMENT_TOKEN_BYTES || (p->proof.len && p->proof.len != ENROLMENT_PROOF_BYTES) ||
        text_check(bytes_of(p->name), DEVICE_NAME_MAX_BYTES) != ERR_OK ||
        p->platform > NANOPUSH__V1__PLATFORM__PLATFORM_OTHER || !text_is_name(bytes_of(p->organisation)))
        return ERR_INVALID;
    if (!id_valid(bytes_of(p->id)))
        return ERR_NOT_FOUND;
    memcpy(op->id, p->id, ID_SIZE);
    TRY(check_signatures(p));
    return present(op, p);
}

/* ---- with the store: read, claim both keys, use ---- */

static void finish(struct enrolment_op *op, enum err e)
{
    char code[CODE_MAX_DIGITS + 1] = "", number[NUMBER_SIZE] = "";
    if (e == ERR_OK && op->state == ENROLMENT_TO_CONFIRM)
        e = secret_challenge_code(op->domain->secret, bytes_of(op->id), ENROLMENT_CODE_DIGITS, code);
    if (e == ERR_OK && op->state == ENROLMENT_TO_APPROVE)
        e = enrolment_number(op->domain->secret, op->id, number);
    if (e == ERR_OK)
        LOG(INFO, DOMAIN, "enrolment-used", "enrolment=%s device=%s waiting=%d", op->id,
            op->enrolled->device->id, op->state != ENROLMENT_DONE);
    else
        LOG(INFO, DOMAIN, "enrolment-refused", "enrolment=%s error=%s", op->id[0] ? op->id : "none",
            err_name(e));
    if (!op->silent) {
        struct enrolment_done done = {.state = op->state, .code = code, .number = number};
        if (e == ERR_OK) {
            done.device = op->enrolled->device;
            done.organisation_name = op->record->organisation_name;
        }
        op->fn.use(e, e == ERR_OK ? &done : NULL, op->arg);
    }
    enrolment_op_free(op);
}

static void on_failed(void *arg)
{
    struct enrolment_op *op = arg;
    finish(op, op->error);
}

static void on_used(enum err e, const struct enrolment_step *step, void *arg)
{
    struct enrolment_op *op = arg;
    if (e == ERR_OK) {
        op->state = step->state;
        enrolment_tell_step(op, step, op->enrolled->device);
    }
    if (e == ERR_BAD_STATE || e == ERR_EXPIRED)
        enrolment_withdraw(op->domain, op->id);
    if (e == ERR_BAD_STATE) {
        router_changed(op->domain->router, &step->told, op->id);
        if (step->moved)
            enrolment_emit(op->domain, EVENT_ENROLMENT_VOID, op->record, op->enrolled->device, op->by);
        for (size_t i = 0; i < step->told.device_count; i++) {
            METRIC_ADD(ENROLMENTS_VOID, 1);
            LOG(WARN, DOMAIN, "enrolment-void", "enrolment=%s device=%s", op->id,
                step->told.devices[i].device_id);
            router_take(op->domain->router, &step->told.devices[i], true);
        }
    }
    finish(op, e);
}

static void on_both_claimed(enum err e, void *arg)
{
    struct enrolment_op *op = arg;
    if (e != ERR_OK) {
        finish(op, e);
        return;
    }
    const struct enrolment_use use = {
        .id = op->id,
        .fence = buf_view(&op->fence),
        .enrolled = op->enrolled,
        .may_add = op->record->may_add,
        .confirm = op->record->confirm,
        .devices_max = op->domain->devices_max,
        .capabilities = op->capabilities,
    };
    store_enrolment_use(op->domain->store, &use, on_used, op);
}

static void claim(struct enrolment_op *op, const ProtobufCBinaryData *key, store_done_fn next)
{
    store_key_claim(op->domain->store, bytes_make(key->data, key->len), op->enrolled->device->id, false, next,
                    op);
}

static void on_first_claimed(enum err e, void *arg)
{
    struct enrolment_op *op = arg;
    if (e != ERR_OK)
        finish(op, e);
    else
        claim(op, &op->enrolled->device->user_verification_key, on_both_claimed);
}

/* A removed portal's codes enrol nobody: it may have been removed because somebody else had its credential. */
static void on_portal_standing(enum err e, void *arg)
{
    struct enrolment_op *op = arg;
    if (e != ERR_OK)
        finish(op, e == ERR_DENIED ? ERR_EXPIRED : e);
    else
        claim(op, &op->enrolled->device->possession_key, on_first_claimed);
}

/* The record says whose it is; what the phone says of that only has to agree. */
static enum err complete(struct enrolment_op *op, const struct enrolment_view *view)
{
    const Record__Enrolment *record = view->record;
    Record__Device *device = op->enrolled->device;
    if (!enrolment_op_may(op, record))
        return ERR_NOT_FOUND;
    if (record->platform && record->platform != device->platform)
        return ERR_INVALID;
    free(device->organisation);
    free(device->user);
    device->organisation = mem_copy_string(record->organisation);
    device->user = mem_copy_string(record->user);
    device->enrol_unix_ms = view->now_unix_ms;
    return enrolment_op_keep(op, view);
}

static void on_read(enum err e, const struct enrolment_view *view, void *arg)
{
    struct enrolment_op *op = arg;
    if (e == ERR_OK)
        e = complete(op, view);
    if (e != ERR_OK) {
        finish(op, e);
        return;
    }
    enrolment_seen(op->domain, view);
    if (view->state == ENROLMENT_WAITING || view->state == ENROLMENT_SCANNED)
        registry_check_standing(op->domain->registry, op->record->portal, on_portal_standing, op);
    else
        on_both_claimed(ERR_OK, op); /* a repeat, or somebody else: the script tells */
}

struct enrolment_op *enrolment_use(struct domain *domain, const struct enrolment_presented *presented,
                                   enrolment_use_fn fn, void *arg)
{
    struct enrolment_op *op = enrolment_op_new(domain, arg);
    op->fn.use = fn;
    enum err e = prepare(op, presented);
    if (e != ERR_OK)
        enrolment_op_fail_later(op, e, on_failed);
    else
        store_enrolment_get(domain->store, op->id, false, on_read, op);
    return op;
}
