/**
 * The header of the PROXY protocol, version 2, in which a load balancer says whose connection it passes on. Binary, in
 * front of the first byte of TLS. The text form (version 1) is not spoken.
 *
 *     | signature, 12 bytes | version, command | family, transport | u16 length | addresses, then TLVs |
 *
 * Source: "The PROXY protocol", section 2.2, from HAProxy (proxy-protocol.txt).
 */
#ifndef NANOPUSH_NET_PROXY_HEADER_H
#define NANOPUSH_NET_PROXY_HEADER_H

#include "net/address.h"

#define PROXY_HEADER_START_BYTES 16   /* up to its length */
#define PROXY_HEADER_MAX_BYTES   1024 /* of all: the largest addresses (216) leave 792 for TLVs */

/**
 * How many bytes the header has that begins so.
 *
 * @param      start  what is there of it, from its first byte on; bytes past the header are not looked at.
 * @param[out] ret    PROXY_HEADER_START_BYTES until so many are there, then the length of all.
 * @return ERR_OK; ERR_MALFORMED as soon as a byte shows that it is none of version 2; ERR_TOO_BIG above
 * PROXY_HEADER_MAX_BYTES.
 */
MUST_CHECK enum err proxy_header_length(struct bytes start, size_t *ret);

/**
 * Read whose connection it is. TLVs are passed over. An IPv4 address in IPv6's clothes (::ffff:0:0/96) becomes an IPv4
 * address, so that it counts as one host and not as everybody's /64.
 *
 * @param      header  a whole one: as many bytes as proxy_header_length() says.
 * @param[out] ret     the source; len 0 where the header names none: the balancer's own connection (command LOCAL, as
 *                     for a health check) or one of a kind that has no address (UNSPEC). A unix peer has no name.
 * @return ERR_OK; ERR_MALFORMED for a wrong length or command, or addresses that are cut; ERR_UNSUPPORTED if it is not
 * of a stream.
 */
MUST_CHECK enum err proxy_header_source(struct bytes header, struct address *ret);

#endif
