/**
 * Hash table with the node inside the object: one pointer and one hash per object, keys stay where they are.
 * It knows no key type; the owner hashes with table_hash() and compares in its own find loop:
 *
 *     for (struct table_node *n = table_first(&t, hash); n; n = table_next(n, hash))
 *         if (key matches CONTAINER_OF(n, ...)) ...
 *
 * Hashes are keyed by a per-process random value, so that a peer cannot choose colliding keys.
 */
#ifndef NANOPUSH_BASE_TABLE_H
#define NANOPUSH_BASE_TABLE_H

#include "base/bytes.h"

struct table_node {
    struct table_node *next;
    uint64_t hash;
};

/** Zero-initialised is empty and valid. */
struct table {
    struct table_node **buckets;
    size_t bucket_count, count; /* bucket_count is 0 or a power of two */
};

/** Hash of a key (SipHash-2-4 under this process's key). */
uint64_t table_hash(struct bytes key);

/** First node with that hash, or NULL. Order among equals: newest first. */
struct table_node *table_first(const struct table *t, uint64_t hash);

/** Next node with that hash after @p n, or NULL. */
struct table_node *table_next(const struct table_node *n, uint64_t hash);

/**
 * Add @p n, in no table now, under @p hash. Duplicates are the caller's business.
 * @return ERR_OK; ERR_NOMEM only for the very first node (later growth that fails leaves longer chains instead).
 */
MUST_CHECK enum err table_add(struct table *t, struct table_node *n, uint64_t hash);

/** Remove @p n, which must be in @p t. */
void table_remove(struct table *t, struct table_node *n);

/**
 * Call @p fn for every node, which it may remove and free; it must not add or remove others.
 */
void table_each(struct table *t, void (*fn)(struct table_node *n, void *arg), void *arg);

/** Free the buckets, not the objects. */
void table_done(struct table *t);

#endif
