/**
 * How many calls a portal may make, at all workers and machines together.
 *
 *     call --> what this worker has leased --> given | refused, with a time to come again
 *                  ^ renewed ahead, off the critical path
 *              one token bucket a portal, in Redis (lua/portal_lease.lua): rate permits a second, two seconds' worth gather
 *
 * A worker leases up to a batch, a twentieth of a second's permits, but no more than it used last; what it does not use
 * within PERMIT_LEASE_MS is lost. So in any T seconds no more than rate * (T + 2), and a batch for each worker, are given;
 * and a worker that comes to need few keeps at most a batch from others, for that long. Without Redis, what is leased is
 * spent, and then calls are unavailable, as they would be without the limit.
 *
 * Calls at a time have a limit for each worker, which needs no Redis.
 */
#ifndef NANOPUSH_DOMAIN_PERMIT_H
#define NANOPUSH_DOMAIN_PERMIT_H

#include "base/list.h"
#include "domain/domain.h"

#define PERMIT_LEASE_MS    5000
#define PERMIT_BATCH(rate) ((rate) < 20 ? 1 : (rate) / 20)
#define PERMIT_BURST(rate) (2 * (rate))
#define PORTAL_RATE_MAX    1000000

struct permits;
struct budget;

/** @p e: ERR_OK; ERR_LIMIT: come again in @p retry_ms; ERR_UNAVAILABLE and others of store.h. */
typedef void (*permit_fn)(enum err e, unsigned retry_ms, void *arg);

/** A call's permit, asked for, given or not; embedded in the call. Zero-initialised is none. */
struct permit {
    struct list node;      /* among those that wait */
    struct budget *budget; /* NULL: none */
    bool waits;
    permit_fn fn;
    void *arg;
};

enum permit_answer { PERMIT_GIVEN, PERMIT_REFUSED, PERMIT_LATER };

/**
 * @param domain    kept.
 * @param per_s     calls a second of a portal whose record does not say (1 to PORTAL_RATE_MAX).
 * @param open_max  calls of a portal at a time, here.
 */
struct permits *permits_new(struct domain *domain, unsigned per_s, unsigned open_max);

/** There must be no permit left, and the store closed. NULL is allowed. */
void permits_free(struct permits *permits);

/**
 * Ask for a permit for a call in the name of @p portal.
 * @param[out] permit    whatever the answer, ended with permit_end().
 * @param[out] retry_ms  of PERMIT_REFUSED.
 * @param      fn        called later, with PERMIT_LATER only.
 */
enum permit_answer permit_take(struct permits *permits, const Record__Portal *portal, struct permit *permit,
                               unsigned *retry_ms, permit_fn fn, void *arg);

/** The call is over, or does not wait any more: silence. Harmless where there is none. */
void permit_end(struct permit *permit);

#endif
