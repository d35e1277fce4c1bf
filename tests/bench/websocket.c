#include "websocket.h"

#include <stdlib.h>

#define FIN         0x80
#define MASKED      0x80
#define LENGTH_16   126
#define OPCODE_BITS 0x0f

static void add(struct buf *out, const void *p, size_t len)
{
    if (buf_append(out, bytes_make(p, len)) != ERR_OK)
        abort();
}

void websocket_add_upgrade(struct buf *out, const char *path)
{
    if (buf_printf(out,
                   "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                   "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bmFub3B1c2gtc3dhcm0tMQ==\r\n\r\n",
                   path) != ERR_OK)
        abort();
}

void websocket_add_frame(struct buf *out, enum websocket_opcode opcode, struct bytes payload)
{
    static const uint8_t mask[4];
    uint8_t head[4] = {(uint8_t)(FIN | opcode)};
    size_t n = 2;
    if (payload.len < LENGTH_16) {
        head[1] = (uint8_t)(MASKED | payload.len);
    } else {
        head[1] = MASKED | LENGTH_16;
        head[n++] = (uint8_t)(payload.len >> 8);
        head[n++] = (uint8_t)payload.len;
    }
    add(out, head, n);
    add(out, mask, sizeof mask);
    add(out, payload.p, payload.len);
}

size_t websocket_next(struct bytes in, enum websocket_opcode *opcode, struct bytes *payload)
{
    size_t at = 2;
    if (in.len < at)
        return 0;
    size_t len = in.p[1] & 127;
    if (len == LENGTH_16) {
        if (in.len < 4)
            return 0;
        len = (size_t)in.p[2] << 8 | in.p[3];
        at = 4;
    }
    if (in.len - at < len)
        return 0;
    *opcode = in.p[0] & OPCODE_BITS;
    *payload = bytes_make(in.p + at, len);
    return at + len;
}
