/**
 * A queue of bytes: appended at the back, consumed at the front. An empty one owns no memory.
 *
 *     p            head           tail        cap
 *     | consumed    | waiting      | free      |
 */
#ifndef NANOPUSH_BASE_BUF_H
#define NANOPUSH_BASE_BUF_H

#include "base/bytes.h"

/** Zero-initialised is empty and valid. */
struct buf {
    uint8_t *p;
    size_t head, tail, cap; /* head <= tail <= cap */
};

/** Bytes waiting. */
size_t buf_len(const struct buf *b);

/** View of the waiting bytes; valid until the next call that changes @p b. */
struct bytes buf_view(const struct buf *b);

/**
 * Make room for @p len bytes and return where to write them; then buf_commit() what was written.
 * @return NULL when memory is out (@p b is unchanged).
 */
uint8_t *buf_reserve(struct buf *b, size_t len);

/** Count @p len bytes, written where buf_reserve() said, as waiting. @p len is at most what was reserved. */
void buf_commit(struct buf *b, size_t len);

/** Append a copy. @return ERR_OK; ERR_NOMEM (@p b is unchanged). */
MUST_CHECK enum err buf_append(struct buf *b, struct bytes in);

/** Append one byte. @return as buf_append(). */
MUST_CHECK enum err buf_append_byte(struct buf *b, uint8_t byte);

/** Append formatted text without its NUL. @return as buf_append(). */
MUST_CHECK enum err buf_printf(struct buf *b, const char *format, ...) PRINTF(2, 3);

/** Drop @p len bytes from the front, at most buf_len(). An empty buffer gives its memory back. */
void buf_consume(struct buf *b, size_t len);

/** Cleanse and free; @p b is empty afterwards and may be used again. */
void buf_done(struct buf *b);

#endif
