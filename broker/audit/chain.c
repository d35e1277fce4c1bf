#include "audit/chain.h"

#include <string.h>

#define KEY_NAME "audit" /* no key in Redis is called so: a seal of one is none of the other */

static const char mac_mark[] = ",\"mac\":\"";

const char chain_no_mac[CHAIN_MAC_SIZE] = "0000000000000000000000000000000000000000000000000000000000000000";

enum err chain_begin(struct chain *ret)
{
    uint8_t id[CHAIN_ID_BYTES];
    TRY(random_bytes(id, sizeof id));
    hex_encode(bytes_make(id, sizeof id), ret->id);
    ret->seq = 0;
    memcpy(ret->mac, chain_no_mac, sizeof ret->mac);
    return ERR_OK;
}

enum err chain_append(const struct chain *chain, const struct secret *secret, struct bytes entry,
                      uint64_t lost, struct buf *line, struct chain *next)
{
    uint8_t mac[SHA256_BYTES];
    size_t before = buf_len(line);
    *next = *chain;
    next->seq++;
    TRY(buf_printf(line, "{\"chain\":\"%s\",\"seq\":%llu,\"prev\":\"%s\"", chain->id,
                   (unsigned long long)next->seq, chain->mac));
    if (lost)
        TRY(buf_printf(line, ",\"lost\":%llu", (unsigned long long)lost));
    TRY(buf_append(line, bytes_of(",\"entry\":")));
    TRY(buf_append(line, entry));
    struct bytes sealed = bytes_make(buf_view(line).p + before, buf_len(line) - before);
    if (sealed.len + sizeof mac_mark + CHAIN_MAC_SIZE > CHAIN_LINE_MAX_BYTES)
        return ERR_TOO_BIG;
    TRY(secret_seal(secret, bytes_of(KEY_NAME), sealed, mac));
    hex_encode(bytes_make(mac, sizeof mac), next->mac);
    return buf_printf(line, "%s%s\"}\n", mac_mark, next->mac);
}

/* ---- reading: the very bytes that chain_append() writes, and nothing else ---- */

static bool skip(struct bytes *in, const char *text)
{
    size_t len = strlen(text);
    if (in->len < len || memcmp(in->p, text, len) != 0)
        return false;
    *in = bytes_make(in->p + len, in->len - len);
    return true;
}

static bool take_hex(struct bytes *in, char *out, size_t size)
{
    size_t len = size - 1;
    for (size_t i = 0; i < len; i++)
        if (i >= in->len || !memchr("0123456789abcdef", in->p[i], 16))
            return false;
    memcpy(out, in->p, len);
    out[len] = '\0';
    *in = bytes_make(in->p + len, in->len - len);
    return true;
}

static bool take_number(struct bytes *in, uint64_t *ret)
{
    size_t len = 0;
    *ret = 0;
    for (; len < in->len && len < 18 && in->p[len] >= '0' && in->p[len] <= '9'; len++)
        *ret = *ret * 10 + (uint64_t)(in->p[len] - '0');
    *in = bytes_make(in->p + len, in->len - len);
    return len > 0;
}

static bool parse(struct bytes in, struct chain *chain, char prev[CHAIN_MAC_SIZE], struct bytes *entry,
                  uint64_t *lost)
{
    *lost = 0;
    if (!skip(&in, "{\"chain\":\"") || !take_hex(&in, chain->id, CHAIN_ID_SIZE) ||
        !skip(&in, "\",\"seq\":") || !take_number(&in, &chain->seq) || !skip(&in, ",\"prev\":\"") ||
        !take_hex(&in, prev, CHAIN_MAC_SIZE) || !skip(&in, "\"") ||
        (skip(&in, ",\"lost\":") && !take_number(&in, lost)) || !skip(&in, ",\"entry\":"))
        return false;
    *entry = in;
    return in.len > 0;
}

enum err chain_read(const struct secret *secret, struct bytes line, struct chain *chain,
                    char prev[CHAIN_MAC_SIZE], struct bytes *entry, uint64_t *lost)
{
    const size_t tail = sizeof mac_mark - 1 + CHAIN_MAC_SIZE - 1 + 2;
    uint8_t mac[SHA256_BYTES];
    if (line.len > CHAIN_LINE_MAX_BYTES)
        return ERR_TOO_BIG;
    if (line.len < tail)
        return ERR_MALFORMED;
    struct bytes sealed = bytes_make(line.p, line.len - tail), end = bytes_make(line.p + sealed.len, tail);
    if (!skip(&end, mac_mark) || !take_hex(&end, chain->mac, CHAIN_MAC_SIZE) ||
        !bytes_equal(end, bytes_of("\"}")) || !parse(sealed, chain, prev, entry, lost))
        return ERR_MALFORMED;
    TRY(hex_decode(bytes_of(chain->mac), mac, sizeof mac));
    return secret_check_seal(secret, bytes_of(KEY_NAME), sealed, mac);
}
