/**
 * Whether logins would work here: once a second a probe goes the way of every hint, through a script into this worker's
 * inbox and back out of it. Its age is the worker's health; what it did not come past is at fault.
 *
 *     probe ──store_probe()──> script in Redis ──> own inbox ──> router_on_hint() ──> probe_returned()
 *             STEP_TURNED                STEP_WRITTEN                                 STEP_RETURNED
 */
#ifndef NANOPUSH_DOMAIN_PROBE_H
#define NANOPUSH_DOMAIN_PROBE_H

#include "core/metrics.h"
#include "domain/domain.h"

#define PROBE_LATE_MS 3000 /* a probe that is older: logins do not work */

struct probe;

/** Called at each step, from the loop. */
typedef void (*probe_step_fn)(enum probe_step step, void *arg);

/** Begin, as soon as the store has an inbox. @p domain is kept. Never NULL. */
struct probe *probe_new(struct domain *domain, probe_step_fn fn, void *arg);

/** Send one now, beside those that are due. */
void probe_send(struct probe *probe);

/** A probe's hint came out of the inbox. Numbers that this worker has not sent are passed over. */
void probe_returned(struct probe *probe, uint64_t number);

/** True while the last probe that came back is younger than PROBE_LATE_MS. */
bool probe_sound(const struct probe *probe);

/** Before the store is closed. NULL is allowed. */
void probe_free(struct probe *probe);

#endif
