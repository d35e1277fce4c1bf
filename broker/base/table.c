#include "base/table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define TABLE_MIN_BUCKETS 16

static uint64_t rotate(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

/* A weak key would only cost speed, so a failing getrandom() is no reason to stop. */
static const uint64_t *hash_key(void)
{
    static uint64_t key[2];
    static bool ready;
    if (!ready) {
        ready = true;
        if (getrandom(key, sizeof key, 0) != sizeof key)
            key[0] = (uint64_t)(uintptr_t)&key;
    }
    return key;
}

uint64_t table_hash(struct bytes in)
{
    const uint64_t *key = hash_key();
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
                     key[1] ^ 0x7465646279746573};
    for (size_t i = 0; i <= in.len; i += 8) {
        uint64_t word = 0;
        size_t left = in.len - i < 8 ? in.len - i : 8;
        if (left)
            memcpy(&word, in.p + i, left);
        if (left < 8)
            word |= (uint64_t)in.len << 56;
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static struct table_node *with_hash(struct table_node *n, uint64_t hash)
{
    while (n && n->hash != hash)
        n = n->next;
    return n;
}

struct table_node *table_first(const struct table *t, uint64_t hash)
{
    return t->bucket_count ? with_hash(t->buckets[hash & (t->bucket_count - 1)], hash) : NULL;
}

struct table_node *table_next(const struct table_node *n, uint64_t hash)
{
    return with_hash(n->next, hash);
}

static void link_node(struct table_node **buckets, size_t bucket_count, struct table_node *n)
{
    struct table_node **bucket = &buckets[n->hash & (bucket_count - 1)];
    n->next = *bucket;
    *bucket = n;
}

static enum err grow(struct table *t)
{
    size_t bucket_count = t->bucket_count ? t->bucket_count * 2 : TABLE_MIN_BUCKETS;
    struct table_node **buckets = calloc(bucket_count, sizeof *buckets);
    if (!buckets)
        return t->bucket_count ? ERR_OK : ERR_NOMEM;
    for (size_t i = 0; i < t->bucket_count; i++)
        for (struct table_node *n = t->buckets[i], *next; n; n = next) {
            next = n->next;
            link_node(buckets, bucket_count, n);
        }
    free(t->buckets);
    t->buckets = buckets;
    t->bucket_count = bucket_count;
    return ERR_OK;
}

enum err table_add(struct table *t, struct table_node *n, uint64_t hash)
{
    if (t->count >= t->bucket_count)
        TRY(grow(t));
    n->hash = hash;
    link_node(t->buckets, t->bucket_count, n);
    t->count++;
    return ERR_OK;
}

void table_remove(struct table *t, struct table_node *n)
{
    struct table_node **at = &t->buckets[n->hash & (t->bucket_count - 1)];
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    n->next = NULL;
    t->count--;
}

void table_each(struct table *t, void (*fn)(struct table_node *n, void *arg), void *arg)
{
    for (size_t i = 0; i < t->bucket_count; i++)
        for (struct table_node *n = t->buckets[i], *next; n; n = next) {
            next = n->next;
            fn(n, arg);
        }
}

void table_done(struct table *t)
{
    free(t->buckets);
    *t = (struct table){0};
}
