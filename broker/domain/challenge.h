/**
 * The life of a challenge: accepted, pushed, answered or ended. Who may ask and what the request may contain is checked
 * before (portal/); what is accepted here has exactly one outcome.
 */
#ifndef NANOPUSH_DOMAIN_CHALLENGE_H
#define NANOPUSH_DOMAIN_CHALLENGE_H

#include "domain/domain.h"

#define CHALLENGE_LIFE_MIN_MS           30000
#define CHALLENGE_LIFE_MAX_MS           300000
#define CHALLENGE_LIFE_DEFAULT_MS       60000
#define CHALLENGE_NONCE_MIN_BYTES       16
#define CHALLENGE_NONCE_MAX_BYTES       64
#define CHALLENGE_NONCE_OWN_BYTES       32
#define CHALLENGE_SESSION_MAX_BYTES     128
#define CHALLENGE_IDEMPOTENCY_MAX_BYTES 128

struct challenge_request {
    const char *organisation, *portal, *user;
    struct bytes display;       /* serialised nanopush.v1.Display */
    struct bytes other_display; /* the same, saying that another sign-in is under way */
    struct bytes nonce;         /* empty: the broker makes one */
    int mode, user_verification;
    unsigned life_ms;
    const char *browser_session; /* "" for none */
    struct bytes idempotency;    /* the portal's key; empty for none */
    struct bytes asked;          /* what has to be the same where the key is: the request in its own form */
    unsigned code_digits;        /* of the number in mode CODE; 0: as many as ever */
    const char *enrolment;       /* the enrolment that it asks about; NULL for none */
    bool repeated;               /* asked before: that it is refused once more is no news */
    const char *id;              /* valid, of the user, never used for another; NULL: the broker makes one */
};

/** What came of it; views are valid during the callback. */
struct challenge_accepted {
    const char *id;
    enum challenge_state state; /* PENDING, or what became of it where the idempotency key stood for it */
    int64_t expire_unix_ms;
    struct bytes nonce;
    const char *number; /* what the portal shows; "" in mode TAP */
    /* ERR_LIMIT only: */
    bool locked;           /* push is locked; else it is delayed */
    int64_t until_unix_ms; /* until when */
};

typedef void (*challenge_create_fn)(enum err e, const struct challenge_accepted *accepted, void *arg);

/** An operation under way; cancelling it silences the callback, not the operation. */
struct challenge_op;
void challenge_op_cancel(struct challenge_op *op);

/**
 * Accept a challenge and push it to the user's phones. Copies what it needs.
 * @p fn: ERR_OK; ERR_NOT_FOUND: unknown user; ERR_DENIED: no phone; ERR_UNSUPPORTED: none that can do the mode;
 * ERR_LIMIT: locked or delayed (@p accepted says until when); ERR_EXISTS: idempotency key of another request;
 * ERR_BAD_STATE: another challenge of this portal waits, of another browser session; ERR_UNAVAILABLE and others of
 * store.h: not accepted.
 */
struct challenge_op *challenge_create(struct domain *domain, const struct challenge_request *request,
                                      challenge_create_fn fn, void *arg);

typedef void (*challenge_done_fn)(enum err e, void *arg);

/** @p by (event.h; NULL: the broker) takes back the challenge that @p view shows. A final one stays as it is: ERR_OK. */
struct challenge_op *challenge_cancel(struct domain *domain, const struct challenge_view *view,
                                      const char *by, challenge_done_fn fn, void *arg);

/** ERR_OK; ERR_NOT_FOUND; ERR_BAD_STATE: it is final; ERR_LIMIT: not before @p until_unix_ms, or not any more (0). */
typedef void (*challenge_resend_fn)(enum err e, int64_t until_unix_ms, void *arg);

/** Alert the phones again. */
struct challenge_op *challenge_resend(struct domain *domain, const struct challenge_view *view,
                                      challenge_resend_fn fn, void *arg);

/** Its time is over: settle it, tell everybody. Nobody waits for this; a watch that sees it unsettled calls again. */
void challenge_expire(struct domain *domain, const struct challenge_view *view);

/** Some phone is not known to have it, though time has passed: push it to where those hang now that have not got it. */
void challenge_push_again(struct domain *domain, const struct challenge_view *view);

/** True while fewer phones are known to have it than were attached when it was made, or none is. */
bool challenge_lacks_phone(const struct challenge_view *view);

/** True if a phone of these capabilities (enum capability) can do the challenge's mode. */
bool challenge_fits(const struct challenge_view *view, unsigned capabilities);

/** The frame that pushes what @p view shows to @p device_id. @return ERR_OK; ERR_TOO_BIG; ERR_NOMEM. */
MUST_CHECK enum err challenge_push_frame(const struct domain *domain, const struct challenge_view *view,
                                         const char *device_id, struct buf *ret);

/** How an answer ended. state is what the challenge is now, whoever brought it there; device_id whose answer it was. */
typedef void (*challenge_answer_fn)(enum err e, enum challenge_state state, const char *device_id, void *arg);

/**
 * A device's answer. @p device is copied; its organisation, user, keys and generation are those of a verified Hello.
 * @p fn: ERR_OK; ERR_NOT_FOUND: no such challenge of this user; ERR_INVALID: malformed, or wrong claims; ERR_BAD_SIGNATURE;
 * ERR_DENIED: signed by a key that is not enough, or the device is not what it was; ERR_UNAVAILABLE and others.
 */
struct challenge_op *challenge_answer(struct domain *domain, const Record__Device *device, const char *id,
                                      struct bytes jws, challenge_answer_fn fn, void *arg);

#endif
