/**
 * Memory for one message and all that hangs on it: taken piece by piece, given back at once, and never more
 * than a cap, however much larger than its bytes a peer makes its message (protobuf-c: up to 44 times).
 *
 *     newest -> | header | used ...  | free | -> older, half the size -> ... -> NULL
 */
#ifndef NANOPUSH_WIRE_ARENA_H
#define NANOPUSH_WIRE_ARENA_H

#include <protobuf-c/protobuf-c.h>

#include "base/bytes.h"

#define ARENA_MAX_BYTES 65536 /* the cap to take where nothing speaks for another */

struct arena_chunk;

/** Set up by arena_init(); must not move after that. An arena that nothing was taken from owns no memory. */
struct arena {
    ProtobufCAllocator allocator;
    struct arena_chunk *newest;
    size_t cap_bytes, total_bytes; /* total: of all chunks, headers not counted; at most cap_bytes */
    enum err failure;              /* why the last arena_alloc() that failed did; ERR_OK: none did */
};

/** An empty arena of at most @p cap_bytes. */
void arena_init(struct arena *a, size_t cap_bytes);

/** Cleanse and free everything taken from @p a, which is empty afterwards and may be used again. */
void arena_done(struct arena *a);

/**
 * Take @p len bytes, uninitialised, aligned for pointers and 64-bit integers; valid until arena_done().
 * @return never NULL for @p len 0; NULL when the cap or the memory is reached: arena_failure() says which.
 */
void *arena_alloc(struct arena *a, size_t len);

/** ERR_TOO_BIG or ERR_NOMEM after an arena_alloc() that returned NULL; ERR_OK while none has. */
enum err arena_failure(const struct arena *a);

/** The arena as protobuf-c takes it; its free does nothing. Valid as long as @p a. */
ProtobufCAllocator *arena_allocator(struct arena *a);

#endif
