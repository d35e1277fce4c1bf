/**
 * Views of bytes that somebody else owns, and text forms of them.
 */
#ifndef NANOPUSH_BASE_BYTES_H
#define NANOPUSH_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/** A view: @p p may be NULL only when @p len is 0. Owns nothing; valid as long as what it points into. */
struct bytes {
    const uint8_t *p;
    size_t len;
};

/** View of a C string without its NUL; of NULL: empty. */
struct bytes bytes_of(const char *s);

/** View of @p len bytes. */
struct bytes bytes_make(const void *p, size_t len);

/** True if both have the same length and bytes. Not constant-time: never for secrets. */
bool bytes_equal(struct bytes a, struct bytes b);

/** True if both are the same; the time depends on the lengths only. For secrets, digests, tokens. */
bool bytes_equal_secret(struct bytes a, struct bytes b);

/** Overwrite with zeros in a way that the compiler keeps. */
void bytes_cleanse(void *p, size_t len);

#define HEX_SIZE(n) ((n)*2 + 1) /* characters for n bytes in hex, NUL included */
#define BASE64URL_SIZE(n)                                                                                    \
    (((n)*4 + 2) / 3 + 1) /* characters for n bytes in unpadded base64url, NUL included */

/** Lower-case hex of @p in, NUL-terminated; @p out has HEX_SIZE(in.len) characters. */
void hex_encode(struct bytes in, char *out);

/**
 * Decode exactly @p len bytes of hex from @p in (either case).
 * @return ERR_OK; ERR_MALFORMED if the length is not 2 * @p len or a character is no hex digit (@p out untouched
 *         or partly written).
 */
MUST_CHECK enum err hex_decode(struct bytes in, uint8_t *out, size_t len);

/** Unpadded base64url (RFC 4648, 5), NUL-terminated; @p out has BASE64URL_SIZE(in.len) characters. */
void base64url_encode(struct bytes in, char *out);

/** Unpadded base64 (RFC 4648, 4), as base64url_encode() but for two characters of the alphabet. */
void base64_encode(struct bytes in, char *out);

/**
 * Decode unpadded base64url strictly: no padding, no white space, no other alphabet, unused bits zero.
 * @param      in   the text.
 * @param[out] out  at least in.len * 3 / 4 bytes, at most @p cap.
 * @param      cap  room at @p out.
 * @param[out] len  bytes written.
 * @return ERR_OK; ERR_MALFORMED; ERR_TOO_BIG if @p cap is too small.
 */
MUST_CHECK enum err base64url_decode(struct bytes in, uint8_t *out, size_t cap, size_t *len);

/** True if @p in is valid UTF-8 (no surrogates, no over-long forms, at most U+10FFFF). NUL bytes are valid. */
bool utf8_valid(struct bytes in);

#endif
