/**
 * Bytes and text for the rest of this library: a growing buffer with the encodings of the protocol,
 * base64url, UTF-8.
 */
#ifndef NANOPUSH_DEVICE_ENCODE_H
#define NANOPUSH_DEVICE_ENCODE_H

#include "nanopush_device.h"

/**
 * Zero-initialised is empty and valid. An append that fails marks the buffer, and all later ones do nothing:
 * so check np_buf_error() once, at the end. Contents are cleansed when they move and when they go.
 */
struct np_buf {
    uint8_t *p;
    size_t len, cap;
    enum np_error error; /* the first one: NP_NOMEM, or NP_TOO_BIG from np_buf_add_lp() */
};

/** Cleanse, free, and make it empty and usable again. */
void np_buf_done(struct np_buf *b);

/** Room for @p len more bytes, to be counted by the caller in b->len. @return NULL when memory is out. */
uint8_t *np_buf_reserve(struct np_buf *b, size_t len);

void np_buf_add(struct np_buf *b, const void *p, size_t len);
void np_buf_add_text(struct np_buf *b, const char *text);
void np_buf_add_u32(struct np_buf *b, uint32_t value); /* big-endian */

/** lp(text) of SECURITY.md: 16-bit big-endian length, then the bytes. */
void np_buf_add_lp(struct np_buf *b, const char *text);

/** Decimal digits, with a sign if negative. */
void np_buf_add_number(struct np_buf *b, int64_t value);

/** A JSON string (RFC 8259, 7) in its quotes; @p text is UTF-8, escaped are only quote, backslash and
 * controls. */
void np_buf_add_json(struct np_buf *b, const char *text);

/** Unpadded base64url (RFC 4648, 5). */
void np_buf_add_base64url(struct np_buf *b, const void *p, size_t len);

/** Drop @p len bytes, at most b->len, from the front. */
void np_buf_consume(struct np_buf *b, size_t len);

/**
 * Decode exactly @p want bytes of unpadded base64url: no other alphabet, unused bits zero.
 * @return false, with @p ret partly written, if @p len characters at @p in are not that.
 */
bool np_base64url_decode(const char *in, size_t len, uint8_t *ret, size_t want);

/**
 * True if @p text is UTF-8 (RFC 3629) that a person can be shown: no control characters (C0, DEL, C1, line
 * and paragraph separators) and no bidirectional formatting.
 */
bool np_text_clean(const char *text);

/** np_text_clean(), and 1 to @p size - 1 bytes. NULL is not. */
bool np_text_fits(const char *text, size_t size);

#endif
