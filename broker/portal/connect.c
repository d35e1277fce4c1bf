#include "portal/connect.h"

#include <string.h>
#include <strings.h>

#include "wire/json.h"
#include "wire/message.h"

#define ENVELOPE_BYTES      5
#define ENVELOPE_COMPRESSED 1
#define ENVELOPE_END        2

static const struct {
    const char *name;
    unsigned status;
} codes[] = {
#define RPC_CODE(ident, name, http) {name, http},
#include "portal/rpc_code.def"
#undef RPC_CODE
};

static const char *const types[2][2] = {
    /* by stream, codec */
    {"application/json", "application/proto"},
    {"application/connect+json", "application/connect+proto"},
};

/* Parameters are of no meaning here, but a charset of utf-8 is often sent. */
bool connect_content_type(struct bytes content_type, enum connect_codec *codec, bool *stream)
{
    size_t len = 0;
    while (len < content_type.len && content_type.p[len] != ';' && content_type.p[len] != ' ')
        len++;
    for (int s = 0; s < 2; s++)
        for (int c = 0; c < 2; c++)
            if (strlen(types[s][c]) == len &&
                strncasecmp(types[s][c], (const char *)content_type.p, len) == 0) {
                *stream = s == 1;
                *codec = c == 1 ? CONNECT_PROTO : CONNECT_JSON;
                return true;
            }
    return false;
}

const char *connect_response_type(enum connect_codec codec, bool stream)
{
    return types[stream][codec];
}

const char *connect_code_name(enum rpc_code code)
{
    return codes[code].name;
}

unsigned connect_code_status(enum rpc_code code)
{
    return codes[code].status;
}

/* Our texts are ASCII without control characters; quotes and backslashes may come from a path that a caller sent. */
static enum err append_quoted(struct buf *out, const char *text)
{
    TRY(buf_append_byte(out, '"'));
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            TRY(buf_append_byte(out, '\\'));
        TRY(buf_append_byte(out, (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : (uint8_t)*text));
    }
    return buf_append_byte(out, '"');
}

enum err connect_append_error(struct buf *out, enum rpc_code code, const char *text)
{
    TRY(buf_printf(out, "{\"code\":\"%s\",\"message\":", codes[code].name));
    TRY(append_quoted(out, text));
    return buf_append_byte(out, '}');
}

static enum err append_envelope(struct buf *out, uint8_t flags, struct bytes message)
{
    uint8_t head[ENVELOPE_BYTES] = {flags, (uint8_t)(message.len >> 24), (uint8_t)(message.len >> 16),
                                    (uint8_t)(message.len >> 8), (uint8_t)message.len};
    TRY(buf_append(out, bytes_make(head, sizeof head)));
    return buf_append(out, message);
}

enum err connect_append_message(struct buf *out, enum connect_codec codec, bool stream,
                                const ProtobufCMessage *message)
{
    struct buf encoded = {0};
    enum err e = codec == CONNECT_JSON ? json_encode(message, &encoded) : message_pack(message, &encoded);
    if (e == ERR_OK)
        e = stream ? append_envelope(out, 0, buf_view(&encoded)) : buf_append(out, buf_view(&encoded));
    buf_done(&encoded);
    return e;
}

enum err connect_append_end(struct buf *out, enum rpc_code code, const char *text)
{
    struct buf end = {0};
    enum err e = buf_append(&end, bytes_of(text ? "{\"error\":" : "{"));
    if (e == ERR_OK && text)
        e = connect_append_error(&end, code, text);
    if (e == ERR_OK)
        e = buf_append_byte(&end, '}');
    if (e == ERR_OK)
        e = append_envelope(out, ENVELOPE_END, buf_view(&end));
    buf_done(&end);
    return e;
}

enum err connect_open_envelope(struct bytes body, struct bytes *message)
{
    if (body.len < ENVELOPE_BYTES)
        return ERR_MALFORMED;
    if (body.p[0] & ENVELOPE_COMPRESSED)
        return ERR_UNSUPPORTED;
    size_t len = (size_t)body.p[1] << 24 | (size_t)body.p[2] << 16 | (size_t)body.p[3] << 8 | body.p[4];
    if (body.p[0] != 0 || len != body.len - ENVELOPE_BYTES)
        return ERR_MALFORMED;
    *message = bytes_make(body.p + ENVELOPE_BYTES, len);
    return ERR_OK;
}

bool connect_parse_timeout(struct bytes text, uint64_t *ms)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > 10)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.p[i] - '0');
    }
    *ms = value;
    return value > 0;
}
