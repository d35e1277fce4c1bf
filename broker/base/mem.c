#include "base/mem.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BURST_BYTES (256u << 10) /* some 20 handshakes */
#define AFTER_BURST 8            /* a second's part of it, when it is over */

/* Of this process: one thread. */
static size_t freed_bytes;  /* since they were given back */
static size_t ticked_bytes; /* of these, at the last mem_tick() */

static void *or_die(void *p)
{
    static const char last_words[] = "nanopush: out of memory\n";
    if (!p) {
        ssize_t written = write(STDERR_FILENO, last_words, sizeof last_words - 1);
        (void)written;
        abort();
    }
    return p;
}

void *mem_new(size_t size)
{
    return or_die(calloc(1, size));
}

char *mem_copy_string(const char *s)
{
    return or_die(strdup(s));
}

void mem_freed(size_t bytes)
{
    freed_bytes += bytes;
}

bool mem_tick(void)
{
    bool over = freed_bytes - ticked_bytes <= freed_bytes / AFTER_BURST;
    ticked_bytes = freed_bytes;
    if (!over || freed_bytes < BURST_BYTES)
        return false;
    freed_bytes = ticked_bytes = 0;
    malloc_trim(0);
    return true;
}
