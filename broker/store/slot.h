/**
 * Slots of a Redis Cluster: which one a key is in, who serves which, and where a node sends who came to the wrong one.
 * Pure; what nodes say is read with limits. Source: the Redis Cluster specification, and CLUSTER SLOTS.
 */
#ifndef NANOPUSH_STORE_SLOT_H
#define NANOPUSH_STORE_SLOT_H

#include <hiredis/hiredis.h>

#include "net/address.h"

#define SLOT_COUNT       16384
#define SLOT_MASTERS_MAX 128 /* of one cluster; a map with more is refused */
#define SLOT_NOBODY      UINT8_MAX

/** CRC16 (XMODEM) of the key's hash tag, or of all of it where it has none, modulo SLOT_COUNT. */
unsigned slot_of(struct bytes key);

/** Who serves what, as one node sees it. */
struct slot_map {
    size_t master_count;
    struct address masters[SLOT_MASTERS_MAX];
    uint8_t at[SLOT_COUNT]; /* index in masters, or SLOT_NOBODY */
};

/**
 * Read the reply to CLUSTER SLOTS.
 * @param      asked  whom: a node that does not know its own address is meant by an empty one.
 * @param[out] ret    whole on ERR_OK, undefined otherwise. Replicas are left out.
 * @return ERR_OK; ERR_MALFORMED: not such a reply, or a node is known by a host name only; ERR_TOO_BIG.
 */
MUST_CHECK enum err slot_map_parse(const redisReply *reply, const struct address *asked,
                                   struct slot_map *ret);

/** The first and the last slot of the first run from @p from on that nobody serves. False if there is none. */
bool slot_map_gap(const struct slot_map *map, unsigned from, unsigned *first, unsigned *last);

enum redirect_kind {
    REDIRECT_NONE,  /* not an error of the kind */
    REDIRECT_MOVED, /* the slot is at address, from now on */
    REDIRECT_ASK,   /* this once, with ASKING before it */
    REDIRECT_LATER, /* TRYAGAIN, CLUSTERDOWN, or an address that only a new map gives: ask again in a while */
};

struct redirect {
    enum redirect_kind kind;
    unsigned slot;          /* of MOVED and ASK */
    struct address address; /* of MOVED and ASK */
    bool down;              /* CLUSTERDOWN */
};

/** What an error reply to a command in a Cluster asks for. @p error need not end in NUL. */
struct redirect redirect_parse(struct bytes error);

#endif
