/* Lists: a page of the index, and each of its records, one after the other. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "domain/registry_op.h"

static void finish(struct registry_op *op, enum err e, bool portals)
{
    size_t count = e == ERR_OK ? op->found_count : 0;
    if (!op->silent && portals)
        op->fn.portals(e, (Record__Portal *const *)op->found, count, op->next, op->arg);
    else if (!op->silent)
        op->fn.organisations(e, (Record__Organisation *const *)op->found, count, op->next, op->arg);
    registry_op_free(op);
}

static void add(struct registry_op *op, const ProtobufCMessage *record)
{
    op->found[op->found_count++] = store_record_copy(record);
}

/* A page that is full may have another behind it. */
static enum err take_names(struct registry_op *op, enum err e, const struct name_list *names)
{
    TRY(e);
    op->names = mem_new(names->count * sizeof *op->names + 1);
    op->found = mem_new((names->count + 1) * sizeof *op->found);
    op->name_count = names->count;
    if (names->count == 0)
        return ERR_OK;
    memcpy(op->names, names->at, names->count * sizeof *op->names);
    if (names->count == op->wanted)
        memcpy(op->next, names->at[names->count - 1], sizeof op->next);
    return ERR_OK;
}

static void start(struct registry_op *op, enum registry_index index, const char *after, size_t count,
                  store_names_fn fn)
{
    op->wanted = count < INDEX_PAGE_MAX ? count : INDEX_PAGE_MAX;
    store_index_list(op->domain->store, index, after, op->wanted, fn, op);
}

/* ---- organisations ---- */

static void next_organisation(struct registry_op *op);

static void on_organisation(enum err e, const Record__Organisation *organisation, struct bytes fence,
                            void *arg)
{
    (void)fence;
    struct registry_op *op = arg;
    if (e == ERR_OK)
        add(op, &organisation->base);
    if (e == ERR_OK || e == ERR_NOT_FOUND)
        next_organisation(op);
    else
        finish(op, e, false);
}

static void next_organisation(struct registry_op *op)
{
    if (op->at == op->name_count)
        finish(op, ERR_OK, false);
    else
        store_organisation_get(op->domain->store, op->names[op->at++], on_organisation, op);
}

static void on_organisation_names(enum err e, const struct name_list *names, void *arg)
{
    struct registry_op *op = arg;
    e = take_names(op, e, names);
    if (e != ERR_OK)
        finish(op, e, false);
    else
        next_organisation(op);
}

struct registry_op *registry_list_organisations(struct registry *registry, const char *after, size_t count,
                                                registry_organisations_fn fn, void *arg)
{
    struct registry_op *op = registry_op_new(registry, arg);
    op->fn.organisations = fn;
    start(op, INDEX_ORGANISATIONS, after, count, on_organisation_names);
    return op;
}

/* ---- portals ---- */

static void next_portal(struct registry_op *op);

static void on_portal(enum err e, const struct portal_view *view, void *arg)
{
    struct registry_op *op = arg;
    bool wanted = e == ERR_OK && !view->record->removed &&
                  (!op->id[0] || strcmp(op->id, view->record->organisation) == 0);
    if (wanted)
        add(op, &view->record->base);
    if (e == ERR_OK || e == ERR_NOT_FOUND)
        next_portal(op);
    else
        finish(op, e, true);
}

static void next_portal(struct registry_op *op)
{
    if (op->at == op->name_count)
        finish(op, ERR_OK, true);
    else
        store_portal_get(op->domain->store, op->names[op->at++], on_portal, op);
}

static void on_portal_names(enum err e, const struct name_list *names, void *arg)
{
    struct registry_op *op = arg;
    e = take_names(op, e, names);
    if (e != ERR_OK)
        finish(op, e, true);
    else
        next_portal(op);
}

struct registry_op *registry_list_portals(struct registry *registry, const char *organisation,
                                          const char *after, size_t count, registry_portals_fn fn, void *arg)
{
    struct registry_op *op = registry_op_new(registry, arg);
    op->fn.portals = fn;
    strncpy(op->id, organisation, NAME_MAX_LEN);
    start(op, INDEX_PORTALS, after, count, on_portal_names);
    return op;
}
