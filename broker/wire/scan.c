#include "wire/scan.h"

#include <string.h>

#define WIDE_VARINT_BYTES  10 /* 64 bits */
#define SHORT_VARINT_BYTES 5  /* 32 bits: what protobuf-c reads of a tag or length */

struct scan {
    unsigned flags, field_count;
};

/* One field as it stands on the wire: value for a varint, payload for all else. */
struct wire_field {
    uint32_t number;
    ProtobufCWireType type;
    uint64_t value;
    struct bytes payload;
};

static enum err scan_level(struct scan *s, const ProtobufCMessageDescriptor *descriptor, struct bytes in,
                           unsigned depth);

static enum err take_bytes(struct bytes *in, uint64_t len, struct bytes *ret)
{
    if (len > in->len)
        return ERR_MALFORMED;
    *ret = bytes_make(in->p, (size_t)len);
    *in = bytes_make(in->p + len, in->len - (size_t)len);
    return ERR_OK;
}

static enum err take_varint(struct bytes *in, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < WIDE_VARINT_BYTES && i < in->len; i++) {
        uint8_t byte = in->p[i];
        if (i == WIDE_VARINT_BYTES - 1 && byte > 1)
            return ERR_MALFORMED;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            *in = bytes_make(in->p + i + 1, in->len - i - 1);
            *ret = value;
            return ERR_OK;
        }
    }
    return ERR_MALFORMED;
}

static enum err take_short_varint(struct bytes *in, uint32_t *ret)
{
    size_t before = in->len;
    uint64_t value;
    TRY(take_varint(in, &value));
    if (value > UINT32_MAX || before - in->len > SHORT_VARINT_BYTES)
        return ERR_MALFORMED;
    *ret = (uint32_t)value;
    return ERR_OK;
}

static enum err take_field(struct bytes *in, struct wire_field *ret)
{
    uint32_t tag, len;
    TRY(take_short_varint(in, &tag));
    *ret = (struct wire_field){.number = tag >> 3, .type = tag & 7};
    if (ret->number == 0)
        return ERR_MALFORMED;
    switch (ret->type) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        return take_varint(in, &ret->value);
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        return take_bytes(in, 8, &ret->payload);
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        TRY(take_short_varint(in, &len));
        return take_bytes(in, len, &ret->payload);
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        return take_bytes(in, 4, &ret->payload);
    }
    return ERR_MALFORMED; /* the two of a group, and the two that mean nothing */
}

static ProtobufCWireType wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return PROTOBUF_C_WIRE_TYPE_32BIT;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return PROTOBUF_C_WIRE_TYPE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    default:
        return PROTOBUF_C_WIRE_TYPE_VARINT;
    }
}

static enum err count_field(struct scan *s)
{
    return s->field_count++ < SCAN_MAX_FIELDS ? ERR_OK : ERR_TOO_BIG;
}

static enum err check_varint(const struct scan *s, const ProtobufCFieldDescriptor *field, uint64_t value)
{
    bool known = field->type != PROTOBUF_C_TYPE_ENUM ||
                 protobuf_c_enum_descriptor_get_value(field->descriptor, (int32_t)(uint32_t)value);
    return known || !(s->flags & SCAN_STRICT) ? ERR_OK : ERR_UNSUPPORTED;
}

static enum err scan_packed(struct scan *s, const ProtobufCFieldDescriptor *field, struct bytes in)
{
    ProtobufCWireType type = wire_type_of(field->type);
    while (in.len) {
        uint64_t value;
        struct bytes fixed;
        TRY(count_field(s));
        if (type == PROTOBUF_C_WIRE_TYPE_VARINT) {
            TRY(take_varint(&in, &value));
            TRY(check_varint(s, field, value));
        } else {
            TRY(take_bytes(&in, type == PROTOBUF_C_WIRE_TYPE_32BIT ? 4 : 8, &fixed));
        }
    }
    return ERR_OK;
}

/* Fields that exclude one another share a bit: their oneof's first field's. */
static uint64_t once_bit(const ProtobufCMessageDescriptor *descriptor, const ProtobufCFieldDescriptor *field)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return 0;
    size_t i = (size_t)(field - descriptor->fields);
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        for (i = 0; !(descriptor->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) ||
                    descriptor->fields[i].quantifier_offset != field->quantifier_offset;)
            i++;
    return (uint64_t)1 << i;
}

static enum err scan_value(struct scan *s, const ProtobufCFieldDescriptor *field,
                           const struct wire_field *wire, unsigned depth)
{
    ProtobufCWireType type = wire_type_of(field->type);
    if (field->label == PROTOBUF_C_LABEL_REPEATED && type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED &&
        wire->type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
        return scan_packed(s, field, wire->payload);
    if (wire->type != type)
        return ERR_MALFORMED;
    if (type == PROTOBUF_C_WIRE_TYPE_VARINT)
        return check_varint(s, field, wire->value);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return scan_level(s, field->descriptor, wire->payload, depth + 1);
    if (field->type == PROTOBUF_C_TYPE_STRING && wire->payload.len &&
        (memchr(wire->payload.p, 0, wire->payload.len) || !utf8_valid(wire->payload)))
        return ERR_MALFORMED;
    return ERR_OK;
}

static enum err scan_level(struct scan *s, const ProtobufCMessageDescriptor *descriptor, struct bytes in,
                           unsigned depth)
{
    if (depth > SCAN_MAX_DEPTH)
        return ERR_TOO_BIG;
    if (descriptor->n_fields > 64)
        return ERR_UNSUPPORTED;
    uint64_t seen = 0;
    while (in.len) {
        struct wire_field wire;
        TRY(take_field(&in, &wire));
        TRY(count_field(s));
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(descriptor, wire.number);
        if (!field && s->flags & SCAN_STRICT)
            return ERR_UNSUPPORTED;
        if (!field)
            continue;
        uint64_t bit = once_bit(descriptor, field);
        if (seen & bit)
            return ERR_MALFORMED;
        seen |= bit;
        TRY(scan_value(s, field, &wire, depth));
    }
    return ERR_OK;
}

enum err scan_message(const ProtobufCMessageDescriptor *descriptor, struct bytes in, unsigned flags)
{
    struct scan s = {.flags = flags};
    return scan_level(&s, descriptor, in, 1);
}
