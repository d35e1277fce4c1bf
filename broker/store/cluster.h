/**
 * A Redis Cluster as one sees it who sends commands: which node serves a slot, with the connections to all of them.
 * Internal to store/.
 *
 *     CLUSTER SLOTS (cluster_scout.h) --> map: slot -> master -> struct redis_node
 *     MOVED ------------------------------^
 *
 * A node stays for as long as a map names it. Each is pinged, so that one that is silent is found by who has nothing to
 * ask of it.
 */
#ifndef NANOPUSH_STORE_CLUSTER_H
#define NANOPUSH_STORE_CLUSTER_H

#include "base/buf.h"
#include "store/redis_node.h"
#include "store/redis_options.h"
#include "store/slot.h"

struct cluster;

/** Called from the loop. */
struct cluster_handlers {
    void (*on_up)(void *arg);   /* a master can be reached, again */
    void (*on_down)(void *arg); /* one cannot */
    void (*on_map)(void *arg);  /* slots may be elsewhere; nodes that serve none are closed after it */
};

/** @param options  kept. @param timeout_ms  of commands. @param handlers  kept. */
struct cluster *cluster_open(struct loop *loop, const struct redis_options *options, unsigned timeout_ms,
                             const struct cluster_handlers *handlers, void *arg);

/** NULL is allowed. */
void cluster_close(struct cluster *cluster);

/** Who serves a slot; NULL: nobody, or it is not known yet. Valid until on_map has returned. */
struct redis_node *cluster_node(const struct cluster *cluster, unsigned slot);

/** The node of ASK; NULL when there are too many. Valid as that of cluster_node(). */
struct redis_node *cluster_node_at(struct cluster *cluster, const struct address *address);

/** A node says that @p slot is there. */
void cluster_moved(struct cluster *cluster, unsigned slot, const struct address *address);

/** What is known does not fit: find out anew. */
void cluster_outdated(struct cluster *cluster);

/** True while each slot has a master that can be reached. */
bool cluster_up(const struct cluster *cluster);
int64_t cluster_since_unix_ms(const struct cluster *cluster);

/** Since when some slot is nobody's, by the map; 0: it is not so. Monotonic. */
int64_t cluster_gap_since_mono_ms(const struct cluster *cluster);

/** True if the map has a master at @p address. */
bool cluster_serves(const struct cluster *cluster, const struct address *address);

/** For people, what is gone: "slots 0-5460 have no master"; nothing while cluster_up(). @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err cluster_describe(const struct cluster *cluster, struct buf *out);

#endif
