/* A portal of mosquitto: one connection that publishes to phones' topics and subscribes to the one where they answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mqtt.h"
#include "portals.h"

static struct link portal;
static struct buf received;
static bool subscribed;

static void send_all(struct buf *out)
{
    link_write(&portal, buf_view(out));
    buf_done(out);
}

static void on_open(struct link *link)
{
    struct buf out = {0};
    link_park(link);
    mqtt_add_connect(&out, "portal");
    mqtt_add_subscribe(&out, MQTT_REPLIES);
    send_all(&out);
}

static void on_publish(const struct mqtt_packet *packet)
{
    uint32_t number[2]; /* login, phone */
    struct buf out = {0};
    mqtt_add_puback(&out, packet->id);
    send_all(&out);
    if (packet->payload.len < sizeof number)
        return;
    memcpy(number, packet->payload.p, sizeof number);
    if (number[0] >= portals.login_count || portals.logins[number[0]].phone != number[1])
        return; /* a repeat of an older one */
    portals_verdict(number[0], NULL);
    portals_free(number[0]);
}

static void on_bytes(struct link *link, struct bytes in)
{
    struct mqtt_packet packet;
    size_t len;
    (void)link;
    if (buf_append(&received, in) != ERR_OK)
        abort();
    while ((len = mqtt_next(buf_view(&received), &packet)) > 0) {
        if (packet.type == MQTT_PUBLISH)
            on_publish(&packet);
        subscribed |= packet.type == MQTT_SUBACK;
        buf_consume(&received, len);
    }
}

static void on_closed(struct link *link, const char *why)
{
    (void)link;
    subscribed = false;
    buf_done(&received);
    for (unsigned i = 0; i < portals.login_count; i++) {
        portals_verdict(i, why);
        portals_free(i);
    }
}

static void open_one(void)
{
    static const struct link_handlers handlers = {on_open, on_bytes, on_closed};
    portal.on = &handlers;
    if (portal.state == LINK_CLOSED && link_open(&portal, &portals.target, 0, NULL) != ERR_OK)
        abort();
}

static bool is_open(void)
{
    return subscribed;
}

static void ask(unsigned i)
{
    uint8_t question[MQTT_ASK_BYTES] = {0};
    const uint32_t number[2] = {i, portals.logins[i].phone};
    char topic[16];
    struct buf out = {0};
    memcpy(question, number, sizeof number);
    snprintf(topic, sizeof topic, "d/%u", portals.logins[i].phone);
    mqtt_add_publish(&out, topic, bytes_make(question, sizeof question));
    send_all(&out);
}

const struct portal_protocol portal_mqtt = {"mqtt", NULL, open_one, is_open, ask};
