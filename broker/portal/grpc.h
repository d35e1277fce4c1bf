/**
 * gRPC over HTTP/2 (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md): unary calls and server streams,
 * protobuf only. HTTP's status is 200 whatever happens; a call's own is in the trailers, or where no message was sent,
 * in the headers alone. Internal to portal/.
 */
#ifndef NANOPUSH_PORTAL_GRPC_H
#define NANOPUSH_PORTAL_GRPC_H

#include "portal/rpc_protocol.h"

extern const struct rpc_protocol grpc;

/** Parse grpc-timeout: 1 to 8 digits and one of H M S m u n; parts of a millisecond count as one. @return false if it is not that. */
bool grpc_parse_timeout(struct bytes text, uint64_t *ms);

/** Append @p text as grpc-message wants it: "%", and what is not printable ASCII, percent-encoded. @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err grpc_append_message(struct buf *out, const char *text);

/**
 * Append a google.rpc.Status of code, text and details, packed, in base64, as grpc-status-details-bin has it.
 * @return ERR_OK; ERR_NOMEM.
 */
MUST_CHECK enum err grpc_append_details(struct buf *out, const struct rpc_error *error);

/** The number of a code in grpc-status: 1 for canceled to 16 for unauthenticated. */
unsigned grpc_status(enum rpc_code code);

#endif
