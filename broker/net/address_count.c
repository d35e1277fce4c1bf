#include "net/address_count.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

struct count {
    struct table_node node;
    struct address_key key;
    unsigned open;
};

struct address_key address_key_of(const struct address *address)
{
    struct address_key key = {0};
    if (address->storage.ss_family == AF_INET) {
        key.bytes[0] = 4;
        memcpy(key.bytes + 1, &((const struct sockaddr_in *)&address->storage)->sin_addr, 4);
    } else if (address->storage.ss_family == AF_INET6) {
        key.bytes[0] = 6;
        memcpy(key.bytes + 1, &((const struct sockaddr_in6 *)&address->storage)->sin6_addr, 8);
    }
    return key;
}

static uint64_t hash_of(const struct address_key *key)
{
    return table_hash(bytes_make(key->bytes, ADDRESS_KEY_BYTES));
}

static struct count *find(const struct address_counts *counts, const struct address_key *key)
{
    uint64_t hash = hash_of(key);
    for (struct table_node *n = table_first(&counts->table, hash); n; n = table_next(n, hash)) {
        struct count *count = CONTAINER_OF(n, struct count, node);
        if (memcmp(&count->key, key, sizeof *key) == 0)
            return count;
    }
    return NULL;
}

bool address_counts_take(struct address_counts *counts, const struct address_key *key, unsigned max)
{
    if (!key->bytes[0])
        return true;
    struct count *count = find(counts, key);
    if (count) {
        if (max && count->open >= max)
            return false;
        count->open++;
        return true;
    }
    count = calloc(1, sizeof *count);
    if (!count || table_add(&counts->table, &count->node, hash_of(key)) != ERR_OK) {
        free(count);
        return false;
    }
    count->key = *key;
    count->open = 1;
    return true;
}

void address_counts_give(struct address_counts *counts, const struct address_key *key)
{
    struct count *count = key->bytes[0] ? find(counts, key) : NULL;
    if (!count || --count->open)
        return;
    table_remove(&counts->table, &count->node);
    free(count);
}

void address_counts_done(struct address_counts *counts)
{
    table_done(&counts->table);
}
