/**
 * A user as a whole: deleted.
 */
#ifndef NANOPUSH_DOMAIN_USER_H
#define NANOPUSH_DOMAIN_USER_H

#include "domain/domain.h"

struct user_op;

/** Silence; what has begun goes on. NULL is allowed. */
void user_op_cancel(struct user_op *op);

typedef void (*user_done_fn)(enum err e, void *arg);

/**
 * @p by (event.h) deletes a user: phones are revoked and their connections end, what is pending is cancelled, open enrolments
 * are taken back, limits are forgotten. Nothing of it counts from the first step on; on an error repeat it, which does
 * what is left. A user that is not there is as good.
 * @p fn: ERR_OK; as store.h's.
 */
struct user_op *user_delete(struct domain *domain, const char *organisation, const char *user, const char *by,
                            user_done_fn fn, void *arg);

#endif
