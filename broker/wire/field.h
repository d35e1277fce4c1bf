/**
 * What both directions of the JSON mapping (wire/json.h) ask about protobuf-c's descriptors. Private to
 * wire/.
 */
#ifndef NANOPUSH_WIRE_FIELD_H
#define NANOPUSH_WIRE_FIELD_H

#include <protobuf-c/protobuf-c.h>

#include "base/bytes.h"

#define FIELD_JSON_NAME_SIZE 64 /* NUL included */

/**
 * @return ERR_OK if the JSON mapping can do @p field; ERR_UNSUPPORTED for a float, a double, a map, a
 * google.protobuf message other than Timestamp and Duration, and a name that FIELD_JSON_NAME_SIZE cannot
 * hold.
 */
MUST_CHECK enum err field_check_json(const ProtobufCFieldDescriptor *field);

/** Write the lowerCamelCase name of @p field, which passed field_check_json(). */
void field_json_name(const ProtobufCFieldDescriptor *field, char out[FIELD_JSON_NAME_SIZE]);

/** Bytes of one element of a repeated field of @p type in protobuf-c's array. */
size_t field_element_bytes(ProtobufCType type);

/** Where @p message holds the value of @p field; for a repeated one, the pointer to its array. */
void *field_member(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);

/** Where @p message counts the elements of the repeated @p field. */
size_t *field_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);

/** Where @p message says which field of @p field's oneof is set: its number, or 0; NULL if it is in none. */
uint32_t *field_oneof_case(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);

bool field_is_timestamp(const ProtobufCMessageDescriptor *descriptor);
bool field_is_duration(const ProtobufCMessageDescriptor *descriptor);

#endif
