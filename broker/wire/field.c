#include "wire/field.h"

#include <string.h>

#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"

static bool ends_with(const char *s, const char *end)
{
    size_t len = strlen(s), end_len = strlen(end);
    return len >= end_len && strcmp(s + len - end_len, end) == 0;
}

/* protobuf-c keeps no mark of a map: protoc turns it into a repeated message of this form. */
static bool is_map_entry(const ProtobufCMessageDescriptor *descriptor)
{
    return descriptor->n_fields == 2 && ends_with(descriptor->short_name, "Entry") &&
           strcmp(descriptor->fields[0].name, "key") == 0 && strcmp(descriptor->fields[1].name, "value") == 0;
}

static bool is_supported_message(const ProtobufCMessageDescriptor *descriptor)
{
    if (field_is_timestamp(descriptor) || field_is_duration(descriptor))
        return true;
    return strcmp(descriptor->package_name, "google.protobuf") != 0 && !is_map_entry(descriptor);
}

enum err field_check_json(const ProtobufCFieldDescriptor *field)
{
    if (field->type == PROTOBUF_C_TYPE_FLOAT || field->type == PROTOBUF_C_TYPE_DOUBLE)
        return ERR_UNSUPPORTED;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE && !is_supported_message(field->descriptor))
        return ERR_UNSUPPORTED;
    return strlen(field->name) < FIELD_JSON_NAME_SIZE ? ERR_OK : ERR_UNSUPPORTED;
}

void field_json_name(const ProtobufCFieldDescriptor *field, char out[FIELD_JSON_NAME_SIZE])
{
    bool upper = false;
    for (const char *p = field->name; *p; p++) {
        if (*p != '_')
            *out++ = upper && *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
        upper = *p == '_';
    }
    *out = '\0';
}

size_t field_element_bytes(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
        return sizeof(char *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(ProtobufCMessage *);
    default:
        return sizeof(uint32_t);
    }
}

/* One accessor for reader and writer: what is const to the one is the other's own object. */
static void *at_offset(const ProtobufCMessage *message, unsigned offset)
{
    return (char *)(uintptr_t)message + offset;
}

void *field_member(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return at_offset(message, field->offset);
}

size_t *field_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return at_offset(message, field->quantifier_offset);
}

uint32_t *field_oneof_case(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF ? at_offset(message, field->quantifier_offset) : NULL;
}

bool field_is_timestamp(const ProtobufCMessageDescriptor *descriptor)
{
    return descriptor == &google__protobuf__timestamp__descriptor;
}

bool field_is_duration(const ProtobufCMessageDescriptor *descriptor)
{
    return descriptor == &google__protobuf__duration__descriptor;
}
