#include "wire/frame.h"

#define PREFIX_MAX_BYTES 3 /* 7 bits a byte hold 2097151, and a fourth byte would only say more than that */

enum err frame_next(struct bytes in, struct bytes *payload, size_t *consumed)
{
    size_t len = 0, prefix_len = 0;
    uint8_t byte;
    do {
        if (prefix_len == PREFIX_MAX_BYTES)
            return ERR_TOO_BIG;
        if (prefix_len == in.len) {
            *consumed = 0;
            return ERR_OK;
        }
        byte = in.p[prefix_len];
        len |= (size_t)(byte & 0x7f) << (7 * prefix_len++);
    } while (byte & 0x80);

    if (byte == 0 && prefix_len > 1)
        return ERR_MALFORMED;
    if (len > FRAME_MAX_BYTES)
        return ERR_TOO_BIG;
    if (in.len - prefix_len < len) {
        *consumed = 0;
        return ERR_OK;
    }
    *payload = bytes_make(in.p + prefix_len, len);
    *consumed = prefix_len + len;
    return ERR_OK;
}

enum err frame_append(struct buf *out, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    if (len > FRAME_MAX_BYTES)
        return ERR_TOO_BIG;
    uint8_t *start = buf_reserve(out, PREFIX_MAX_BYTES + len);
    if (!start)
        return ERR_NOMEM;
    uint8_t *at = start;
    size_t rest = len;
    for (; rest >= 0x80; rest >>= 7)
        *at++ = (uint8_t)(rest | 0x80);
    *at++ = (uint8_t)rest;
    at += protobuf_c_message_pack(message, at);
    buf_commit(out, (size_t)(at - start));
    return ERR_OK;
}
