/**
 * Protobuf messages from and to their wire bytes, for peers that are not to be trusted: checked first
 * (wire/scan.h), then unpacked into capped memory (wire/arena.h).
 */
#ifndef NANOPUSH_WIRE_MESSAGE_H
#define NANOPUSH_WIRE_MESSAGE_H

#include "base/buf.h"
#include "wire/arena.h"
#include "wire/scan.h"

/**
 * Parse @p in as a message of @p descriptor.
 *
 * Copies what it returns; @p in may be reused at once. Unknown fields are kept in the message and packed
 * again.
 *
 * @param      flags  as scan_message().
 * @param      arena  owns the message and all that hangs on it: never free the message itself.
 * @param[out] ret    the message, of the type that @p descriptor describes; every string in it is non-NULL.
 * @return ERR_OK; ERR_MALFORMED and ERR_UNSUPPORTED as scan_message(); ERR_TOO_BIG as scan_message(), and
 * when
 *         @p arena is full; ERR_NOMEM.
 */
MUST_CHECK enum err message_parse(const ProtobufCMessageDescriptor *descriptor, struct bytes in,
                                  unsigned flags, struct arena *arena, ProtobufCMessage **ret);

/** Append the wire bytes of @p message, without a length. @return ERR_OK; ERR_NOMEM (@p out is unchanged). */
MUST_CHECK enum err message_pack(const ProtobufCMessage *message, struct buf *out);

#endif
