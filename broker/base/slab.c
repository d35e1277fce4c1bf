#include "base/slab.h"

#include <stdint.h>
#include <sys/mman.h>

#include "base/bytes.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

struct free_block {
    struct free_block *next;
};

struct chunk {
    struct slab *slab;
    struct list node;        /* in slab.roomy, while it has a free block */
    struct free_block *free; /* put back */
    uint32_t fresh;          /* offset of the first block never taken: its pages are not touched before */
    uint32_t taken;          /* blocks */
};

static struct chunk *chunk_of(const void *block)
{
    return (struct chunk *)((uintptr_t)block & ~(uintptr_t)(SLAB_CHUNK_BYTES - 1));
}

/* Twice as much is mapped, and what lies around the aligned part is given back. */
static struct chunk *map_aligned(void)
{
    uint8_t *map =
        mmap(NULL, 2 * SLAB_CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    size_t before = (size_t)(-(uintptr_t)map & (SLAB_CHUNK_BYTES - 1));
    if (before)
        munmap(map, before);
    munmap(map + before + SLAB_CHUNK_BYTES, SLAB_CHUNK_BYTES - before);
    return (struct chunk *)(void *)(map + before);
}

static bool add_chunk(struct slab *slab)
{
    struct chunk *chunk = map_aligned();
    if (!chunk)
        return false;
    if (slab->secret && (madvise(chunk, SLAB_CHUNK_BYTES, MADV_DONTDUMP) ||
                         madvise(chunk, SLAB_CHUNK_BYTES, MADV_WIPEONFORK))) {
        munmap(chunk, SLAB_CHUNK_BYTES);
        return false;
    }
    *chunk = (struct chunk){.slab = slab, .fresh = sizeof(struct chunk)};
    ASAN_POISON_MEMORY_REGION(chunk + 1, SLAB_CHUNK_BYTES - sizeof(struct chunk));
    list_init(&chunk->node);
    list_append(&slab->roomy, &chunk->node);
    slab->chunks++;
    return true;
}

static void drop_chunk(struct chunk *chunk)
{
    list_remove(&chunk->node);
    chunk->slab->chunks--;
    ASAN_UNPOISON_MEMORY_REGION(chunk, SLAB_CHUNK_BYTES);
    munmap(chunk, SLAB_CHUNK_BYTES);
}

void slab_init(struct slab *slab, size_t block_bytes, bool secret)
{
    *slab = (struct slab){.block_bytes = (block_bytes + 7) & ~(size_t)7, .secret = secret};
    list_init(&slab->roomy);
}

void slab_done(struct slab *slab)
{
    LIST_EACH_SAFE (node, &slab->roomy)
        drop_chunk(CONTAINER_OF(node, struct chunk, node));
}

static bool is_full(const struct chunk *chunk)
{
    return !chunk->free && chunk->fresh + chunk->slab->block_bytes > SLAB_CHUNK_BYTES;
}

void *slab_take(struct slab *slab)
{
    if (list_empty(&slab->roomy) && !add_chunk(slab))
        return NULL;
    struct chunk *chunk = CONTAINER_OF(slab->roomy.next, struct chunk, node);
    struct free_block *block = chunk->free;
    if (block) {
        ASAN_UNPOISON_MEMORY_REGION(block, slab->block_bytes);
        chunk->free = block->next;
        block->next = NULL;
    } else {
        block = (struct free_block *)(void *)((uint8_t *)chunk + chunk->fresh);
        ASAN_UNPOISON_MEMORY_REGION(block, slab->block_bytes);
        chunk->fresh += (uint32_t)slab->block_bytes;
    }
    chunk->taken++;
    slab->taken++;
    if (is_full(chunk))
        list_remove(&chunk->node);
    return block;
}

void slab_put(void *block)
{
    if (!block)
        return;
    struct chunk *chunk = chunk_of(block);
    struct slab *slab = chunk->slab;
    bool was_full = is_full(chunk);
    bytes_cleanse(block, slab->block_bytes);
    ((struct free_block *)block)->next = chunk->free;
    chunk->free = block;
    ASAN_POISON_MEMORY_REGION(block, slab->block_bytes);
    slab->taken--;
    if (was_full)
        list_append(&slab->roomy, &chunk->node);
    if (--chunk->taken == 0 && slab->roomy.next != slab->roomy.prev)
        drop_chunk(chunk); /* one empty chunk stays, so that a single block cannot map and unmap for ever */
}

struct slab *slab_of(const void *block)
{
    return chunk_of(block)->slab;
}
