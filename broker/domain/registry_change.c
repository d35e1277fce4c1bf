/* What administrators change in the registry. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "domain/registry_op.h"
#include "domain/text.h"

#define SUPPORT_TEXT_MAX_BYTES 1024
#define DISPLAY_NAME_MAX_BYTES 64

/* ---- an organisation is added ---- */

static void done_finish(struct registry_op *op, enum err e)
{
    if (!op->silent)
        op->fn.done(e, op->arg);
    registry_op_free(op);
}

static void on_done(enum err e, void *arg)
{
    done_finish(arg, e);
}

static void on_done_later(void *arg)
{
    struct registry_op *op = arg;
    done_finish(op, op->error);
}

static void on_organisation_indexed(enum err e, void *arg)
{
    struct registry_op *op = arg;
    if (e != ERR_OK)
        done_finish(op, e);
    else
        store_organisation_put(op->domain->store, (Record__Organisation *)op->record, on_done, op);
}

struct registry_op *registry_add_organisation(struct registry *registry,
                                              const Record__Organisation *organisation, store_done_fn fn,
                                              void *arg)
{
    struct registry_op *op = registry_op_new(registry, arg);
    op->fn.done = fn;
    op->record = store_record_copy(&organisation->base);
    if (!text_is_name(bytes_of(organisation->id)) ||
        text_check(bytes_of(organisation->name), DISPLAY_NAME_MAX_BYTES) != ERR_OK ||
        text_check(bytes_of(organisation->support_text), SUPPORT_TEXT_MAX_BYTES) != ERR_OK)
        registry_op_finish_later(op, ERR_INVALID, on_done_later);
    else
        store_index_set(op->domain->store, INDEX_ORGANISATIONS, organisation->id, true,
                        on_organisation_indexed, op);
    return op;
}

/* ---- an organisation's support text is changed ---- */

static void on_support_read(enum err e, const Record__Organisation *organisation, struct bytes fence,
                            void *arg)
{
    struct registry_op *op = arg;
    if (e != ERR_OK) {
        done_finish(op, e);
        return;
    }
    Record__Organisation changed = *organisation; /* keeps what a later version has put there */
    changed.support_text = ((Record__Organisation *)op->record)->support_text;
    store_organisation_replace(op->domain->store, fence, &changed, on_done, op);
}

struct registry_op *registry_set_support_text(struct registry *registry, const char *id, const char *text,
                                              store_done_fn fn, void *arg)
{
    struct registry_op *op = registry_op_new(registry, arg);
    Record__Organisation asked = RECORD__ORGANISATION__INIT;
    asked.support_text = (char *)text;
    op->fn.done = fn;
    op->record = store_record_copy(&asked.base);
    if (!text_is_name(bytes_of(id)))
        registry_op_finish_later(op, ERR_NOT_FOUND, on_done_later);
    else if (text_check(bytes_of(text), SUPPORT_TEXT_MAX_BYTES) != ERR_OK)
        registry_op_finish_later(op, ERR_INVALID, on_done_later);
    else
        store_organisation_get(op->domain->store, id, on_support_read, op);
    return op;
}

/* ---- secrets ---- */

static void set_hash(ProtobufCBinaryData *field, const uint8_t *hash)
{
    free(field->data);
    *field = (ProtobufCBinaryData){0};
    if (!hash)
        return;
    field->data = mem_new(SHA256_BYTES);
    field->len = SHA256_BYTES;
    memcpy(field->data, hash, SHA256_BYTES);
}

/* A new secret becomes the record's newest, and its credential the operation's. */
static enum err make_secret(struct registry_op *op, Record__Portal *record, int64_t now_unix_ms)
{
    uint8_t secret[CREDENTIAL_SECRET_BYTES], hash[SHA256_BYTES];
    char text[BASE64URL_SIZE(CREDENTIAL_SECRET_BYTES)];
    TRY(random_bytes(secret, sizeof secret));
    base64url_encode(bytes_make(secret, sizeof secret), text);
    bytes_cleanse(secret, sizeof secret);
    snprintf(op->credential, CREDENTIAL_SIZE, "%s.%s", record->id, text);
    enum err e = sha256(bytes_of(text), hash);
    bytes_cleanse(text, sizeof text);
    TRY(e);
    set_hash(&record->secret_hash, hash);
    record->secret_unix_ms = now_unix_ms;
    return ERR_OK;
}

static bool has_two(const Record__Portal *record, int64_t now_unix_ms)
{
    return record->previous_secret_hash.len > 0 && record->previous_until_unix_ms > now_unix_ms;
}

static void drop_previous(Record__Portal *record)
{
    set_hash(&record->previous_secret_hash, NULL);
    record->previous_unix_ms = record->previous_until_unix_ms = 0;
}

/* ---- a portal is changed: read, edited, put where nobody else has ---- */

static void portal_finish(struct registry_op *op, enum err e)
{
    const struct portal_view view = {.record = (Record__Portal *)op->record, .now_unix_ms = op->now_unix_ms};
    if (!op->silent)
        op->fn.portal(e, e == ERR_OK ? &view : NULL, e == ERR_OK && op->credential[0] ? op->credential : NULL,
                      op->arg);
    registry_op_free(op);
}

static void on_portal_later(void *arg)
{
    struct registry_op *op = arg;
    portal_finish(op, op->error);
}

static void release_next(struct registry_op *op);
static void on_released(enum err e, void *arg);

static void on_indexed(enum err e, void *arg)
{
    struct registry_op *op = arg;
    if (e != ERR_OK)
        portal_finish(op, e);
    else
        release_next(op);
}

static void on_replaced(enum err e, void *arg)
{
    struct registry_op *op = arg;
    const Record__Portal *record = (Record__Portal *)op->record;
    if (e != ERR_OK)
        portal_finish(op, e);
    else /* entered anew, too: one of an earlier version is not there yet */
        store_index_set(op->domain->store, INDEX_PORTALS, record->id, !record->removed, on_indexed, op);
}

static void on_read(enum err e, const struct portal_view *view, void *arg)
{
    struct registry_op *op = arg;
    if (e == ERR_OK) {
        op->now_unix_ms = view->now_unix_ms;
        op->record = store_record_copy(&view->record->base);
        e = op->edit(op, (Record__Portal *)op->record, view->now_unix_ms);
    }
    if (e != ERR_OK)
        portal_finish(op, e);
    else
        store_portal_replace(op->domain->store, view->fence, (Record__Portal *)op->record, on_replaced, op);
}

static struct registry_op *change(struct registry *registry, const char *id, registry_edit_fn edit,
                                  registry_portal_fn fn, void *arg)
{
    struct registry_op *op = registry_op_new(registry, arg);
    op->fn.portal = fn;
    op->edit = edit;
    if (!text_is_name(bytes_of(id)))
        registry_op_finish_later(op, ERR_NOT_FOUND, on_portal_later);
    else
        store_portal_get(op->domain->store, id, on_read, op);
    return op;
}

static enum err rotate(struct registry_op *op, Record__Portal *record, int64_t now_unix_ms)
{
    if (record->removed)
        return ERR_NOT_FOUND;
    if (has_two(record, now_unix_ms))
        return ERR_EXISTS;
    drop_previous(record);
    if (op->overlap_s && record->secret_hash.len == SHA256_BYTES) {
        set_hash(&record->previous_secret_hash, record->secret_hash.data);
        record->previous_unix_ms = record->secret_unix_ms;
        record->previous_until_unix_ms = now_unix_ms + (int64_t)op->overlap_s * 1000;
    }
    return make_secret(op, record, now_unix_ms);
}

struct registry_op *registry_rotate(struct registry *registry, const char *id, unsigned overlap_s,
                                    registry_portal_fn fn, void *arg)
{
    struct registry_op *op = change(registry, id, rotate, fn, arg);
    op->overlap_s = overlap_s < CREDENTIAL_OVERLAP_MAX_S ? overlap_s : CREDENTIAL_OVERLAP_MAX_S;
    return op;
}

static enum err keep_newest(struct registry_op *op, Record__Portal *record, int64_t now_unix_ms)
{
    (void)op;
    if (record->removed)
        return ERR_NOT_FOUND;
    if (!has_two(record, now_unix_ms))
        return ERR_EXPIRED;
    drop_previous(record);
    return ERR_OK;
}

static enum err keep_previous(struct registry_op *op, Record__Portal *record, int64_t now_unix_ms)
{
    (void)op;
    if (record->removed)
        return ERR_NOT_FOUND;
    if (!has_two(record, now_unix_ms))
        return ERR_EXPIRED;
    set_hash(&record->secret_hash, record->previous_secret_hash.data);
    record->secret_unix_ms = record->previous_unix_ms;
    drop_previous(record);
    return ERR_OK;
}

struct registry_op *registry_finish_rotation(struct registry *registry, const char *id, bool undo,
                                             registry_portal_fn fn, void *arg)
{
    return change(registry, id, undo ? keep_previous : keep_newest, fn, arg);
}

/* ---- certificates ---- */

/* Give up what the record does not have any more; @p then goes on. A removed portal keeps its list, so that a repeat can. */
static void release_next(struct registry_op *op)
{
    const Record__Portal *record = (Record__Portal *)op->record;
    const uint8_t *fingerprint = NULL;
    if (record->removed && op->pin_at < record->n_certificates)
        fingerprint = record->certificates[op->pin_at++].data;
    else if (op->drops)
        fingerprint = op->drop;
    op->drops = false;
    if (fingerprint)
        store_certificate_pin(op->domain->store, fingerprint, record->id, false, on_released, op);
    else
        portal_finish(op, ERR_OK);
}

static void on_released(enum err e, void *arg)
{
    struct registry_op *op = arg;
    if (e != ERR_OK)
        portal_finish(op, e);
    else
        release_next(op);
}

static size_t find_certificate(const Record__Portal *record, const uint8_t *fingerprint)
{
    size_t i = 0;
    while (i < record->n_certificates && memcmp(record->certificates[i].data, fingerprint, SHA256_BYTES) != 0)
        i++;
    return i;
}

static enum err add_certificate(Record__Portal *record, const uint8_t *fingerprint)
{
    if (find_certificate(record, fingerprint) < record->n_certificates)
        return ERR_OK;
    if (record->n_certificates >= PORTAL_CERTIFICATES_MAX)
        return ERR_LIMIT;
    ProtobufCBinaryData *longer = mem_new((record->n_certificates + 1) * sizeof *longer);
    for (size_t i = 0; i < record->n_certificates; i++)
        longer[i] = record->certificates[i];
    set_hash(&longer[record->n_certificates], fingerprint);
    free(record->certificates);
    record->certificates = longer;
    record->n_certificates++;
    return ERR_OK;
}

static void drop_certificate(Record__Portal *record, const uint8_t *fingerprint)
{
    size_t i = find_certificate(record, fingerprint);
    if (i == record->n_certificates)
        return;
    free(record->certificates[i].data);
    record->certificates[i] = record->certificates[--record->n_certificates];
}

static enum err set_certificates(struct registry_op *op, Record__Portal *record, int64_t now_unix_ms)
{
    (void)now_unix_ms;
    if (record->removed)
        return ERR_NOT_FOUND;
    if (op->drops)
        drop_certificate(record, op->drop);
    if (op->pins)
        TRY(add_certificate(record, op->pin));
    if (op->required >= 0)
        record->certificate_required = op->required;
    return ERR_OK;
}

/* Pinned first, so that no portal's record ever has what is another's. */
static void on_pinned(enum err e, void *arg)
{
    struct registry_op *op = arg;
    if (e != ERR_OK)
        portal_finish(op, e);
    else
        store_portal_get(op->domain->store, op->id, on_read, op);
}

static void on_known(enum err e, const struct portal_view *view, void *arg)
{
    struct registry_op *op = arg;
    if (e == ERR_OK && view->record->removed)
        e = ERR_NOT_FOUND;
    else if (e == ERR_OK && view->record->n_certificates >= PORTAL_CERTIFICATES_MAX && !op->drops)
        e = ERR_LIMIT;
    if (e != ERR_OK)
        portal_finish(op, e);
    else
        store_certificate_pin(op->domain->store, op->pin, op->id, true, on_pinned, op);
}

struct registry_op *registry_set_certificates(struct registry *registry, const char *id, const uint8_t *add,
                                              const uint8_t *drop, int require, registry_portal_fn fn,
                                              void *arg)
{
    struct registry_op *op = registry_op_new(registry, arg);
    op->fn.portal = fn;
    op->edit = set_certificates;
    op->required = require;
    op->pins = add != NULL;
    op->drops = drop != NULL;
    if (add)
        memcpy(op->pin, add, sizeof op->pin);
    if (drop)
        memcpy(op->drop, drop, sizeof op->drop);
    if (!text_is_name(bytes_of(id))) {
        registry_op_finish_later(op, ERR_NOT_FOUND, on_portal_later);
        return op;
    }
    memcpy(op->id, id, strlen(id));
    store_portal_get(op->domain->store, id, add ? on_known : on_read, op);
    return op;
}

/* ---- limits ---- */

static enum err set_limits(struct registry_op *op, Record__Portal *record, int64_t now_unix_ms)
{
    (void)now_unix_ms;
    record->calls_per_s = op->calls_per_s;
    return record->removed ? ERR_NOT_FOUND : ERR_OK;
}

struct registry_op *registry_set_limits(struct registry *registry, const char *id, unsigned calls_per_s,
                                        registry_portal_fn fn, void *arg)
{
    struct registry_op *op = change(registry, id, set_limits, fn, arg);
    op->calls_per_s = calls_per_s;
    return op;
}

/* ---- a portal is removed ---- */

static enum err bury(struct registry_op *op, Record__Portal *record, int64_t now_unix_ms)
{
    (void)op;
    (void)now_unix_ms;
    record->removed = true;
    set_hash(&record->secret_hash, NULL);
    drop_previous(record);
    return ERR_OK;
}

struct registry_op *registry_remove(struct registry *registry, const char *id, registry_portal_fn fn,
                                    void *arg)
{
    return change(registry, id, bury, fn, arg);
}

/* ---- a portal is added ---- */

static void on_portal_put(enum err e, void *arg)
{
    portal_finish(arg, e);
}

/* Its certificates are pinned one by one, before it is put. */
static void on_portal_indexed(enum err e, void *arg)
{
    struct registry_op *op = arg;
    const Record__Portal *record = (Record__Portal *)op->record;
    if (e != ERR_OK)
        portal_finish(op, e == ERR_EXISTS ? ERR_LIMIT : e);
    else if (op->pin_at < record->n_certificates)
        store_certificate_pin(op->domain->store, record->certificates[op->pin_at++].data, record->id, true,
                              on_portal_indexed, op);
    else
        store_portal_put(op->domain->store, (Record__Portal *)op->record, on_portal_put, op);
}

/* Only a name that is free goes into the index: a removed portal must not come back in the list. */
static void on_name_read(enum err e, const struct portal_view *view, void *arg)
{
    struct registry_op *op = arg;
    (void)view;
    if (e == ERR_NOT_FOUND)
        store_index_set(op->domain->store, INDEX_PORTALS, ((Record__Portal *)op->record)->id, true,
                        on_portal_indexed, op);
    else
        portal_finish(op, e == ERR_OK ? ERR_EXISTS : e);
}

static void on_organisation(enum err e, const Record__Organisation *organisation, struct bytes fence,
                            void *arg)
{
    (void)fence;
    struct registry_op *op = arg;
    Record__Portal *record = (Record__Portal *)op->record;
    if (e != ERR_OK) {
        portal_finish(op, e);
        return;
    }
    if (record->organisation_name != protobuf_c_empty_string)
        free(record->organisation_name);
    record->organisation_name = mem_copy_string(organisation->name);
    store_portal_get(op->domain->store, record->id, on_name_read, op);
}

struct registry_op *registry_add_portal(struct registry *registry, const Record__Portal *portal,
                                        int64_t now_unix_ms, registry_portal_fn fn, void *arg)
{
    struct registry_op *op = registry_op_new(registry, arg);
    op->fn.portal = fn;
    op->now_unix_ms = now_unix_ms;
    op->record = store_record_copy(&portal->base);
    enum err e = ERR_INVALID;
    if (text_is_name(bytes_of(portal->id)) && text_is_name(bytes_of(portal->organisation)) &&
        text_check(bytes_of(portal->name), DISPLAY_NAME_MAX_BYTES) == ERR_OK &&
        portal->n_certificates <= PORTAL_CERTIFICATES_MAX)
        e = make_secret(op, (Record__Portal *)op->record, now_unix_ms);
    if (e != ERR_OK)
        registry_op_finish_later(op, e, on_portal_later);
    else
        store_organisation_get(op->domain->store, portal->organisation, on_organisation, op);
    return op;
}
