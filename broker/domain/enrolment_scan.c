/* A phone has opened an enrolment's URI, and has not made its keys yet. */
#include <string.h>

#include "base/mem.h"
#include "core/log.h"
#include "crypto/digest.h"
#include "domain/enrolment_op.h"
#include "domain/router.h"
#include "domain/text.h"

static void finish(struct enrolment_op *op, enum err e)
{
    LOG(INFO, DOMAIN, "enrolment-scanned", "enrolment=%s result=%s", op->id[0] ? op->id : "none",
        err_name(e));
    if (!op->silent)
        op->fn.done(e, op->arg);
    enrolment_op_free(op);
}

static void on_failed(void *arg)
{
    struct enrolment_op *op = arg;
    finish(op, op->error);
}

static void on_scanned(enum err e, const struct routes *told, void *arg)
{
    struct enrolment_op *op = arg;
    if (e == ERR_OK)
        router_changed(op->domain->router, told, op->id);
    finish(op, e);
}

static void on_read(enum err e, const struct enrolment_view *view, void *arg)
{
    struct enrolment_op *op = arg;
    if (e == ERR_OK && !enrolment_op_may(op, view->record))
        e = ERR_NOT_FOUND;
    if (e != ERR_OK) {
        finish(op, e);
        return;
    }
    enrolment_seen(op->domain, view);
    store_enrolment_scan(op->domain->store, op->id, view->fence, on_scanned, op);
}

static enum err prepare(struct enrolment_op *op, const char *organisation, const char *id, struct bytes token)
{
    if (token.len != ENROLMENT_TOKEN_BYTES || !text_is_name(bytes_of(organisation)))
        return ERR_INVALID;
    if (!id_valid(bytes_of(id)))
        return ERR_NOT_FOUND;
    memcpy(op->id, id, ID_SIZE);
    op->organisation = mem_copy_string(organisation);
    return sha256(token, op->token_hash);
}

struct enrolment_op *enrolment_scan(struct domain *domain, const char *organisation, const char *id,
                                    struct bytes token, enrolment_done_fn fn, void *arg)
{
    struct enrolment_op *op = enrolment_op_new(domain, arg);
    op->fn.done = fn;
    enum err e = prepare(op, organisation, id, token);
    if (e != ERR_OK)
        enrolment_op_fail_later(op, e, on_failed);
    else
        store_enrolment_get(domain->store, op->id, false, on_read, op);
    return op;
}
