#include "crypto/secret.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "crypto/keyfile.h"

#define VALUE_BYTES SHA256_BYTES

enum value { TAG, CURRENT, PREVIOUS, VALUE_COUNT };

static const char *const value_names[VALUE_COUNT] = {
    [TAG] = "tag",
    [CURRENT] = "current",
    [PREVIOUS] = "previous",
};

/* The file as read; lives on secret_load()'s stack only. */
struct roots {
    uint8_t value[VALUE_COUNT][VALUE_BYTES];
    bool present[VALUE_COUNT];
};

struct secret {
    uint8_t tag_key[VALUE_BYTES];
    uint8_t seal_key[2][SHA256_BYTES]; /* current, previous; the second unused without has_previous */
    uint8_t code_key[SHA256_BYTES];
    uint8_t ticket_root[SHA256_BYTES]; /* zero without has_ticket_root */
    bool has_previous, has_ticket_root;
};

enum err secret_create(const char *path)
{
    uint8_t values[2 * VALUE_BYTES];
    char tag[HEX_SIZE(VALUE_BYTES)], current[HEX_SIZE(VALUE_BYTES)];
    struct buf text = {0};
    TRY(random_bytes(values, sizeof values));
    hex_encode(bytes_make(values, VALUE_BYTES), tag);
    hex_encode(bytes_make(values + VALUE_BYTES, VALUE_BYTES), current);
    enum err e =
        buf_printf(&text,
                   "# nanopush cluster secret: copy it to every machine of the cluster, and keep it secret.\n"
                   "# Never change tag. To rotate, rename current to previous and add a new current.\n"
                   "tag %s\n"
                   "current %s\n",
                   tag, current);
    if (e == ERR_OK)
        e = keyfile_create(path, KEYFILE_PRIVATE, buf_view(&text));
    buf_done(&text);
    bytes_cleanse(values, sizeof values);
    bytes_cleanse(tag, sizeof tag);
    bytes_cleanse(current, sizeof current);
    return e;
}

static enum err parse_line(struct bytes line, struct roots *ret)
{
    if (line.len == 0 || line.p[0] == '#')
        return ERR_OK;
    const uint8_t *space = memchr(line.p, ' ', line.len);
    if (!space)
        return ERR_MALFORMED;
    struct bytes name = bytes_make(line.p, (size_t)(space - line.p));
    struct bytes hex = bytes_make(space + 1, line.len - name.len - 1);
    for (int i = 0; i < VALUE_COUNT; i++) {
        if (!bytes_equal(name, bytes_of(value_names[i])))
            continue;
        if (ret->present[i])
            return ERR_MALFORMED;
        ret->present[i] = true;
        return hex_decode(hex, ret->value[i], VALUE_BYTES);
    }
    return ERR_MALFORMED;
}

static enum err parse_file(struct bytes text, struct roots *ret)
{
    while (text.len) {
        const uint8_t *end = memchr(text.p, '\n', text.len);
        size_t len = end ? (size_t)(end - text.p) : text.len;
        TRY(parse_line(bytes_make(text.p, len), ret));
        size_t used = end ? len + 1 : len;
        text = bytes_make(text.p + used, text.len - used);
    }
    return ret->present[TAG] && ret->present[CURRENT] ? ERR_OK : ERR_MALFORMED;
}

static enum err derive(const struct roots *roots, struct secret *ret)
{
    static const char seal_label[] = "nanopush/1 seal";
    struct bytes current = bytes_make(roots->value[CURRENT], VALUE_BYTES);
    struct bytes previous = bytes_make(roots->value[PREVIOUS], VALUE_BYTES);
    memcpy(ret->tag_key, roots->value[TAG], VALUE_BYTES);
    TRY(hkdf_sha256(current, seal_label, ret->seal_key[0], SHA256_BYTES));
    if (roots->present[PREVIOUS])
        TRY(hkdf_sha256(previous, seal_label, ret->seal_key[1], SHA256_BYTES));
    TRY(hkdf_sha256(current, "nanopush/1 code", ret->code_key, SHA256_BYTES));
    TRY(hkdf_sha256(current, "nanopush/1 ticket root", ret->ticket_root, SHA256_BYTES));
    ret->has_previous = roots->present[PREVIOUS];
    ret->has_ticket_root = true;
    return ERR_OK;
}

enum err secret_load(const char *path, struct secret **ret)
{
    struct buf text = {0};
    struct roots roots = {0};
    TRY(keyfile_read(path, KEYFILE_PRIVATE, SECRET_FILE_MAX_BYTES, &text));
    struct secret *s = calloc(1, sizeof *s);
    enum err e = s ? parse_file(buf_view(&text), &roots) : ERR_NOMEM;
    if (e == ERR_OK)
        e = derive(&roots, s);
    buf_done(&text);
    bytes_cleanse(&roots, sizeof roots);
    if (e == ERR_OK)
        *ret = s;
    else
        secret_free(s);
    return e;
}

void secret_free(struct secret *s)
{
    if (!s)
        return;
    bytes_cleanse(s, sizeof *s);
    free(s);
}

void secret_forget_root(struct secret *s)
{
    bytes_cleanse(s->ticket_root, sizeof s->ticket_root);
    s->has_ticket_root = false;
}

enum err secret_user_tag(const struct secret *s, struct bytes org, struct bytes user, char out[USER_TAG_SIZE])
{
    struct buf input = {0};
    uint8_t mac[SHA256_BYTES];
    enum err e = lp_append(&input, org);
    if (e == ERR_OK)
        e = lp_append(&input, user);
    if (e == ERR_OK) {
        struct bytes part = buf_view(&input);
        e = hmac_sha256(bytes_make(s->tag_key, sizeof s->tag_key), &part, 1, mac);
    }
    buf_done(&input);
    if (e == ERR_OK)
        hex_encode(bytes_make(mac, USER_TAG_BYTES), out);
    return e;
}

static enum err seal(const uint8_t key[SHA256_BYTES], struct bytes key_name, struct bytes value,
                     uint8_t mac[SHA256_BYTES])
{
    struct buf name = {0};
    TRY(lp_append(&name, key_name));
    const struct bytes parts[] = {buf_view(&name), value};
    enum err e = hmac_sha256(bytes_make(key, SHA256_BYTES), parts, 2, mac);
    buf_done(&name);
    return e;
}

enum err secret_seal(const struct secret *s, struct bytes key_name, struct bytes value,
                     uint8_t mac[SHA256_BYTES])
{
    return seal(s->seal_key[0], key_name, value, mac);
}

enum err secret_check_seal(const struct secret *s, struct bytes key_name, struct bytes value,
                           const uint8_t mac[SHA256_BYTES])
{
    int key_count = s->has_previous ? 2 : 1;
    for (int i = 0; i < key_count; i++) {
        uint8_t expected[SHA256_BYTES];
        TRY(seal(s->seal_key[i], key_name, value, expected));
        if (bytes_equal_secret(bytes_make(expected, SHA256_BYTES), bytes_make(mac, SHA256_BYTES)))
            return ERR_OK;
    }
    return ERR_BAD_SIGNATURE;
}

/* The last @p digits of @p number. */
static void write_digits(uint64_t number, unsigned digits, char *out)
{
    out[digits] = '\0';
    for (unsigned i = digits; i > 0; number /= 10)
        out[--i] = (char)('0' + number % 10);
}

static uint64_t read_u64(const uint8_t *p)
{
    uint64_t n = 0;
    for (int i = 0; i < 8; i++)
        n = n << 8 | p[i];
    return n;
}

enum err secret_challenge_code(const struct secret *s, struct bytes challenge_id, unsigned digits, char *out)
{
    uint8_t mac[SHA256_BYTES];
    struct buf id = {0};
    uint64_t codes = 1;
    if (digits < 1 || digits > CODE_MAX_DIGITS)
        return ERR_INVALID;
    for (unsigned i = 0; i < digits; i++)
        codes *= 10;
    TRY(lp_append(&id, challenge_id));
    struct bytes part = buf_view(&id);
    enum err e = hmac_sha256(bytes_make(s->code_key, sizeof s->code_key), &part, 1, mac);
    buf_done(&id);
    TRY(e);
    e = ERR_CRYPTO;
    for (size_t at = 0; at < sizeof mac && e != ERR_OK; at += 8) {
        uint64_t number = read_u64(mac + at);
        if (number < UINT64_MAX - UINT64_MAX % codes) {
            write_digits(number, digits, out);
            e = ERR_OK;
        }
    }
    bytes_cleanse(mac, sizeof mac);
    return e;
}

enum err secret_ticket_key(const struct secret *s, uint64_t period, const uint8_t anchor[SHA256_BYTES],
                           uint8_t *out, size_t len)
{
    char hex[HEX_SIZE(SHA256_BYTES)], label[sizeof hex + 48];
    if (!s->has_ticket_root)
        return ERR_BAD_STATE;
    hex_encode(bytes_make(anchor, SHA256_BYTES), hex);
    snprintf(label, sizeof label, "nanopush/1 ticket %" PRIu64 " %s", period, hex);
    return hkdf_sha256(bytes_make(s->ticket_root, sizeof s->ticket_root), label, out, len);
}
