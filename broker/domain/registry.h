/**
 * Organisations and portals, and whose credential a caller shows.
 *
 * A worker remembers the portals that call it. It reads each of them again every PORTAL_REREAD_MS as long as somebody
 * calls in its name or is held, and believes no memory older than PORTAL_FRESH_MS: so long after the change a
 * credential that was taken away still works, at the most, and what is held in its name ends. A new credential works at
 * once, since nothing is refused from memory.
 */
#ifndef NANOPUSH_DOMAIN_REGISTRY_H
#define NANOPUSH_DOMAIN_REGISTRY_H

#include "crypto/client_certificate.h"
#include "crypto/digest.h"
#include "domain/domain.h"

#define CREDENTIAL_SECRET_BYTES  32
#define CREDENTIAL_SIZE          (NAME_MAX_LEN + 1 + BASE64URL_SIZE(CREDENTIAL_SECRET_BYTES)) /* NUL included */
#define CREDENTIAL_OVERLAP_MAX_S (90u * 24 * 3600)
#define PORTAL_CERTIFICATES_MAX  4
#define PORTAL_REREAD_MS         1000
#define PORTAL_FRESH_MS          2000
#define PORTAL_CACHE_MAX         1024
#define AUTHENTICATIONS_MAX      1000 /* that read the store at a time: strangers can have as many as they like */

struct standing;

/** A portal as it was read, shared by the calls that are made in its name; there until portal_unref(). */
struct portal {
    unsigned refs;
    const Record__Portal *record;
    struct buf fence;          /* the stored bytes */
    struct standing *standing; /* what the worker remembers of the portal of this id */
    int64_t ahead_ms;          /* Redis' clock, less this process' monotonic one */
};

struct portal *portal_ref(struct portal *portal);

/** NULL is allowed. */
void portal_unref(struct portal *portal);

/** What was accepted of a caller: everything that they showed. */
struct proof {
    bool has_secret, has_certificate;
    uint8_t secret_hash[SHA256_BYTES];
    uint8_t fingerprint[SHA256_BYTES]; /* of the certificate */
    char certificate_organisation[NAME_MAX_LEN +
                                  1]; /* of one that a CA of portals issued to a portal of that id; or "" */
};

/**
 * True if everything in @p proof counts for @p portal now, and is enough. Takes the same time for every portal and
 * every wrong secret.
 */
bool portal_accepts(const struct portal *portal, const struct proof *proof);

/** Keeps @p domain. */
struct registry *registry_new(struct domain *domain);

/** Before the store is closed: nothing is read again. */
void registry_close(struct registry *registry);

/** After the store is closed. Portals that somebody still refers to stay valid. NULL is allowed. */
void registry_free(struct registry *registry);

/** The portal @p id is not what it was: calls under way in its name may be its no more. @p now NULL: it is gone. */
typedef void (*registry_changed_fn)(const char *id, const struct portal *now, void *arg);

/** Tell @p fn of changes of portals in whose name calls were accepted. One listener. */
void registry_on_change(struct registry *registry, registry_changed_fn fn, void *arg);

struct registry_op;

/** Silence. NULL is allowed. */
void registry_op_cancel(struct registry_op *op);

/** What a caller shows of itself: one of them, or both, of one portal then. */
struct shown {
    struct bytes credential;                      /* "<portal id>.<secret>"; empty: none */
    const struct client_certificate *certificate; /* NULL: none */
};

/**
 * @p portal, @p proof: what was accepted, for portal_accepts() later on; the callee takes a reference. NULL on error.
 * @p why: with ERR_DENIED, what the caller should do; static.
 */
typedef void (*registry_authenticate_fn)(enum err e, struct portal *portal, const struct proof *proof,
                                         const char *why, void *arg);

/**
 * Who is it that shows this? Unknown portal and wrong secret are told apart by nothing, not by time either: each costs
 * one read of the store. A certificate is the portal's that its URI names, where a CA of portals issued it, or the one
 * that it is pinned to. @p shown is not kept.
 * @p fn, never within the call: ERR_OK; ERR_DENIED; ERR_LIMIT: it would have to be read, and AUTHENTICATIONS_MAX are being
 * read; ERR_UNAVAILABLE and others of store.h.
 */
struct registry_op *registry_authenticate(struct registry *registry, const struct shown *shown,
                                          registry_authenticate_fn fn, void *arg);

/** Does the portal still stand? @p fn, never within the call: ERR_OK, also for an unknown one; ERR_DENIED: it was removed. */
struct registry_op *registry_check_standing(struct registry *registry, const char *id, store_done_fn fn,
                                            void *arg);

/* ---- changes, by administrators: registry_change.c ---- */

/** Put a new organisation. @p fn as store_organisation_put()'s, or ERR_INVALID: id, name or support text. */
struct registry_op *registry_add_organisation(struct registry *registry,
                                              const Record__Organisation *organisation, store_done_fn fn,
                                              void *arg);

/**
 * Change what people are told who need help; "" for nothing. Those who ask are told the new one at once.
 * @p fn: ERR_OK; ERR_INVALID: control characters, or too long; ERR_NOT_FOUND; ERR_BAD_STATE: somebody else changes it now.
 */
struct registry_op *registry_set_support_text(struct registry *registry, const char *id, const char *text,
                                              store_done_fn fn, void *arg);

/** @p portal: as it is now. @p credential: said once, "<portal id>.<secret>", where one was made. NULL on error. */
typedef void (*registry_portal_fn)(enum err e, const struct portal_view *portal, const char *credential,
                                   void *arg);

/**
 * Put a new portal of an organisation that is there; its secret and its organisation's name are filled in here.
 * @p fn: ERR_OK; ERR_INVALID: id or name; ERR_NOT_FOUND: no such organisation; ERR_EXISTS, also where one of that id
 * was removed; ERR_LIMIT: a certificate is pinned to another portal; and as store.h's.
 */
struct registry_op *registry_add_portal(struct registry *registry, const Record__Portal *portal,
                                        int64_t now_unix_ms, registry_portal_fn fn, void *arg);

/**
 * Make a new secret; the present one counts for @p overlap_s (CREDENTIAL_OVERLAP_MAX_S) more.
 * @p fn: ERR_OK; ERR_NOT_FOUND; ERR_EXISTS: two count already; ERR_BAD_STATE: somebody else changes it now.
 */
struct registry_op *registry_rotate(struct registry *registry, const char *id, unsigned overlap_s,
                                    registry_portal_fn fn, void *arg);

/**
 * End a rotation: of the two secrets that count, keep the new one or, with @p undo, the old one, for good.
 * @p fn: ERR_OK; ERR_NOT_FOUND; ERR_EXPIRED: there are no two; ERR_BAD_STATE.
 */
struct registry_op *registry_finish_rotation(struct registry *registry, const char *id, bool undo,
                                             registry_portal_fn fn, void *arg);

/**
 * Pin client certificates to a portal (@p add, or NULL), take others off it (@p drop, or NULL: fingerprints), say
 * whether its secret alone is enough (@p required 0 or 1; -1: as it is).
 * @p fn: ERR_OK; ERR_NOT_FOUND; ERR_EXISTS: pinned to another portal; ERR_LIMIT: it has PORTAL_CERTIFICATES_MAX;
 * ERR_BAD_STATE.
 */
struct registry_op *registry_set_certificates(struct registry *registry, const char *id, const uint8_t *add,
                                              const uint8_t *drop, int required, registry_portal_fn fn,
                                              void *arg);

/** How many calls a second the portal may make; 0: as the option says. @p fn: ERR_OK; ERR_NOT_FOUND; ERR_BAD_STATE. */
struct registry_op *registry_set_limits(struct registry *registry, const char *id, unsigned calls_per_s,
                                        registry_portal_fn fn, void *arg);

/** Remove a portal; its id is not given again. @p fn: ERR_OK, also where it was removed; ERR_NOT_FOUND; ERR_BAD_STATE. */
struct registry_op *registry_remove(struct registry *registry, const char *id, registry_portal_fn fn,
                                    void *arg);

/* ---- lists: registry_list.c ---- */

/** One page. @p next: what to begin the next one behind; "" where there is none. */
typedef void (*registry_organisations_fn)(enum err e, Record__Organisation *const *organisations,
                                          size_t count, const char *next, void *arg);
typedef void (*registry_portals_fn)(enum err e, Record__Portal *const *portals, size_t count,
                                    const char *next, void *arg);

/** A page of up to @p count (INDEX_PAGE_MAX) behind the id @p after. @p fn: ERR_OK and errors of store.h. */
struct registry_op *registry_list_organisations(struct registry *registry, const char *after, size_t count,
                                                registry_organisations_fn fn, void *arg);

/** The same of portals; of one organisation, unless it is "". A page may have fewer, though there are more. */
struct registry_op *registry_list_portals(struct registry *registry, const char *organisation,
                                          const char *after, size_t count, registry_portals_fn fn, void *arg);

#endif
