/**
 * As much of MQTT 3.1.1 as the swarm says to mosquitto: phones and the portal subscribe, publish and acknowledge at
 * QoS 1.
 */
#ifndef NANOPUSH_BENCH_MQTT_H
#define NANOPUSH_BENCH_MQTT_H

#include "base/buf.h"

/** Control packet types. */
enum mqtt_type {
    MQTT_CONNECT = 1,
    MQTT_CONNACK,
    MQTT_PUBLISH,
    MQTT_PUBACK,
    MQTT_SUBSCRIBE = 8,
    MQTT_SUBACK,
    MQTT_PINGREQ = 12,
    MQTT_PINGRESP
};

#define MQTT_USER         "swarm"
#define MQTT_PASSWORD     "swarm"
#define MQTT_REPLIES      "r" /* where all phones answer */
#define MQTT_ASK_BYTES    200 /* of what a portal asks, about what a ChallengePush is */
#define MQTT_ANSWER_BYTES 600 /* of what a phone answers, about what a signed answer is */

/** A packet; views. */
struct mqtt_packet {
    enum mqtt_type type;
    struct bytes payload; /* PUBLISH: of the message; others: all */
    uint16_t id;          /* PUBLISH */
};

/** Append a packet. Ends the process when memory is out. */
void mqtt_add_connect(struct buf *out, const char *client_id);
void mqtt_add_subscribe(struct buf *out, const char *topic);
void mqtt_add_puback(struct buf *out, uint16_t id);
void mqtt_add_pingreq(struct buf *out);
void mqtt_add_publish(struct buf *out, const char *topic, struct bytes payload);

/** The packet at the front of @p in. @return its length, 0: not all there. */
size_t mqtt_next(struct bytes in, struct mqtt_packet *ret);

#endif
