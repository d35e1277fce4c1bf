#include "mqtt.h"

#include <stdlib.h>
#include <string.h>

#define QOS_1         2 /* in the flags of PUBLISH and SUBSCRIBE */
#define KEEP_ALIVE_S  3600
#define CONNECT_FLAGS 0xc2 /* user, password, clean session */
#define PACKET_ID     1    /* one at a time is not waited for: mosquitto does not mind one that repeats */
#define LENGTH_MAX    3    /* bytes of the remaining length */

static void add(struct buf *out, const void *p, size_t len)
{
    if (buf_append(out, bytes_make(p, len)) != ERR_OK)
        abort();
}

static void add_u16(struct buf *out, size_t value)
{
    const uint8_t p[] = {(uint8_t)(value >> 8), (uint8_t)value};
    add(out, p, sizeof p);
}

static void add_text(struct buf *out, const char *text)
{
    add_u16(out, strlen(text));
    add(out, text, strlen(text));
}

static void add_header(struct buf *out, enum mqtt_type type, unsigned flags, size_t len)
{
    uint8_t p[1 + LENGTH_MAX], n = 0;
    p[n++] = (uint8_t)(type << 4 | flags);
    do {
        p[n++] = (uint8_t)(len % 128 | (len >= 128 ? 128 : 0));
        len /= 128;
    } while (len > 0);
    add(out, p, n);
}

void mqtt_add_connect(struct buf *out, const char *client_id)
{
    static const uint8_t fixed[] = {0, 4, 'M', 'Q', 'T', 'T', 4, CONNECT_FLAGS};
    add_header(out, MQTT_CONNECT, 0,
               sizeof fixed + 2 + 2 + strlen(client_id) + 2 + strlen(MQTT_USER) + 2 + strlen(MQTT_PASSWORD));
    add(out, fixed, sizeof fixed);
    add_u16(out, KEEP_ALIVE_S);
    add_text(out, client_id);
    add_text(out, MQTT_USER);
    add_text(out, MQTT_PASSWORD);
}

void mqtt_add_subscribe(struct buf *out, const char *topic)
{
    static const uint8_t qos = 1;
    add_header(out, MQTT_SUBSCRIBE, QOS_1, 2 + 2 + strlen(topic) + 1);
    add_u16(out, PACKET_ID);
    add_text(out, topic);
    add(out, &qos, 1);
}

void mqtt_add_puback(struct buf *out, uint16_t id)
{
    add_header(out, MQTT_PUBACK, 0, 2);
    add_u16(out, id);
}

void mqtt_add_pingreq(struct buf *out)
{
    add_header(out, MQTT_PINGREQ, 0, 0);
}

void mqtt_add_publish(struct buf *out, const char *topic, struct bytes payload)
{
    static uint16_t id;
    id = id == UINT16_MAX ? 1 : id + 1;
    add_header(out, MQTT_PUBLISH, QOS_1, 2 + strlen(topic) + 2 + payload.len);
    add_text(out, topic);
    add_u16(out, id);
    add(out, payload.p, payload.len);
}

size_t mqtt_next(struct bytes in, struct mqtt_packet *ret)
{
    size_t len = 0, at = 1;
    for (unsigned shift = 0;; shift += 7) {
        if (at >= in.len)
            return 0;
        len |= (size_t)(in.p[at] & 127) << shift;
        if (!(in.p[at++] & 128))
            break;
    }
    if (in.len - at < len)
        return 0;
    ret->type = in.p[0] >> 4;
    ret->payload = bytes_make(in.p + at, len);
    if (ret->type == MQTT_PUBLISH) {
        size_t topic = 2 + ((size_t)in.p[at] << 8 | in.p[at + 1]);
        ret->id = (uint16_t)(in.p[at + topic] << 8 | in.p[at + topic + 1]);
        ret->payload = bytes_make(in.p + at + topic + 2, len - topic - 2);
    }
    return at + len;
}
