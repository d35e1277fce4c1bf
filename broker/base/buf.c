#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_MIN_BYTES 256

size_t buf_len(const struct buf *b)
{
    return b->tail - b->head;
}

struct bytes buf_view(const struct buf *b)
{
    return bytes_make(b->p ? b->p + b->head : NULL, buf_len(b));
}

uint8_t *buf_reserve(struct buf *b, size_t len)
{
    size_t waiting = buf_len(b);
    if (b->cap - b->tail >= len && b->p)
        return b->p + b->tail;
    if (len > SIZE_MAX / 4 || waiting > SIZE_MAX / 4)
        return NULL;
    if (b->p && b->cap >= waiting + len && b->head >= waiting) {
        memcpy(b->p, b->p + b->head, waiting); /* half or more is consumed: moving is cheaper than growing */
        b->head = 0;
        b->tail = waiting;
        return b->p + b->tail;
    }
    size_t cap = BUF_MIN_BYTES;
    while (cap < waiting + len)
        cap *= 2;
    uint8_t *grown = malloc(cap);
    if (!grown)
        return NULL;
    if (waiting)
        memcpy(grown, b->p + b->head, waiting);
    buf_done(b);
    *b = (struct buf){.p = grown, .tail = waiting, .cap = cap};
    return grown + waiting;
}

void buf_commit(struct buf *b, size_t len)
{
    b->tail += len;
}

enum err buf_append(struct buf *b, struct bytes in)
{
    if (in.len == 0)
        return ERR_OK;
    uint8_t *at = buf_reserve(b, in.len);
    if (!at)
        return ERR_NOMEM;
    memcpy(at, in.p, in.len);
    buf_commit(b, in.len);
    return ERR_OK;
}

enum err buf_append_byte(struct buf *b, uint8_t byte)
{
    return buf_append(b, bytes_make(&byte, 1));
}

enum err buf_printf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    uint8_t *at = len < 0 ? NULL : buf_reserve(b, (size_t)len + 1);
    if (at) {
        vsnprintf((char *)at, (size_t)len + 1, format, again);
        buf_commit(b, (size_t)len);
    }
    va_end(again);
    return at ? ERR_OK : ERR_NOMEM;
}

void buf_consume(struct buf *b, size_t len)
{
    b->head += len;
    if (b->head == b->tail)
        buf_done(b);
}

void buf_done(struct buf *b)
{
    if (b->p)
        bytes_cleanse(b->p, b->tail);
    free(b->p);
    *b = (struct buf){0};
}
