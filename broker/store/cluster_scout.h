/**
 * Where the slots of a Redis Cluster are, by the word of its nodes: one after the other is asked, over a connection of
 * its own, every few seconds, and more often while something is amiss. Internal to store/.
 *
 * A node that was cut off from the others still tells its old map. So it says its epoch with it (CLUSTER INFO), and what is
 * older than what another one has said does not count.
 */
#ifndef NANOPUSH_STORE_CLUSTER_SCOUT_H
#define NANOPUSH_STORE_CLUSTER_SCOUT_H

#include "core/loop.h"
#include "store/redis_options.h"
#include "store/slot.h"

struct cluster_scout;

/** @p map is valid during the call. Called from the loop, with every answer. */
typedef void (*cluster_scout_fn)(const struct slot_map *map, void *arg);

/** @param options  kept: addresses to begin with, the login. */
struct cluster_scout *cluster_scout_new(struct loop *loop, const struct redis_options *options,
                                        cluster_scout_fn fn, void *arg);

/** Ask now, and often until cluster_scout_rest(). */
void cluster_scout_hurry(struct cluster_scout *scout);
void cluster_scout_rest(struct cluster_scout *scout);

/** NULL is allowed. */
void cluster_scout_free(struct cluster_scout *scout);

#endif
