/**
 * What becomes of an enrolled device: new keys, removal, and the lock of its user.
 */
#ifndef NANOPUSH_DOMAIN_DEVICE_H
#define NANOPUSH_DOMAIN_DEVICE_H

#include "domain/domain.h"

#define ROTATIONS_MAX     16   /* kept for portals; beyond that a phone enrols anew */
#define ACT_MAX_BYTES     4096 /* of a compact JWS */
#define ACT_CLOCK_SLACK_S 300  /* how far iat may be from the broker's clock */

/** True where the device of that id had @p key as its first possession key, which the id is made of. */
bool device_id_is_of_key(const char *device_id, struct bytes key);

struct device_op;

/** Silence; what was sent to the store takes effect. NULL is allowed. */
void device_op_cancel(struct device_op *op);

typedef void (*device_done_fn)(enum err e, void *arg);

/** The device as it is from now on; NULL on error. */
typedef void (*device_rotated_fn)(enum err e, const Record__Device *next, void *arg);

/**
 * An administrator, @p by (event.h), takes a device away: from the callback on no answer of it counts, and its connection ends. One that
 * is gone already is as good. @p fn: ERR_OK; as store.h's.
 */
struct device_op *device_revoke(struct domain *domain, const char *device_id, const char *by,
                                device_done_fn fn, void *arg);

/**
 * @p by gives a device another name (1 to DEVICE_NAME_MAX_BYTES of text). @p device: as it was read.
 * @p fn: ERR_OK; ERR_INVALID: the name; ERR_DENIED: the device is not @p device any more; as store.h's.
 */
struct device_op *device_rename(struct domain *domain, const Record__Device *device, const char *name,
                                const char *by, device_rotated_fn fn, void *arg);

/** An administrator, @p by, lifts the lock of a user. @p fn: ERR_OK; ERR_NOT_FOUND; as store.h's. */
struct device_op *device_unlock_user(struct domain *domain, const char *organisation, const char *user,
                                     const char *by, device_done_fn fn, void *arg);

/**
 * A phone's own acts; @p device is that of a verified Hello, @p channel_binding (CHANNEL_BINDING_BYTES) this connection's.
 * @p fn: ERR_OK; ERR_INVALID: signature, claims or keys are wrong, or a new key is one that it has or had; ERR_DENIED: the device is not any more what said
 * Hello; ERR_UNAVAILABLE and others of store.h.
 */
struct device_op *device_remove(struct domain *domain, const Record__Device *device,
                                const uint8_t *channel_binding, struct bytes jws, device_done_fn fn,
                                void *arg);
struct device_op *device_unlock(struct domain *domain, const Record__Device *device,
                                const uint8_t *channel_binding, struct bytes jws, device_done_fn fn,
                                void *arg);

/** As above; ERR_EXISTS: a new key is another's; ERR_LIMIT: it was rotated ROTATIONS_MAX times. */
struct device_op *device_rotate(struct domain *domain, const Record__Device *device, struct bytes jws,
                                struct bytes possession_key, struct bytes user_verification_key,
                                device_rotated_fn fn, void *arg);

#endif
