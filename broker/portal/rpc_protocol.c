#include "portal/rpc_protocol.h"

#include <stdlib.h>

#include "wire/json.h"
#include "wire/message.h"

#define ENVELOPE_COMPRESSED 1

static const struct {
    const char *name;
    unsigned status;
} codes[] = {
#define RPC_CODE(ident, name, http) {name, http},
#include "portal/rpc_code.def"
#undef RPC_CODE
};

const char *rpc_code_name(enum rpc_code code)
{
    return codes[code].name;
}

unsigned rpc_code_status(enum rpc_code code)
{
    return codes[code].status;
}

void rpc_details_free(struct list *details)
{
    while (!list_empty(details)) {
        struct rpc_detail *detail = CONTAINER_OF(details->next, struct rpc_detail, node);
        list_remove(&detail->node);
        buf_done(&detail->packed);
        buf_done(&detail->json);
        free(detail);
    }
}

enum err rpc_append_base64(struct buf *out, struct bytes in)
{
    uint8_t *room = buf_reserve(out, BASE64URL_SIZE(in.len));
    if (!room)
        return ERR_NOMEM;
    base64_encode(in, (char *)room);
    buf_commit(out, BASE64URL_SIZE(in.len) - 1);
    return ERR_OK;
}

enum err rpc_append_envelope(struct buf *out, uint8_t flags, struct bytes message)
{
    uint8_t head[RPC_ENVELOPE_BYTES] = {flags, (uint8_t)(message.len >> 24), (uint8_t)(message.len >> 16),
                                        (uint8_t)(message.len >> 8), (uint8_t)message.len};
    TRY(buf_append(out, bytes_make(head, sizeof head)));
    return buf_append(out, message);
}

enum err rpc_open_envelope(struct bytes body, struct bytes *message)
{
    if (body.len == 0)
        return ERR_BAD_STATE;
    if (body.p[0] & ENVELOPE_COMPRESSED)
        return ERR_UNSUPPORTED;
    if (body.len < RPC_ENVELOPE_BYTES || body.p[0] != 0)
        return ERR_MALFORMED;
    size_t len = (size_t)body.p[1] << 24 | (size_t)body.p[2] << 16 | (size_t)body.p[3] << 8 | body.p[4];
    if (len > body.len - RPC_ENVELOPE_BYTES)
        return ERR_MALFORMED;
    if (len < body.len - RPC_ENVELOPE_BYTES)
        return ERR_BAD_STATE;
    *message = bytes_make(body.p + RPC_ENVELOPE_BYTES, len);
    return ERR_OK;
}

enum err rpc_append_bare(struct buf *out, enum rpc_codec codec, const ProtobufCMessage *message)
{
    return codec == RPC_JSON ? json_encode(message, out) : message_pack(message, out);
}

enum err rpc_append_enveloped(struct buf *out, enum rpc_codec codec, const ProtobufCMessage *message)
{
    struct buf bare = {0};
    enum err e = rpc_append_bare(&bare, codec, message);
    if (e == ERR_OK)
        e = rpc_append_envelope(out, 0, buf_view(&bare));
    buf_done(&bare);
    return e;
}

size_t rpc_headers(const struct rpc_answer *to, const char *content_type,
                   struct http_header headers[RPC_HEADERS_MAX])
{
    size_t count = 0;
    headers[count++] = (struct http_header){bytes_of("content-type"), bytes_of(content_type)};
    headers[count++] = (struct http_header){bytes_of("cache-control"), bytes_of("no-store")};
    if (to->worker[0])
        headers[count++] = (struct http_header){bytes_of("nanopush-worker"), bytes_of(to->worker)};
    if (to->retry_after[0])
        headers[count++] = (struct http_header){bytes_of("retry-after"), bytes_of(to->retry_after)};
    return count;
}

void rpc_start(const struct rpc_answer *to)
{
    struct http_header headers[RPC_HEADERS_MAX];
    if (!to->ex->started)
        http_start(to->ex, 200, headers, rpc_headers(to, to->content_type, headers));
}

bool rpc_parse_number(struct bytes text, size_t digits_max, uint64_t *ret)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > digits_max)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.p[i] - '0');
    }
    *ret = value;
    return true;
}
