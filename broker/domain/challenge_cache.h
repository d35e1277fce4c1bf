/**
 * Challenges that this worker has in hand: what was accepted here, or read for a phone, so that neither its answer nor a
 * watch of it has to ask the store again. Redis stays the truth: what is kept here never changes (the record, its fence,
 * its times), and the settle script holds it against what is stored; and that nothing has happened to it yet is believed
 * only while this worker's inbox is told of changes and none came.
 *
 * At most CACHED_MAX at a time, each until it is over.
 */
#ifndef NANOPUSH_DOMAIN_CHALLENGE_CACHE_H
#define NANOPUSH_DOMAIN_CHALLENGE_CACHE_H

#include "domain/domain.h"

#define CACHED_MAX 8192 /* beyond them the oldest goes */

struct challenge_cache;

struct challenge_cache *challenge_cache_new(void);

/** NULL is allowed. */
void challenge_cache_free(struct challenge_cache *cache);

/**
 * Keep @p view, which is pending; copies its record and fence. @p cache NULL: nothing is kept, and nothing found.
 * @param told  this worker's inbox is told of each change behind @p view, and this is revision 1, of which nothing came.
 */
void challenge_cache_put(struct challenge_cache *cache, const struct challenge_view *view, bool told);

/**
 * What an answer is judged by.
 * @param[out] ret  record, fence and times; the state may be another by now. Valid until the cache is next called.
 * @return false where it is not in hand.
 */
bool challenge_cache_find(const struct challenge_cache *cache, const char *id, struct challenge_view *ret);

/** Likewise, but only where the whole of it can be said to be as it was: a snapshot. */
bool challenge_cache_unchanged(const struct challenge_cache *cache, const char *id,
                               struct challenge_view *ret);

/** Challenge @p id has changed, or may have. */
void challenge_cache_changed(struct challenge_cache *cache, const char *id);

/** Of no challenge is it certain any more that this worker is told: its inbox is another, Redis was away. */
void challenge_cache_doubt(struct challenge_cache *cache);

/** It is over. */
void challenge_cache_drop(struct challenge_cache *cache, const char *id);

#endif
