/**
 * A whole session of the device port: what a phone may send, in any order, while the store answers late, wrongly or
 * never, pushes come and the connection ends at any moment. Real are device/, domain/ and wire/; stream and store are
 * played here, so that the fuzzer decides what they do.
 *
 * Input: steps. A byte says what happens, the following ones how: frames of the fuzzer's own, signed messages that a
 * good phone would send, replies of the store, hints of other workers, turns of the loop, the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/log.h"
#include "crypto/p256.h"
#include "crypto/tls.h"
#include "device/server.h"
#include "device/session.h"
#include "domain/challenge_cache.h"
#include "domain/challenge_progress.h"
#include "domain/registry.h"
#include "domain/router.h"
#include "played_store.h"
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);

#define STEPS_MAX 200

static struct device_server *server;
static struct domain domain;
static uint8_t next_keys[2][P256_PUBLIC_BYTES]; /* of a rotation */

/* ---- the phone ---- */

static void feed(struct bytes in)
{
    if (stream && !stream->closing && buf_append(&stream->input, in) == ERR_OK && !stream->paused)
        stream->handlers->on_read(stream, stream->arg);
}

static void feed_message(const Nanopush__V1__PhoneMessage *message)
{
    struct buf frame = {0};
    if (frame_append(&frame, &message->base) == ERR_OK)
        feed(buf_view(&frame));
    buf_done(&frame);
}

static void say_hello(void)
{
    static uint8_t anchor[SHA256_BYTES], binding[CHANNEL_BINDING_BYTES];
    uint8_t signature[P256_SIGNATURE_BYTES];
    struct buf input = {0};
    Nanopush__V1__Hello hello = NANOPUSH__V1__HELLO__INIT;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    memset(binding, 7, sizeof binding);
    if (input_hello(binding, bytes_of("nano"), bytes_of(device_id), 1, anchor, 3, &input) != ERR_OK ||
        p256_sign(possession, buf_view(&input), signature) != ERR_OK)
        abort();
    buf_done(&input);
    if (next_byte() == 0xff)
        signature[0] ^= 1;
    hello.organisation = "nano";
    hello.device_id = device_id;
    hello.possession_key = (ProtobufCBinaryData){.data = possession_key, .len = sizeof possession_key};
    hello.generation = 1;
    hello.trust_anchor = (ProtobufCBinaryData){.data = anchor, .len = sizeof anchor};
    hello.capabilities = 3;
    hello.signature = (ProtobufCBinaryData){.data = signature, .len = sizeof signature};
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_HELLO;
    message.hello = &hello;
    feed_message(&message);
}

static void say_enrol(void)
{
    uint8_t binding[CHANNEL_BINDING_BYTES], signatures[2][P256_SIGNATURE_BYTES];
    char tp1[P256_THUMBPRINT_SIZE], tp2[P256_THUMBPRINT_SIZE];
    struct buf input = {0};
    Nanopush__V1__Enrol enrol = NANOPUSH__V1__ENROL__INIT;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    memset(binding, 7, sizeof binding);
    if (p256_thumbprint(possession_key, tp1) != ERR_OK || p256_thumbprint(verification_key, tp2) != ERR_OK ||
        input_enrol(binding, bytes_of("nano"), bytes_of(enrolment_id), tp1, tp2, &input) != ERR_OK ||
        p256_sign(possession, buf_view(&input), signatures[0]) != ERR_OK ||
        p256_sign(verification, buf_view(&input), signatures[1]) != ERR_OK)
        abort();
    buf_done(&input);
    enrol.organisation = "nano";
    enrol.enrolment_id = enrolment_id;
    enrol.token = (ProtobufCBinaryData){.data = token, .len = sizeof token};
    enrol.possession_key = (ProtobufCBinaryData){.data = possession_key, .len = sizeof possession_key};
    enrol.user_verification_key =
        (ProtobufCBinaryData){.data = verification_key, .len = sizeof verification_key};
    enrol.possession_signature = (ProtobufCBinaryData){.data = signatures[0], .len = P256_SIGNATURE_BYTES};
    enrol.user_verification_signature =
        (ProtobufCBinaryData){.data = signatures[1], .len = P256_SIGNATURE_BYTES};
    enrol.name = "phone";
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ENROL;
    message.enrol = &enrol;
    feed_message(&message);
}

#define JWS_SIZE 2048

/* A compact JWS of those claims, signed by either key; the fuzzer may change one character of it. */
static void sign_statement(const char *typ, const char *claims, bool by_verification, char out[JWS_SIZE])
{
    char header[160], kid[P256_THUMBPRINT_SIZE];
    uint8_t signature[P256_SIGNATURE_BYTES];
    if (p256_thumbprint(by_verification ? verification_key : possession_key, kid) != ERR_OK)
        abort();
    snprintf(header, sizeof header, "{\"alg\":\"ES256\",\"typ\":\"%s\",\"kid\":\"%s\"}", typ, kid);
    base64url_encode(bytes_of(header), out);
    strcat(out, ".");
    base64url_encode(bytes_of(claims), out + strlen(out));
    if (p256_sign(by_verification ? verification : possession, bytes_of(out), signature) != ERR_OK)
        abort();
    strcat(out, ".");
    base64url_encode(bytes_make(signature, sizeof signature), out + strlen(out));
    if (next_byte() == 0xff)
        out[(size_t)(next_byte() << 8 | next_byte()) % strlen(out)] = 'A';
}

/* A decision of the challenge, in one mode or another. */
static void say_answer(void)
{
    static const char *const decisions[] = {"approve", "deny", "not_me"};
    static const char *const modes[] = {"tap", "choose", "code"};
    char claims[1024], jws[JWS_SIZE], display[DISPLAY_HASH_SIZE], nonce_text[BASE64URL_SIZE(16)];
    static const uint8_t nonce[16];
    Nanopush__V1__AnswerMessage answer = NANOPUSH__V1__ANSWER_MESSAGE__INIT;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    unsigned decision = next_byte() % 3, mode = next_byte() % 3;
    if (input_display_hash(bytes_of("display"), display) != ERR_OK)
        abort();
    base64url_encode(bytes_make(nonce, sizeof nonce), nonce_text);
    snprintf(claims, sizeof claims,
             "{\"v\":1,\"iss\":\"%s\",\"org\":\"nano\",\"sub\":\"ada\",\"aud\":\"portal\",\"jti\":\"%s\","
             "\"nonce\":\"%s\",\"decision\":\"%s\",\"mode\":\"%s\",%s\"display\":\"%s\",\"gen\":1,"
             "\"iat\":1800000000,\"exp\":1800000060}",
             device_id, challenge_id, nonce_text, decisions[decision], modes[mode],
             decision == 0 && mode != 0 ? "\"code\":\"123\"," : "", display);
    sign_statement(decision == 0 ? "nanopush-approval+jwt" : "nanopush-refusal+jwt", claims, next_byte() & 1,
                   jws);
    answer.challenge_id = challenge_id;
    answer.jws = jws;
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ANSWER;
    message.answer = &answer;
    feed_message(&message);
}

static void say_rotate(void)
{
    char claims[1024], jws[JWS_SIZE], tp1[P256_THUMBPRINT_SIZE], tp2[P256_THUMBPRINT_SIZE];
    Nanopush__V1__Rotate rotate = NANOPUSH__V1__ROTATE__INIT;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    if (p256_thumbprint(next_keys[0], tp1) != ERR_OK || p256_thumbprint(next_keys[1], tp2) != ERR_OK)
        abort();
    snprintf(
        claims, sizeof claims,
        "{\"v\":1,\"iss\":\"%s\",\"org\":\"nano\",\"sub\":\"ada\",\"gen\":2,\"tp1\":\"%s\",\"tp2\":\"%s\","
        "\"iat\":%lld}",
        device_id, tp1, tp2, (long long)(clock_unix_ms() / 1000));
    sign_statement("nanopush-rotation+jwt", claims, next_byte() != 0xff, jws);
    rotate.jws = jws;
    rotate.device_id = device_id;
    rotate.possession_key = (ProtobufCBinaryData){.data = next_keys[0], .len = P256_PUBLIC_BYTES};
    rotate.user_verification_key = (ProtobufCBinaryData){.data = next_keys[1], .len = P256_PUBLIC_BYTES};
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ROTATE;
    message.rotate = &rotate;
    feed_message(&message);
}

/* Unlock or Remove. */
static void say_bound_act(bool unlocks)
{
    char claims[1024], jws[JWS_SIZE], cb[BASE64URL_SIZE(CHANNEL_BINDING_BYTES)];
    uint8_t binding[CHANNEL_BINDING_BYTES];
    Nanopush__V1__Unlock unlock = NANOPUSH__V1__UNLOCK__INIT;
    Nanopush__V1__Remove removal = NANOPUSH__V1__REMOVE__INIT;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    memset(binding, 7, sizeof binding);
    base64url_encode(bytes_make(binding, sizeof binding), cb);
    snprintf(claims, sizeof claims,
             "{\"v\":1,\"iss\":\"%s\",\"org\":\"nano\",\"sub\":\"ada\",\"gen\":1,\"iat\":%lld,\"cb\":\"%s\"}",
             device_id, (long long)(clock_unix_ms() / 1000), cb);
    sign_statement(unlocks ? "nanopush-unlock+jwt" : "nanopush-remove+jwt", claims, next_byte() & 1, jws);
    unlock.jws = removal.jws = jws;
    unlock.device_id = removal.device_id = device_id;
    message.message_case =
        unlocks ? NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_UNLOCK : NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_REMOVE;
    if (unlocks)
        message.unlock = &unlock;
    else
        message.remove = &removal;
    feed_message(&message);
}

/* Ack, Seen, Ping, or a Bye. */
static void say_little(void)
{
    Nanopush__V1__Ack ack = NANOPUSH__V1__ACK__INIT;
    Nanopush__V1__Seen seen = NANOPUSH__V1__SEEN__INIT;
    Nanopush__V1__Ping ping = NANOPUSH__V1__PING__INIT;
    Nanopush__V1__Bye bye = NANOPUSH__V1__BYE__INIT;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    ack.challenge_id = seen.challenge_id = challenge_id;
    switch (next_byte() % 8) {
    case 0:
        message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_BYE;
        message.bye = &bye;
        break;
    case 1:
        message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_PING;
        message.ping = &ping;
        break;
    case 2:
        message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_SEEN;
        message.seen = &seen;
        break;
    default:
        message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ACK;
        message.ack = &ack;
    }
    feed_message(&message);
}

/* Bytes of the fuzzer's own: raw, or in a good frame. */
static void say_anything(bool framed)
{
    size_t wanted = next_byte();
    size_t take = wanted < (size_t)(end - at) ? wanted : (size_t)(end - at);
    struct bytes own = bytes_make(at, take);
    at += take;
    if (framed) {
        uint8_t prefix[2] = {(uint8_t)(take | 0x80), (uint8_t)(take >> 7)};
        feed(take < 0x80 ? bytes_make(&(uint8_t){(uint8_t)take}, 1) : bytes_make(prefix, 2));
    }
    feed(own);
}

/* ---- the world around ---- */

static void on_deliver(enum hint_kind kind, const char *id, uint64_t connection, const char *about,
                       struct bytes frame, void *arg)
{
    (void)arg;
    device_server_deliver(server, kind, id, connection, about, frame);
}

static void on_taken(const char *id, uint64_t connection, bool removed, void *arg)
{
    (void)arg;
    device_server_taken(server, id, connection, removed);
}

static void on_changed(const char *id, void *arg)
{
    (void)id, (void)arg;
}

static void hint(void)
{
    Record__Hint news = RECORD__HINT__INIT;
    news.kind = next_byte() % 8;
    news.id = next_byte() & 1 ? challenge_id : "short";
    news.removed = next_byte() & 1;
    news.device_id = next_byte() & 1 ? device_id : "";
    news.connection = some_connection();
    router_on_hint(domain.router, &news);
}

/* More than a minute passes in which nothing is asked of an account. */
static void rest(void)
{
    for (unsigned place = 0; place < server->place_count; place++)
        for (struct account *each = server->sessions[place] ? server->sessions[place]->accounts : NULL; each;
             each = each->next) {
            if (each->awake)
                each->awake->used_ds -= 1000;
            account_rest(each);
        }
}

static void on_turn_over(void *arg)
{
    loop_stop(arg);
}

static void turn(void)
{
    struct deferral over;
    deferral_init(&over, on_turn_over, domain.loop);
    loop_defer(domain.loop, &over);
    loop_run(domain.loop);
    if (more_to_read && stream && !stream->closing) {
        more_to_read = false;
        stream->handlers->on_read(stream, stream->arg);
    }
}

static void end_stream(enum close_reason reason)
{
    struct stream *s = stream;
    stream = NULL;
    if (!s)
        return;
    s->handlers->on_closed(s, s->closing ? s->reason : reason, s->arg);
    buf_done(&s->input);
    free(s);
}

static void make_id(char out[ID_SIZE], uint8_t fill)
{
    uint8_t bits[ID_RANDOM_BYTES];
    memset(bits, fill, sizeof bits);
    id_make(bits, TAG, out);
}

static void set_up_once(void)
{
    static const char path[] = "/tmp/nanopush-fuzz-session.secret";
    struct secret *secret = NULL;
    uint8_t digest[SHA256_BYTES];
    static uint8_t nonce[16];
    remove(path);
    if (secret_create(path) != ERR_OK || secret_load(path, &secret) != ERR_OK ||
        p256_key_new(&possession) != ERR_OK || p256_key_new(&verification) != ERR_OK ||
        p256_key_public(possession, possession_key) != ERR_OK ||
        p256_key_public(verification, verification_key) != ERR_OK ||
        sha256(bytes_make(possession_key, sizeof possession_key), digest) != ERR_OK ||
        sha256(bytes_make(token, sizeof token), token_hash) != ERR_OK)
        abort();
    remove(path);
    for (size_t i = 0; i < 2; i++) {
        struct p256_key *key;
        if (p256_key_new(&key) != ERR_OK || p256_key_public(key, next_keys[i]) != ERR_OK)
            abort();
        p256_key_free(key);
    }
    log_init("fuzz", LOG_LEVEL_ERROR);
    domain.loop = loop_new();
    domain.secret = secret;
    domain.devices_max = 5;
    id_make(digest, TAG, device_id);
    make_id(other_id, 2);
    make_id(challenge_id, 3);
    make_id(enrolment_id, 4);
    record__device__init(&device);
    device.id = device_id;
    device.organisation = "nano";
    device.user = "ada";
    device.generation = 1;
    device.possession_key = (ProtobufCBinaryData){.data = possession_key, .len = sizeof possession_key};
    device.user_verification_key =
        (ProtobufCBinaryData){.data = verification_key, .len = sizeof verification_key};
    record__challenge__init(&challenge);
    challenge.id = challenge_id;
    challenge.organisation = "nano";
    challenge.user = "ada";
    challenge.portal = "portal";
    challenge.display = (ProtobufCBinaryData){.data = (uint8_t *)"display", .len = 7};
    challenge.nonce = (ProtobufCBinaryData){.data = nonce, .len = sizeof nonce};
    challenge.user_verification = 1;
    challenge.enrolment = enrolment_id;
    record__enrolment__init(&enrolment);
    enrolment.id = enrolment_id;
    enrolment.organisation = "nano";
    enrolment.organisation_name = "NANO";
    enrolment.user = "ada";
    enrolment.portal = "portal";
    enrolment.token_hash = (ProtobufCBinaryData){.data = token_hash, .len = sizeof token_hash};
    record__enrolled__init(&enrolled);
    enrolled.device = &device;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
    static const struct device_options options = {.heartbeat_ms = 240000,
                                                  .attached_max = 100,
                                                  .connection_life_s = 86400,
                                                  .hello_timeout_ms = 10000,
                                                  .handshake_timeout_ms = 10000};
    static const struct router_sinks sinks = {
        .deliver = on_deliver, .taken = on_taken, .changed = on_changed};
    if (!possession)
        set_up_once();
    at = p;
    end = p + len;
    more_to_read = false;
    domain.router = router_new(domain.loop, NULL, &sinks, NULL);
    domain.challenge_cache = challenge_cache_new();
    domain.progress = progress_new(&domain);
    domain.registry = registry_new(&domain);
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    server = device_server_new(&domain, tls, &options, &(const struct accepted_handlers){0}, NULL);
    SSL_CTX_free(tls);
    device_server_accept(server, -1, &(struct address){0});
    stream->handlers->on_open(stream, stream->arg);
    for (int steps = 0; at < end && stream && steps < STEPS_MAX; steps++) {
        switch (next_byte() % 16) {
        case 0:
            say_hello();
            break;
        case 1:
            say_enrol();
            break;
        case 2:
            say_answer();
            break;
        case 3:
            say_anything(false);
            break;
        case 4:
        case 5:
            say_anything(true);
            break;
        case 6:
            hint();
            break;
        case 7:
            turn();
            break;
        case 8:
            end_stream(CLOSE_PEER_RESET);
            break;
        case 9:
            device_server_renew(server);
            break;
        case 10:
            say_rotate();
            break;
        case 11:
            say_bound_act(next_byte() & 1);
            break;
        case 12:
            say_little();
            break;
        case 13:
            device_server_drain(server, 1);
            break;
        case 14:
            rest();
            break;
        default:
            answer_one();
        }
        if (stream && stream->closing)
            end_stream(CLOSE_LOCAL);
    }
    end_stream(CLOSE_PEER_CLOSED);
    while (call_count) /* what outlives the session: each call is answered in the end, and nothing is left */
        answer_one();
    turn();
    while (call_count)
        answer_one();
    turn();
    device_server_free(server);
    router_close(domain.router);
    progress_free(domain.progress);
    challenge_cache_free(domain.challenge_cache);
    router_free(domain.router);
    registry_free(domain.registry);
    return 0;
}
