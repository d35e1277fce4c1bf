/**
 * A whole session of the device port: what a phone may send, in any order, while the store answers late, wrongly or
 * never, pushes come and the connection ends at any moment. Real are device/, domain/ and wire/; stream and store are
 * played here, so that the fuzzer decides what they do.
 *
 * Input: steps. A byte says what happens, the following ones how: frames of the fuzzer's own, signed messages that a
 * good phone would send, replies of the store, hints of other workers, turns of the loop, the end.
 */
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "crypto/p256.h"
#include "crypto/tls.h"
#include "device/server.h"
#include "device/session.h"
#include "domain/registry.h"
#include "domain/router.h"
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);

#define TAG       "00112233445566778899"
#define OPEN_MAX  64
#define STEPS_MAX 200

static const uint8_t *at, *end;

static uint8_t next_byte(void)
{
    return at < end ? *at++ : 0;
}

/* ---- the stream: input from the fuzzer, output forgotten ---- */

struct stream {
    struct buf input;
    const struct stream_handlers *handlers;
    void *arg;
    bool closing, paused;
    enum close_reason reason;
};

static struct stream *stream;
static bool more_to_read;
const struct stream_limits stream_limits_default;

struct stream *stream_new(struct loop *loop, int fd, SSL_CTX *tls, enum stream_role role,
                          const struct stream_limits *limits, const struct stream_handlers *handlers,
                          void *arg)
{
    (void)loop, (void)fd, (void)tls, (void)role, (void)limits;
    stream = calloc(1, sizeof *stream);
    stream->handlers = handlers;
    stream->arg = arg;
    return stream;
}

struct bytes stream_input(const struct stream *s)
{
    return buf_view(&s->input);
}

void stream_consume(struct stream *s, size_t n)
{
    buf_consume(&s->input, n);
}

enum err stream_write(struct stream *s, struct bytes out)
{
    (void)out;
    return s->closing ? ERR_CLOSED : next_byte() == 0xff ? ERR_LIMIT : ERR_OK;
}

void stream_close(struct stream *s, enum close_reason reason)
{
    if (!s->closing)
        s->reason = reason;
    s->closing = true;
}

void stream_abort(struct stream *s, enum close_reason reason)
{
    stream_close(s, reason);
}

void stream_pause_read(struct stream *s)
{
    s->paused = true;
}

void stream_resume_read(struct stream *s)
{
    s->paused = false;
    more_to_read = true;
}

enum err stream_export(const struct stream *s, const char *label, uint8_t out[TLS_EXPORT_BYTES])
{
    (void)s, (void)label;
    memset(out, 7, TLS_EXPORT_BYTES);
    return ERR_OK;
}

const char *stream_tls_error(const struct stream *s)
{
    (void)s;
    return NULL;
}

/* ---- the store: calls are kept, and answered when and as the fuzzer says ---- */

enum call_kind {
    CALL_ATTACH,
    CALL_CHALLENGE,
    CALL_SETTLE,
    CALL_TOLD,
    CALL_DONE,
    CALL_ENROLMENT,
    CALL_PORTAL,
    CALL_STEP,
    CALL_CREATE,
    CALL_USER,
    CALL_REMOVE,
    CALL_RESEND
};

struct store_call {
    enum call_kind kind;
    void (*fn)(void);
    void *arg;
    char id[ID_SIZE];
};

static struct store_call *calls[OPEN_MAX];
static size_t call_count;

static struct store_call *keep(enum call_kind kind, const char *id, void (*fn)(void), void *arg)
{
    struct store_call *call = calloc(1, sizeof *call);
    call->kind = kind;
    call->fn = fn;
    call->arg = arg;
    strncpy(call->id, id, ID_LEN);
    if (call_count == OPEN_MAX)
        abort(); /* a connection may not start so much at once */
    calls[call_count++] = call;
    return call;
}

void store_cancel(struct store_call *call)
{
    for (size_t i = 0; call && i < call_count; i++)
        if (calls[i] == call) {
            calls[i] = calls[--call_count];
            free(call);
            return;
        }
}

#define FN(fn) ((void (*)(void))(fn))

const char *store_inbox(const struct store *store)
{
    (void)store;
    return "here";
}

struct presence store_presence(const struct store *store, uint64_t connection, unsigned capabilities)
{
    (void)store;
    return (struct presence){.inbox = "here", .connection = connection, .capabilities = capabilities};
}

struct store_call *store_hint(struct store *store, const char *inbox, const Record__Hint *hint,
                              store_done_fn fn, void *arg)
{
    (void)store, (void)inbox, (void)hint;
    return keep(CALL_DONE, "", FN(fn), arg);
}

struct store_call *store_enrolment_get(struct store *store, const char *id, bool wait, store_enrolment_fn fn,
                                       void *arg)
{
    (void)store, (void)wait;
    return keep(CALL_ENROLMENT, id, FN(fn), arg);
}

struct store_call *store_portal_get(struct store *store, const char *id, store_portal_fn fn, void *arg)
{
    (void)store;
    return keep(CALL_PORTAL, id, FN(fn), arg);
}

struct store_call *store_enrolment_create(struct store *store, const Record__Enrolment *record,
                                          unsigned life_ms, store_enrolment_create_fn fn, void *arg)
{
    (void)store, (void)record, (void)life_ms, (void)fn, (void)arg;
    abort(); /* no phone can */
}

struct store_call *store_enrolment_use(struct store *store, const struct enrolment_use *use,
                                       store_enrolment_step_fn fn, void *arg)
{
    (void)store;
    return keep(CALL_STEP, use->id, FN(fn), arg);
}

struct store_call *store_enrolment_advance(struct store *store, const struct enrolment_advance *advance,
                                           store_enrolment_step_fn fn, void *arg)
{
    (void)store;
    return keep(CALL_STEP, advance->id, FN(fn), arg);
}

struct store_call *store_enrolment_cancel(struct store *store, const char *id, struct bytes fence,
                                          store_told_fn fn, void *arg)
{
    (void)store, (void)id, (void)fence, (void)fn, (void)arg;
    abort(); /* no phone can */
}

struct store_call *store_key_claim(struct store *store, struct bytes public_key, const char *device_id,
                                   bool for_good, store_done_fn fn, void *arg)
{
    if (for_good)
        return NULL;
    (void)store, (void)public_key;
    return keep(CALL_DONE, device_id, FN(fn), arg);
}

struct store_call *store_device_attach(struct store *store, const char *device_id, uint32_t generation,
                                       struct bytes possession_key, const struct presence *presence,
                                       store_device_attach_fn fn, void *arg)
{
    (void)store, (void)generation, (void)possession_key, (void)presence;
    return keep(CALL_ATTACH, device_id, FN(fn), arg);
}

struct store_call *store_device_detach(struct store *store, const char *device_id,
                                       const struct presence *presence, store_done_fn fn, void *arg)
{
    (void)store, (void)device_id, (void)presence, (void)fn, (void)arg;
    return NULL;
}

struct store_call *store_device_remove(struct store *store, const char *device_id,
                                       const Record__Device *verified, store_device_remove_fn fn, void *arg)
{
    (void)store, (void)verified;
    return keep(CALL_REMOVE, device_id, FN(fn), arg);
}

struct store_call *store_device_rotate(struct store *store, const Record__Device *present,
                                       const Record__Device *next, store_done_fn fn, void *arg)
{
    (void)store, (void)next;
    return keep(CALL_DONE, present->id, FN(fn), arg);
}

struct store_call *store_user_unlock(struct store *store, const char *tag, const Record__Device *verified,
                                     store_told_fn fn, void *arg)
{
    (void)store, (void)verified;
    return keep(CALL_TOLD, tag, FN(fn), arg);
}

struct store_call *store_user_get(struct store *store, const char *tag, store_user_fn fn, void *arg)
{
    (void)store;
    return keep(CALL_USER, tag, FN(fn), arg);
}

struct store_call *store_challenge_create(struct store *store, const struct challenge_create *create,
                                          store_challenge_create_fn fn, void *arg)
{
    (void)store;
    return keep(CALL_CREATE, create->record->id, FN(fn), arg);
}

struct store_call *store_challenge_get(struct store *store, const char *id, bool wait, store_challenge_fn fn,
                                       void *arg)
{
    (void)store, (void)wait;
    return keep(CALL_CHALLENGE, id, FN(fn), arg);
}

struct store_call *store_challenge_settle(struct store *store, const struct challenge_settle *settle,
                                          store_challenge_settle_fn fn, void *arg)
{
    (void)store;
    return keep(CALL_SETTLE, settle->id, FN(fn), arg);
}

struct store_call *store_challenge_resend(struct store *store, const char *id, struct bytes fence,
                                          unsigned needed, store_challenge_resend_fn fn, void *arg)
{
    (void)store, (void)fence, (void)needed;
    return keep(CALL_RESEND, id, FN(fn), arg);
}

struct store_call *store_challenge_progress(struct store *store, const char *id, const char *device_id,
                                            unsigned progress, store_told_fn fn, void *arg)
{
    (void)store, (void)device_id, (void)progress;
    if (call_count < OPEN_MAX / 2)
        return keep(CALL_TOLD, id, FN(fn), arg);
    fn(ERR_UNAVAILABLE, NULL, arg); /* acks are not held back; the real store refuses at its own limit */
    return NULL;
}

bool enrolment_state_open(enum enrolment_state state)
{
    return state == ENROLMENT_WAITING || state == ENROLMENT_TO_CONFIRM || state == ENROLMENT_TO_APPROVE;
}

/* ---- what the store knows: one user's two phones, one challenge, one enrolment ---- */

static struct p256_key *possession, *verification;
static uint8_t possession_key[P256_PUBLIC_BYTES], verification_key[P256_PUBLIC_BYTES], token[16];
static char device_id[ID_SIZE], other_id[ID_SIZE], challenge_id[ID_SIZE], enrolment_id[ID_SIZE];
static Record__Device device;
static Record__Challenge challenge;
static Record__Enrolment enrolment;
static Record__Enrolled enrolled;
static uint8_t token_hash[SHA256_BYTES];
static struct device_server *server;
static struct domain domain;

static void answer_challenge(struct store_call *call, enum err e)
{
    struct challenge_view view = {.record = &challenge,
                                  .fence = bytes_of("fence"),
                                  .state = CHALLENGE_PENDING,
                                  .revision = 1,
                                  .attempt = 1 + next_byte() % 4,
                                  .now_unix_ms = 1800000000000,
                                  .expire_unix_ms = 1800000060000};
    Record__Settlement settlement = RECORD__SETTLEMENT__INIT;
    settlement.state = CHALLENGE_DENIED;
    settlement.device_id = other_id;
    if (next_byte() & 1) {
        view.state = CHALLENGE_DENIED;
        view.settlement = &settlement;
    }
    challenge.mode = 1 + next_byte() % 3;
    ((store_challenge_fn)call->fn)(e, e == ERR_OK ? &view : NULL, call->arg);
}

static void answer_attach(struct store_call *call, enum err e)
{
    char pending[3][ID_SIZE];
    struct device_attached attached = {.device = &device, .now_unix_ms = 1800000000000, .pending = pending};
    for (int i = 0; i < 3; i++)
        memcpy(pending[i], challenge_id, ID_SIZE);
    attached.pending_count = next_byte() % 4;
    if (next_byte() & 1)
        attached.taken = (struct presence){.inbox = "here", .connection = next_byte() % 4};
    ((store_device_attach_fn)call->fn)(e, e == ERR_OK ? &attached : NULL, call->arg);
}

static void answer_settle(struct store_call *call, enum err e)
{
    struct route routes[2] = {{.presence = {.inbox = "here", .connection = 1}},
                              {.presence = {.inbox = "there"}}};
    static const char inboxes[1][INBOX_SIZE] = {"there"};
    char others[1][ID_SIZE];
    memcpy(routes[0].device_id, device_id, ID_SIZE);
    memcpy(routes[1].device_id, other_id, ID_SIZE);
    memcpy(others[0], challenge_id, ID_SIZE);
    struct challenge_settled settled = {
        .moved = next_byte() & 1,
        .state = (enum challenge_state)(CHALLENGE_APPROVED + next_byte() % 7),
        .routes = {.devices = routes, .device_count = 2, .inboxes = inboxes, .inbox_count = 1},
        .locked_until_unix_ms = next_byte() & 1 ? 1800000900000 : 0,
        .others = (const char(*)[ID_SIZE])others,
        .other_count = 1,
    };
    ((store_challenge_settle_fn)call->fn)(e, e == ERR_OK ? &settled : NULL, call->arg);
}

static void answer_enrolment(struct store_call *call, enum err e)
{
    struct enrolment_view view = {.record = &enrolment,
                                  .fence = bytes_of("fence"),
                                  .state = (enum enrolment_state)(1 + next_byte() % 7),
                                  .now_unix_ms = 1800000000000,
                                  .expire_unix_ms = 1800000600000};
    if (view.state != ENROLMENT_WAITING)
        view.enrolled = &enrolled;
    ((store_enrolment_fn)call->fn)(e, e == ERR_OK ? &view : NULL, call->arg);
}

static void answer_step(struct store_call *call, enum err e)
{
    static const enum enrolment_state states[] = {ENROLMENT_DONE, ENROLMENT_TO_CONFIRM, ENROLMENT_TO_APPROVE,
                                                  ENROLMENT_VOID};
    struct enrolment_step step = {.state = states[next_byte() % 4], .moved = next_byte() & 1};
    ((store_enrolment_step_fn)call->fn)(e, e == ERR_OK || e == ERR_BAD_STATE ? &step : NULL, call->arg);
}

/* Answer one call, whichever the fuzzer picks. */
static void answer_one(void)
{
    static const enum err errors[] = {ERR_OK,        ERR_OK,          ERR_OK,        ERR_OK,
                                      ERR_NOT_FOUND, ERR_DENIED,      ERR_BAD_STATE, ERR_LIMIT,
                                      ERR_EXISTS,    ERR_UNAVAILABLE, ERR_EXPIRED,   ERR_TIMEOUT};
    if (call_count == 0)
        return;
    size_t which = next_byte() % call_count;
    enum err e = errors[next_byte() % (sizeof errors / sizeof *errors)];
    struct store_call *call = calls[which];
    const struct routes nobody = {0};
    calls[which] = calls[--call_count];
    switch (call->kind) {
    case CALL_ATTACH:
        answer_attach(call, e);
        break;
    case CALL_CHALLENGE:
        answer_challenge(call, e);
        break;
    case CALL_SETTLE:
        answer_settle(call, e);
        break;
    case CALL_ENROLMENT:
        answer_enrolment(call, e);
        break;
    case CALL_PORTAL: {
        Record__Portal record = RECORD__PORTAL__INIT;
        record.removed = next_byte() & 1;
        const struct portal_view view = {.record = &record};
        ((store_portal_fn)call->fn)(e, e == ERR_OK ? &view : NULL, call->arg);
        break;
    }
    case CALL_STEP:
        answer_step(call, e);
        break;
    case CALL_DONE:
        ((store_done_fn)call->fn)(e, call->arg);
        break;
    case CALL_TOLD:
        ((store_told_fn)call->fn)(e, &nobody, call->arg);
        break;
    case CALL_CREATE: {
        struct challenge_created created = {.expire_unix_ms = 1800000060000};
        ((store_challenge_create_fn)call->fn)(e, &created, call->arg);
        break;
    }
    case CALL_USER: {
        struct user_view view = {0};
        ((store_user_fn)call->fn)(e, e == ERR_OK ? &view : NULL, call->arg);
        break;
    }
    case CALL_REMOVE: {
        struct device_removed removed = {.presence = {.inbox = "here", .connection = next_byte() % 4}};
        ((store_device_remove_fn)call->fn)(e, e == ERR_OK ? &removed : NULL, call->arg);
        break;
    }
    case CALL_RESEND: {
        struct challenge_resent resent = {0};
        ((store_challenge_resend_fn)call->fn)(e, &resent, call->arg);
        break;
    }
    }
    free(call);
}

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

/* A refusal of the challenge, rightly signed, or an approval that is not. */
static void say_answer(void)
{
    char header[160], payload[1024], kid[P256_THUMBPRINT_SIZE], text[2048], display[DISPLAY_HASH_SIZE];
    uint8_t signature[P256_SIGNATURE_BYTES], nonce[16] = {0};
    char nonce_text[BASE64URL_SIZE(16)];
    Nanopush__V1__AnswerMessage answer = NANOPUSH__V1__ANSWER_MESSAGE__INIT;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    static const char *const modes[] = {"tap", "tap", "choose", "code"};
    if (p256_thumbprint(possession_key, kid) != ERR_OK ||
        input_display_hash(bytes_of("display"), display) != ERR_OK)
        abort();
    base64url_encode(bytes_make(nonce, sizeof nonce), nonce_text);
    snprintf(header, sizeof header, "{\"alg\":\"ES256\",\"typ\":\"nanopush-refusal+jwt\",\"kid\":\"%s\"}",
             kid);
    snprintf(payload, sizeof payload,
             "{\"v\":1,\"iss\":\"%s\",\"org\":\"nano\",\"sub\":\"ada\",\"aud\":\"portal\",\"jti\":\"%s\","
             "\"nonce\":\"%s\","
             "\"decision\":\"%s\",\"mode\":\"%s\",\"display\":\"%s\",\"gen\":1,\"iat\":1800000000,\"exp\":"
             "1800000060}",
             device_id, challenge_id, nonce_text, next_byte() & 1 ? "deny" : "not_me", modes[next_byte() & 3],
             display);
    base64url_encode(bytes_of(header), text);
    strcat(text, ".");
    base64url_encode(bytes_of(payload), text + strlen(text));
    if (p256_sign(possession, bytes_of(text), signature) != ERR_OK)
        abort();
    strcat(text, ".");
    base64url_encode(bytes_make(signature, sizeof signature), text + strlen(text));
    answer.challenge_id = challenge_id;
    answer.jws = text;
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ANSWER;
    message.answer = &answer;
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
    news.connection = next_byte() % 4;
    router_on_hint(domain.router, &news);
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
    static const struct device_options options = {
        .heartbeat_ms = 240000, .hello_timeout_ms = 10000, .handshake_timeout_ms = 10000};
    static const struct router_sinks sinks = {
        .deliver = on_deliver, .taken = on_taken, .changed = on_changed};
    if (!possession)
        set_up_once();
    at = p;
    end = p + len;
    more_to_read = false;
    domain.router = router_new(domain.loop, NULL, &sinks, NULL);
    domain.registry = registry_new(&domain);
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    server = device_server_new(&domain, tls, &options, NULL, NULL);
    SSL_CTX_free(tls);
    device_server_accept(server, -1);
    stream->handlers->on_open(stream, stream->arg);
    for (int steps = 0; at < end && stream && steps < STEPS_MAX; steps++) {
        switch (next_byte() % 12) {
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
    router_free(domain.router);
    registry_free(domain.registry);
    return 0;
}
