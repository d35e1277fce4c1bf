/**
 * How many connections of each address are open that have not proved who they are. IPv6 counts by /64, since whoever has
 * one address there has all of them; unix sockets are not counted.
 */
#ifndef NANOPUSH_NET_ADDRESS_COUNT_H
#define NANOPUSH_NET_ADDRESS_COUNT_H

#include "base/table.h"
#include "net/address.h"

#define ADDRESS_KEY_BYTES 9

/** What of an address counts: 4 or 6, then 4 or 8 bytes of it; all zero: not counted. */
struct address_key {
    uint8_t bytes[ADDRESS_KEY_BYTES];
};

struct address_key address_key_of(const struct address *address);

/** Zero-initialised is empty and valid. */
struct address_counts {
    struct table table;
};

/** Count one more. @return false, and not counted, where there are @p max already (0: no limit), or memory is out. */
bool address_counts_take(struct address_counts *counts, const struct address_key *key, unsigned max);

/** One fewer; each take is given back once. */
void address_counts_give(struct address_counts *counts, const struct address_key *key);

/** Everything must have been given back. */
void address_counts_done(struct address_counts *counts);

#endif
