/**
 * Where the master is, by the word of Sentinels: all of them are asked, every second, and more often while the master
 * cannot be reached. Of their answers the one of the highest configuration epoch counts, so that a Sentinel that was cut
 * off, and still names the old master, misleads nobody; and only one that does not call the master down.
 *
 * Once the master was lost no answer from before counts any more: whoever is master now, or again, is said anew.
 */
#ifndef NANOPUSH_STORE_SENTINEL_H
#define NANOPUSH_STORE_SENTINEL_H

#include "core/loop.h"
#include "store/redis_options.h"

struct sentinels;

/** The master is at another address than before, or, after sentinels_lost(), at this one. Called from the loop. */
typedef void (*sentinels_master_fn)(const struct address *master, void *arg);

/** @param options  kept: the Sentinels' addresses, the login to them, the master's name. */
struct sentinels *sentinels_new(struct loop *loop, const struct redis_options *options,
                                sentinels_master_fn fn, void *arg);

/** The master was lost, or could not be reached: ask now, and more often; what they said so far is void. */
void sentinels_lost(struct sentinels *sentinels);

/** The master can be reached. */
void sentinels_reached(struct sentinels *sentinels);

/** NULL is allowed. */
void sentinels_free(struct sentinels *sentinels);

#endif
