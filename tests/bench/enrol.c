#include "enrol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/inputs.h"
#include "http.h"
#include "nanopush/v1/device.pb-c.h"
#include "nanopush/v1/enrolment.pb-c.h"
#include "wire/frame.h"

#define DEVICE_LINK_MS 6000 /* a connection that says no Hello is closed after 10 s */
#define TRIES_MAX      5
#define TOKEN_BYTES    16

struct enrol enrol;

struct side {
    struct link link; /* first: the loop casts */
    struct seat *seat;
    struct buf in;
};

/* One enrolment at a time. */
struct seat {
    struct side portal, device;
    struct buf body;
    struct http_response response;
    int64_t device_since_ms;
    uint32_t phone;
    unsigned tries;
    bool taken, has_token;
    char id[ID_SIZE];
    uint8_t token[TOKEN_BYTES];
};

static struct seat *seats;
static unsigned seat_count;

static void next_phone(struct seat *seat);
static void open_side(struct side *side, const struct link_target *target);

static void end_phone(struct seat *seat, const char *why)
{
    if (!why) {
        enrol.done++;
    } else {
        enrol.failed++;
        enrol.last_failure = why;
    }
    seat->taken = false;
    next_phone(seat);
}

/* ---- the portal's side ---- */

static void create(struct seat *seat)
{
    char user[FLEET_USER_SIZE];
    uint8_t packed[64];
    struct buf out = {0};
    Nanopush__V1__CreateEnrolmentRequest request = NANOPUSH__V1__CREATE_ENROLMENT_REQUEST__INIT;
    fleet_user(seat->phone, user);
    request.user = user;
    size_t len = nanopush__v1__create_enrolment_request__pack(&request, packed);
    if (buf_printf(
            &out,
            "POST /nanopush.v1.EnrolmentService/CreateEnrolment HTTP/1.1\r\nHost: localhost\r\n"
            "Authorization: Bearer %s\r\nContent-Type: application/proto\r\nContent-Length: %zu\r\n\r\n",
            enrol.fleet.head->credential, len) != ERR_OK ||
        buf_append(&out, bytes_make(packed, len)) != ERR_OK)
        abort();
    seat->response = (struct http_response){0};
    link_write(&seat->portal.link, buf_view(&out));
    buf_done(&out);
}

/* The value of a parameter of the enrolment URI that needs no decoding. */
static struct bytes parameter(const char *uri, const char *name)
{
    const char *at = strstr(uri, name);
    return at ? bytes_make(at + strlen(name), strcspn(at + strlen(name), "&#")) : (struct bytes){0};
}

static bool read_token(struct seat *seat, const char *uri)
{
    struct bytes token = parameter(uri, "&t="), id = parameter(uri, "&e=");
    size_t len;
    if (id.len != ID_LEN || base64url_decode(token, seat->token, sizeof seat->token, &len) != ERR_OK)
        return false;
    memcpy(seat->id, id.p, id.len);
    return len == TOKEN_BYTES;
}

static void send_enrol(struct seat *seat);

static void on_created(struct seat *seat)
{
    struct bytes body = buf_view(&seat->body);
    Nanopush__V1__CreateEnrolmentResponse *response =
        seat->response.status == 200 ? nanopush__v1__create_enrolment_response__unpack(NULL, body.len, body.p)
                                     : NULL;
    seat->has_token = response && read_token(seat, response->uri);
    nanopush__v1__create_enrolment_response__free_unpacked(response, NULL);
    buf_consume(&seat->body, body.len);
    if (!seat->has_token)
        end_phone(seat, "CreateEnrolment was refused");
    else if (seat->device.link.state == LINK_CLOSED)
        open_side(&seat->device, &enrol.device);
    else if (seat->device.link.state == LINK_OPEN)
        send_enrol(seat);
}

static void on_portal_bytes(struct link *link, struct bytes in)
{
    struct side *side = (struct side *)link;
    struct seat *seat = side->seat;
    if (buf_append(&side->in, in) != ERR_OK)
        abort();
    if (http_response_take(&seat->response, &side->in, &seat->body) != ERR_OK)
        abort();
    if (seat->response.phase == HTTP_DONE && seat->taken && !seat->has_token)
        on_created(seat);
}

static void on_portal_open(struct link *link)
{
    struct seat *seat = ((struct side *)link)->seat;
    link_park(link);
    if (seat->taken && !seat->has_token)
        create(seat);
}

/* ---- the phone's side ---- */

static ProtobufCBinaryData field_of(const void *p, size_t len)
{
    return (ProtobufCBinaryData){.data = (void *)p, .len = len};
}

static void send_enrol(struct seat *seat)
{
    const struct fleet_phone *phone = &enrol.fleet.phones[seat->phone];
    char tp1[P256_THUMBPRINT_SIZE], tp2[P256_THUMBPRINT_SIZE];
    uint8_t cb[CHANNEL_BINDING_BYTES], possession[P256_SIGNATURE_BYTES], verification[P256_SIGNATURE_BYTES];
    struct buf input = {0}, out = {0};
    if (link_export(&seat->device.link, CHANNEL_BINDING_LABEL, cb) != ERR_OK ||
        p256_thumbprint(phone->possession.pub, tp1) != ERR_OK ||
        p256_thumbprint(phone->user_verification.pub, tp2) != ERR_OK ||
        input_enrol(cb, bytes_of(enrol.fleet.head->organisation), bytes_of(seat->id), tp1, tp2, &input) !=
            ERR_OK ||
        keys_sign(&phone->possession, buf_view(&input), possession) != ERR_OK ||
        keys_sign(&phone->user_verification, buf_view(&input), verification) != ERR_OK)
        abort();
    Nanopush__V1__Enrol request = NANOPUSH__V1__ENROL__INIT;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    request.organisation = enrol.fleet.head->organisation;
    request.enrolment_id = seat->id;
    request.token = field_of(seat->token, sizeof seat->token);
    request.possession_key = field_of(phone->possession.pub, P256_PUBLIC_BYTES);
    request.user_verification_key = field_of(phone->user_verification.pub, P256_PUBLIC_BYTES);
    request.possession_signature = field_of(possession, sizeof possession);
    request.user_verification_signature = field_of(verification, sizeof verification);
    request.name = (char *)"Swarm";
    request.platform = NANOPUSH__V1__PLATFORM__PLATFORM_OTHER;
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ENROL;
    message.enrol = &request;
    if (frame_append(&out, &message.base) != ERR_OK)
        abort();
    link_write(&seat->device.link, buf_view(&out));
    buf_done(&out);
    buf_done(&input);
}

static void on_enrolled(struct seat *seat, const Nanopush__V1__Enrolled *enrolled)
{
    struct fleet_phone *phone = &enrol.fleet.phones[seat->phone];
    if (!seat->taken || strcmp(enrolled->enrolment_id, seat->id) != 0 || enrolled->waiting)
        return;
    phone->generation = enrolled->generation;
    snprintf(phone->device_id, sizeof phone->device_id, "%s", enrolled->device_id);
    end_phone(seat, NULL);
}

static void on_message(struct seat *seat, struct bytes payload)
{
    Nanopush__V1__BrokerMessage *message = nanopush__v1__broker_message__unpack(NULL, payload.len, payload.p);
    if (message && message->message_case == NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_ENROLLED)
        on_enrolled(seat, message->enrolled);
    else if (message && message->message_case == NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_ERROR && seat->taken)
        end_phone(seat, "Enrol was refused");
    nanopush__v1__broker_message__free_unpacked(message, NULL);
}

static void on_device_bytes(struct link *link, struct bytes in)
{
    struct side *side = (struct side *)link;
    struct bytes payload;
    size_t used;
    if (buf_append(&side->in, in) != ERR_OK)
        abort();
    while (frame_next(buf_view(&side->in), &payload, &used) == ERR_OK && used > 0) {
        struct buf frame = {0};
        if (buf_append(&frame, payload) != ERR_OK)
            abort();
        buf_consume(&side->in, used);
        on_message(side->seat, buf_view(&frame)); /* which may close this link, and empty its buffer */
        buf_done(&frame);
    }
}

static void on_device_open(struct link *link)
{
    struct seat *seat = ((struct side *)link)->seat;
    seat->device_since_ms = clock_mono_ms();
    if (seat->taken && seat->has_token)
        send_enrol(seat);
}

/* ---- both ---- */

static const struct link_target *target_of(const struct side *side)
{
    return side == &side->seat->portal ? &enrol.portal : &enrol.device;
}

static void on_closed(struct link *link, const char *why)
{
    struct side *side = (struct side *)link;
    struct seat *seat = side->seat;
    buf_done(&side->in);
    if (!seat->taken)
        return;
    if (++seat->tries > TRIES_MAX)
        end_phone(seat, why);
    else if (side == &seat->portal || seat->has_token)
        open_side(side, target_of(side));
}

static void open_side(struct side *side, const struct link_target *target)
{
    static const struct link_handlers portal = {on_portal_open, on_portal_bytes, on_closed};
    static const struct link_handlers device = {on_device_open, on_device_bytes, on_closed};
    side->link.on = side == &side->seat->portal ? &portal : &device;
    if (link_open(&side->link, target, 0, NULL) != ERR_OK)
        abort(); /* a handful of connections, one after the other */
}

static void next_phone(struct seat *seat)
{
    while (enrol.next < enrol.end && enrol.fleet.phones[enrol.next].device_id[0] != '\0') {
        enrol.next++;
        enrol.done++;
    }
    if (seat->device.link.state != LINK_CLOSED &&
        (enrol.next >= enrol.end || clock_mono_ms() - seat->device_since_ms > DEVICE_LINK_MS)) {
        link_close(&seat->device.link);
        buf_done(&seat->device.in);
    }
    if (enrol.next >= enrol.end)
        return;
    seat->phone = enrol.next++;
    seat->taken = true;
    seat->has_token = false;
    seat->tries = 0;
    if (seat->portal.link.state == LINK_CLOSED)
        open_side(&seat->portal, &enrol.portal);
    else if (seat->portal.link.state == LINK_PARKED)
        create(seat);
}

void enrol_start(uint32_t from, uint32_t count, unsigned at_once)
{
    enrol.next = from;
    enrol.end = from + count;
    enrol.done = enrol.failed = 0;
    enrol.device.ctx = link_context("nanopush/1");
    enrol.portal.ctx = link_context("http/1.1");
    seat_count = at_once;
    seats = mem_new(at_once * sizeof *seats);
    for (unsigned i = 0; i < at_once; i++) {
        seats[i].portal.seat = seats[i].device.seat = &seats[i];
        next_phone(&seats[i]);
    }
}

bool enrol_idle(void)
{
    for (unsigned i = 0; i < seat_count; i++)
        if (seats[i].taken)
            return false;
    return enrol.next >= enrol.end;
}
