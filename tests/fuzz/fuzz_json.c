/**
 * What a portal or an administrator sends as JSON. What was decoded, encoded and decoded again must be the
 * same message.
 */
#include <stdlib.h>

#include "nanopush/v1/admin.pb-c.h"
#include "nanopush/v1/challenge.pb-c.h"
#include "wire/json.h"
#include "wire/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static bool same_wire_bytes(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
    struct buf a_wire = {0}, b_wire = {0};
    if (message_pack(a, &a_wire) != ERR_OK || message_pack(b, &b_wire) != ERR_OK)
        abort();
    bool same = bytes_equal(buf_view(&a_wire), buf_view(&b_wire));
    buf_done(&a_wire);
    buf_done(&b_wire);
    return same;
}

static void there_and_back(const ProtobufCMessageDescriptor *descriptor, struct bytes text)
{
    struct arena arena, again;
    arena_init(&arena, ARENA_MAX_BYTES);
    arena_init(&again, 2 * ARENA_MAX_BYTES);
    ProtobufCMessage *message, *copy;
    struct json_problem problem;
    if (json_decode(descriptor, text, JSON_MAX_DEPTH, &arena, &message, &problem) == ERR_OK) {
        struct buf out = {0};
        if (json_encode(message, &out) != ERR_OK ||
            json_decode(descriptor, buf_view(&out), JSON_MAX_DEPTH, &again, &copy, &problem) != ERR_OK ||
            !same_wire_bytes(message, copy))
            abort();
        buf_done(&out);
    }
    arena_done(&arena);
    arena_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    there_and_back(&nanopush__v1__create_challenge_request__descriptor, bytes_make(in, len));
    there_and_back(&nanopush__v1__create_portal_request__descriptor, bytes_make(in, len));
    there_and_back(&nanopush__v1__challenge__descriptor, bytes_make(in, len));
    return 0;
}
