/**
 * Enrolment: a one-time token makes a phone a device (SECURITY, "Enrolment").
 */
#ifndef NANOPUSH_DOMAIN_ENROLMENT_H
#define NANOPUSH_DOMAIN_ENROLMENT_H

#include "domain/domain.h"

#define ENROLMENT_LIFE_MIN_MS     60000
#define ENROLMENT_LIFE_MAX_MS     600000
#define ENROLMENT_LIFE_DEFAULT_MS 600000
#define ENROLMENT_TOKEN_BYTES     16
#define ENROLMENT_PROOF_BYTES     32
#define DEVICE_NAME_MAX_BYTES     64
#define USER_NAME_MAX_BYTES       256

struct enrolment_request {
    const char *organisation, *organisation_name, *portal, *user;
    const char *portal_name; /* as phones are shown it */
    unsigned life_ms;
    const char *by;    /* event.h */
    bool may_add;      /* a further phone need not be approved on an old one */
    bool confirm;      /* the phone shows a code, the person types it into the portal */
    uint32_t platform; /* the one expected, number of nanopush.v1.Platform; 0: any */
};

struct enrolment_created {
    const char *id;
    uint8_t token[ENROLMENT_TOKEN_BYTES]; /* the only time that it is known */
    int64_t expire_unix_ms;
};

struct enrolment_op;

/** Silence; what was sent to the store takes effect. NULL is allowed. */
void enrolment_op_cancel(struct enrolment_op *op);

typedef void (*enrolment_create_fn)(enum err e, const struct enrolment_created *created, void *arg);

/** @p fn: ERR_OK; ERR_UNAVAILABLE and others of store.h. */
struct enrolment_op *enrolment_create(struct domain *domain, const struct enrolment_request *request,
                                      enrolment_create_fn fn, void *arg);

/** What a phone presents, as it came; views are valid during the call. */
struct enrolment_presented {
    const uint8_t *channel_binding; /* CHANNEL_BINDING_BYTES */
    const char *organisation, *id, *name;
    uint32_t platform, capabilities;
    struct bytes token, possession_key, user_verification_key, possession_signature,
        user_verification_signature, proof;
};

typedef void (*enrolment_done_fn)(enum err e, void *arg);

/**
 * A phone has opened the URI: told to who waits for the enrolment. Once; later it changes nothing.
 * @p fn: ERR_OK; ERR_INVALID: no organisation, or no token; ERR_NOT_FOUND, ERR_EXPIRED as for enrolment_use();
 * ERR_UNAVAILABLE and others of store.h.
 */
struct enrolment_op *enrolment_scan(struct domain *domain, const char *organisation, const char *id,
                                    struct bytes token, enrolment_done_fn fn, void *arg);

#define ENROLMENT_CODE_DIGITS 6

struct enrolment_done {
    const Record__Device *device;
    const char *organisation_name;
    enum enrolment_state state; /* DONE, or what it still waits for: TO_CONFIRM, TO_APPROVE */
    const char *code;           /* what the phone shows while TO_CONFIRM; else "" */
    const char *number;         /* what it shows while TO_APPROVE, to be typed into an old phone; else "" */
};

typedef void (*enrolment_use_fn)(enum err e, const struct enrolment_done *done, void *arg);

/**
 * Use a token. Signatures are verified before the store is asked anything.
 * @p fn: ERR_OK (also for a repeat with the same keys); ERR_INVALID: a field or signature is wrong; ERR_NOT_FOUND: no
 * such enrolment, or another token; ERR_EXPIRED: its time is over, or it was cancelled; ERR_BAD_STATE: other keys have
 * used it, it is void now; ERR_EXISTS: a key is enrolled already, here or for another user; ERR_LIMIT: the user has as
 * many phones as may be; ERR_UNAVAILABLE and others of store.h.
 */
struct enrolment_op *enrolment_use(struct domain *domain, const struct enrolment_presented *presented,
                                   enrolment_use_fn fn, void *arg);

/**
 * The code that the person typed into the portal, for the enrolment that @p view shows. One try: a wrong one voids it.
 * @p fn: ERR_OK, whatever came of it; ERR_BAD_STATE: it is not TO_CONFIRM; ERR_UNAVAILABLE and others of store.h.
 */
struct enrolment_op *enrolment_confirm(struct domain *domain, const struct enrolment_view *view,
                                       const char *code, enrolment_done_fn fn, void *arg);

/**
 * An old phone, @p device_id, has answered whether the new one may be added; NULL: it cannot be asked any more.
 * @p fn as for enrolment_confirm(), or ERR_NOT_FOUND.
 */
struct enrolment_op *enrolment_decide(struct domain *domain, const char *id, bool approved,
                                      const char *device_id, enrolment_done_fn fn, void *arg);

/** It came to nothing: the old phones need not answer any more. Told to them; without a question nothing happens. */
void enrolment_withdraw(struct domain *domain, const char *enrolment_id);

/** @p by (event.h) takes back the enrolment that @p view shows. A final one stays as it is: ERR_OK. @p fn may be NULL. */
struct enrolment_op *enrolment_cancel(struct domain *domain, const struct enrolment_view *view,
                                      const char *by, enrolment_done_fn fn, void *arg);

/** A read has shown it; where that very read let it expire, whoever waits is told. */
void enrolment_seen(struct domain *domain, const struct enrolment_view *view);

#endif
