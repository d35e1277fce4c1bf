/**
 * Organisations and portals, and whose credential a caller shows.
 */
#ifndef NANOPUSH_DOMAIN_REGISTRY_H
#define NANOPUSH_DOMAIN_REGISTRY_H

#include "domain/domain.h"

#define CREDENTIAL_SECRET_BYTES 32
#define CREDENTIAL_SIZE         (NAME_MAX_LEN + 1 + BASE64URL_SIZE(CREDENTIAL_SECRET_BYTES)) /* NUL included */
#define PORTAL_CACHE_MS         5000 /* a removed credential works for so long at the most */
#define PORTAL_CACHE_MAX        1024

/** A portal, shared by the calls that are made in its name; shown to them until portal_unref(). */
struct portal {
    unsigned refs;
    const Record__Portal *record;
};

struct portal *portal_ref(struct portal *portal);

/** NULL is allowed. */
void portal_unref(struct portal *portal);

/** Keeps @p domain. */
struct registry *registry_new(struct domain *domain);

/** NULL is allowed. */
void registry_free(struct registry *registry);

struct registry_op;

/** Silence. NULL is allowed. */
void registry_op_cancel(struct registry_op *op);

/** @p portal: the callee takes a reference of its own if it keeps it. NULL on error. */
typedef void (*registry_portal_fn)(enum err e, struct portal *portal, void *arg);

/**
 * Whose credential is "<portal id>.<secret>"? Unknown portal and wrong secret are told apart by nothing.
 * @p fn, never within the call: ERR_OK; ERR_DENIED; ERR_UNAVAILABLE and others of store.h.
 */
struct registry_op *registry_authenticate(struct registry *registry, struct bytes credential,
                                          registry_portal_fn fn, void *arg);

/** Put a new organisation. @p fn as store_organisation_put()'s, or ERR_INVALID: id, name or support text. */
struct registry_op *registry_add_organisation(struct registry *registry,
                                              const Record__Organisation *organisation, store_done_fn fn,
                                              void *arg);

/** @p credential: said once, "<portal id>.<secret>"; NULL on error. */
typedef void (*registry_add_portal_fn)(enum err e, const char *credential, void *arg);

/**
 * Put a new portal of an organisation that is there; its secret and its organisation's name are filled in here.
 * @p fn: ERR_OK; ERR_INVALID: id or name; ERR_NOT_FOUND: no such organisation; ERR_EXISTS; and as store.h's.
 */
struct registry_op *registry_add_portal(struct registry *registry, const Record__Portal *portal,
                                        registry_add_portal_fn fn, void *arg);

#endif
