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
    unsigned reading; /* authentications */
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

static bool is_pinned(const Record__Portal *record, const uint8_t fingerprint[SHA256_BYTES])
{
    for (size_t i = 0; i < record->n_certificates; i++)
        if (record->certificates[i].len == SHA256_BYTES &&
            memcmp(record->certificates[i].data, fingerprint, SHA256_BYTES) == 0)
            return true;
    return false;
}

static bool accepts_secret(const struct portal *portal, const struct proof *proof)
{
    const Record__Portal *record = portal ? portal->record : NULL;
    bool newest = is_secret(record ? &record->secret_hash : NULL, proof);
    bool previous = is_secret(record ? &record->previous_secret_hash : NULL, proof);
    return record && !record->removed && (newest || (previous && overlaps(portal)));
}

static bool accepts_certificate(const struct portal *portal, const struct proof *proof)
{
    const Record__Portal *record = portal ? portal->record : NULL;
    return record && !record->removed &&
           (is_pinned(record, proof->fingerprint) ||
            (proof->certificate_organisation[0] &&
             strcmp(proof->certificate_organisation, record->organisation) == 0));
}

bool portal_accepts(const struct portal *portal, const struct proof *proof)
{
    bool secret = accepts_secret(portal, proof);
    return portal && (proof->has_secret || proof->has_certificate) && (secret || !proof->has_secret) &&
           (proof->has_certificate ? accepts_certificate(portal, proof)
                                   : !portal->record->certificate_required);
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

void registry_close(struct registry *registry)
{
    timer_cancel(&registry->reread);
}

void registry_free(struct registry *registry)
{
    if (!registry)
        return;
    registry_close(registry);
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

static const char unknown[] =
    "unknown credential; send Authorization: Bearer <portal id>.<secret>, or a client "
    "certificate of the portal",
                  out_of_date[] = "the client certificate is not valid at this time; use one that is",
                  unpinned[] =
                      "the client certificate is from no CA of portals and pinned to none; have it pinned "
                      "to the portal, or use one from that CA",
                  nameless[] =
                      "the client certificate must have one URI, and no other, among its subject alternative "
                      "names: nanopush://<organisation>/<portal>; a common name does not count",
                  of_another[] =
                      "the client certificate is not of this portal; use one that is, or the secret alone",
                  required[] = "this portal has to show its client certificate, too";

/* More than "unknown" is said only to who has shown a secret that counts, or has the key of a certificate. */
static const char *why_denied(const struct registry_op *op, const struct portal *portal)
{
    if (op->proof.has_secret && !accepts_secret(portal, &op->proof))
        return unknown;
    if (!op->proof.has_certificate)
        return required;
    if (op->proof.has_secret)
        return of_another;
    if (!op->certificate_is_pinned_only)
        return unknown;
    return op->certificate_is_trusted ? nameless : unpinned;
}

static void authenticate_finish(struct registry_op *op, enum err e, struct portal *portal, const char *why)
{
    op->registry->reading -= op->is_read;
    if (e == ERR_OK)
        portal->standing->used = true;
    if (!op->silent)
        op->fn.authenticate(e, e == ERR_OK ? portal : NULL, e == ERR_OK ? &op->proof : NULL, why, op->arg);
    registry_op_free(op);
}

static void on_accepted_later(void *arg)
{
    struct registry_op *op = arg;
    authenticate_finish(op, ERR_OK, op->accepted, NULL);
}

static void on_denied_later(void *arg)
{
    struct registry_op *op = arg;
    authenticate_finish(op, op->error, NULL, unknown);
}

static void on_out_of_date_later(void *arg)
{
    authenticate_finish(arg, ERR_DENIED, NULL, out_of_date);
}

static void on_portal(enum err e, const struct portal_view *view, void *arg)
{
    struct registry_op *op = arg;
    struct portal *portal = e == ERR_OK ? keep(op->registry, view) : NULL;
    bool accepted = portal_accepts(portal, &op->proof); /* of an unknown one, too: it takes the same time */
    if (e == ERR_NOT_FOUND || (e == ERR_OK && !accepted))
        e = ERR_DENIED;
    authenticate_finish(op, e, portal, e == ERR_DENIED ? why_denied(op, portal) : NULL);
}

static void on_holder(enum err e, const char *portal, void *arg)
{
    struct registry_op *op = arg;
    if (e == ERR_NOT_FOUND)
        authenticate_finish(op, ERR_DENIED, NULL, why_denied(op, NULL));
    else if (e != ERR_OK)
        authenticate_finish(op, e, NULL, NULL);
    else
        store_portal_get(op->domain->store, portal, on_portal, op);
}

static enum err take_credential(struct bytes credential, struct registry_op *op)
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

/* A name in a certificate counts for the portal of that id only, whatever else was shown. */
static void take_certificate(const struct client_certificate *certificate, struct registry_op *op)
{
    op->proof.has_certificate = true;
    op->certificate_is_trusted = certificate->trusted;
    memcpy(op->proof.fingerprint, certificate->fingerprint, SHA256_BYTES);
    bool named = certificate->trusted && text_is_name(bytes_of(certificate->portal));
    if (named && !op->id[0])
        memcpy(op->id, certificate->portal, sizeof op->id);
    if (named && strcmp(op->id, certificate->portal) == 0)
        memcpy(op->proof.certificate_organisation, certificate->organisation,
               sizeof op->proof.certificate_organisation);
    op->certificate_is_pinned_only = !op->id[0];
}

static bool is_out_of_date(const struct client_certificate *certificate)
{
    int64_t now_unix_s = clock_unix_ms() / 1000;
    return now_unix_s < certificate->from_unix_s || now_unix_s > certificate->until_unix_s;
}

struct search {
    const uint8_t *fingerprint;
    struct standing *found;
};

static void look_at(struct table_node *node, void *arg)
{
    struct search *search = arg;
    struct standing *standing = CONTAINER_OF(node, struct standing, node);
    if (is_pinned(standing->portal->record, search->fingerprint))
        search->found = standing;
}

/* The portal that it must be of what is shown, if that is in memory. */
static struct portal *remembered(struct registry *registry, const struct registry_op *op)
{
    struct search search = {.fingerprint = op->proof.fingerprint};
    if (op->id[0])
        search.found = find(registry, op->id);
    else
        table_each(&registry->portals, look_at, &search);
    return search.found && search.found->until_mono_ms > clock_mono_ms() ? search.found->portal : NULL;
}

static void read_holder(struct registry_op *op)
{
    op->is_read = true;
    op->registry->reading++;
    if (op->id[0])
        store_portal_get(op->domain->store, op->id, on_portal, op);
    else
        store_certificate_get(op->domain->store, op->proof.fingerprint, on_holder, op);
}

struct registry_op *registry_authenticate(struct registry *registry, const struct shown *shown,
                                          registry_authenticate_fn fn, void *arg)
{
    struct registry_op *op = registry_op_new(registry, arg);
    op->fn.authenticate = fn;
    enum err e = shown->credential.len ? take_credential(shown->credential, op) : ERR_OK;
    if (e == ERR_OK && shown->certificate)
        take_certificate(shown->certificate, op);
    if (e != ERR_OK || !(op->proof.has_secret || op->proof.has_certificate)) {
        registry_op_finish_later(op, e == ERR_OK ? ERR_DENIED : e, on_denied_later);
        return op;
    }
    if (shown->certificate && is_out_of_date(shown->certificate)) {
        registry_op_finish_later(op, ERR_DENIED, on_out_of_date_later);
        return op;
    }
    struct portal *portal = remembered(registry, op);
    if (portal && portal_accepts(portal, &op->proof)) {
        op->accepted = portal_ref(portal);
        registry_op_finish_later(op, ERR_OK, on_accepted_later);
    } else if (registry->reading >= AUTHENTICATIONS_MAX) {
        registry_op_finish_later(op, ERR_LIMIT, on_denied_later);
    } else {
        read_holder(op);
    }
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
