/**
 * An operation on the registry under way. Internal to domain/: what registry.c, registry_change.c and registry_list.c
 * share.
 */
#ifndef NANOPUSH_DOMAIN_REGISTRY_OP_H
#define NANOPUSH_DOMAIN_REGISTRY_OP_H

#include "domain/registry.h"

struct registry_op;

/** Change @p record, read at @p now_unix_ms. @return ERR_OK: put it; or what the operation ends with. */
typedef enum err (*registry_edit_fn)(struct registry_op *op, Record__Portal *record, int64_t now_unix_ms);

struct registry_op {
    struct domain *domain;
    struct registry *registry; /* of authentications */
    union {
        registry_authenticate_fn authenticate;
        store_done_fn done;
        registry_portal_fn portal;
        registry_organisations_fn organisations;
        registry_portals_fn portals;
    } fn;
    bool silent;
    void *arg;
    struct deferral later;
    enum err error;
    char id[NAME_MAX_LEN + 1]; /* of the portal that it is about */
    struct proof proof;
    struct portal *accepted;                                 /* from memory */
    bool is_read;                                            /* counts among the registry's */
    bool certificate_is_trusted, certificate_is_pinned_only; /* no name to look for: by fingerprint */
    /* changes */
    ProtobufCMessage *record; /* an organisation or a portal, own copy */
    registry_edit_fn edit;
    unsigned overlap_s, calls_per_s;
    uint8_t pin[SHA256_BYTES], drop[SHA256_BYTES]; /* fingerprints */
    bool pins, drops;
    int required; /* -1: as it is */
    size_t pin_at;
    int64_t now_unix_ms;
    char credential[CREDENTIAL_SIZE];
    /* lists */
    size_t wanted, name_count, found_count, at;
    char (*names)[NAME_MAX_LEN + 1];
    ProtobufCMessage **found;
    char next[NAME_MAX_LEN + 1];
};

struct registry_op *registry_op_new(struct registry *registry, void *arg);
void registry_op_free(struct registry_op *op);

/** End with @p e, by @p fn, in a later turn. */
void registry_op_finish_later(struct registry_op *op, enum err e, loop_fn fn);

#endif
