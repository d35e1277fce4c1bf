#include "encode.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void np_buf_done(struct np_buf *b)
{
    if (b->p)
        OPENSSL_cleanse(b->p, b->cap);
    free(b->p);
    *b = (struct np_buf){0};
}

uint8_t *np_buf_reserve(struct np_buf *b, size_t len)
{
    if (b->error != NP_OK)
        return NULL;
    if (b->cap - b->len < len) {
        /* Not realloc(): the old copy, which may be a secret, must be cleansed. */
        size_t cap = b->len + len + (b->cap ? b->cap : 64);
        uint8_t *p = cap > len ? malloc(cap) : NULL;
        if (!p) {
            b->error = NP_NOMEM;
            return NULL;
        }
        if (b->len)
            memcpy(p, b->p, b->len);
        if (b->p)
            OPENSSL_cleanse(b->p, b->cap);
        free(b->p);
        b->p = p;
        b->cap = cap;
    }
    return b->p + b->len;
}

void np_buf_add(struct np_buf *b, const void *p, size_t len)
{
    uint8_t *to = np_buf_reserve(b, len);
    if (!to || len == 0)
        return;
    memcpy(to, p, len);
    b->len += len;
}

void np_buf_add_text(struct np_buf *b, const char *text)
{
    np_buf_add(b, text, strlen(text));
}

void np_buf_add_u32(struct np_buf *b, uint32_t value)
{
    uint8_t bytes[] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    np_buf_add(b, bytes, sizeof bytes);
}

void np_buf_add_lp(struct np_buf *b, const char *text)
{
    size_t len = strlen(text);
    if (len > UINT16_MAX) {
        b->error = b->error ? b->error : NP_TOO_BIG;
        return;
    }
    uint8_t prefix[] = {(uint8_t)(len >> 8), (uint8_t)len};
    np_buf_add(b, prefix, sizeof prefix);
    np_buf_add(b, text, len);
}

void np_buf_add_number(struct np_buf *b, int64_t value)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)value);
    np_buf_add(b, digits, (size_t)len);
}

void np_buf_add_json(struct np_buf *b, const char *text)
{
    np_buf_add(b, "\"", 1);
    for (const char *c = text; *c; c++) {
        char escape[8];
        if (*c == '"' || *c == '\\')
            snprintf(escape, sizeof escape, "\\%c", *c);
        else if ((unsigned char)*c < 0x20)
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)(unsigned char)*c);
        else
            snprintf(escape, sizeof escape, "%c", *c);
        np_buf_add_text(b, escape);
    }
    np_buf_add(b, "\"", 1);
}

void np_buf_add_base64url(struct np_buf *b, const void *p, size_t len)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *in = p;
    uint32_t bits = 0;
    unsigned bit_count = 0;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | in[i];
        for (bit_count += 8; bit_count >= 6; bit_count -= 6)
            np_buf_add(b, &alphabet[bits >> (bit_count - 6) & 63], 1);
    }
    if (bit_count)
        np_buf_add(b, &alphabet[bits << (6 - bit_count) & 63], 1);
}

void np_buf_consume(struct np_buf *b, size_t len)
{
    if (len == b->len) {
        np_buf_done(b);
        return;
    }
    memmove(b->p, b->p + len, b->len - len);
    b->len -= len;
}

static int base64url_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '-')
        return 62;
    return c == '_' ? 63 : -1;
}

bool np_base64url_decode(const char *in, size_t len, uint8_t *ret, size_t want)
{
    if (len != (want * 4 + 2) / 3)
        return false;
    uint32_t bits = 0;
    unsigned bit_count = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = base64url_digit(in[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            *ret++ = (uint8_t)(bits >> bit_count);
        }
    }
    return (bits & ((1u << bit_count) - 1)) == 0;
}

/* One code point from *text, which is moved behind it; UINT32_MAX if it is not UTF-8. The NUL ends every
 * wrong turn. */
static uint32_t utf8_next(const char **text)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000}; /* by number of continuation bytes */
    const uint8_t *p = (const uint8_t *)*text;
    uint8_t lead = *p++;
    unsigned more = lead < 0x80 ? 0 : lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead > 0xf4 || (more && lead < 0xc2))
        return UINT32_MAX;
    uint32_t point = more ? lead & (0x3fu >> more) : lead;
    for (unsigned i = 0; i < more; i++, p++) {
        if ((*p & 0xc0) != 0x80)
            return UINT32_MAX;
        point = point << 6 | (*p & 0x3f);
    }
    if (point < smallest[more] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return UINT32_MAX;
    *text = (const char *)p;
    return point;
}

static bool is_hidden(uint32_t point)
{
    if (point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x2028 || point == 0x2029)
        return true; /* controls, line and paragraph separators */
    return point == 0x61c || point == 0x200e || point == 0x200f || (point >= 0x202a && point <= 0x202e) ||
           (point >= 0x2066 && point <= 0x2069); /* Unicode Standard Annex 9, 2: directional formatting */
}

bool np_text_clean(const char *text)
{
    while (*text) {
        uint32_t point = utf8_next(&text);
        if (point == UINT32_MAX || is_hidden(point))
            return false;
    }
    return true;
}

bool np_text_fits(const char *text, size_t size)
{
    if (!text || !*text || strnlen(text, size) == size)
        return false;
    return np_text_clean(text);
}
