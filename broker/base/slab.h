/**
 * Blocks of one size, many of them, for what a process holds by the ten thousand: no header a block, no rounding, and
 * after a burst whole chunks go back to the kernel, which malloc() cannot do once small objects of others lie between.
 *
 *     chunk, 64 KiB, aligned to its size:  | header | block | block | ... |
 *
 * Blocks are zero when they are taken and cleansed when they are put back. One thread.
 */
#ifndef NANOPUSH_BASE_SLAB_H
#define NANOPUSH_BASE_SLAB_H

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"

#define SLAB_CHUNK_BYTES 65536

/** Fields are the slab's; set by slab_init(). */
struct slab {
    size_t block_bytes;
    bool secret;
    struct list roomy; /* chunks that have a free block */
    size_t taken;      /* blocks */
    size_t chunks;
};

/**
 * @param block_bytes  at least sizeof(void *), at most an eighth of a chunk; rounded up to a multiple of 8.
 * @param secret       chunks are left out of core files, and are zero in a child after fork().
 */
void slab_init(struct slab *slab, size_t block_bytes, bool secret);

/** Every block must have been put back. */
void slab_done(struct slab *slab);

/** A zeroed block, aligned to 8 bytes; NULL when memory is out. */
void *slab_take(struct slab *slab);

/** Cleanse @p block and give it back; NULL is allowed. */
void slab_put(void *block);

/** The slab that @p block was taken from. */
struct slab *slab_of(const void *block);

#endif
