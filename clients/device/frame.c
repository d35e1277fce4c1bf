#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define PREFIX_BYTES_MAX 3 /* of NP_FRAME_BYTES_MAX as a varint */

/* One byte of the prefix; *complete when it was the last. */
static enum np_error take_prefix(struct np_frame *frame, uint8_t byte, bool *complete)
{
    frame->prefix |= (uint32_t)(byte & 0x7f) << (7 * frame->prefix_len);
    frame->prefix_len++;
    *complete = !(byte & 0x80);
    if (*complete && byte == 0 && frame->prefix_len > 1)
        return NP_MALFORMED;
    if (frame->prefix > NP_FRAME_BYTES_MAX || (!*complete && frame->prefix_len == PREFIX_BYTES_MAX))
        return NP_TOO_BIG;
    return NP_OK;
}

enum np_error np_frame_take(struct np_frame *frame, const uint8_t *in, size_t len, size_t *used, bool *whole)
{
    size_t at = 0;
    while (!frame->payload && at < len) {
        bool complete;
        enum np_error error = take_prefix(frame, in[at++], &complete);
        if (error != NP_OK)
            return error;
        if (!complete)
            continue;
        frame->payload_len = frame->prefix;
        frame->payload =
            malloc(frame->payload_len + 1); /* an empty payload too is told from none by its address */
        if (!frame->payload)
            return NP_NOMEM;
    }
    if (frame->payload) {
        size_t missing = frame->payload_len - frame->received;
        size_t take = len - at < missing ? len - at : missing;
        memcpy(frame->payload + frame->received, in + at, take);
        frame->received += take;
        at += take;
    }
    *used = at;
    *whole = frame->payload && frame->received == frame->payload_len;
    return NP_OK;
}

void np_frame_done(struct np_frame *frame)
{
    free(frame->payload);
    *frame = (struct np_frame){0};
}

enum np_error np_frame_add(struct np_buf *out, const Nanopush__V1__PhoneMessage *message)
{
    size_t len = nanopush__v1__phone_message__get_packed_size(message);
    if (len > NP_FRAME_BYTES_MAX)
        return NP_TOO_BIG;
    uint8_t *to = np_buf_reserve(out, PREFIX_BYTES_MAX + len);
    if (!to) {
        out->error = NP_OK; /* what was queued before is still whole */
        return NP_NOMEM;
    }
    size_t rest = len;
    for (; rest >= 0x80; rest >>= 7)
        *to++ = (uint8_t)(0x80 | (rest & 0x7f));
    *to++ = (uint8_t)rest;
    nanopush__v1__phone_message__pack(message, to);
    out->len = (size_t)(to - out->p) + len;
    return NP_OK;
}
