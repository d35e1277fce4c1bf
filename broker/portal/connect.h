/**
 * Connect (https://connectrpc.com/docs/protocol), over HTTP/1.1 and HTTP/2: unary calls, bare messages and HTTP's own
 * status; those without side effects by GET too; server streams, whose messages and end are in envelopes. Internal to
 * portal/.
 */
#ifndef NANOPUSH_PORTAL_CONNECT_H
#define NANOPUSH_PORTAL_CONNECT_H

#include "portal/rpc_protocol.h"

extern const struct rpc_protocol connect_unary, connect_get, connect_stream;

/** Append {"code":...,"message":...,"details":[...]}. @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err connect_append_error(struct buf *out, const struct rpc_error *error);

/** Append the envelope that ends a stream; @p error NULL: it ended well. @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err connect_append_end(struct buf *out, const struct rpc_error *error);

/** Parse Connect-Timeout-Ms: 1 to 10 digits, not zero. @return false if it is not that. */
bool connect_parse_timeout(struct bytes text, uint64_t *ms);

/**
 * Find a parameter of a query, as sent; the first of that name.
 * @return false if there is none.
 */
bool connect_query(struct bytes query, const char *name, struct bytes *value);

/**
 * Decode the parameter "message" of a query: percent-encoding and "+", then base64url, padded or not, if there is
 * "base64=1".
 * @return ERR_OK (without the parameter nothing is appended); ERR_MALFORMED; ERR_NOMEM.
 */
MUST_CHECK enum err connect_query_message(struct bytes query, struct buf *out);

#endif
