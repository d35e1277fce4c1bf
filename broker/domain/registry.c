/* Whose credential a caller shows, and what a worker remembers of portals. */
#include "domain/registry.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/table.h"
#include "domain/registry_op.h"
#include "domain/text.h"

struct registry {
    struct domain *domain;
    struct table portals; /* struct standing, by id */
    struct timer reread;
    registry_changed_fn on_change;
    void *arg;
};

/* Outlives the registry where somebody still refers to one of its portals. */
struct standing {
    struct table_node node;
    struct registry *registry; /* NULL once that is gone */
    struct portal *portal;     /* as it was read last; one reference */
    int64_t until_mono_ms;     /* believed until then */
    unsigned alive;            /* struct portals of it, the present one included */
    bool used;                 /* since it was read last */
    bool reading;
    bool overlapping; /* two secrets counted when it was read last */
};

/* ---- a portal as it was read ---- */

struct portal *portal_ref(struct portal *portal)
{
    portal->refs++;
    return portal;
}

void portal_unref(struct portal *portal)
{
    if (!portal || --portal->refs)
        return;
    struct standing *standing = portal->standing;
    if (--standing->alive == 0 && !standing->registry)
        free(standing);
    record__portal__free_unpacked((Record__Portal *)portal->record, NULL);
    buf_done(&portal->fence);
    free(portal);
}

static bool overlaps(const struct portal *portal)
{
    return portal->record->previous_until_unix_ms > clock_mono_ms() + portal->ahead_ms;
}

/* Compares with something, and as long, where there is nothing. */
static bool is_secret(const ProtobufCBinaryData *stored, const struct proof *proof)
{
    static const uint8_t nobodys[SHA256_BYTES];
    bool there = stored && stored->len == SHA256_BYTES;
    bool equal = bytes_equal_secret(bytes_make(there ? stored->data : nobodys, SHA256_BYTES),
                                    bytes_make(proof->secret_hash, SHA256_BYTES));
    return there & equal;
}

bool portal_accepts(const struct portal *portal, const struct proof *proof)
{
    const Record__Portal *record = portal ? portal->record : NULL;
    bool newest = is_secret(record ? &record->secret_hash : NULL, proof);
    bool previous = is_secret(record ? &record->previous_secret_hash : NULL, proof);
    return record && !record->removed && proof->has_secret && (newest || (previous && overlaps(portal)));
}

/* ---- what is remembered ---- */

static void forget(struct standing *standing)
{
    table_remove(&standing->registry->portals, &standing->node);
    standing->registry = NULL;
    portal_unref(standing->portal); /* which frees it, where that was the last */
}

static bool is_held(const struct standing *standing)
{
    return standing->alive > 1 || standing->portal->refs > 1;
}

static void forget_unless_held(struct table_node *node, void *arg)
{
    (void)arg;
    struct standing *standing = CONTAINER_OF(node, struct standing, node);
    if (!standing->reading && !is_held(standing))
        forget(standing);
}

static struct standing *find(struct registry *registry, const char *id)
{
    uint64_t hash = table_hash(bytes_of(id));
    for (struct table_node *n = table_first(&registry->portals, hash); n; n = table_next(n, hash)) {
        struct standing *standing = CONTAINER_OF(n, struct standing, node);
        if (strcmp(standing->portal->record->id, id) == 0)
            return standing;
    }
    return NULL;
}

static struct portal *portal_new(struct standing *standing, const struct portal_view *view)
{
    struct portal *portal = mem_new(sizeof *portal);
    portal->refs = 1;
    portal->record = (Record__Portal *)store_record_copy(&view->record->base);
    portal->standing = standing;
    standing->alive++;
    if (buf_append(&portal->fence, view->fence) != ERR_OK)
        abort(); /* as mem_new() */
    return portal;
}

static struct standing *standing_new(struct registry *registry, const struct portal_view *view)
{
    struct standing *standing = mem_new(sizeof *standing);
    if (registry->portals.count >= PORTAL_CACHE_MAX)
        table_each(&registry->portals, forget_unless_held, NULL);
    standing->registry = registry;
    standing->portal = portal_new(standing, view);
    if (table_add(&registry->portals, &standing->node, table_hash(bytes_of(view->record->id))) != ERR_OK)
        abort(); /* the table's first buckets, see mem_new() */
    if (!timer_armed(&registry->reread))
        timer_start(&registry->reread, PORTAL_REREAD_MS);
    return standing;
}

static void tell_change(struct registry *registry, const char *id, const struct portal *now)
{
    if (registry->on_change)
        registry->on_change(id, now, registry->arg);
}

/* Remember what was read just now. */
static struct portal *keep(struct registry *registry, const struct portal_view *view)
{
    struct standing *standing = find(registry, view->record->id);
    bool known = standing != NULL, changed = false;
    if (!known)
        standing = standing_new(registry, view);
    struct portal *before = standing->portal;
    if (!bytes_equal(buf_view(&before->fence), view->fence)) {
        changed = true;
        standing->portal = portal_new(standing, view);
        portal_unref(before);
    }
    standing->portal->ahead_ms = view->now_unix_ms - clock_mono_ms();
    standing->until_mono_ms = clock_mono_ms() + PORTAL_FRESH_MS;
    bool overlapped = standing->overlapping;
    standing->overlapping = overlaps(standing->portal);
    if (changed || overlapped != standing->overlapping)
        tell_change(registry, view->record->id, standing->portal);
    return standing->portal;
}

static void on_reread(enum err e, const struct portal_view *view, void *arg)
{
    struct standing *standing = arg;
    struct registry *registry = standing->registry;
    standing->reading = false;
    if (e == ERR_OK) {
        keep(registry, view);
    } else if (e == ERR_NOT_FOUND) {
        standing->until_mono_ms = 0;
        tell_change(registry, standing->portal->record->id, NULL);
    }
}

static void reread(struct table_node *node, void *arg)
{
    struct registry *registry = arg;
    struct standing *standing = CONTAINER_OF(node, struct standing, node);
    if (standing->reading)
        return;
    if (!standing->used && !is_held(standing)) {
        if (standing->until_mono_ms <= clock_mono_ms())
            forget(standing);
        return;
    }
    standing->used = false;
    standing->reading = true;
    store_portal_get(registry->domain->store, standing->portal->record->id, on_reread, standing);
}

static void on_reread_due(void *arg)
{
    struct registry *registry = arg;
    table_each(&registry->portals, reread, registry);
    if (registry->portals.count > 0)
        timer_start(&registry->reread, PORTAL_REREAD_MS);
}

/* ---- life ---- */

struct registry *registry_new(struct domain *domain)
{
    struct registry *registry = mem_new(sizeof *registry);
    registry->domain = domain;
    timer_init(&registry->reread, domain->loop, on_reread_due, registry);
    return registry;
}

static void forget_all(struct table_node *node, void *arg)
{
    (void)arg;
    forget(CONTAINER_OF(node, struct standing, node));
}

void registry_free(struct registry *registry)
{
    if (!registry)
        return;
    timer_cancel(&registry->reread);
    table_each(&registry->portals, forget_all, NULL);
    table_done(&registry->portals);
    free(registry);
}

void registry_on_change(struct registry *registry, registry_changed_fn fn, void *arg)
{
    registry->on_change = fn;
    registry->arg = arg;
}

/* ---- operations ---- */

struct registry_op *registry_op_new(struct registry *registry, void *arg)
{
    struct registry_op *op = mem_new(sizeof *op);
    op->domain = registry->domain;
    op->registry = registry;
    op->arg = arg;
    deferral_init(&op->later, NULL, NULL);
    return op;
}

void registry_op_free(struct registry_op *op)
{
    deferral_cancel(&op->later);
    portal_unref(op->accepted);
    if (op->record)
        protobuf_c_message_free_unpacked(op->record, NULL);
    for (size_t i = 0; i < op->found_count; i++)
        protobuf_c_message_free_unpacked(op->found[i], NULL);
    free(op->found);
    free(op->names);
    bytes_cleanse(op->credential, sizeof op->credential);
    free(op);
}

void registry_op_cancel(struct registry_op *op)
{
    if (op)
        op->silent = true;
}

void registry_op_finish_later(struct registry_op *op, enum err e, loop_fn fn)
{
    op->error = e;
    deferral_init(&op->later, fn, op);
    loop_defer(op->domain->loop, &op->later);
}

/* ---- authenticate ---- */

static void authenticate_finish(struct registry_op *op, enum err e, struct portal *portal)
{
    if (e == ERR_OK)
        portal->standing->used = true;
    if (!op->silent)
        op->fn.authenticate(e, e == ERR_OK ? portal : NULL, e == ERR_OK ? &op->proof : NULL, op->arg);
    registry_op_free(op);
}

static void on_authenticate_later(void *arg)
{
    struct registry_op *op = arg;
    authenticate_finish(op, op->error, op->accepted);
}

static void on_portal(enum err e, const struct portal_view *view, void *arg)
{
    struct registry_op *op = arg;
    struct portal *portal = e == ERR_OK ? keep(op->registry, view) : NULL;
    bool accepted = portal_accepts(portal, &op->proof); /* of an unknown one, too: it takes the same time */
    if (e == ERR_NOT_FOUND || (e == ERR_OK && !accepted))
        e = ERR_DENIED;
    authenticate_finish(op, e, portal);
}

static enum err split_credential(struct bytes credential, struct registry_op *op)
{
    const uint8_t *dot = credential.len ? memrchr(credential.p, '.', credential.len) : NULL;
    if (!dot || credential.len >= CREDENTIAL_SIZE)
        return ERR_DENIED;
    size_t id_len = (size_t)(dot - credential.p);
    if (!text_is_name(bytes_make(credential.p, id_len)))
        return ERR_DENIED;
    memcpy(op->id, credential.p, id_len);
    op->proof.has_secret = true;
    return sha256(bytes_make(dot + 1, credential.len - id_len - 1), op->proof.secret_hash);
}

static struct portal *remembered(struct registry *registry, const char *id)
{
    struct standing *standing = find(registry, id);
    return standing && standing->until_mono_ms > clock_mono_ms() ? standing->portal : NULL;
}

struct registry_op *registry_authenticate(struct registry *registry, struct bytes credential,
                                          registry_authenticate_fn fn, void *arg)
{
    struct registry_op *op = registry_op_new(registry, arg);
    op->fn.authenticate = fn;
    enum err e = split_credential(credential, op);
    struct portal *portal = e == ERR_OK ? remembered(registry, op->id) : NULL;
    if (portal && portal_accepts(portal, &op->proof))
        op->accepted = portal_ref(portal);
    if (e != ERR_OK || op->accepted)
        registry_op_finish_later(op, e, on_authenticate_later);
    else
        store_portal_get(registry->domain->store, op->id, on_portal, op);
    return op;
}

static void on_standing(enum err e, const struct portal_view *view, void *arg)
{
    struct registry_op *op = arg;
    if (e == ERR_NOT_FOUND)
        e = ERR_OK;
    else if (e == ERR_OK && view->record->removed)
        e = ERR_DENIED;
    if (!op->silent)
        op->fn.done(e, op->arg);
    registry_op_free(op);
}

struct registry_op *registry_check_standing(struct registry *registry, const char *id, store_done_fn fn,
                                            void *arg)
{
    struct registry_op *op = registry_op_new(registry, arg);
    op->fn.done = fn;
    store_portal_get(registry->domain->store, id, on_standing, op);
    return op;
}
