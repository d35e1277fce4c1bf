#include "wire/arena.h"

#include <stdlib.h>

#define CHUNK_MIN_BYTES 1024 /* most messages fit into the first chunk */
#define ALIGNMENT       8    /* what protobuf-c keeps: pointers, 64-bit integers, doubles */

struct arena_chunk {
    struct arena_chunk *older;
    size_t used, size;
    uint8_t bytes[];
};

_Static_assert(sizeof(struct arena_chunk) % ALIGNMENT == 0, "a chunk's first byte is aligned");

static void *allocator_alloc(void *arg, size_t len)
{
    return arena_alloc(arg, len);
}

static void allocator_free(void *arg, void *p)
{
    (void)arg;
    (void)p;
}

void arena_init(struct arena *a, size_t cap_bytes)
{
    *a = (struct arena){
        .allocator = {.alloc = allocator_alloc, .free = allocator_free, .allocator_data = a},
        .cap_bytes = cap_bytes,
    };
}

void arena_done(struct arena *a)
{
    for (struct arena_chunk *chunk = a->newest, *older; chunk; chunk = older) {
        older = chunk->older;
        bytes_cleanse(chunk->bytes, chunk->used);
        free(chunk);
    }
    arena_init(a, a->cap_bytes);
}

static enum err add_chunk(struct arena *a, size_t len)
{
    size_t left = a->cap_bytes - a->total_bytes;
    if (len > left)
        return ERR_TOO_BIG;
    size_t size = a->newest ? a->newest->size * 2 : CHUNK_MIN_BYTES;
    if (size < len)
        size = len;
    if (size > left)
        size = left;
    struct arena_chunk *chunk = malloc(sizeof *chunk + size);
    if (!chunk)
        return ERR_NOMEM;
    *chunk = (struct arena_chunk){.older = a->newest, .size = size};
    a->newest = chunk;
    a->total_bytes += size;
    return ERR_OK;
}

void *arena_alloc(struct arena *a, size_t len)
{
    if (len > a->cap_bytes) { /* before rounding up, which could wrap */
        a->failure = ERR_TOO_BIG;
        return NULL;
    }
    len = len ? (len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
    if (!a->newest || a->newest->size - a->newest->used < len) {
        enum err e = add_chunk(a, len);
        if (e != ERR_OK) {
            a->failure = e;
            return NULL;
        }
    }
    void *p = a->newest->bytes + a->newest->used;
    a->newest->used += len;
    return p;
}

enum err arena_failure(const struct arena *a)
{
    return a->failure;
}

ProtobufCAllocator *arena_allocator(struct arena *a)
{
    return &a->allocator;
}
