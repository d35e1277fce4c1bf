#include "internal.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANDSHAKE_TIMEOUT_MS 15000
#define REPLY_TIMEOUT_MS     15000 /* silence before the first Welcome has said what a heartbeat is */
#define CLOSE_TIMEOUT_MS     2000
#define STEP_BYTES_MAX       65536
#define READ_BYTES           4096
#define OUT_BYTES_MAX        65536
#define BACKOFF_FIRST_MS     1000
#define BACKOFF_LAST_MS      300000

const char *np_error_text(enum np_error error)
{
#define TEXT_ROW(name, text) [NP_##name] = text,
    static const char *const texts[] = {NP_ERRORS(TEXT_ROW)};
#undef TEXT_ROW
    return error < NP_ERROR_COUNT ? texts[error] : "unknown error";
}

enum np_error np_connection_new(const struct np_endpoint *endpoint, const struct np_callbacks *callbacks,
                                void *arg, int fd, int64_t now_mono_ms, struct np_connection **ret)
{
    if (!np_text_fits(endpoint->server_name, NP_HOST_SIZE) || endpoint->pin_count < 1 ||
        endpoint->pin_count > NP_PINS_MAX)
        return NP_INVALID;
    struct np_connection *c = calloc(1, sizeof *c);
    if (!c)
        return NP_NOMEM;
    enum np_error error = np_tls_new(endpoint, callbacks->on_session != NULL, fd, &c->tls);
    if (error != NP_OK) {
        free(c);
        return error;
    }
    c->state = NP_STATE_HANDSHAKE;
    c->callbacks = *callbacks;
    c->arg = arg;
    memcpy(c->server_name, endpoint->server_name, strlen(endpoint->server_name));
    c->io_wants_write = true;
    c->now_mono_ms = now_mono_ms;
    c->ping_mono_ms = INT64_MAX;
    c->deadline_mono_ms = now_mono_ms + HANDSHAKE_TIMEOUT_MS;
    *ret = c;
    return NP_OK;
}

void np_connection_free(struct np_connection *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->account_count; i++) {
        np_act_drop(c->accounts[i]);
        c->accounts[i]->connection = NULL;
        c->accounts[i]->welcomed = false;
    }
    np_enrol_done(c);
    np_tls_free(c->tls);
    np_frame_done(&c->frame);
    np_buf_done(&c->out);
    OPENSSL_cleanse(c, sizeof *c);
    free(c);
}

void np_connection_fail(struct np_connection *c, enum np_error error, const char *text)
{
    if (c->state == NP_STATE_CLOSED)
        return;
    c->state = NP_STATE_CLOSED;
    c->closed_error = error;
    snprintf(c->closed_text, sizeof c->closed_text, "%s", text);
}

enum np_error np_connection_send(struct np_connection *c, const Nanopush__V1__PhoneMessage *message)
{
    if (c->out.len > OUT_BYTES_MAX)
        return NP_LIMIT;
    return np_frame_add(&c->out, message);
}

enum np_error np_connection_send_frame(struct np_connection *c, const struct np_buf *frame)
{
    if (c->out.len > OUT_BYTES_MAX)
        return NP_LIMIT;
    uint8_t *to = np_buf_reserve(&c->out, frame->len);
    if (!to) {
        c->out.error = NP_OK; /* what was queued before is still whole */
        return NP_NOMEM;
    }
    memcpy(to, frame->p, frame->len);
    c->out.len += frame->len;
    return NP_OK;
}

static uint32_t random_below(uint32_t limit)
{
    uint32_t number = 0;
    if (RAND_bytes((unsigned char *)&number, sizeof number) != 1)
        return limit / 2; /* jitter spreads load and keeps no secret */
    return (uint32_t)((uint64_t)number * limit >> 32);
}

void np_connection_plan_ping(struct np_connection *c, int64_t now_mono_ms)
{
    c->ping_mono_ms = now_mono_ms + c->heartbeat_ms - random_below(c->heartbeat_ms / 10 + 1);
}

int64_t np_backoff_ms(unsigned attempt, uint32_t minimum_ms)
{
    uint32_t most = BACKOFF_LAST_MS;
    if (attempt < 9 && (BACKOFF_FIRST_MS << attempt) < BACKOFF_LAST_MS)
        most = BACKOFF_FIRST_MS << attempt;
    return (int64_t)minimum_ms + random_below(most + 1);
}

/* When nothing heard means that the connection is gone. */
static int64_t silence_deadline(const struct np_connection *c)
{
    return c->heard_mono_ms + (c->heartbeat_ms ? c->heartbeat_ms + c->heartbeat_ms / 2 : REPLY_TIMEOUT_MS);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When the estimate of the broker's time says that the broker will not say any more how the challenge ended.
 */
static int64_t forget_mono_ms(const struct np_account *account, const struct np_waiting *waiting)
{
    return (int64_t)waiting->push->expire_unix_s * 1000 + EXPIRY_GRACE_MS - account->clock_offset_ms;
}

static int64_t account_deadline(const struct np_account *account)
{
    int64_t deadline = INT64_MAX;
    if (account->welcomed && account->act_jws)
        deadline = account->act_mono_ms;
    for (size_t i = 0; account->welcomed && i < account->waiting_count; i++) {
        const struct np_waiting *waiting = &account->waiting[i];
        deadline = earlier(deadline, forget_mono_ms(account, waiting));
        if (waiting->jws)
            deadline = earlier(deadline, waiting->send_mono_ms);
        if (waiting->seen_due)
            deadline = account->connection->now_mono_ms;
    }
    return deadline;
}

void np_connection_want(const struct np_connection *c, bool *read, bool *write, int64_t *deadline_mono_ms)
{
    *read = c->state == NP_STATE_OPEN || (c->state != NP_STATE_CLOSED && c->io_wants_read);
    *write =
        c->state != NP_STATE_CLOSED && (c->io_wants_write || (c->state != NP_STATE_HANDSHAKE && c->out.len));
    *deadline_mono_ms = c->deadline_mono_ms;
    if (c->state == NP_STATE_CLOSED)
        *deadline_mono_ms = c->closed_told ? INT64_MAX : c->now_mono_ms;
    if (c->state != NP_STATE_OPEN)
        return;
    *deadline_mono_ms = c->more ? c->now_mono_ms : earlier(silence_deadline(c), c->ping_mono_ms);
    if (c->enrol_waits)
        *deadline_mono_ms = earlier(*deadline_mono_ms, c->enrol_mono_ms);
    for (size_t i = 0; i < c->account_count; i++)
        *deadline_mono_ms = earlier(*deadline_mono_ms, account_deadline(c->accounts[i]));
}

/* The library's own messages -------------------------------------------------------------------------- */

static void sent_or_fail(struct np_connection *c, enum np_error error)
{
    if (error != NP_OK)
        np_connection_fail(c, error,
                           error == NP_LIMIT ? "the broker does not read" : "a message could not be made");
}

static void send_or_fail(struct np_connection *c, const Nanopush__V1__PhoneMessage *message)
{
    sent_or_fail(c, np_connection_send(c, message));
}

static void send_ping(struct np_connection *c)
{
    Nanopush__V1__Ping ping = NANOPUSH__V1__PING__INIT;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_PING;
    message.ping = &ping;
    send_or_fail(c, &message);
    np_connection_plan_ping(c, c->now_mono_ms);
}

static void send_seen(struct np_connection *c, struct np_waiting *waiting)
{
    Nanopush__V1__Seen seen = NANOPUSH__V1__SEEN__INIT;
    seen.challenge_id = waiting->push->challenge_id;
    seen.attempt = waiting->seen_attempt;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_SEEN;
    message.seen = &seen;
    send_or_fail(c, &message);
    waiting->seen_due = false;
}

static void send_answer(struct np_connection *c, struct np_waiting *waiting)
{
    Nanopush__V1__AnswerMessage answer = NANOPUSH__V1__ANSWER_MESSAGE__INIT;
    answer.challenge_id = waiting->push->challenge_id;
    answer.jws = waiting->jws;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ANSWER;
    message.answer = &answer;
    send_or_fail(c, &message);
    waiting->send_mono_ms = c->now_mono_ms + ANSWER_REPEAT_MS;
}

static void send_act(struct np_connection *c, struct np_account *account)
{
    Nanopush__V1__Rotate rotate = NANOPUSH__V1__ROTATE__INIT;
    Nanopush__V1__Unlock unlock = NANOPUSH__V1__UNLOCK__INIT;
    Nanopush__V1__Remove remove = NANOPUSH__V1__REMOVE__INIT;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    char *device_id = (char *)account->options.device_id;
    switch (account->act) {
    case NP_ACT_ROTATED:
        rotate.device_id = device_id;
        rotate.jws = account->act_jws;
        rotate.possession_key = (ProtobufCBinaryData){NP_KEY_BYTES, account->next_possession.public_key};
        rotate.user_verification_key =
            (ProtobufCBinaryData){NP_KEY_BYTES, account->next_user_verification.public_key};
        message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ROTATE;
        message.rotate = &rotate;
        break;
    case NP_ACT_UNLOCKED:
        unlock.device_id = device_id;
        unlock.jws = account->act_jws;
        message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_UNLOCK;
        message.unlock = &unlock;
        break;
    case NP_ACT_REMOVED:
        remove.device_id = device_id;
        remove.jws = account->act_jws;
        message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_REMOVE;
        message.remove = &remove;
        break;
    }
    send_or_fail(c, &message);
    account->act_mono_ms = c->now_mono_ms + ACT_REPEAT_MS;
}

void np_connection_bye(struct np_connection *c)
{
    if (c->state == NP_STATE_HANDSHAKE)
        np_connection_fail(c, NP_OK, "closed by the app");
    if (c->state != NP_STATE_OPEN)
        return;
    Nanopush__V1__Bye bye = NANOPUSH__V1__BYE__INIT;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_BYE;
    message.bye = &bye;
    c->deadline_mono_ms = c->now_mono_ms + CLOSE_TIMEOUT_MS;
    c->state = NP_STATE_CLOSING;
    send_or_fail(c, &message);
}

/* A step ---------------------------------------------------------------------------------------------- */

static void tls_failed(struct np_connection *c)
{
    const char *text = NULL;
    enum np_error error = np_tls_failure(c->tls, &text);
    np_connection_fail(c, error, text);
}

static void handshake(struct np_connection *c)
{
    enum np_tls_result result = np_tls_handshake(c->tls);
    c->io_wants_read = result == NP_TLS_WAIT_READ;
    c->io_wants_write = result == NP_TLS_WAIT_WRITE;
    if (result == NP_TLS_FAILED) {
        tls_failed(c);
    } else if (result == NP_TLS_OK) {
        if (np_tls_export(c->tls, c->exporter, c->pin) != NP_OK) {
            np_connection_fail(c, NP_CRYPTO, "no channel binding");
            return;
        }
        c->resumed = np_tls_resumed(c->tls);
        c->state = NP_STATE_OPEN;
        c->heard_mono_ms = c->now_mono_ms;
        if (c->callbacks.on_open)
            c->callbacks.on_open(c, c->arg);
    } else if (c->now_mono_ms >= c->deadline_mono_ms) {
        np_connection_fail(c, NP_TIMEOUT, "the handshake took too long");
    }
}

static void read_messages(struct np_connection *c)
{
    c->more = true;
    c->io_wants_write = false;
    for (size_t total = 0; total < STEP_BYTES_MAX && c->state == NP_STATE_OPEN;) {
        uint8_t bytes[READ_BYTES];
        size_t len = 0;
        enum np_tls_result result = np_tls_read(c->tls, bytes, sizeof bytes, &len);
        if (result != NP_TLS_OK) {
            c->more = false;
            c->io_wants_write = result == NP_TLS_WAIT_WRITE;
            if (result == NP_TLS_FAILED)
                tls_failed(c);
            return;
        }
        total += len;
        c->heard_mono_ms = c->now_mono_ms;
        np_connection_receive(c, bytes, len);
    }
}

static void tend_account(struct np_connection *c, struct np_account *account)
{
    for (size_t i = 0; account->welcomed && i < account->waiting_count && c->state == NP_STATE_OPEN;) {
        struct np_waiting *waiting = &account->waiting[i];
        if (forget_mono_ms(account, waiting) <= c->now_mono_ms) {
            np_connection_resolve(c, account, waiting, NP_CHALLENGE_UNKNOWN, false);
            i = 0; /* its callback may have changed what waits */
            continue;
        }
        if (waiting->seen_due)
            send_seen(c, waiting);
        if (waiting->jws && waiting->send_mono_ms <= c->now_mono_ms)
            send_answer(c, waiting);
        i++;
    }
    if (account->welcomed && account->act_jws && account->act_mono_ms <= c->now_mono_ms)
        send_act(c, account);
}

static void tend(struct np_connection *c)
{
    /* After reading: a phone that slept finds in the socket what came meanwhile. */
    if (c->now_mono_ms >= silence_deadline(c) && !c->more) {
        np_connection_fail(c, NP_TIMEOUT, "the broker was not heard for one and a half heartbeats");
        return;
    }
    if (c->now_mono_ms >= c->ping_mono_ms)
        send_ping(c);
    if (c->enrol_waits && c->now_mono_ms >= c->enrol_mono_ms) {
        sent_or_fail(c, np_connection_send_frame(c, &c->enrol));
        c->enrol_mono_ms = c->now_mono_ms + ENROL_REPEAT_MS;
    }
    for (size_t i = 0; i < c->account_count; i++)
        tend_account(c, c->accounts[i]);
}

static void write_messages(struct np_connection *c)
{
    while (c->out.len && (c->state == NP_STATE_OPEN || c->state == NP_STATE_CLOSING)) {
        size_t written = 0;
        enum np_tls_result result = np_tls_write(c->tls, c->out.p, c->out.len, &written);
        if (result == NP_TLS_OK)
            np_buf_consume(&c->out, written);
        else if (result == NP_TLS_FAILED)
            tls_failed(c);
        else
            break;
    }
    if (c->state != NP_STATE_CLOSING || (c->out.len && c->now_mono_ms < c->deadline_mono_ms))
        return;
    np_tls_close(c->tls);
    np_connection_fail(c, NP_OK, "closed after Bye");
}

void np_connection_step(struct np_connection *c, int64_t now_mono_ms)
{
    c->now_mono_ms = now_mono_ms;
    if (c->state == NP_STATE_HANDSHAKE)
        handshake(c);
    if (c->state == NP_STATE_OPEN)
        read_messages(c);
    if (c->state == NP_STATE_OPEN)
        np_session_offer(c);
    if (c->state == NP_STATE_OPEN)
        tend(c);
    write_messages(c);
    if (c->state == NP_STATE_CLOSED && !c->closed_told) {
        c->closed_told = true;
        if (c->callbacks.on_closed)
            c->callbacks.on_closed(c, c->closed_error, c->closed_text, c->arg);
    }
}
