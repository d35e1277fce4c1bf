#include "device/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "wire/frame.h"
#include "wire/message.h"

#define LIFE_SPREAD 4 /* a connection lives between three quarters of connection_life_s and all of it */

static const char *const state_names[] = {
    [SESSION_HANDSHAKE] = "handshake",
    [SESSION_GREETING] = "greeting",
    [SESSION_ATTACHED] = "attached",
    [SESSION_CLOSING] = "closing",
};

static void end_greeting(struct session *session)
{
    if (!session->greeting)
        return;
    timer_cancel(&session->greeting->deadline);
    address_counts_give(&session->server->unauthenticated, &session->greeting->from);
    free(session->greeting);
    session->greeting = NULL;
}

void session_set_state(struct session *session, enum session_state state)
{
    static const bool legal[4][4] = {
        [SESSION_HANDSHAKE] = {[SESSION_GREETING] = true, [SESSION_CLOSING] = true},
        [SESSION_GREETING] = {[SESSION_ATTACHED] = true, [SESSION_CLOSING] = true},
        [SESSION_ATTACHED] = {[SESSION_CLOSING] = true},
    };
    if (session->state == state)
        return;
    if (!legal[session->state][state]) {
        LOG(ERROR, DEVICE, "illegal-move", "conn=%llu from=%s to=%s", (unsigned long long)session->connection,
            state_names[session->state], state_names[state]);
        return;
    }
    LOG(DEBUG, DEVICE, "session-state", "conn=%llu from=%s to=%s", (unsigned long long)session->connection,
        state_names[session->state], state_names[state]);
    if (session->state == SESSION_HANDSHAKE)
        device_server_settled(session->server);
    session->server->attached_count += state == SESSION_ATTACHED;
    session->server->attached_count -= session->state == SESSION_ATTACHED;
    session->state = (uint8_t)state;
    if (state == SESSION_ATTACHED) {
        HISTOGRAM_ADD(CONNECT_HELLO, clock_mono_us() - session->greeting->accept_mono_us);
        end_greeting(session);
    }
}

/* ---- out ---- */

void session_close(struct session *session, enum close_reason reason)
{
    session_set_state(session, SESSION_CLOSING);
    if (session->greeting)
        timer_cancel(&session->greeting->deadline);
    stream_close(session->stream, reason);
}

bool session_write(struct session *session, struct bytes frames)
{
    enum err e = session->state == SESSION_CLOSING ? ERR_CLOSED : stream_write(session->stream, frames);
    if (e == ERR_LIMIT) {
        session_set_state(session, SESSION_CLOSING);
        stream_abort(session->stream, CLOSE_QUEUE_FULL);
    }
    return e == ERR_OK;
}

void session_send(struct session *session, const Nanopush__V1__BrokerMessage *message)
{
    struct buf frame = {0};
    if (frame_append(&frame, &message->base) == ERR_OK)
        session_write(session, buf_view(&frame));
    buf_done(&frame);
}

/* The metric's series stand in the order of the codes. */
static void count_error(Nanopush__V1__Error__Code code)
{
    metrics_add(METRIC_DEVICE_ERRORS_MALFORMED + (code - NANOPUSH__V1__ERROR__CODE__CODE_MALFORMED), 1);
}

void session_error(struct session *session, Nanopush__V1__Error__Code code, const char *subject,
                   const char *text)
{
    Nanopush__V1__Error error = NANOPUSH__V1__ERROR__INIT;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    char cut[ID_SIZE];
    snprintf(cut, sizeof cut, "%s", subject);
    error.code = code;
    error.subject = id_valid(bytes_of(cut)) ? cut : "";
    error.text = (char *)text;
    count_error(code);
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_ERROR;
    message.error = &error;
    session_send(session, &message);
}

void session_go_away(struct session *session, Nanopush__V1__GoAway__Reason reason, unsigned return_after_ms,
                     enum close_reason why)
{
    Nanopush__V1__GoAway go_away = NANOPUSH__V1__GO_AWAY__INIT;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    go_away.reason = reason;
    go_away.return_after_ms = return_after_ms;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_GO_AWAY;
    message.go_away = &go_away;
    session_send(session, &message);
    session_close(session, why);
}

static void send_pong(struct session *session)
{
    Nanopush__V1__Pong pong = NANOPUSH__V1__PONG__INIT;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    pong.broker_unix_ms = (uint64_t)clock_unix_ms();
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_PONG;
    message.pong = &pong;
    session_send(session, &message);
}

/* ---- operations ---- */

static struct operation *add_operation(struct session *session, const char *subject, const char *device_id)
{
    struct operation *operation = mem_new(sizeof *operation);
    operation->session = session;
    snprintf(operation->subject, sizeof operation->subject, "%s", subject);
    snprintf(operation->device_id, sizeof operation->device_id, "%s", device_id);
    operation->next = session->operations;
    session->operations = operation;
    return operation;
}

struct operation *operation_new(struct session *session, const char *subject, const char *device_id)
{
    unsigned count = 0;
    for (const struct operation *each = session->operations; each; each = each->next)
        count += !each->report;
    if (count < OPERATIONS_MAX)
        return add_operation(session, subject, device_id);
    session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_LIMIT, subject,
                  "too much under way; send again later");
    return NULL;
}

struct operation *operation_new_report(struct session *session, const char *subject, const char *device_id)
{
    struct operation *operation = add_operation(session, subject, device_id);
    operation->report = true;
    session->report_count++;
    return operation;
}

void operation_free(struct operation *operation)
{
    operation->session->report_count -= operation->report;
    struct operation **link = &operation->session->operations;
    while (*link != operation)
        link = &(*link)->next;
    *link = operation->next;
    free(operation);
}

void session_strike(struct session *session)
{
    if (session->state != SESSION_ATTACHED || ++session->strikes >= STRIKES_MAX)
        session_close(session, CLOSE_PROTOCOL);
}

void session_end_without_account(struct session *session)
{
    if (session->state == SESSION_ATTACHED && session->account_count == 0)
        session_go_away(session, NANOPUSH__V1__GO_AWAY__REASON__REASON_NO_ACCOUNT, 0, CLOSE_LOCAL);
}

void session_extend_greeting(struct session *session, unsigned ms)
{
    if (session->state == SESSION_GREETING)
        timer_start(&session->greeting->deadline, ms);
}

/* ---- in ---- */

/* A phone may send on without waiting for Welcome; and what it signed is checked with a record that may have to be read. */
static bool must_wait(struct session *session, const Nanopush__V1__PhoneMessage *message)
{
    switch (message->message_case) {
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ACK:
        return session->report_count >= REPORTS_MAX ||
               session_must_wait(session, message->ack->challenge_id, false);
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_SEEN:
        return session->report_count >= REPORTS_MAX ||
               session_must_wait(session, message->seen->challenge_id, false);
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ANSWER:
        return session_must_wait(session, message->answer->challenge_id, true);
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ROTATE:
        return session_must_wait(session, message->rotate->device_id, true);
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_UNLOCK:
        return session_must_wait(session, message->unlock->device_id, true);
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_REMOVE:
        return session_must_wait(session, message->remove->device_id, true);
    default:
        return false;
    }
}

void session_release(struct session *session)
{
    if (session->held)
        stream_resume_read(session->stream);
    session->held = false;
}

static void on_message(struct session *session, const Nanopush__V1__PhoneMessage *message)
{
    bool attached = session->state == SESSION_ATTACHED;
    switch (message->message_case) {
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_HELLO:
        on_hello(session, message->hello);
        return;
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_SCAN:
        on_scan(session, message->scan);
        return;
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ENROL:
        on_enrol(session, message->enrol);
        return;
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_BYE:
        session_close(session, CLOSE_PEER_CLOSED);
        return;
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_PING:
        if (attached)
            send_pong(session); /* before Hello it keeps nothing alive */
        return;
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ACK:
        on_ack(session, message->ack);
        return;
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_SEEN:
        on_seen(session, message->seen);
        return;
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ANSWER:
        on_answer(session, message->answer);
        return;
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ROTATE:
        on_rotate(session, message->rotate);
        return;
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_UNLOCK:
        on_unlock(session, message->unlock);
        return;
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_REMOVE:
        on_remove(session, message->remove);
        return;
    default: /* what later versions bring */
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_UNSUPPORTED, "",
                      "this broker does not know that message");
    }
}

/* @return false when the stream's bytes are no frames any more. */
static bool read_message(struct session *session, struct bytes payload)
{
    struct arena arena;
    ProtobufCMessage *message = NULL;
    arena_init(&arena, ARENA_MAX_BYTES);
    enum err e = message_parse(&nanopush__v1__phone_message__descriptor, payload, 0, &arena, &message);
    session->held = e == ERR_OK && must_wait(session, (Nanopush__V1__PhoneMessage *)message);
    if (e == ERR_OK && !session->held)
        on_message(session, (Nanopush__V1__PhoneMessage *)message);
    arena_done(&arena);
    return e == ERR_OK;
}

static void on_read(struct stream *stream, void *arg)
{
    struct session *session = arg;
    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        struct bytes payload;
        size_t consumed = 0;
        if (session->state == SESSION_CLOSING)
            return;
        enum err e = frame_next(stream_input(stream), &payload, &consumed);
        if (e == ERR_OK && consumed == 0)
            return;
        if (e != ERR_OK || !read_message(session, payload)) {
            session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_MALFORMED, "",
                          "not a frame of this protocol");
            session_close(session, CLOSE_PROTOCOL);
            return;
        }
        session->heard_ds = device_server_now(session->server);
        if (session->held) {
            stream_pause_read(stream); /* it, and what follows, stays in the input until session_release() */
            return;
        }
        stream_consume(stream, consumed);
    }
    stream_resume_read(stream); /* there may be more: in a later turn, after the others */
}

/* ---- life ---- */

static void on_greeting_over(void *arg)
{
    session_close(arg, CLOSE_IDLE);
}

static void on_open(struct stream *stream, void *arg)
{
    struct session *session = arg;
    METRIC_ADD(TLS_HANDSHAKES_DONE, 1);
    session->resumed = stream_resumed(stream);
    METRIC_ADD(TLS_RESUMED, session->resumed);
    HISTOGRAM_ADD(CONNECT_HANDSHAKE, clock_mono_us() - session->greeting->accept_mono_us);
    session_set_state(session, SESSION_GREETING);
    if (stream_export(stream, CHANNEL_BINDING_LABEL, session->channel_binding) != ERR_OK) {
        session_close(session, CLOSE_INTERNAL);
        return;
    }
    timer_start(&session->greeting->deadline, session->server->options.hello_timeout_ms);
}

static void release(struct session *session)
{
    struct device_server *server = session->server;
    end_greeting(session);
    server->attached_count -= session->state == SESSION_ATTACHED; /* it ended by itself */
    device_server_leave(server, session);
    slab_put(session);
}

static void on_closed(struct stream *stream, enum close_reason reason, void *arg)
{
    struct session *session = arg;
    struct device_server *server = session->server;
    const char *tls_error = stream_tls_error(stream);
    if (session->state == SESSION_HANDSHAKE) {
        METRIC_ADD(TLS_HANDSHAKES_FAILED, 1);
        device_server_settled(server);
    }
    LOG(INFO, DEVICE, "session-closed", "conn=%llu state=%s reason=%s accounts=%u%s%s",
        (unsigned long long)session->connection, state_names[session->state], close_reason_label(reason),
        session->account_count, tls_error ? " tls=" : "", tls_error ? LOG_STR(tls_error) : "");
    close_reason_count(reason);
    METRIC_ADD(OPEN_DEVICE, -1);
    while (session->accounts)
        account_free(session->accounts, true);
    while (session->operations) {
        struct operation *operation = session->operations;
        challenge_op_cancel(operation->answer);
        enrolment_op_cancel(operation->enrolment);
        device_op_cancel(operation->act);
        operation_free(operation);
    }
    release(session);
    device_server_closed(server);
}

static const struct stream_handlers stream_handlers = {
    .on_open = on_open,
    .on_read = on_read,
    .on_closed = on_closed,
};

/* Each phone's own, so that those that came at once do not beat at once, nor all end at once a day later. */
static void spread(struct session *session)
{
    const struct device_options *options = &session->server->options;
    uint16_t random[2] = {0};
    if (getrandom(random, sizeof random, 0) != sizeof random)
        random[0] = random[1] = 0;
    uint32_t heartbeat_s = options->heartbeat_ms / 1000, life_ds = options->connection_life_s * 10;
    session->heartbeat_s =
        (uint16_t)(heartbeat_s - heartbeat_s * options->jitter_percent / 100 * random[0] / UINT16_MAX);
    session->end_ds =
        session->heard_ds + life_ds - (uint32_t)((uint64_t)life_ds / LIFE_SPREAD * random[1] / UINT16_MAX);
}

static struct greeting *greeting_new(struct session *session, const struct address_key *from)
{
    struct greeting *greeting = mem_new(sizeof *greeting);
    timer_init(&greeting->deadline, session->server->domain->loop, on_greeting_over, session);
    greeting->accept_mono_us = clock_mono_us();
    greeting->from = *from;
    return greeting;
}

/* @return NULL where there is no room for it. */
static struct session *enter(struct device_server *server, const struct address_key *from)
{
    if (!address_counts_take(&server->unauthenticated, from, server->options.unauthenticated_max)) {
        METRIC_ADD(REFUSED_DEVICE, 1);
        return NULL;
    }
    struct session *session = slab_take(&server->session_slab);
    if (!session || !device_server_enter(server, session)) {
        address_counts_give(&server->unauthenticated, from);
        slab_put(session);
        return NULL;
    }
    return session;
}

struct session *session_new(struct device_server *server, int fd, const struct address *peer)
{
    const struct address_key from = address_key_of(peer);
    struct session *session = enter(server, &from);
    if (!session) {
        close(fd);
        return NULL;
    }
    session->server = server;
    session->heard_ds = device_server_now(server);
    spread(session);
    session->greeting = greeting_new(session, &from);
    session->stream = stream_new(server->domain->loop, fd, server->tls, STREAM_SERVER, &server->limits,
                                 &stream_handlers, session);
    if (!session->stream) {
        release(session);
        return NULL;
    }
    METRIC_ADD(ACCEPTED_DEVICE, 1);
    METRIC_ADD(OPEN_DEVICE, 1);
    return session;
}
