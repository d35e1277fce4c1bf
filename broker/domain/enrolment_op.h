/**
 * What the files of enrolment.h share. Internal to domain/enrolment*.c.
 */
#ifndef NANOPUSH_DOMAIN_ENROLMENT_OP_H
#define NANOPUSH_DOMAIN_ENROLMENT_OP_H

#include "domain/enrolment.h"
#include "domain/event.h"
#include "domain/number.h"

struct enrolment_op {
    struct domain *domain;
    char id[ID_SIZE];
    union {
        enrolment_create_fn create;
        enrolment_use_fn use;
        enrolment_done_fn done;
    } fn;
    bool silent;
    void *arg;
    struct deferral failed;
    enum err error;
    uint8_t token[ENROLMENT_TOKEN_BYTES], token_hash[SHA256_BYTES];
    /* use, scan */
    char *organisation;
    uint32_t capabilities;
    Record__Enrolled *enrolled; /* what is presented, completed from the enrolment's record */
    /* use, confirm, decide */
    Record__Enrolment *record;
    struct buf fence;
    int64_t left_ms; /* of the enrolment's life */
    enum enrolment_state state;
    bool good;
    char by[EVENT_BY_SIZE]; /* who brings the step about */
};

struct enrolment_op *enrolment_op_new(struct domain *domain, void *arg);
void enrolment_op_free(struct enrolment_op *op);

/** Something became of the enrolment. @p device: the phone that it is about; NULL for none. */
void enrolment_emit(struct domain *domain, enum event_kind kind, const Record__Enrolment *record,
                    const Record__Device *device, const char *by);

/** End with @p e, by @p fn, in a later turn. */
void enrolment_op_fail_later(struct enrolment_op *op, enum err e, loop_fn fn);

/** Whether the op's token is the record's, and its organisation. */
bool enrolment_op_may(const struct enrolment_op *op, const Record__Enrolment *record);

/** Keep what a read showed, for the step that follows. @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err enrolment_op_keep(struct enrolment_op *op, const struct enrolment_view *view);

/** The number of @p enrolment_id's question, for the new phone to show. @return ERR_OK; as number_to_show(); ERR_NOMEM. */
MUST_CHECK enum err enrolment_number(const struct secret *secret, const char *enrolment_id,
                                     char out[NUMBER_SIZE]);

/**
 * Ask the old phones about the new one, @p device; once an enrolment, however often it is called.
 * @param again  not for the first time: that it is refused is known.
 */
void enrolment_ask(const struct enrolment_op *op, const Record__Device *device, bool again);

/**
 * Tell what a step led to: who waits, the phones that are there, and, where it is TO_APPROVE, ask those.
 * @p device: the new one.
 */
void enrolment_tell_step(struct enrolment_op *op, const struct enrolment_step *step,
                         const Record__Device *device);

#endif
