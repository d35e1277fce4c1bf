#include "domain/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/table.h"
#include "crypto/digest.h"
#include "domain/text.h"

#define SUPPORT_TEXT_MAX_BYTES 1024
#define DISPLAY_NAME_MAX_BYTES 64

struct registry {
    struct domain *domain;
    struct table cache; /* struct cached, by portal id */
};

struct cached {
    struct table_node node;
    int64_t until_mono_ms;
    struct portal *portal;
};

struct registry_op {
    struct registry *registry;
    union {
        registry_portal_fn portal;
        store_done_fn done;
        registry_add_portal_fn add_portal;
    } fn;
    bool silent;
    void *arg;
    struct deferral later;
    enum err error;
    struct portal *portal;
    Record__Portal *record;
    uint8_t secret_hash[SHA256_BYTES];
    char credential[CREDENTIAL_SIZE];
};

struct portal *portal_ref(struct portal *portal)
{
    portal->refs++;
    return portal;
}

void portal_unref(struct portal *portal)
{
    if (!portal || --portal->refs)
        return;
    record__portal__free_unpacked((Record__Portal *)portal->record, NULL);
    free(portal);
}

struct registry *registry_new(struct domain *domain)
{
    struct registry *registry = mem_new(sizeof *registry);
    registry->domain = domain;
    return registry;
}

static void drop(struct table_node *node, void *arg)
{
    struct registry *registry = arg;
    struct cached *cached = CONTAINER_OF(node, struct cached, node);
    table_remove(&registry->cache, node);
    portal_unref(cached->portal);
    free(cached);
}

static void drop_stale(struct table_node *node, void *arg)
{
    if (CONTAINER_OF(node, struct cached, node)->until_mono_ms <= clock_mono_ms())
        drop(node, arg);
}

void registry_free(struct registry *registry)
{
    if (!registry)
        return;
    table_each(&registry->cache, drop, registry);
    table_done(&registry->cache);
    free(registry);
}

static struct portal *cache_find(struct registry *registry, const char *id)
{
    uint64_t hash = table_hash(bytes_of(id));
    for (struct table_node *n = table_first(&registry->cache, hash); n; n = table_next(n, hash)) {
        struct cached *cached = CONTAINER_OF(n, struct cached, node);
        if (strcmp(cached->portal->record->id, id) != 0)
            continue;
        if (cached->until_mono_ms > clock_mono_ms())
            return cached->portal;
        drop(n, registry);
        return NULL;
    }
    return NULL;
}

static struct portal *cache_add(struct registry *registry, const Record__Portal *record)
{
    struct portal *portal = mem_new(sizeof *portal);
    portal->refs = 1;
    portal->record = (Record__Portal *)store_record_copy(&record->base);
    if (registry->cache.count >= PORTAL_CACHE_MAX)
        table_each(&registry->cache, drop_stale, registry);
    if (registry->cache.count >= PORTAL_CACHE_MAX)
        table_each(&registry->cache, drop, registry);
    struct cached *cached = mem_new(sizeof *cached);
    cached->portal = portal_ref(portal);
    cached->until_mono_ms = clock_mono_ms() + PORTAL_CACHE_MS;
    if (table_add(&registry->cache, &cached->node, table_hash(bytes_of(record->id))) != ERR_OK)
        abort(); /* the table's first buckets, see mem_new() */
    return portal;
}

static struct registry_op *op_new(struct registry *registry, void *arg)
{
    struct registry_op *op = mem_new(sizeof *op);
    op->registry = registry;
    op->arg = arg;
    deferral_init(&op->later, NULL, NULL);
    return op;
}

static void op_free(struct registry_op *op)
{
    deferral_cancel(&op->later);
    portal_unref(op->portal);
    if (op->record)
        record__portal__free_unpacked(op->record, NULL);
    bytes_cleanse(op->credential, sizeof op->credential);
    free(op);
}

void registry_op_cancel(struct registry_op *op)
{
    if (op)
        op->silent = true;
}

static void finish_later(struct registry_op *op, enum err e, loop_fn fn)
{
    op->error = e;
    deferral_init(&op->later, fn, op);
    loop_defer(op->registry->domain->loop, &op->later);
}

/* ---- authenticate ---- */

static void authenticate_finish(struct registry_op *op, enum err e)
{
    if (e == ERR_NOT_FOUND)
        e = ERR_DENIED;
    if (e == ERR_OK) {
        const ProtobufCBinaryData *hash = &op->portal->record->secret_hash;
        if (!bytes_equal_secret(bytes_make(op->secret_hash, sizeof op->secret_hash),
                                bytes_make(hash->data, hash->len)))
            e = ERR_DENIED;
    }
    if (!op->silent)
        op->fn.portal(e, e == ERR_OK ? op->portal : NULL, op->arg);
    op_free(op);
}

static void on_authenticate_later(void *arg)
{
    struct registry_op *op = arg;
    authenticate_finish(op, op->error);
}

static void on_portal(enum err e, const Record__Portal *record, void *arg)
{
    struct registry_op *op = arg;
    if (e == ERR_OK)
        op->portal = cache_add(op->registry, record);
    authenticate_finish(op, e);
}

static enum err split_credential(struct bytes credential, char id[NAME_MAX_LEN + 1],
                                 uint8_t hash[SHA256_BYTES])
{
    const uint8_t *dot = credential.len ? memrchr(credential.p, '.', credential.len) : NULL;
    if (!dot || credential.len >= CREDENTIAL_SIZE)
        return ERR_DENIED;
    size_t id_len = (size_t)(dot - credential.p);
    if (!text_is_name(bytes_make(credential.p, id_len)))
        return ERR_DENIED;
    memcpy(id, credential.p, id_len);
    id[id_len] = '\0';
    return sha256(bytes_make(dot + 1, credential.len - id_len - 1), hash);
}

struct registry_op *registry_authenticate(struct registry *registry, struct bytes credential,
                                          registry_portal_fn fn, void *arg)
{
    struct registry_op *op = op_new(registry, arg);
    char id[NAME_MAX_LEN + 1];
    op->fn.portal = fn;
    enum err e = split_credential(credential, id, op->secret_hash);
    struct portal *known = e == ERR_OK ? cache_find(registry, id) : NULL;
    if (known)
        op->portal = portal_ref(known);
    if (e != ERR_OK || known)
        finish_later(op, e, on_authenticate_later);
    else
        store_portal_get(registry->domain->store, id, on_portal, op);
    return op;
}

/* ---- add ---- */

static void done_finish(struct registry_op *op, enum err e)
{
    if (!op->silent)
        op->fn.done(e, op->arg);
    op_free(op);
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

struct registry_op *registry_add_organisation(struct registry *registry,
                                              const Record__Organisation *organisation, store_done_fn fn,
                                              void *arg)
{
    struct registry_op *op = op_new(registry, arg);
    op->fn.done = fn;
    if (!text_is_name(bytes_of(organisation->id)) ||
        text_check(bytes_of(organisation->name), DISPLAY_NAME_MAX_BYTES) != ERR_OK ||
        text_check(bytes_of(organisation->support_text), SUPPORT_TEXT_MAX_BYTES) != ERR_OK)
        finish_later(op, ERR_INVALID, on_done_later);
    else
        store_organisation_put(registry->domain->store, organisation, on_done, op);
    return op;
}

static void add_portal_finish(struct registry_op *op, enum err e)
{
    if (!op->silent)
        op->fn.add_portal(e, e == ERR_OK ? op->credential : NULL, op->arg);
    op_free(op);
}

static void on_portal_put(enum err e, void *arg)
{
    add_portal_finish(arg, e);
}

static void on_add_portal_later(void *arg)
{
    struct registry_op *op = arg;
    add_portal_finish(op, op->error);
}

static void on_organisation(enum err e, const Record__Organisation *organisation, void *arg)
{
    struct registry_op *op = arg;
    if (e != ERR_OK) {
        add_portal_finish(op, e);
        return;
    }
    Record__Portal record = *op->record;
    record.organisation_name = organisation->name;
    store_portal_put(op->registry->domain->store, &record, on_portal_put, op);
}

static enum err make_credential(const char *portal, char out[CREDENTIAL_SIZE], uint8_t hash[SHA256_BYTES])
{
    uint8_t secret[CREDENTIAL_SECRET_BYTES];
    char text[BASE64URL_SIZE(CREDENTIAL_SECRET_BYTES)];
    TRY(random_bytes(secret, sizeof secret));
    base64url_encode(bytes_make(secret, sizeof secret), text);
    bytes_cleanse(secret, sizeof secret);
    snprintf(out, CREDENTIAL_SIZE, "%s.%s", portal, text);
    enum err e = sha256(bytes_of(text), hash);
    bytes_cleanse(text, sizeof text);
    return e;
}

struct registry_op *registry_add_portal(struct registry *registry, const Record__Portal *portal,
                                        registry_add_portal_fn fn, void *arg)
{
    struct registry_op *op = op_new(registry, arg);
    op->fn.add_portal = fn;
    enum err e = ERR_INVALID;
    if (text_is_name(bytes_of(portal->id)) && text_is_name(bytes_of(portal->organisation)) &&
        text_check(bytes_of(portal->name), DISPLAY_NAME_MAX_BYTES) == ERR_OK)
        e = make_credential(portal->id, op->credential, op->secret_hash);
    if (e != ERR_OK) {
        finish_later(op, e, on_add_portal_later);
        return op;
    }
    Record__Portal record = *portal;
    record.secret_hash = (ProtobufCBinaryData){.data = op->secret_hash, .len = sizeof op->secret_hash};
    op->record = (Record__Portal *)store_record_copy(&record.base);
    store_organisation_get(registry->domain->store, portal->organisation, on_organisation, op);
    return op;
}
