#include "domain/enrolment.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "crypto/digest.h"
#include "crypto/inputs.h"
#include "crypto/p256.h"
#include "domain/router.h"
#include "domain/text.h"

struct enrolment_op {
    struct domain *domain;
    char id[ID_SIZE];
    union {
        enrolment_create_fn create;
        enrolment_use_fn use;
        enrolment_done_fn done;
    } fn;
    bool silent;
    void *arg;
    struct deferral failed;
    enum err error;
    uint8_t token[ENROLMENT_TOKEN_BYTES];
    uint8_t token_hash[SHA256_BYTES];
    char *organisation;
    Record__Enrolled *enrolled;   /* use: what is presented, completed from the enrolment's record */
    Record__Enrolment *enrolment; /* use: the record */
};

static void op_free(struct enrolment_op *op)
{
    deferral_cancel(&op->failed);
    if (op->enrolled)
        record__enrolled__free_unpacked(op->enrolled, NULL);
    if (op->enrolment)
        record__enrolment__free_unpacked(op->enrolment, NULL);
    free(op->organisation);
    bytes_cleanse(op->token, sizeof op->token);
    free(op);
}

static struct enrolment_op *op_new(struct domain *domain, void *arg)
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

static void fail_later(struct enrolment_op *op, enum err e, loop_fn fn)
{
    op->error = e;
    deferral_init(&op->failed, fn, op);
    loop_defer(op->domain->loop, &op->failed);
}

/* ---- create ---- */

static void on_created(enum err e, int64_t expire_unix_ms, void *arg)
{
    struct enrolment_op *op = arg;
    struct enrolment_created created = {.id = op->id, .expire_unix_ms = expire_unix_ms};
    memcpy(created.token, op->token, sizeof created.token);
    if (e == ERR_OK) {
        METRIC_ADD(ENROLMENTS_CREATED, 1);
        LOG(INFO, DOMAIN, "enrolment-created", "enrolment=%s", op->id);
    }
    if (!op->silent)
        op->fn.create(e, e == ERR_OK ? &created : NULL, op->arg);
    bytes_cleanse(created.token, sizeof created.token);
    op_free(op);
}

static void on_create_failed(void *arg)
{
    struct enrolment_op *op = arg;
    if (!op->silent)
        op->fn.create(op->error, NULL, op->arg);
    op_free(op);
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
    record.token_hash = (ProtobufCBinaryData){.data = op->token_hash, .len = sizeof op->token_hash};
    record.may_add = request->may_add;
    store_enrolment_create(op->domain->store, &record, request->life_ms, on_created, op);
    return ERR_OK;
}

struct enrolment_op *enrolment_create(struct domain *domain, const struct enrolment_request *request,
                                      enrolment_create_fn fn, void *arg)
{
    struct enrolment_op *op = op_new(domain, arg);
    op->fn.create = fn;
    enum err e = create_send(op, request);
    if (e != ERR_OK)
        fail_later(op, e, on_create_failed);
    return op;
}

/* ---- use ---- */

static void use_finish(struct enrolment_op *op, enum err e)
{
    if (e == ERR_OK)
        LOG(INFO, DOMAIN, "enrolment-done", "enrolment=%s device=%s", op->id, op->enrolled->device->id);
    else
        LOG(INFO, DOMAIN, "enrolment-refused", "enrolment=%s error=%s", op->id[0] ? op->id : "none",
            err_name(e));
    if (!op->silent) {
        struct enrolment_done done = {0};
        if (e == ERR_OK) {
            done.device = op->enrolled->device;
            done.organisation_name = op->enrolment->organisation_name;
        }
        op->fn.use(e, e == ERR_OK ? &done : NULL, op->arg);
    }
    op_free(op);
}

static void on_use_failed(void *arg)
{
    struct enrolment_op *op = arg;
    use_finish(op, op->error);
}

static void on_used(enum err e, const struct enrolment_used *used, void *arg)
{
    struct enrolment_op *op = arg;
    if (used) {
        router_changed(op->domain->router, &used->told, op->id);
        for (size_t i = 0; i < used->told.device_count; i++)
            router_take(op->domain->router, &used->told.devices[i]);
    }
    if (e == ERR_OK && !used->replay)
        METRIC_ADD(ENROLMENTS_DONE, 1);
    if (e == ERR_BAD_STATE && used->told.device_count) {
        METRIC_ADD(ENROLMENTS_VOID, 1);
        LOG(WARN, DOMAIN, "enrolment-void", "enrolment=%s device=%s", op->id,
            used->told.devices[0].device_id);
    }
    use_finish(op, e);
}

/* The record says whose it is; what the phone says of that only has to agree. */
static enum err complete(struct enrolment_op *op, const struct enrolment_view *view)
{
    const Record__Enrolment *record = view->record;
    if (!bytes_equal_secret(bytes_make(op->token_hash, sizeof op->token_hash),
                            bytes_make(record->token_hash.data, record->token_hash.len)) ||
        strcmp(record->organisation, op->organisation) != 0)
        return ERR_NOT_FOUND;
    Record__Device *device = op->enrolled->device;
    free(device->organisation);
    free(device->user);
    device->organisation = mem_copy_string(record->organisation);
    device->user = mem_copy_string(record->user);
    device->enrol_unix_ms = view->now_unix_ms;
    op->enrolment = (Record__Enrolment *)store_record_copy(&record->base);
    return ERR_OK;
}

static void on_enrolment(enum err e, const struct enrolment_view *view, void *arg)
{
    struct enrolment_op *op = arg;
    if (e == ERR_OK)
        e = complete(op, view);
    if (e != ERR_OK) {
        use_finish(op, e);
        return;
    }
    router_changed(op->domain->router, &view->told, op->id);
    store_enrolment_use(op->domain->store, op->id, view->fence, op->enrolled, op->enrolment->may_add,
                        op->domain->devices_max, on_used, op);
}

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
    return sha256(p->token, op->token_hash);
}

static enum err use_prepare(struct enrolment_op *op, const struct enrolment_presented *p)
{
    if (p->token.len != ENROLMENT_TOKEN_BYTES || (p->proof.len && p->proof.len != ENROLMENT_PROOF_BYTES) ||
        text_check(bytes_of(p->name), DEVICE_NAME_MAX_BYTES) != ERR_OK ||
        !text_is_name(bytes_of(p->organisation)))
        return ERR_INVALID;
    if (!id_valid(bytes_of(p->id)))
        return ERR_NOT_FOUND;
    memcpy(op->id, p->id, ID_SIZE);
    TRY(check_signatures(p));
    return present(op, p);
}

struct enrolment_op *enrolment_use(struct domain *domain, const struct enrolment_presented *presented,
                                   enrolment_use_fn fn, void *arg)
{
    struct enrolment_op *op = op_new(domain, arg);
    op->fn.use = fn;
    enum err e = use_prepare(op, presented);
    if (e != ERR_OK)
        fail_later(op, e, on_use_failed);
    else
        store_enrolment_get(domain->store, op->id, false, on_enrolment, op);
    return op;
}

/* ---- cancel ---- */

static void on_cancelled(enum err e, const struct routes *told, void *arg)
{
    struct enrolment_op *op = arg;
    if (e == ERR_OK)
        router_changed(op->domain->router, told, op->id);
    if (!op->silent)
        op->fn.done(e, op->arg);
    op_free(op);
}

struct enrolment_op *enrolment_cancel(struct domain *domain, const struct enrolment_view *view,
                                      enrolment_done_fn fn, void *arg)
{
    struct enrolment_op *op = op_new(domain, arg);
    memcpy(op->id, view->record->id, ID_SIZE);
    op->fn.done = fn;
    store_enrolment_cancel(domain->store, op->id, view->fence, on_cancelled, op);
    return op;
}
