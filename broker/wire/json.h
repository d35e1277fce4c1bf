/**
 * The JSON form of protobuf messages (https://protobuf.dev/programming-guides/json/), both ways, driven by
 * protobuf-c's descriptors. For proto3 messages of scalars, enums, strings, bytes, messages, lists, oneofs,
 * Timestamp and Duration; floats, maps and the other google.protobuf messages are ERR_UNSUPPORTED. The
 * project's .proto files have none.
 */
#ifndef NANOPUSH_WIRE_JSON_H
#define NANOPUSH_WIRE_JSON_H

#include "base/buf.h"
#include "wire/arena.h"

#define JSON_MAX_DEPTH    32   /* a usual depth_max */
#define JSON_MAX_TOKENS   4096 /* opening brackets, commas and colons outside strings */
#define JSON_PROBLEM_SIZE 192  /* NUL included */

/** Why a text was refused, for the person who sent it: ASCII, no control characters, nothing of the text
 * itself. */
struct json_problem {
    char text[JSON_PROBLEM_SIZE];
};

/**
 * Parse @p text, an object, as a message of @p descriptor.
 *
 * Copies what it returns; @p text may be reused at once. Its length is the caller's to limit. Unknown members
 * are ignored, null means absent, names are taken as lowerCamelCase and as in the .proto file, 32- and 64-bit
 * integers as numbers and as strings (a number above 2^63 - 1 is refused: write a string), enums by name or
 * number, bytes in base64 or base64url, padded or not.
 *
 * @param      depth_max  objects and lists inside one another, those of unknown fields too.
 * @param      arena    owns the message and all that hangs on it: never free the message itself.
 * @param[out] ret      the message, of the type that @p descriptor describes; every string in it is non-NULL.
 * @param[out] problem  what is wrong and where, "context.fields[2].label: must be a string"; written on error
 * only.
 * @return ERR_OK; ERR_MALFORMED if @p text is no JSON, has invalid UTF-8, a NUL or a member twice;
 * ERR_INVALID if it is not this message: a wrong type, an unknown enum name, a number out of range, a field
 * under both of its names, two fields of a oneof; ERR_TOO_BIG above @p depth_max, JSON_MAX_TOKENS or when @p arena is
 * full; ERR_UNSUPPORTED; ERR_NOMEM.
 */
MUST_CHECK enum err json_decode(const ProtobufCMessageDescriptor *descriptor, struct bytes text,
                                unsigned depth_max, struct arena *arena, ProtobufCMessage **ret,
                                struct json_problem *problem);

/**
 * Append @p message as canonical JSON without white space: lowerCamelCase, fields in the order of their
 * numbers, defaults left out (a message without any is {}), enums by name or, if it has none, number, 64-bit
 * integers as strings, bytes in padded base64. Unknown fields are left out.
 *
 * @return ERR_OK; ERR_INVALID for a string that is not UTF-8 and a Timestamp or Duration out of range;
 *         ERR_UNSUPPORTED; ERR_NOMEM (@p out is unchanged by each).
 */
MUST_CHECK enum err json_encode(const ProtobufCMessage *message, struct buf *out);

#endif
