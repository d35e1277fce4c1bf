#include <stdio.h>
#include <string.h>

#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "wire/field.h"
#include "wire/json_load.h"
#include "wire/json_time.h"

#define WHOLE 18446744073709551616.0 /* 2^64 */

struct decoding {
    struct arena *arena;
    struct json_problem *problem;
};

/* Where in the message we are: a chain on the stack, innermost first. */
struct place {
    const struct place *outer; /* NULL: the field is the message's own */
    const ProtobufCFieldDescriptor *field;
    bool in_list;
    size_t index; /* of the element, when in_list */
};

/* Sign and magnitude hold both int64_t and uint64_t. */
struct integer {
    bool negative;
    uint64_t magnitude;
};

static enum err decode_message(struct decoding *d, const struct place *place,
                               const ProtobufCMessageDescriptor *descriptor, const json_t *json,
                               ProtobufCMessage **ret);

static void append_text(struct json_problem *problem, const char *text)
{
    size_t len = strlen(problem->text);
    snprintf(problem->text + len, sizeof problem->text - len, "%s", text);
}

static void append_place(struct json_problem *problem, const struct place *place)
{
    if (place->outer) {
        append_place(problem, place->outer);
        append_text(problem, ".");
    }
    char name[FIELD_JSON_NAME_SIZE], index[sizeof "[18446744073709551615]"];
    field_json_name(place->field, name);
    append_text(problem, name);
    if (place->in_list) {
        snprintf(index, sizeof index, "[%zu]", place->index);
        append_text(problem, index);
    }
}

/* Say what is wrong at place (NULL: the whole message), and hand e through. */
static enum err refuse(struct decoding *d, const struct place *place, enum err e, const char *text)
{
    d->problem->text[0] = '\0';
    if (place) {
        append_place(d->problem, place);
        append_text(d->problem, ": ");
    }
    append_text(d->problem, text);
    return e;
}

static enum err take_memory(struct decoding *d, const struct place *place, size_t len, void **ret)
{
    void *p = arena_alloc(d->arena, len);
    if (p) {
        *ret = p;
        return ERR_OK;
    }
    enum err e = arena_failure(d->arena) == ERR_NOMEM ? ERR_NOMEM : ERR_TOO_BIG;
    refuse(d, place, e, "more than the broker takes in one message");
    return e;
}

static bool parse_digits(struct bytes text, struct integer *ret)
{
    struct integer value = {.negative = text.len && text.p[0] == '-'};
    size_t i = value.negative;
    if (i == text.len)
        return false;
    for (; i < text.len; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        if (__builtin_mul_overflow(value.magnitude, 10, &value.magnitude) ||
            __builtin_add_overflow(value.magnitude, (unsigned)(text.p[i] - '0'), &value.magnitude))
            return false;
    }
    *ret = value;
    return true;
}

/* 5, "5", and, as the mapping allows, 5.0 and 5e0. */
static bool parse_integer(const json_t *json, struct integer *ret)
{
    if (json_is_string(json))
        return parse_digits(bytes_make(json_string_value(json), json_string_length(json)), ret);
    if (json_is_integer(json)) {
        json_int_t value = json_integer_value(json);
        *ret = (struct integer){value < 0, value < 0 ? -(uint64_t)value : (uint64_t)value};
        return true;
    }
    double value = json_real_value(json), magnitude = value < 0 ? -value : value;
    if (!json_is_real(json) || !(magnitude < WHOLE) || (double)(uint64_t)magnitude != magnitude)
        return false;
    *ret = (struct integer){value < 0, (uint64_t)magnitude};
    return true;
}

/* Fits value between -min and max; ret is its two's complement. */
static enum err decode_integer(struct decoding *d, const struct place *place, const json_t *json,
                               uint64_t min, uint64_t max, uint64_t *ret)
{
    struct integer value;
    if (!parse_integer(json, &value) || value.magnitude > (value.negative ? min : max)) {
        char text[80];
        snprintf(text, sizeof text, "must be a whole number from %s%llu to %llu", min ? "-" : "",
                 (unsigned long long)min, (unsigned long long)max);
        return refuse(d, place, ERR_INVALID, text);
    }
    *ret = value.negative ? -value.magnitude : value.magnitude;
    return ERR_OK;
}

static enum err decode_int32(struct decoding *d, const struct place *place, const json_t *json, uint64_t min,
                             uint64_t max, uint32_t *member)
{
    uint64_t value;
    TRY(decode_integer(d, place, json, min, max, &value));
    *member = (uint32_t)value;
    return ERR_OK;
}

static enum err decode_enum(struct decoding *d, const struct place *place, const json_t *json,
                            uint32_t *member)
{
    const ProtobufCEnumDescriptor *descriptor = place->field->descriptor;
    struct integer value;
    if (json_is_string(json)) {
        const ProtobufCEnumValue *known =
            protobuf_c_enum_descriptor_get_value_by_name(descriptor, json_string_value(json));
        if (known) {
            *member = (uint32_t)known->value;
            return ERR_OK;
        }
    } else if (parse_integer(json, &value) && value.magnitude <= (uint64_t)INT32_MAX + value.negative) {
        *member = (uint32_t)(value.negative ? -value.magnitude : value.magnitude);
        return ERR_OK;
    }
    char text[96];
    snprintf(text, sizeof text, "must be a name or number of %s", descriptor->name);
    return refuse(d, place, ERR_INVALID, text);
}

static enum err decode_string(struct decoding *d, const struct place *place, const json_t *json,
                              char **member)
{
    if (!json_is_string(json))
        return refuse(d, place, ERR_INVALID, "must be a string");
    size_t size = json_string_length(json) + 1;
    void *copy;
    TRY(take_memory(d, place, size, &copy));
    *member = memcpy(copy, json_string_value(json), size);
    return ERR_OK;
}

static enum err decode_bytes(struct decoding *d, const struct place *place, const json_t *json,
                             ProtobufCBinaryData *member)
{
    char *text;
    TRY(decode_string(d, place, json, &text));
    size_t len = json_string_length(json);
    if (len % 4 == 0)
        for (int padding = 0; padding < 2 && len && text[len - 1] == '='; padding++)
            len--;
    for (size_t i = 0; i < len; i++)
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    uint8_t *out = (uint8_t *)text; /* in place: decoding writes behind where it reads */
    if (base64url_decode(bytes_make(text, len), out, len, &len) != ERR_OK)
        return refuse(d, place, ERR_INVALID, "must be base64");
    *member = (ProtobufCBinaryData){.len = len, .data = len ? out : NULL};
    return ERR_OK;
}

static enum err decode_bool(struct decoding *d, const struct place *place, const json_t *json,
                            protobuf_c_boolean *member)
{
    if (!json_is_boolean(json))
        return refuse(d, place, ERR_INVALID, "must be true or false");
    *member = json_is_true(json);
    return ERR_OK;
}

/* member: where the value goes; for a list, where its element goes. */
static enum err decode_value(struct decoding *d, const struct place *place, const json_t *json, void *member)
{
    switch (place->field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return decode_int32(d, place, json, (uint64_t)INT32_MAX + 1, INT32_MAX, member);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return decode_int32(d, place, json, 0, UINT32_MAX, member);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return decode_integer(d, place, json, (uint64_t)INT64_MAX + 1, INT64_MAX, member);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return decode_integer(d, place, json, 0, UINT64_MAX, member);
    case PROTOBUF_C_TYPE_BOOL:
        return decode_bool(d, place, json, member);
    case PROTOBUF_C_TYPE_ENUM:
        return decode_enum(d, place, json, member);
    case PROTOBUF_C_TYPE_STRING:
        return decode_string(d, place, json, member);
    case PROTOBUF_C_TYPE_BYTES:
        return decode_bytes(d, place, json, member);
    case PROTOBUF_C_TYPE_MESSAGE:
        return decode_message(d, place, place->field->descriptor, json, member);
    default:
        return refuse(d, place, ERR_UNSUPPORTED, "of a type that this API does not use");
    }
}

static enum err decode_list(struct decoding *d, const struct place *place, const json_t *json,
                            ProtobufCMessage *message)
{
    if (!json_is_array(json))
        return refuse(d, place, ERR_INVALID, "must be a list");
    size_t count = json_array_size(json), element_bytes = field_element_bytes(place->field->type);
    if (count == 0)
        return ERR_OK;
    void *elements;
    TRY(take_memory(d, place, count * element_bytes, &elements));
    struct place element = {.outer = place->outer, .field = place->field, .in_list = true};
    for (; element.index < count; element.index++)
        TRY(decode_value(d, &element, json_array_get(json, element.index),
                         (char *)elements + element.index * element_bytes));
    *(void **)field_member(message, place->field) = elements;
    *field_count(message, place->field) = count;
    return ERR_OK;
}

static enum err decode_field(struct decoding *d, const struct place *place, const json_t *object,
                             ProtobufCMessage *message)
{
    const ProtobufCFieldDescriptor *field = place->field;
    if (field_check_json(field) != ERR_OK)
        return refuse(d, NULL, ERR_UNSUPPORTED, "a message with a field that this API does not use");
    char name[FIELD_JSON_NAME_SIZE];
    field_json_name(field, name);
    const json_t *json = json_object_get(object, name);
    const json_t *other = strcmp(name, field->name) ? json_object_get(object, field->name) : NULL;
    if (json && other)
        return refuse(d, place, ERR_INVALID, "stands twice, under both of its names");
    if (!json)
        json = other;
    if (!json || json_is_null(json))
        return ERR_OK;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return decode_list(d, place, json, message);
    uint32_t *oneof_case = field_oneof_case(message, field);
    if (oneof_case && *oneof_case)
        return refuse(d, place, ERR_INVALID, "excludes another member that is there too");
    TRY(decode_value(d, place, json, field_member(message, field)));
    if (oneof_case)
        *oneof_case = field->id;
    return ERR_OK;
}

/* Timestamp and Duration, whose protobuf-c types have the same members. */
static enum err decode_time(struct decoding *d, const struct place *place, const json_t *json,
                            ProtobufCMessage *message)
{
    bool is_timestamp = field_is_timestamp(message->descriptor);
    struct bytes text = bytes_make(json_string_value(json), json_string_length(json));
    Google__Protobuf__Timestamp *timestamp = (Google__Protobuf__Timestamp *)message;
    Google__Protobuf__Duration *duration = (Google__Protobuf__Duration *)message;
    if (is_timestamp && json_time_decode_timestamp(text, &timestamp->seconds, &timestamp->nanos) != ERR_OK)
        return refuse(d, place, ERR_INVALID, "must be an RFC 3339 time, such as \"2026-01-31T09:30:00Z\"");
    if (!is_timestamp && json_time_decode_duration(text, &duration->seconds, &duration->nanos) != ERR_OK)
        return refuse(d, place, ERR_INVALID, "must be seconds, such as \"60s\" or \"1.5s\"");
    return ERR_OK;
}

static enum err decode_message(struct decoding *d, const struct place *place,
                               const ProtobufCMessageDescriptor *descriptor, const json_t *json,
                               ProtobufCMessage **ret)
{
    void *memory;
    TRY(take_memory(d, place, descriptor->sizeof_message, &memory));
    ProtobufCMessage *message = memory;
    protobuf_c_message_init(descriptor, message);
    if (field_is_timestamp(descriptor) || field_is_duration(descriptor)) {
        TRY(decode_time(d, place, json, message));
        *ret = message;
        return ERR_OK;
    }
    if (!json_is_object(json))
        return refuse(d, place, ERR_INVALID, "must be an object");
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        struct place inner = {.outer = place, .field = &descriptor->fields[i]};
        TRY(decode_field(d, &inner, json, message));
    }
    *ret = message;
    return ERR_OK;
}

enum err json_decode(const ProtobufCMessageDescriptor *descriptor, struct bytes text, unsigned depth_max,
                     struct arena *arena, ProtobufCMessage **ret, struct json_problem *problem)
{
    struct decoding d = {.arena = arena, .problem = problem};
    json_t *root;
    TRY(json_load_object(text, depth_max, &root, problem));
    enum err e = decode_message(&d, NULL, descriptor, root, ret);
    json_decref(root);
    return e;
}
