#include "base/bytes.h"

#include <string.h>

struct bytes bytes_of(const char *s)
{
    return bytes_make(s, s ? strlen(s) : 0);
}

struct bytes bytes_make(const void *p, size_t len)
{
    return (struct bytes){.p = p, .len = len};
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

bool bytes_equal_secret(struct bytes a, struct bytes b)
{
    if (a.len != b.len)
        return false;
    volatile uint8_t differing = 0;
    for (size_t i = 0; i < a.len; i++)
        differing |= a.p[i] ^ b.p[i];
    return differing == 0;
}

void bytes_cleanse(void *p, size_t len)
{
    if (len)
        explicit_bzero(p, len);
}

void hex_encode(struct bytes in, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < in.len; i++) {
        *out++ = digits[in.p[i] >> 4];
        *out++ = digits[in.p[i] & 15];
    }
    *out = '\0';
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

enum err hex_decode(struct bytes in, uint8_t *out, size_t len)
{
    if (in.len != len * 2)
        return ERR_MALFORMED;
    for (size_t i = 0; i < len; i++) {
        int high = hex_digit(in.p[2 * i]), low = hex_digit(in.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return ERR_MALFORMED;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return ERR_OK;
}

static void encode_base64(struct bytes in, const char *last_two, char *out)
{
    char alphabet[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    memcpy(alphabet + 62, last_two, 2);
    uint32_t bits = 0;
    unsigned bit_count = 0;
    for (size_t i = 0; i < in.len; i++) {
        bits = bits << 8 | in.p[i];
        for (bit_count += 8; bit_count >= 6; bit_count -= 6)
            *out++ = alphabet[bits >> (bit_count - 6) & 63];
    }
    if (bit_count)
        *out++ = alphabet[bits << (6 - bit_count) & 63];
    *out = '\0';
}

void base64url_encode(struct bytes in, char *out)
{
    encode_base64(in, "-_", out);
}

void base64_encode(struct bytes in, char *out)
{
    encode_base64(in, "+/", out);
}

static int base64url_digit(uint8_t c)
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

enum err base64url_decode(struct bytes in, uint8_t *out, size_t cap, size_t *len)
{
    if (in.len % 4 == 1)
        return ERR_MALFORMED;
    size_t out_len = in.len / 4 * 3 + (in.len % 4 ? in.len % 4 - 1 : 0);
    if (out_len > cap)
        return ERR_TOO_BIG;
    uint32_t bits = 0;
    unsigned bit_count = 0;
    for (size_t i = 0; i < in.len; i++) {
        int digit = base64url_digit(in.p[i]);
        if (digit < 0)
            return ERR_MALFORMED;
        bits = bits << 6 | (uint32_t)digit;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            *out++ = (uint8_t)(bits >> bit_count);
        }
    }
    if (bits & ((1u << bit_count) - 1))
        return ERR_MALFORMED;
    *len = out_len;
    return ERR_OK;
}

bool utf8_valid(struct bytes in)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000}; /* by number of continuation bytes */
    for (size_t i = 0; i < in.len;) {
        uint8_t lead = in.p[i++];
        if (lead < 0x80)
            continue;
        unsigned more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4 || in.len - i < more)
            return false;
        uint32_t point = lead & (0x3fu >> more);
        for (unsigned k = 0; k < more; k++, i++) {
            if ((in.p[i] & 0xc0) != 0x80)
                return false;
            point = point << 6 | (in.p[i] & 0x3f);
        }
        if (point < smallest[more] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
            return false;
    }
    return true;
}
