/**
 * A look at a message's wire bytes before protobuf-c unpacks them. protobuf-c 1.4.1 cuts a string at a NUL
 * byte, takes any bytes for UTF-8, recurses as deep as the peer likes and merges a message that stands twice
 * wrongly (scalars of the first are lost); after unpacking none of it can be seen any more. Wire format:
 * https://protobuf.dev/programming-guides/encoding/
 */
#ifndef NANOPUSH_WIRE_SCAN_H
#define NANOPUSH_WIRE_SCAN_H

#include <protobuf-c/protobuf-c.h>

#include "base/bytes.h"

#define SCAN_MAX_FIELDS 1024 /* with those of nested messages, unknown ones and packed elements */
#define SCAN_MAX_DEPTH  8    /* levels of messages, the outermost counted */

/** Refuse fields and enum values that the descriptor does not know: for what a person is shown and signs. */
#define SCAN_STRICT 1u

/**
 * Check that @p in is a message of @p descriptor that protobuf-c will read as every other implementation
 * does. Allocates nothing. Stricter than the wire format asks for, in ways that no serialiser meets: a field
 * that is not repeated, or a oneof, may be set once only; a known field must have its own wire type.
 *
 * @param flags  0 or SCAN_STRICT.
 * @return ERR_OK; ERR_MALFORMED if @p in is truncated, has a group, a field number of 0 or above 2^29 - 1, a
 * varint of more than 64 bits (32 for a tag or length), a wrong wire type, a field twice, or a string that is
 * not UTF-8 or has a NUL byte; ERR_TOO_BIG above SCAN_MAX_FIELDS or SCAN_MAX_DEPTH; ERR_UNSUPPORTED with
 * SCAN_STRICT for an unknown field or enum value, and always for a descriptor of more than 64 fields.
 */
MUST_CHECK enum err scan_message(const ProtobufCMessageDescriptor *descriptor, struct bytes in,
                                 unsigned flags);

#endif
