#include "crypto/openssl_memory.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static void *allocate(size_t len, const char *file, int line)
{
    (void)file, (void)line;
    return len > 0 ? malloc(len) : NULL;
}

static void release(void *p, const char *file, int line)
{
    (void)file, (void)line;
    if (p)
        bytes_cleanse(p, malloc_usable_size(p));
    free(p);
}

/* realloc() would leave a copy behind where it moves. */
static void *resize(void *p, size_t len, const char *file, int line)
{
    size_t held = p ? malloc_usable_size(p) : 0;
    if (len > 0 && len <= held)
        return p;
    void *moved = allocate(len, file, line);
    if (moved && p)
        memcpy(moved, p, held);
    if (moved || len == 0)
        release(p, file, line);
    return moved;
}

enum err openssl_memory_cleanse(void)
{
    return CRYPTO_set_mem_functions(allocate, resize, release) == 1 ? ERR_OK : ERR_BAD_STATE;
}
