#include "store/slot.h"

#include <stdio.h>
#include <string.h>

#define SLOT_RANGES_MAX SLOT_COUNT

static uint16_t crc16(struct bytes in)
{
    uint16_t crc = 0;
    for (size_t i = 0; i < in.len; i++) {
        crc ^= (uint16_t)(in.p[i] << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1);
    }
    return crc;
}

unsigned slot_of(struct bytes key)
{
    const uint8_t *open = key.len ? memchr(key.p, '{', key.len) : NULL;
    const uint8_t *close = open ? memchr(open + 1, '}', (size_t)(key.p + key.len - open - 1)) : NULL;
    if (close && close > open + 1)
        key = bytes_make(open + 1, (size_t)(close - open - 1));
    return crc16(key) % SLOT_COUNT;
}

static const redisReply *element(const redisReply *reply, size_t i, int type)
{
    bool there = reply && reply->type == REDIS_REPLY_ARRAY && i < reply->elements;
    return there && reply->element[i]->type == type ? reply->element[i] : NULL;
}

static enum err make_address(struct bytes host, unsigned long port, struct address *ret)
{
    char text[ADDRESS_TEXT_SIZE];
    bool v6 = host.len && memchr(host.p, ':', host.len);
    if (port == 0 || port > 65535 || host.len == 0 || host.len >= 64)
        return ERR_MALFORMED;
    snprintf(text, sizeof text, v6 ? "[%.*s]:%lu" : "%.*s:%lu", (int)host.len, (const char *)host.p, port);
    return address_parse(text, ret);
}

static enum err with_port(const struct address *host, unsigned long port, struct address *ret)
{
    char text[ADDRESS_TEXT_SIZE], *colon;
    address_print(host, text);
    colon = strrchr(text, ':');
    if (address_is_unix(host) || !colon || port == 0 || port > 65535)
        return ERR_MALFORMED;
    snprintf(colon, sizeof text - (size_t)(colon - text), ":%lu", port);
    return address_parse(text, ret);
}

static struct bytes text_of(const redisReply *reply)
{
    return reply ? bytes_make(reply->str, (size_t)reply->len) : bytes_make(NULL, 0);
}

/* Names and values in turn; "ip" is there where the node goes by its name. */
static struct bytes announced_ip(const redisReply *node)
{
    const redisReply *more = element(node, 3, REDIS_REPLY_ARRAY);
    for (size_t i = 0; more && i + 1 < more->elements; i += 2)
        if (bytes_equal(text_of(element(more, i, REDIS_REPLY_STRING)), bytes_of("ip")))
            return text_of(element(more, i + 1, REDIS_REPLY_STRING));
    return bytes_make(NULL, 0);
}

/* [preferred endpoint, port, id, [name, value, ...]]; the endpoint is an address, a name, "" or nil. */
static enum err parse_node(const redisReply *node, const struct address *asked, struct address *ret)
{
    const redisReply *port = element(node, 1, REDIS_REPLY_INTEGER);
    struct bytes host = text_of(element(node, 0, REDIS_REPLY_STRING));
    struct bytes ip = announced_ip(node);
    unsigned long number = port && port->integer > 0 ? (unsigned long)port->integer : 0;
    if (host.len == 0 && element(node, 0, REDIS_REPLY_INTEGER))
        return ERR_MALFORMED;
    if (host.len == 0)
        return with_port(asked, number, ret);
    if (make_address(host, number, ret) == ERR_OK)
        return ERR_OK;
    return make_address(ip, number, ret);
}

static enum err enter_master(struct slot_map *map, const struct address *address, uint8_t *ret)
{
    for (size_t i = 0; i < map->master_count; i++)
        if (address_equal(&map->masters[i], address)) {
            *ret = (uint8_t)i;
            return ERR_OK;
        }
    if (map->master_count == SLOT_MASTERS_MAX)
        return ERR_TOO_BIG;
    *ret = (uint8_t)map->master_count;
    map->masters[map->master_count++] = *address;
    return ERR_OK;
}

/* [first, last, master, replica, ...] */
static enum err parse_range(const redisReply *range, const struct address *asked, struct slot_map *map)
{
    const redisReply *first = element(range, 0, REDIS_REPLY_INTEGER);
    const redisReply *last = element(range, 1, REDIS_REPLY_INTEGER);
    struct address address;
    uint8_t master;
    if (!first || !last || first->integer < 0 || last->integer >= SLOT_COUNT ||
        first->integer > last->integer)
        return ERR_MALFORMED;
    TRY(parse_node(element(range, 2, REDIS_REPLY_ARRAY), asked, &address));
    TRY(enter_master(map, &address, &master));
    memset(map->at + first->integer, master, (size_t)(last->integer - first->integer + 1));
    return ERR_OK;
}

enum err slot_map_parse(const redisReply *reply, const struct address *asked, struct slot_map *ret)
{
    if (reply->type != REDIS_REPLY_ARRAY)
        return ERR_MALFORMED;
    if (reply->elements > SLOT_RANGES_MAX)
        return ERR_TOO_BIG;
    ret->master_count = 0;
    memset(ret->at, SLOT_NOBODY, sizeof ret->at);
    for (size_t i = 0; i < reply->elements; i++)
        TRY(parse_range(reply->element[i], asked, ret));
    return ERR_OK;
}

bool slot_map_gap(const struct slot_map *map, unsigned from, unsigned *first, unsigned *last)
{
    while (from < SLOT_COUNT && map->at[from] != SLOT_NOBODY)
        from++;
    if (from >= SLOT_COUNT)
        return false;
    *first = from;
    while (from < SLOT_COUNT && map->at[from] == SLOT_NOBODY)
        from++;
    *last = from - 1;
    return true;
}

/* Digits up to @p end, which is not one; false when there are none, or it is above @p max. */
static bool take_number(struct bytes *in, char end, unsigned long max, unsigned long *ret)
{
    size_t len = 0;
    *ret = 0;
    while (len < in->len && in->p[len] >= '0' && in->p[len] <= '9') {
        *ret = *ret * 10 + (unsigned long)(in->p[len++] - '0');
        if (*ret > max)
            return false;
    }
    bool ends = end ? len < in->len && in->p[len] == (uint8_t)end : len == in->len;
    if (len == 0 || !ends)
        return false;
    *in = bytes_make(in->p + len + (end != 0), in->len - len - (end != 0));
    return true;
}

static bool starts_with(struct bytes *in, const char *word)
{
    size_t len = strlen(word);
    if (in->len < len || memcmp(in->p, word, len) != 0)
        return false;
    *in = bytes_make(in->p + len, in->len - len);
    return true;
}

/* "<slot> <host>:<port>"; an IPv6 host has no brackets. */
static struct redirect parse_target(enum redirect_kind kind, struct bytes in)
{
    struct redirect later = {.kind = REDIRECT_LATER}, redirect = {.kind = kind};
    unsigned long slot, port;
    if (!take_number(&in, ' ', SLOT_COUNT - 1, &slot))
        return later;
    size_t colon = in.len;
    while (colon > 0 && in.p[colon - 1] != ':')
        colon--;
    struct bytes digits = bytes_make(in.p + colon, in.len - colon);
    if (colon < 2 || !take_number(&digits, '\0', 65535, &port) ||
        make_address(bytes_make(in.p, colon - 1), port, &redirect.address) != ERR_OK)
        return later;
    redirect.slot = (unsigned)slot;
    return redirect;
}

struct redirect redirect_parse(struct bytes error)
{
    if (starts_with(&error, "MOVED "))
        return parse_target(REDIRECT_MOVED, error);
    if (starts_with(&error, "ASK "))
        return parse_target(REDIRECT_ASK, error);
    if (starts_with(&error, "TRYAGAIN"))
        return (struct redirect){.kind = REDIRECT_LATER};
    if (starts_with(&error, "CLUSTERDOWN"))
        return (struct redirect){.kind = REDIRECT_LATER, .down = true};
    return (struct redirect){0};
}
