/**
 * Memory for the process's own small objects. When there is none left the process ends: a worker that dies takes only
 * its own connections along and is started anew, which is better than code for a state that cannot be tested. What a
 * peer can make large goes through struct buf or a capped arena, which return ERR_NOMEM.
 */
#ifndef NANOPUSH_BASE_MEM_H
#define NANOPUSH_BASE_MEM_H

#include <stddef.h>

/** @p size zeroed bytes, freed with free(). Never NULL. */
void *mem_new(size_t size) __attribute__((malloc, returns_nonnull));

/** A copy of a C string, freed with free(). Never NULL. */
char *mem_copy_string(const char *s) __attribute__((malloc, returns_nonnull));

#endif
