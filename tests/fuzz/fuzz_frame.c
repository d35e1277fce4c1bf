/**
 * What a phone sends: frames one after the other, each parsed as a PhoneMessage. What was parsed must pack
 * into something that parses again.
 */
#include <stdlib.h>

#include "nanopush/v1/device.pb-c.h"
#include "wire/frame.h"
#include "wire/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static void parse(struct bytes payload)
{
    const ProtobufCMessageDescriptor *phone = &nanopush__v1__phone_message__descriptor;
    struct arena arena;
    arena_init(&arena, ARENA_MAX_BYTES);
    ProtobufCMessage *message;
    if (message_parse(phone, payload, 0, &arena, &message) == ERR_OK) {
        struct buf out = {0};
        if (message_pack(message, &out) != ERR_OK ||
            message_parse(phone, buf_view(&out), 0, &arena, &message) == ERR_MALFORMED)
            abort();
        buf_done(&out);
    }
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    struct bytes rest = bytes_make(in, len), payload;
    size_t consumed;
    while (frame_next(rest, &payload, &consumed) == ERR_OK && consumed) {
        parse(payload);
        rest = bytes_make(rest.p + consumed, rest.len - consumed);
    }
    return 0;
}
