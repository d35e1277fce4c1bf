#include <inttypes.h>

#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "wire/field.h"
#include "wire/json.h"
#include "wire/json_time.h"

static enum err put_message(struct buf *out, const ProtobufCMessage *message);

static enum err put(struct buf *out, const char *text)
{
    return buf_append(out, bytes_of(text));
}

static bool needs_escape(uint8_t c)
{
    return c < 0x20 || c == '"' || c == '\\' || c == 0x7f;
}

static enum err put_escape(struct buf *out, uint8_t c)
{
    switch (c) {
    case '"':
        return put(out, "\\\"");
    case '\\':
        return put(out, "\\\\");
    case '\b':
        return put(out, "\\b");
    case '\f':
        return put(out, "\\f");
    case '\n':
        return put(out, "\\n");
    case '\r':
        return put(out, "\\r");
    case '\t':
        return put(out, "\\t");
    default:
        return buf_printf(out, "\\u%04x", c);
    }
}

static enum err put_string(struct buf *out, struct bytes text)
{
    if (!utf8_valid(text))
        return ERR_INVALID;
    TRY(buf_append_byte(out, '"'));
    size_t done = 0;
    for (size_t i = 0; i < text.len; i++)
        if (needs_escape(text.p[i])) {
            TRY(buf_append(out, bytes_make(text.p + done, i - done)));
            TRY(put_escape(out, text.p[i]));
            done = i + 1;
        }
    if (done < text.len)
        TRY(buf_append(out, bytes_make(text.p + done, text.len - done)));
    return buf_append_byte(out, '"');
}

static enum err put_bytes(struct buf *out, struct bytes in)
{
    TRY(buf_append_byte(out, '"'));
    char *at = (char *)buf_reserve(out, BASE64URL_SIZE(in.len));
    if (!at)
        return ERR_NOMEM;
    base64url_encode(in, at);
    size_t len = BASE64URL_SIZE(in.len) - 1;
    for (size_t i = 0; i < len; i++)
        at[i] = at[i] == '-' ? '+' : at[i] == '_' ? '/' : at[i];
    buf_commit(out, len);
    static const char *const endings[] = {"\"", NULL, "==\"", "=\""};
    return put(out, endings[len % 4]);
}

static enum err put_enum(struct buf *out, const ProtobufCEnumDescriptor *descriptor, int32_t value)
{
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(descriptor, value);
    return known ? buf_printf(out, "\"%s\"", known->name) : buf_printf(out, "%" PRId32, value);
}

static enum err put_timestamp(struct buf *out, const Google__Protobuf__Timestamp *at)
{
    char text[JSON_TIME_SIZE];
    TRY(json_time_encode_timestamp(at->seconds, at->nanos, text));
    return buf_printf(out, "\"%s\"", text);
}

static enum err put_duration(struct buf *out, const Google__Protobuf__Duration *duration)
{
    char text[JSON_TIME_SIZE];
    TRY(json_time_encode_duration(duration->seconds, duration->nanos, text));
    return buf_printf(out, "\"%s\"", text);
}

/* member: where the value is; for a list, where its element is. */
static enum err put_value(struct buf *out, const ProtobufCFieldDescriptor *field, const void *member)
{
    const ProtobufCBinaryData *binary;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return buf_printf(out, "%" PRId32, *(const int32_t *)member);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return buf_printf(out, "%" PRIu32, *(const uint32_t *)member);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return buf_printf(out, "\"%" PRId64 "\"", *(const int64_t *)member);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return buf_printf(out, "\"%" PRIu64 "\"", *(const uint64_t *)member);
    case PROTOBUF_C_TYPE_BOOL:
        return put(out, *(const protobuf_c_boolean *)member ? "true" : "false");
    case PROTOBUF_C_TYPE_ENUM:
        return put_enum(out, field->descriptor, *(const int32_t *)member);
    case PROTOBUF_C_TYPE_STRING:
        return put_string(out, bytes_of(*(const char *const *)member));
    case PROTOBUF_C_TYPE_BYTES:
        binary = member;
        return put_bytes(out, bytes_make(binary->data, binary->len));
    case PROTOBUF_C_TYPE_MESSAGE:
        return put_message(out, *(const ProtobufCMessage *const *)member);
    default:
        return ERR_UNSUPPORTED;
    }
}

static bool is_default(const ProtobufCFieldDescriptor *field, const void *member)
{
    const char *text;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        text = *(const char *const *)member;
        return !text || !*text;
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)member)->len == 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return !*(const ProtobufCMessage *const *)member;
    default:
        return field_element_bytes(field->type) == sizeof(uint64_t) ? *(const uint64_t *)member == 0
                                                                    : *(const uint32_t *)member == 0;
    }
}

static bool is_present(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return *field_count(message, field) > 0;
    const uint32_t *oneof_case = field_oneof_case(message, field);
    return oneof_case ? *oneof_case == field->id : !is_default(field, field_member(message, field));
}

static enum err put_list(struct buf *out, const ProtobufCMessage *message,
                         const ProtobufCFieldDescriptor *field)
{
    const char *elements = *(const char *const *)field_member(message, field);
    for (size_t i = 0; i < *field_count(message, field); i++) {
        TRY(buf_append_byte(out, i ? ',' : '['));
        TRY(put_value(out, field, elements + i * field_element_bytes(field->type)));
    }
    return buf_append_byte(out, ']');
}

static enum err put_message(struct buf *out, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    if (field_is_timestamp(descriptor))
        return put_timestamp(out, (const Google__Protobuf__Timestamp *)message);
    if (field_is_duration(descriptor))
        return put_duration(out, (const Google__Protobuf__Duration *)message);

    char opening = '{';
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        TRY(field_check_json(field));
        if (!is_present(message, field))
            continue;
        char name[FIELD_JSON_NAME_SIZE];
        field_json_name(field, name);
        TRY(buf_printf(out, "%c\"%s\":", opening, name));
        opening = ',';
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            TRY(put_list(out, message, field));
        else
            TRY(put_value(out, field, field_member(message, field)));
    }
    return put(out, opening == '{' ? "{}" : "}");
}

enum err json_encode(const ProtobufCMessage *message, struct buf *out)
{
    struct buf text = {0}; /* so that an error leaves no half of an object behind */
    enum err e = put_message(&text, message);
    if (e == ERR_OK)
        e = buf_append(out, buf_view(&text));
    buf_done(&text);
    return e;
}
