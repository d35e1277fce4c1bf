/**
 * What the files of challenge.h share. Internal to domain/challenge*.c.
 */
#ifndef NANOPUSH_DOMAIN_CHALLENGE_OP_H
#define NANOPUSH_DOMAIN_CHALLENGE_OP_H

#include "domain/answer.h"
#include "domain/challenge.h"
#include "domain/event.h"

struct challenge_op {
    struct domain *domain;
    char id[ID_SIZE];
    union {
        challenge_create_fn create;
        challenge_done_fn done;
        challenge_answer_fn answer;
        challenge_resend_fn resend;
    } fn;
    int64_t begin_mono_us;
    bool silent; /* cancelled: nobody to call */
    void *arg;
    struct deferral failed; /* an error found at once */
    enum err error;
    /* create */
    Record__Challenge *record; /* own copy, where there is one */
    int64_t expire_unix_ms;    /* resend */
    struct buf other_display;
    bool repeated; /* as challenge_request's */
    char *pending_of;
    char session[HEX_SIZE(SHA256_BYTES)], idempotency[HEX_SIZE(SHA256_BYTES)], asked[HEX_SIZE(SHA256_BYTES)];
    char supersede[ID_SIZE];
    unsigned tries;
    /* answer */
    Record__Device *device; /* own copy */
    struct buf jws;         /* with a NUL behind it */
    struct answer answer;
    bool answer_is_open;
    enum challenge_state state;
    char by[ID_SIZE];
    char ended_by[EVENT_BY_SIZE]; /* cancel */
};

struct challenge_op *op_new(struct domain *domain, const char *id, void *arg);
void op_free(struct challenge_op *op);

/** End with @p e, by @p fn, in a later turn. */
void op_fail_later(struct challenge_op *op, enum err e, loop_fn fn);

/**
 * Everybody is told how it ended, but for device @p except ("" for none), which is answered by itself; whoever's call
 * moved it counts it; @p by: who ended it, where it was nobody's answer (event.h; NULL: the broker). Push that was locked by it ends what else waits.
 */
void tell_outcome(struct domain *domain, const Record__Challenge *record,
                  const struct challenge_settled *settled, const char *except, const char *by);

/** As tell_outcome(), for one that a newer challenge, @p record, took the place of. */
void tell_superseded(struct domain *domain, const char *id, const Record__Challenge *record,
                     const struct routes *routes);

/** Push what @p record asks to @p route. */
void push_to(struct domain *domain, const Record__Challenge *record, uint32_t attempt, int64_t now_unix_ms,
             int64_t expire_unix_ms, const struct route *route);

/** What a phone must be able to do for a mode: enum capability, 0 for nothing. */
unsigned capability_of(uint32_t mode);

#endif
