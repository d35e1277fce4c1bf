/**
 * The form of the audit: lines of JSON, each sealed and chained with the one before, one chain for each process that
 * writes, from its start to its end.
 *
 *     {"chain":"<16 hex>","seq":7,"prev":"<mac of 6>","entry":{...},"mac":"<64 hex>"}
 *     {"chain":"<16 hex>","seq":8,"prev":"<mac of 7>","lost":2,"entry":{...},"mac":"<64 hex>"}
 *
 * mac is the cluster secret's seal over everything before ,"mac": in the line; prev of the first is 64 zeros. "lost" says
 * how many entries before this one could not be written. A chain's head is its last seq and mac.
 *
 * What it proves: without the cluster secret nobody can write, change, reorder or take out a line unnoticed, but for
 * lines at a chain's end, and whole chains. Those a head proves that was kept elsewhere: the lines up to it are all there.
 * It proves nothing against somebody who has the cluster secret, that is, the broker's machine.
 */
#ifndef NANOPUSH_AUDIT_CHAIN_H
#define NANOPUSH_AUDIT_CHAIN_H

#include "base/buf.h"
#include "crypto/secret.h"

#define CHAIN_ID_BYTES       8
#define CHAIN_ID_SIZE        HEX_SIZE(CHAIN_ID_BYTES)
#define CHAIN_MAC_SIZE       HEX_SIZE(SHA256_BYTES)
#define CHAIN_LINE_MAX_BYTES 16384

struct chain {
    char id[CHAIN_ID_SIZE];
    uint64_t seq;             /* of the last line; 0: none yet */
    char mac[CHAIN_MAC_SIZE]; /* of the last line */
};

/** A new chain. @return ERR_OK; ERR_CRYPTO. */
MUST_CHECK enum err chain_begin(struct chain *ret);

/**
 * Make the next line; the chain stays as it is until chain_commit().
 * @param      entry  a JSON object, of our own making.
 * @param      lost   entries that could not be written since the last line.
 * @param[out] line   appended to, with its line feed.
 * @param[out] next   the chain with this line.
 * @return ERR_OK; ERR_TOO_BIG above CHAIN_LINE_MAX_BYTES; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err chain_append(const struct chain *chain, const struct secret *secret, struct bytes entry,
                                 uint64_t lost, struct buf *line, struct chain *next);

/**
 * Read a line, without its line feed, and check its seal.
 * @param[out] chain  as it is with this line.
 * @param[out] prev   what the line names as the mac before it.
 * @param[out] entry  view of the entry.
 * @param[out] lost   entries that are missing before it.
 * @return ERR_OK; ERR_MALFORMED: no such line; ERR_BAD_SIGNATURE; ERR_TOO_BIG; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err chain_read(const struct secret *secret, struct bytes line, struct chain *chain,
                               char prev[CHAIN_MAC_SIZE], struct bytes *entry, uint64_t *lost);

/** What stands for "no line before". */
extern const char chain_no_mac[CHAIN_MAC_SIZE];

#endif
