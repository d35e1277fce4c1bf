/* A phone of nanopush (proto/nanopush/v1/device.proto): proves possession, acknowledges, approves with a real
 * signature. What it signs is made by the code of clients/device. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "crypto/inputs.h"
#include "device/internal.h"
#include "nanopush/v1/device.pb-c.h"
#include "phones.h"
#include "wire/frame.h"

static struct fleet_phone *keys_of(const struct phone *phone)
{
    return &phones.fleet.phones[phone_number(phone)];
}

static void send_message(struct phone *phone, const Nanopush__V1__PhoneMessage *message)
{
    struct buf out = {0};
    if (frame_append(&out, &message->base) != ERR_OK)
        abort();
    link_write(&phone->link, buf_view(&out));
    buf_done(&out);
}

static ProtobufCBinaryData field_of(const void *p, size_t len)
{
    return (ProtobufCBinaryData){.data = (void *)p, .len = len};
}

static void greet(struct phone *phone)
{
    const struct fleet_head *head = phones.fleet.head;
    struct fleet_phone *keys = keys_of(phone);
    uint8_t cb[CHANNEL_BINDING_BYTES], signature[P256_SIGNATURE_BYTES];
    struct buf input = {0};
    if (link_export(&phone->link, CHANNEL_BINDING_LABEL, cb) != ERR_OK ||
        input_hello(cb, bytes_of(head->organisation), bytes_of(keys->device_id), keys->generation,
                    head->anchor, 0, &input) != ERR_OK ||
        keys_sign(&keys->possession, buf_view(&input), signature) != ERR_OK)
        abort();
    buf_done(&input);
    Nanopush__V1__Hello hello = NANOPUSH__V1__HELLO__INIT;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    hello.organisation = phones.fleet.head->organisation;
    hello.device_id = keys->device_id;
    hello.possession_key = field_of(keys->possession.pub, sizeof keys->possession.pub);
    hello.generation = keys->generation;
    hello.trust_anchor = field_of(head->anchor, sizeof head->anchor);
    hello.signature = field_of(signature, sizeof signature);
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_HELLO;
    message.hello = &hello;
    send_message(phone, &message);
}

static void send_ping(struct phone *phone)
{
    Nanopush__V1__Ping ping = NANOPUSH__V1__PING__INIT;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_PING;
    message.ping = &ping;
    send_message(phone, &message);
}

/* ---- a challenge ---- */

static void send_ack(struct phone *phone, const Nanopush__V1__ChallengePush *push)
{
    Nanopush__V1__Ack ack = NANOPUSH__V1__ACK__INIT;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    ack.challenge_id = push->challenge_id;
    ack.attempt = push->attempt;
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ACK;
    message.ack = &ack;
    send_message(phone, &message);
}

static enum np_error sign(const uint8_t *message, size_t len, uint8_t *signature, void *arg)
{
    return keys_sign(arg, bytes_make(message, len), signature) == ERR_OK ? NP_OK : NP_CRYPTO;
}

static void send_answer(struct phone *phone, const Nanopush__V1__ChallengePush *push)
{
    struct fleet_phone *keys = keys_of(phone);
    char user[FLEET_USER_SIZE];
    fleet_user(phone_number(phone), user);
    const struct np_account_options who = {.organisation = phones.fleet.head->organisation,
                                           .user = user,
                                           .device_id = keys->device_id,
                                           .generation = keys->generation};
    struct np_signer signer = {.sign = sign, .arg = &keys->user_verification};
    memcpy(signer.public_key, keys->user_verification.pub, sizeof signer.public_key);
    const struct np_statement statement = {
        .push = push, .decision = NP_APPROVE, .issued_unix_s = (int64_t)push->broker_unix_ms / 1000};
    struct np_buf jws = {0};
    if (np_statement_sign(&who, &statement, &signer, &jws) != NP_OK)
        abort();
    np_buf_add(&jws, "", 1);
    Nanopush__V1__AnswerMessage answer = NANOPUSH__V1__ANSWER_MESSAGE__INIT;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    answer.challenge_id = push->challenge_id;
    answer.jws = (char *)jws.p;
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ANSWER;
    message.answer = &answer;
    send_message(phone, &message);
    np_buf_done(&jws);
}

static void on_message(struct phone *phone, const Nanopush__V1__BrokerMessage *message)
{
    switch (message->message_case) {
    case NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_WELCOME:
        phone_ready(phone, message->welcome->heartbeat_ms);
        return;
    case NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_CHALLENGE:
        phones.pushed++;
        send_ack(phone, message->challenge);
        send_answer(phone, message->challenge);
        return;
    case NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_RESOLVED:
        phones.answered +=
            message->resolved->state == NANOPUSH__V1__CHALLENGE_STATE__CHALLENGE_STATE_APPROVED;
        return;
    case NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_PONG:
        phone_pong(phone);
        return;
    case NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_GO_AWAY:
        phone_end(phone, message->go_away->return_after_ms, "sent away");
        return;
    case NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_ERROR:
        phones.refused++;
        if (phone->state == PHONE_CONNECTING)
            phone_end(phone, 0, "refused by the broker");
        return;
    default:
        return;
    }
}

static size_t on_bytes(struct phone *phone, struct bytes in)
{
    size_t used = 0;
    while (phone->link.state != LINK_CLOSED) {
        struct bytes payload;
        size_t consumed;
        if (frame_next(bytes_make(in.p + used, in.len - used), &payload, &consumed) != ERR_OK) {
            phone_end(phone, 0, "malformed frame");
            break;
        }
        if (consumed == 0)
            break;
        used += consumed;
        Nanopush__V1__BrokerMessage *message =
            nanopush__v1__broker_message__unpack(NULL, payload.len, payload.p);
        if (message)
            on_message(phone, message);
        else
            phone_end(phone, 0, "malformed message");
        nanopush__v1__broker_message__free_unpacked(message, NULL);
    }
    return used;
}

const struct phone_protocol phone_nanopush = {"nanopush", "nanopush/1", greet, on_bytes, send_ping};
