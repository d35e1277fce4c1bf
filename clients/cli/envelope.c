#include "cli/envelope.h"

enum err envelope_next(struct bytes in, size_t max, bool *end, struct bytes *payload, size_t *consumed)
{
    if (in.len >= 1 && in.p[0] & ~ENVELOPE_END)
        return ERR_UNSUPPORTED;
    if (in.len < ENVELOPE_HEADER_BYTES) {
        *consumed = 0;
        return ERR_OK;
    }
    size_t len = (size_t)in.p[1] << 24 | (size_t)in.p[2] << 16 | (size_t)in.p[3] << 8 | in.p[4];
    if (len > max)
        return ERR_TOO_BIG;
    if (in.len - ENVELOPE_HEADER_BYTES < len) {
        *consumed = 0;
        return ERR_OK;
    }
    *end = in.p[0] & ENVELOPE_END;
    *payload = bytes_make(in.p + ENVELOPE_HEADER_BYTES, len);
    *consumed = ENVELOPE_HEADER_BYTES + len;
    return ERR_OK;
}

enum err envelope_append(struct buf *out, struct bytes payload)
{
    if (payload.len > UINT32_MAX)
        return ERR_TOO_BIG;
    uint8_t *at = buf_reserve(out, ENVELOPE_HEADER_BYTES + payload.len); /* both or none */
    if (!at)
        return ERR_NOMEM;
    uint8_t header[ENVELOPE_HEADER_BYTES] = {0, (uint8_t)(payload.len >> 24), (uint8_t)(payload.len >> 16),
                                             (uint8_t)(payload.len >> 8), (uint8_t)payload.len};
    TRY(buf_append(out, bytes_make(header, sizeof header)));
    return buf_append(out, payload);
}
