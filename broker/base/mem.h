/**
 * Memory for the process's own small objects. When there is none left the process ends: a worker that dies takes only
 * its own connections along and is started anew, which is better than code for a state that cannot be tested. What a
 * peer can make large goes through struct buf or a capped arena, which return ERR_NOMEM.
 */
#ifndef NANOPUSH_BASE_MEM_H
#define NANOPUSH_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

/** @p size zeroed bytes, freed with free(). Never NULL. */
void *mem_new(size_t size) __attribute__((malloc, returns_nonnull));

/** A copy of a C string, freed with free(). Never NULL. */
char *mem_copy_string(const char *s) __attribute__((malloc, returns_nonnull));

/**
 * Note that about @p bytes were freed of what bursts are made of: OpenSSL's objects, records of phones. What lives long
 * lies in slabs, so that the heap is empty behind a burst; malloc() by itself keeps it all the same.
 */
void mem_freed(size_t bytes);

/**
 * Once a second: give the heap's free pages back to the kernel, where 256 KiB or more were freed and the burst is over,
 * that is when one second brought no more than an eighth of it. One that goes on evenly is seen to every 8 s.
 * @return true if it did.
 */
bool mem_tick(void);

#endif
