/* A phone of nchan: a WebSocket that is subscribed to a channel of its own and publishes to the portal's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mqtt.h"
#include "phones.h"
#include "websocket.h"

static void send_all(struct phone *phone, struct buf *out)
{
    link_write(&phone->link, buf_view(out));
    buf_done(out);
}

static void greet(struct phone *phone)
{
    char path[32];
    struct buf out = {0};
    snprintf(path, sizeof path, "/phone/%u", phone_number(phone));
    websocket_add_upgrade(&out, path);
    send_all(phone, &out);
}

static void on_question(struct phone *phone, struct bytes question)
{
    uint8_t answer[MQTT_ANSWER_BYTES] = {0};
    struct buf out = {0};
    memcpy(answer, question.p, question.len < sizeof answer ? question.len : sizeof answer);
    websocket_add_frame(&out, WEBSOCKET_BINARY, bytes_make(answer, sizeof answer));
    send_all(phone, &out);
    phones.pushed++;
}

static size_t on_upgrade(struct phone *phone, struct bytes in)
{
    const uint8_t *end = in.len ? memmem(in.p, in.len, "\r\n\r\n", 4) : NULL;
    if (!end)
        return 0;
    if (memcmp(in.p, "HTTP/1.1 101", 12) != 0)
        phone_end(phone, 0, "no WebSocket");
    else
        phone_ready(phone, 0);
    return (size_t)(end - in.p) + 4;
}

static size_t on_bytes(struct phone *phone, struct bytes in)
{
    enum websocket_opcode opcode;
    struct bytes payload;
    size_t used = 0, len;
    if (phone->state == PHONE_CONNECTING)
        used = on_upgrade(phone, in);
    if (phone->state != PHONE_READY)
        return used;
    while ((len = websocket_next(bytes_make(in.p + used, in.len - used), &opcode, &payload)) > 0) {
        used += len;
        if (opcode == WEBSOCKET_PONG)
            phone_pong(phone);
        else if (opcode < WEBSOCKET_CLOSE && payload.len >= MQTT_ASK_BYTES)
            on_question(phone, payload);
    }
    return used;
}

static void ping(struct phone *phone)
{
    struct buf out = {0};
    websocket_add_frame(&out, WEBSOCKET_PING, (struct bytes){0});
    send_all(phone, &out);
}

const struct phone_protocol phone_nchan = {"nchan", NULL, greet, on_bytes, ping};
