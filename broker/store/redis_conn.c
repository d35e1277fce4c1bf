#include "store/redis_conn.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "net/stream.h"

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 3000

static const struct stream_limits limits = {
    .handshake_ms = 3000,
    .record_ms = 3000,
    .stall_ms = 5000,
    .flush_ms = 1000,
    .linger_ms = 0,
    .input_max = 1024 * 1024,
    .write_low = 256 * 1024,
    .write_max = 64 * 1024 * 1024,
};

struct redis_command {
    struct list node; /* in waiting or in_flight; alone once its callback is due */
    struct redis_conn *conn;
    redis_reply_fn fn; /* NULL once cancelled: the reply is still awaited, and dropped */
    void *arg;
    int64_t due_mono_ms;
    bool sent;            /* in in_flight */
    bool tried;           /* sent over this connection or one before: what it did is not known */
    struct bytes encoded; /* the caller's */
};

struct redis_conn {
    struct loop *loop;
    const struct redis_login *login;
    struct address address; /* len 0: not known yet */
    unsigned patience_ms;
    const struct redis_conn_handlers *handlers;
    void *arg;
    struct stream *stream; /* NULL between two attempts */
    redisReader *reader;   /* NULL unless connected */
    enum redis_step step;  /* whose reply is awaited; DONE: up */
    bool up, reply_kept;
    bool held; /* not to be made again until it is dialled */
    int64_t since_unix_ms, since_mono_ms;
    unsigned backoff_ms;
    struct timer reconnect, deadline;
    struct list waiting, in_flight; /* each in the order of sending */
    size_t command_count;
};

static void connect_now(void *arg);

static void command_free(struct redis_command *command)
{
    list_remove(&command->node);
    command->conn->command_count--;
    free(command);
}

static void command_finish(struct redis_command *command, enum err e, const redisReply *reply)
{
    redis_reply_fn fn = command->fn;
    void *arg = command->arg;
    command_free(command);
    if (e != ERR_OK || reply->type == REDIS_REPLY_ERROR)
        METRIC_ADD(STORE_ERRORS, 1);
    if (fn)
        fn(e, reply, arg);
}

static void set_up(struct redis_conn *c, bool up)
{
    c->up = up;
    c->since_unix_ms = clock_unix_ms();
    c->since_mono_ms = clock_mono_ms();
}

static unsigned jitter(unsigned below)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return below;
    return random % (below + 1);
}

static void reconnect_later(struct redis_conn *c)
{
    c->backoff_ms = c->backoff_ms ? c->backoff_ms * 2 : BACKOFF_MIN_MS;
    if (c->backoff_ms > BACKOFF_MAX_MS)
        c->backoff_ms = BACKOFF_MAX_MS;
    timer_start(&c->reconnect, BACKOFF_MIN_MS / 2 + jitter(c->backoff_ms));
}

/* The deadline timer follows the command that is due first; deadlines differ, the queues are short or even. */
static void arm_deadline(struct redis_conn *c)
{
    int64_t first = 0;
    struct list *const queues[] = {&c->in_flight, &c->waiting};
    for (size_t i = 0; i < 2; i++)
        if (!list_empty(queues[i])) {
            struct redis_command *command = CONTAINER_OF(queues[i]->next, struct redis_command, node);
            if (!first || command->due_mono_ms < first)
                first = command->due_mono_ms;
        }
    if (!first) {
        timer_cancel(&c->deadline);
        return;
    }
    int64_t left_ms = first - clock_mono_ms();
    timer_start(&c->deadline, left_ms > 0 ? (unsigned)left_ms : 0);
}

static void on_deadline(void *arg)
{
    struct redis_conn *c = arg;
    int64_t now_mono_ms = clock_mono_ms();
    while (!list_empty(&c->waiting)) {
        struct redis_command *command = CONTAINER_OF(c->waiting.next, struct redis_command, node);
        if (command->due_mono_ms > now_mono_ms)
            break;
        command_finish(command, command->tried ? ERR_TIMEOUT : ERR_UNAVAILABLE, NULL);
    }
    bool silent = false;
    while (!list_empty(&c->in_flight)) {
        struct redis_command *command = CONTAINER_OF(c->in_flight.next, struct redis_command, node);
        if (command->due_mono_ms > now_mono_ms)
            break;
        silent = true; /* its reply may still come and would be taken for the next one's */
        command_finish(command, ERR_TIMEOUT, NULL);
    }
    if (silent && c->stream) {
        LOG(WARN, STORE, "redis-silent", "timeout=1");
        stream_abort(c->stream, CLOSE_IDLE);
    }
    arm_deadline(c);
}

static enum err write_command(struct redis_conn *c, struct redis_command *command)
{
    TRY(stream_write(c->stream, command->encoded));
    list_remove(&command->node);
    list_append(&c->in_flight, &command->node);
    command->sent = command->tried = true;
    METRIC_ADD(STORE_COMMANDS, 1);
    return ERR_OK;
}

static void write_waiting(struct redis_conn *c)
{
    while (c->up && !list_empty(&c->waiting))
        if (write_command(c, CONTAINER_OF(c->waiting.next, struct redis_command, node)) != ERR_OK)
            return; /* the queue is full, or on_closed follows; on_drain or the next connection goes on */
}

static void on_logged_in(struct redis_conn *c)
{
    timer_cancel(&c->reconnect);
    c->backoff_ms = 0;
    set_up(c, true);
    LOG(INFO, STORE, "redis-connected");
    write_waiting(c);
    if (c->handlers->on_up)
        c->handlers->on_up(c->arg);
    arm_deadline(c);
}

static void log_in(struct redis_conn *c, enum redis_step from)
{
    struct buf command = {0};
    enum err e = redis_login_next(c->login, from, &command, &c->step);
    if (e == ERR_OK && c->step == REDIS_STEP_DONE)
        on_logged_in(c);
    else if (e != ERR_OK || stream_write(c->stream, buf_view(&command)) != ERR_OK)
        stream_abort(c->stream, CLOSE_NOMEM);
    buf_done(&command);
}

static void on_open(struct stream *s, void *arg)
{
    struct redis_conn *c = arg;
    c->reader = redisReaderCreate();
    if (!c->reader) {
        stream_abort(s, CLOSE_NOMEM);
        return;
    }
    timer_start(&c->reconnect, limits.handshake_ms); /* for the login to be done */
    log_in(c, REDIS_STEP_AUTH);
}

/* @return false when it is not let in. */
static bool on_login_reply(struct redis_conn *c, const redisReply *reply)
{
    struct buf why = {0};
    char address[ADDRESS_TEXT_SIZE];
    bool let_in = redis_login_check(c->login, c->step, reply, &why) == ERR_OK;
    if (let_in) {
        log_in(c, c->step + 1);
    } else {
        address_print(&c->address, address);
        LOG(WARN, STORE, "redis-refused", "address=%s step=%s why=%s", address, redis_step_name(c->step),
            LOG_BYTES(buf_view(&why)));
        stream_abort(c->stream, CLOSE_LOCAL);
    }
    buf_done(&why);
    return let_in;
}

/* It cannot do what is asked of it, but the next server that we log in to can, be it this one later. */
static bool is_passing(const struct redis_conn *c, const redisReply *reply)
{
    return c->login->master && reply->type == REDIS_REPLY_ERROR &&
           (strncmp(reply->str, "READONLY", 8) == 0 || strncmp(reply->str, "LOADING", 7) == 0);
}

static bool take_reply(struct redis_conn *c, const redisReply *reply)
{
    if (!c->up)
        return on_login_reply(c, reply);
    if (is_passing(c, reply)) {
        LOG(WARN, STORE, "redis-left", "error=%s", LOG_STR(reply->str));
        stream_abort(c->stream, CLOSE_LOCAL);
        return false;
    }
    command_finish(CONTAINER_OF(c->in_flight.next, struct redis_command, node), ERR_OK, reply);
    return true;
}

/* One reply. @return false when there is no whole one, or the stream is to be read no more. */
static bool read_reply(struct redis_conn *c)
{
    void *reply = NULL;
    if (redisReaderGetReply(c->reader, &reply) != REDIS_OK ||
        (reply && c->up && list_empty(&c->in_flight))) { /* not RESP, or an answer to nothing */
        freeReplyObject(reply);
        LOG(ERROR, STORE, "redis-protocol", "error=%s", LOG_STR(c->reader->errstr));
        stream_abort(c->stream, CLOSE_PROTOCOL);
        return false;
    }
    if (!reply)
        return false;
    c->reply_kept = false;
    bool more = take_reply(c, reply);
    if (!c->reply_kept)
        freeReplyObject(reply);
    return more;
}

void redis_conn_keep_reply(struct redis_conn *c)
{
    c->reply_kept = true;
}

static void on_read(struct stream *s, void *arg)
{
    struct redis_conn *c = arg;
    struct bytes in = stream_input(s);
    if (redisReaderFeed(c->reader, (const char *)in.p, in.len) != REDIS_OK) {
        stream_abort(s, CLOSE_NOMEM);
        return;
    }
    stream_consume(s, in.len);
    while (read_reply(c))
        ;
    arm_deadline(c);
}

static void on_drain(struct stream *s, void *arg)
{
    (void)s;
    write_waiting(arg);
}

static void note_lost(struct redis_conn *c, const struct stream *s, enum close_reason reason)
{
    char address[ADDRESS_TEXT_SIZE];
    const char *tls = stream_tls_error(s);
    address_print(&c->address, address);
    if (c->up)
        LOG(WARN, STORE, "redis-lost", "address=%s reason=%s", address, close_reason_label(reason));
    else if (tls)
        LOG(WARN, STORE, "redis-refused", "address=%s step=tls why=%s", address, LOG_STR(tls));
    else
        LOG(DEBUG, STORE, "redis-unreachable", "address=%s reason=%s", address, close_reason_label(reason));
    if (c->up)
        set_up(c, false);
}

static void on_closed(struct stream *s, enum close_reason reason, void *arg)
{
    struct redis_conn *c = arg;
    c->stream = NULL;
    if (c->reader)
        redisReaderFree(c->reader);
    c->reader = NULL;
    note_lost(c, s, reason);
    /* In flight goes back to the front of the queue, in order, but for what nobody waits for any more. */
    LIST_EACH_SAFE (node, &c->in_flight)
        if (!CONTAINER_OF(node, struct redis_command, node)->fn)
            command_free(CONTAINER_OF(node, struct redis_command, node));
    while (!list_empty(&c->in_flight)) {
        struct list *last = c->in_flight.prev;
        list_remove(last);
        list_append(c->waiting.next, last); /* before the first that waits */
        CONTAINER_OF(last, struct redis_command, node)->sent = false;
    }
    arm_deadline(c);
    reconnect_later(c);
    if (c->handlers->on_down)
        c->handlers->on_down(c->arg);
}

static const struct stream_handlers stream_handlers = {
    .on_open = on_open,
    .on_read = on_read,
    .on_drain = on_drain,
    .on_closed = on_closed,
};

static void connect_now(void *arg)
{
    struct redis_conn *c = arg;
    int fd;
    if (c->stream) { /* it is connected, and the login takes too long */
        stream_abort(c->stream, CLOSE_IDLE);
        return;
    }
    if (c->held)
        return;
    if (address_connect(&c->address, &fd) == ERR_OK)
        c->stream = stream_new(c->loop, fd, c->login->tls, STREAM_CLIENT, &limits, &stream_handlers, c);
    if (!c->stream)
        reconnect_later(c);
}

struct redis_conn *redis_conn_open(struct loop *loop, const struct redis_login *login,
                                   const struct address *address, unsigned patience_ms,
                                   const struct redis_conn_handlers *handlers, void *arg)
{
    struct redis_conn *c = mem_new(sizeof *c);
    c->loop = loop;
    c->login = login;
    c->patience_ms = patience_ms;
    c->handlers = handlers;
    c->arg = arg;
    list_init(&c->waiting);
    list_init(&c->in_flight);
    timer_init(&c->reconnect, loop, connect_now, c);
    timer_init(&c->deadline, loop, on_deadline, c);
    set_up(c, false);
    if (address)
        redis_conn_dial(c, address);
    return c;
}

void redis_conn_dial(struct redis_conn *c, const struct address *address)
{
    bool held = c->held;
    c->held = false;
    if (address_equal(&c->address, address)) {
        if (held && !c->stream && !timer_armed(&c->reconnect))
            timer_start(&c->reconnect, 0);
        return;
    }
    c->address = *address;
    c->backoff_ms = 0;
    if (c->up)
        set_up(c, false); /* by ourselves: nothing to be told as lost */
    if (c->stream)
        stream_abort(c->stream, CLOSE_LOCAL);
    else
        timer_start(&c->reconnect, 0);
}

void redis_conn_hold(struct redis_conn *c)
{
    c->held = true;
}

static void on_closed_in_silence(struct stream *s, enum close_reason reason, void *arg)
{
    (void)s;
    (void)reason;
    (void)arg;
}

void redis_conn_close(struct redis_conn *c)
{
    static const struct stream_handlers silence = {.on_closed = on_closed_in_silence};
    if (!c)
        return;
    timer_cancel(&c->reconnect);
    timer_cancel(&c->deadline);
    if (c->stream) {
        stream_set_handlers(c->stream, &silence, NULL);
        stream_close(c->stream, CLOSE_LOCAL);
    }
    if (c->reader)
        redisReaderFree(c->reader);
    struct list *const queues[] = {&c->in_flight, &c->waiting};
    for (size_t i = 0; i < 2; i++)
        while (!list_empty(queues[i]))
            command_free(CONTAINER_OF(queues[i]->next, struct redis_command, node));
    free(c);
}

bool redis_conn_up(const struct redis_conn *c)
{
    return c->up;
}

int64_t redis_conn_since_unix_ms(const struct redis_conn *c)
{
    return c->since_unix_ms;
}

struct redis_command *redis_conn_send(struct redis_conn *c, struct bytes encoded, unsigned timeout_ms,
                                      redis_reply_fn fn, void *arg)
{
    int64_t now_mono_ms = clock_mono_ms();
    bool gone = !c->up && now_mono_ms - c->since_mono_ms >= c->patience_ms;
    if (gone || c->command_count >= REDIS_COMMANDS_MAX)
        return NULL;
    struct redis_command *command = mem_new(sizeof *command);
    command->encoded = encoded;
    command->conn = c;
    command->fn = fn;
    command->arg = arg;
    command->due_mono_ms = now_mono_ms + timeout_ms;
    c->command_count++;
    list_append(&c->waiting, &command->node);
    write_waiting(c);
    if (!timer_armed(&c->deadline))
        arm_deadline(c);
    return command;
}

bool redis_conn_send_asking(struct redis_conn *c, unsigned timeout_ms)
{
    return redis_conn_send(c, bytes_of("*1\r\n$6\r\nASKING\r\n"), timeout_ms, NULL, NULL) != NULL;
}

void redis_command_cancel(struct redis_command *command)
{
    command->fn = NULL;
    if (!command->sent)
        command_free(command);
}
