#include "device/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "wire/frame.h"
#include "wire/message.h"

static const char *const state_names[] = {
    [SESSION_HANDSHAKE] = "handshake",
    [SESSION_GREETING] = "greeting",
    [SESSION_ATTACHED] = "attached",
    [SESSION_CLOSING] = "closing",
};

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
    session->state = state;
}

/* ---- out ---- */

void session_close(struct session *session, enum close_reason reason)
{
    session_set_state(session, SESSION_CLOSING);
    timer_cancel(&session->timer);
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

struct operation *operation_new(struct session *session, const char *subject, const char *device_id)
{
    if (session->operation_count >= OPERATIONS_MAX) {
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_LIMIT, subject,
                      "too much under way; send again later");
        return NULL;
    }
    struct operation *operation = mem_new(sizeof *operation);
    operation->session = session;
    snprintf(operation->subject, sizeof operation->subject, "%s", subject);
    snprintf(operation->device_id, sizeof operation->device_id, "%s", device_id);
    list_append(&session->operations, &operation->node);
    session->operation_count++;
    return operation;
}

void operation_free(struct operation *operation)
{
    list_remove(&operation->node);
    operation->session->operation_count--;
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
        timer_start(&session->timer, ms);
}

/* ---- in ---- */

/* True where what a message is about, a device or something of its user, said Hello and is not answered yet. */
static bool is_attaching(struct session *session, const char *subject)
{
    bool valid = id_valid(bytes_of(subject));
    LIST_EACH (node, &session->accounts) {
        struct account *account = CONTAINER_OF(node, struct account, node);
        if (valid && !account->device && strcmp(id_tag(account->device_id), id_tag(subject)) == 0)
            return true;
    }
    return false;
}

/* A phone may send on without waiting for Welcome. */
static bool must_wait(struct session *session, const Nanopush__V1__PhoneMessage *message)
{
    switch (message->message_case) {
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ACK:
        return is_attaching(session, message->ack->challenge_id);
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_SEEN:
        return is_attaching(session, message->seen->challenge_id);
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ANSWER:
        return is_attaching(session, message->answer->challenge_id);
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ROTATE:
        return is_attaching(session, message->rotate->device_id);
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_UNLOCK:
        return is_attaching(session, message->unlock->device_id);
    case NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_REMOVE:
        return is_attaching(session, message->remove->device_id);
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
        session->heard_mono_ms = clock_mono_ms();
        if (session->held) {
            stream_pause_read(stream); /* it, and what follows, stays in the input until session_release() */
            return;
        }
        stream_consume(stream, consumed);
    }
    stream_resume_read(stream); /* there may be more: in a later turn, after the others */
}

/* ---- life ---- */

static void on_timer(void *arg)
{
    struct session *session = arg;
    struct device_server *server = session->server;
    unsigned allowed_ms = server->options.heartbeat_ms + server->options.heartbeat_ms / 2;
    if (session->state != SESSION_ATTACHED) {
        session_close(session, CLOSE_IDLE);
        return;
    }
    int64_t silent_ms = clock_mono_ms() - session->heard_mono_ms;
    if (silent_ms >= allowed_ms)
        session_go_away(session, NANOPUSH__V1__GO_AWAY__REASON__REASON_IDLE, 0, CLOSE_IDLE);
    else
        timer_start(&session->timer, allowed_ms - (unsigned)silent_ms);
}

static void on_open(struct stream *stream, void *arg)
{
    struct session *session = arg;
    METRIC_ADD(TLS_HANDSHAKES_DONE, 1);
    session->resumed = stream_resumed(stream);
    METRIC_ADD(TLS_RESUMED, session->resumed);
    session_set_state(session, SESSION_GREETING);
    if (stream_export(stream, CHANNEL_BINDING_LABEL, session->channel_binding) != ERR_OK) {
        session_close(session, CLOSE_INTERNAL);
        return;
    }
    timer_start(&session->timer, session->server->options.hello_timeout_ms);
}

static void on_closed(struct stream *stream, enum close_reason reason, void *arg)
{
    struct session *session = arg;
    struct device_server *server = session->server;
    const char *tls_error = stream_tls_error(stream);
    if (session->state == SESSION_HANDSHAKE)
        METRIC_ADD(TLS_HANDSHAKES_FAILED, 1);
    LOG(INFO, DEVICE, "session-closed", "conn=%llu state=%s reason=%s accounts=%zu%s%s",
        (unsigned long long)session->connection, state_names[session->state], close_reason_label(reason),
        session->account_count, tls_error ? " tls=" : "", tls_error ? LOG_STR(tls_error) : "");
    close_reason_count(reason);
    METRIC_ADD(OPEN_DEVICE, -1);
    while (!list_empty(&session->accounts))
        account_free(CONTAINER_OF(session->accounts.next, struct account, node), true);
    while (!list_empty(&session->operations)) {
        struct operation *operation = CONTAINER_OF(session->operations.next, struct operation, node);
        challenge_op_cancel(operation->answer);
        enrolment_op_cancel(operation->enrolment);
        device_op_cancel(operation->act);
        operation_free(operation);
    }
    timer_cancel(&session->timer);
    list_remove(&session->node);
    server->session_count--;
    free(session);
    if (server->on_closed)
        server->on_closed(server->arg);
}

static const struct stream_handlers stream_handlers = {
    .on_open = on_open,
    .on_read = on_read,
    .on_closed = on_closed,
};

struct session *session_new(struct device_server *server, int fd)
{
    struct session *session = mem_new(sizeof *session);
    session->server = server;
    session->connection = ++server->last_connection;
    session->heard_mono_ms = clock_mono_ms();
    list_init(&session->accounts);
    list_init(&session->operations);
    timer_init(&session->timer, server->domain->loop, on_timer, session);
    session->stream = stream_new(server->domain->loop, fd, server->tls, STREAM_SERVER, &server->limits,
                                 &stream_handlers, session);
    if (!session->stream) {
        free(session);
        return NULL;
    }
    list_append(&server->sessions, &session->node);
    server->session_count++;
    METRIC_ADD(ACCEPTED_DEVICE, 1);
    METRIC_ADD(OPEN_DEVICE, 1);
    return session;
}
