/* A phone of mosquitto: subscribes to a topic of its own, acknowledges what comes and answers to the portal's topic with
 * as many bytes as a signed answer has. It signs nothing and is known by a shared password. */
#include <stdio.h>
#include <string.h>

#include "mqtt.h"
#include "phones.h"

static void send_all(struct phone *phone, struct buf *out)
{
    link_write(&phone->link, buf_view(out));
    buf_done(out);
}

static void greet(struct phone *phone)
{
    char name[16];
    struct buf out = {0};
    snprintf(name, sizeof name, "d/%u", phone_number(phone));
    mqtt_add_connect(&out, name);
    mqtt_add_subscribe(&out, name);
    send_all(phone, &out);
}

static void on_publish(struct phone *phone, const struct mqtt_packet *packet)
{
    uint8_t answer[MQTT_ANSWER_BYTES] = {0};
    struct buf out = {0};
    mqtt_add_puback(&out, packet->id);
    send_all(phone, &out);
    size_t n = packet->payload.len < sizeof answer ? packet->payload.len : sizeof answer;
    memcpy(answer, packet->payload.p, n);
    mqtt_add_publish(&out, MQTT_REPLIES, bytes_make(answer, sizeof answer));
    send_all(phone, &out);
    phones.pushed++;
}

static size_t on_bytes(struct phone *phone, struct bytes in)
{
    struct mqtt_packet packet;
    size_t used = 0, len;
    while ((len = mqtt_next(bytes_make(in.p + used, in.len - used), &packet)) > 0) {
        used += len;
        if (packet.type == MQTT_SUBACK)
            phone_ready(phone, 0);
        else if (packet.type == MQTT_PUBLISH)
            on_publish(phone, &packet);
        else if (packet.type == MQTT_PUBACK)
            phones.answered++;
        else if (packet.type == MQTT_PINGRESP)
            phone_pong(phone);
    }
    return used;
}

static void ping(struct phone *phone)
{
    struct buf out = {0};
    mqtt_add_pingreq(&out);
    send_all(phone, &out);
}

const struct phone_protocol phone_mqtt = {"mqtt", NULL, greet, on_bytes, ping};
