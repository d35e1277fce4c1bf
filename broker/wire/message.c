#include "wire/message.h"

enum err message_parse(const ProtobufCMessageDescriptor *descriptor, struct bytes in, unsigned flags,
                       struct arena *arena, ProtobufCMessage **ret)
{
    TRY(scan_message(descriptor, in, flags));
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, arena_allocator(arena), in.len, in.p);
    if (!message)
        return arena_failure(arena) != ERR_OK ? arena_failure(arena) : ERR_MALFORMED;
    *ret = message;
    return ERR_OK;
}

enum err message_pack(const ProtobufCMessage *message, struct buf *out)
{
    uint8_t *at = buf_reserve(out, protobuf_c_message_get_packed_size(message));
    if (!at)
        return ERR_NOMEM;
    buf_commit(out, protobuf_c_message_pack(message, at));
    return ERR_OK;
}
