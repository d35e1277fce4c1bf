#include "net/stream.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <unistd.h>

#include "crypto/tls.h"
#include "net/tls_channel.h"

#define READ_BYTES        16384
#define READS_PER_WAKE_UP 4

enum state {
    CONNECTING,
    HANDSHAKE,
    OPEN,
    CLOSING,
    LINGERING,
    CLOSED,
};

/* What a deferred turn of the stream is for. */
enum work {
    WORK_OPEN = 1,   /* a plain server's on_open */
    WORK_SETTLE = 2, /* send what is queued, go on reading where there is room again */
    WORK_REREAD = 4, /* on_read for what waits */
    WORK_CLOSED = 8, /* on_closed */
    WORK_FREE = 16,
};

struct stream {
    struct loop *loop;
    struct io io;
    struct timer deadline; /* what for depends on the state */
    struct timer stall;    /* armed while the kernel takes nothing of output */
    struct deferral turn;
    unsigned work; /* what turn is for */
    const struct stream_limits *limits;
    const struct stream_handlers *handlers;
    void *arg;
    struct tls_channel tls; /* without an SSL on a plain stream */
    struct buf input;       /* plaintext not consumed */
    struct buf output;
    enum state state;
    enum stream_role role;
    enum close_reason reason;
    int fd;
    bool paused;    /* by the owner */
    bool fresh;     /* plaintext came that on_read has not been called for */
    bool peer_done; /* its FIN or close_notify came */
    bool eof;       /* its FIN came */
    bool blocked;   /* the kernel's send buffer is full */
    bool above_low; /* on_drain is due when output falls to write_low */
};

const struct stream_limits stream_limits_default = {
    .handshake_ms = 10 * 1000,
    .record_ms = 10 * 1000,
    .stall_ms = 20 * 1000,
    .flush_ms = 20 * 1000,
    .linger_ms = 2 * 1000,
    .input_max = 32 * 1024,
    .write_low = 64 * 1024,
    .write_max = 1024 * 1024,
};

/* The only place that writes the state. False, and nothing changed, for a move that there is not. */
static bool move(struct stream *s, enum state to)
{
    static const unsigned from[] = {
        [HANDSHAKE] = 1u << CONNECTING,
        [OPEN] = 1u << CONNECTING | 1u << HANDSHAKE,
        [CLOSING] = 1u << HANDSHAKE | 1u << OPEN,
        [LINGERING] = 1u << CLOSING,
        [CLOSED] = 1u << CONNECTING | 1u << HANDSHAKE | 1u << OPEN | 1u << CLOSING | 1u << LINGERING,
    };
    if (!(from[to] & 1u << s->state))
        return false;
    s->state = to;
    return true;
}

static void later(struct stream *s, enum work work)
{
    s->work |= work;
    loop_defer(s->loop, &s->turn);
}

static bool is_closing(const struct stream *s)
{
    return s->state == CLOSING || s->state == LINGERING;
}

/* Buffers stay until the stream is freed: the owner may hold a view of the input while it aborts. */
static void end(struct stream *s, enum close_reason reason)
{
    if (!is_closing(s))
        s->reason = reason;
    if (!move(s, CLOSED))
        return;
    timer_cancel(&s->deadline);
    timer_cancel(&s->stall);
    io_done(&s->io);
    close(s->fd);
    later(s, WORK_CLOSED);
}

static void begin_close(struct stream *s, enum close_reason reason)
{
    if (!move(s, CLOSING))
        return;
    s->reason = reason;
    timer_start(&s->deadline, s->limits->flush_ms);
    tls_channel_shutdown(&s->tls);
    buf_done(&s->tls.raw);
    later(s, WORK_SETTLE);
}

static void sent_all(struct stream *s)
{
    if (s->state != CLOSING)
        return;
    if (s->eof) {
        end(s, s->reason);
        return;
    }
    shutdown(s->fd, SHUT_WR);
    if (move(s, LINGERING))
        timer_start(&s->deadline, s->limits->linger_ms);
}

static void flush(struct stream *s)
{
    s->blocked = false;
    while (buf_len(&s->output) > 0 && !s->blocked) {
        struct bytes out = buf_view(&s->output);
        ssize_t n = send(s->fd, out.p, out.len, MSG_NOSIGNAL);
        if (n > 0) {
            buf_consume(&s->output, (size_t)n);
            timer_cancel(&s->stall);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            s->blocked = true;
        } else if (errno != EINTR) {
            end(s, CLOSE_PEER_RESET);
            return;
        }
    }
    if (s->blocked && !timer_armed(&s->stall))
        timer_start(&s->stall, s->limits->stall_ms);
    if (s->above_low && buf_len(&s->output) <= s->limits->write_low) {
        s->above_low = false;
        if (s->state == OPEN && s->handlers->on_drain)
            s->handlers->on_drain(s, s->arg);
    }
    if (buf_len(&s->output) == 0)
        sent_all(s);
}

static bool has_room(const struct stream *s)
{
    return !s->paused && !s->peer_done && buf_len(&s->input) < s->limits->input_max;
}

static bool may_read(const struct stream *s)
{
    switch (s->state) {
    case HANDSHAKE:
        return true;
    case OPEN:
        return has_room(s);
    case CLOSING:
    case LINGERING:
        return !s->eof;
    default:
        return false;
    }
}

static void opened(struct stream *s)
{
    if (!move(s, OPEN))
        return;
    timer_cancel(&s->deadline);
    s->handlers->on_open(s, s->arg);
}

static bool is_tls(const struct stream *s)
{
    return s->tls.ssl != NULL;
}

static bool may_unwrap(const struct stream *s)
{
    return is_tls(s) && (s->state == HANDSHAKE || (s->state == OPEN && has_room(s)));
}

/* In the state OPEN the deadline is that of a record of which a part is there. */
static void watch_record(struct stream *s, bool progress)
{
    if (s->state != OPEN)
        return;
    bool partial = may_unwrap(s) && buf_len(&s->tls.raw) > 0;
    if (!partial)
        timer_cancel(&s->deadline);
    else if (progress || !timer_armed(&s->deadline))
        timer_start(&s->deadline, s->limits->record_ms);
}

static void fail_tls(struct stream *s)
{
    if (s->tls.failure == CLOSE_NOT_TLS || s->tls.failure == CLOSE_NOMEM)
        end(s, s->tls.failure); /* no alert to send */
    else
        begin_close(s, s->tls.failure);
}

static void unwrap(struct stream *s)
{
    bool progress = false;
    while (may_unwrap(s)) {
        enum tls_event event = tls_channel_step(&s->tls, &s->input);
        if (event == TLS_WANTS_BYTES)
            break;
        progress = true;
        if (event == TLS_OPENED)
            opened(s);
        else if (event == TLS_PLAINTEXT)
            s->fresh = true;
        else if (event == TLS_PEER_DONE)
            s->peer_done = true;
        else if (event == TLS_FAILED)
            fail_tls(s);
    }
    watch_record(s, progress);
}

/* False when there is nothing more to read in this turn. */
static bool read_once(struct stream *s)
{
    uint8_t discarded[READ_BYTES], *at = discarded;
    struct buf *into = is_closing(s) ? NULL : is_tls(s) ? &s->tls.raw : &s->input;
    if (into && !(at = buf_reserve(into, READ_BYTES))) {
        end(s, CLOSE_NOMEM);
        return false;
    }
    ssize_t n = recv(s->fd, at, READ_BYTES, 0);
    int error = errno;
    if (into && n > 0)
        buf_commit(into, (size_t)n);
    else if (into)
        buf_consume(into, 0);
    if (n == 0)
        s->eof = s->peer_done = true;
    else if (n > 0 && into == &s->input)
        s->fresh = true;
    else if (n < 0 && error != EAGAIN && error != EWOULDBLOCK && error != EINTR)
        end(s, CLOSE_PEER_RESET);
    return n > 0;
}

static void deliver(struct stream *s)
{
    if (s->state == OPEN && s->fresh && !s->paused && buf_len(&s->input) > 0) {
        s->fresh = false;
        s->handlers->on_read(s, s->arg);
    }
    if (!s->peer_done)
        return;
    if (s->state == HANDSHAKE)
        end(s, CLOSE_PEER_CLOSED);
    else if (s->state == OPEN)
        begin_close(s, CLOSE_PEER_CLOSED);
    else if (s->state == LINGERING && s->eof)
        end(s, s->reason);
}

static void receive(struct stream *s)
{
    for (unsigned i = 0; i < READS_PER_WAKE_UP && may_read(s) && read_once(s); i++)
        unwrap(s);
    deliver(s);
}

/* Whatever happened in this turn: send what it left, and poll for what is possible next. */
static void settle(struct stream *s)
{
    if (s->state == CONNECTING || s->state == CLOSED)
        return;
    if (!s->blocked)
        flush(s);
    if (s->state != CLOSED && io_want(&s->io, may_read(s), s->blocked) != ERR_OK)
        end(s, CLOSE_NOMEM);
}

static void on_connected(struct stream *s)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) || error)
        end(s, CLOSE_CONNECT_FAILED);
    else
        opened(s);
}

static void on_io(unsigned events, void *arg)
{
    struct stream *s = arg;
    if (s->state == CONNECTING) {
        on_connected(s);
    } else {
        if (events & IO_WRITE)
            s->blocked = false;
        if (events & IO_READ)
            receive(s);
    }
    settle(s);
}

static void on_deadline(void *arg)
{
    struct stream *s = arg;
    end(s, s->state == OPEN ? CLOSE_RECORD_TIMEOUT : CLOSE_HANDSHAKE_TIMEOUT);
}

static void on_stall(void *arg)
{
    end(arg, CLOSE_WRITE_STALLED);
}

static void free_stream(struct stream *s)
{
    tls_channel_done(&s->tls);
    buf_done(&s->input);
    buf_done(&s->output);
    free(s);
}

static void on_turn(void *arg)
{
    struct stream *s = arg;
    unsigned work = s->work;
    s->work = 0;
    if (work & WORK_FREE) {
        free_stream(s);
    } else if (work & WORK_CLOSED) {
        s->handlers->on_closed(s, s->reason, s->arg);
        later(s, WORK_FREE);
    } else {
        if (work & WORK_OPEN)
            opened(s);
        if (work & WORK_REREAD && buf_len(&s->input) > 0)
            s->fresh = true;
        unwrap(s);
        deliver(s);
        settle(s);
    }
}

/* What the stream waits for first. */
static enum err start(struct stream *s, SSL_CTX *tls)
{
    timer_start(&s->deadline, s->limits->handshake_ms);
    if (s->role == STREAM_CLIENT)
        return tls ? ERR_UNSUPPORTED : io_want(&s->io, false, true);
    if (!tls) {
        later(s, WORK_OPEN);
        return ERR_OK;
    }
    TRY(tls_channel_init(&s->tls, tls, &s->output));
    return move(s, HANDSHAKE) ? io_want(&s->io, true, false) : ERR_BAD_STATE;
}

struct stream *stream_new(struct loop *loop, int fd, SSL_CTX *tls, enum stream_role role,
                          const struct stream_limits *limits, const struct stream_handlers *handlers,
                          void *arg)
{
    struct stream *s = calloc(1, sizeof(*s));
    if (!s) {
        close(fd);
        return NULL;
    }
    *s = (struct stream){
        .loop = loop, .fd = fd, .role = role, .limits = limits, .handlers = handlers, .arg = arg};
    io_init(&s->io, loop, fd, on_io, s);
    timer_init(&s->deadline, loop, on_deadline, s);
    timer_init(&s->stall, loop, on_stall, s);
    deferral_init(&s->turn, on_turn, s);
    if (start(s, tls) == ERR_OK)
        return s;
    timer_cancel(&s->deadline);
    close(fd);
    free_stream(s);
    return NULL;
}

void stream_set_handlers(struct stream *s, const struct stream_handlers *handlers, void *arg)
{
    s->handlers = handlers;
    s->arg = arg;
}

struct bytes stream_input(const struct stream *s)
{
    return buf_view(&s->input);
}

void stream_consume(struct stream *s, size_t n)
{
    bool was_full = buf_len(&s->input) >= s->limits->input_max;
    buf_consume(&s->input, n);
    if (was_full)
        later(s, WORK_SETTLE);
}

enum err stream_write(struct stream *s, struct bytes out)
{
    if (s->state < OPEN)
        return ERR_BAD_STATE;
    if (s->state > OPEN)
        return ERR_CLOSED;
    if (out.len == 0)
        return ERR_OK;
    if (out.len > s->limits->write_max || buf_len(&s->output) > s->limits->write_max - out.len)
        return ERR_LIMIT;
    enum err e = is_tls(s) ? tls_channel_write(&s->tls, out) : buf_append(&s->output, out);
    if (e != ERR_OK) {
        end(s, e == ERR_NOMEM ? CLOSE_NOMEM : CLOSE_INTERNAL);
        return e;
    }
    if (buf_len(&s->output) > s->limits->write_low)
        s->above_low = true;
    later(s, WORK_SETTLE);
    return ERR_OK;
}

size_t stream_queued(const struct stream *s)
{
    return buf_len(&s->output);
}

void stream_close(struct stream *s, enum close_reason reason)
{
    if (s->state < OPEN)
        end(s, reason);
    else
        begin_close(s, reason);
}

void stream_abort(struct stream *s, enum close_reason reason)
{
    end(s, reason);
}

void stream_pause_read(struct stream *s)
{
    s->paused = true;
    watch_record(s, false);
}

void stream_resume_read(struct stream *s)
{
    s->paused = false;
    later(s, WORK_REREAD);
}

enum err stream_export(const struct stream *s, const char *label, uint8_t out[TLS_EXPORT_BYTES])
{
    if (!is_tls(s))
        return ERR_UNSUPPORTED;
    return s->state == OPEN ? tls_export(s->tls.ssl, label, out) : ERR_BAD_STATE;
}

struct bytes stream_alpn(const struct stream *s)
{
    return tls_channel_alpn(&s->tls);
}

bool stream_resumed(const struct stream *s)
{
    return is_tls(s) && SSL_session_reused(s->tls.ssl);
}

const char *stream_tls_error(const struct stream *s)
{
    return s->tls.tls_error ? ERR_reason_error_string(s->tls.tls_error) : NULL;
}

enum err stream_peer(const struct stream *s, struct address *ret)
{
    return s->state == CLOSED ? ERR_IO : address_of_peer(s->fd, ret);
}

enum err stream_peer_uid(const struct stream *s, uid_t *ret)
{
    struct address local;
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (s->state == CLOSED || address_of_socket(s->fd, &local) != ERR_OK || !address_is_unix(&local) ||
        getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
        return ERR_UNSUPPORTED;
    *ret = peer.uid;
    return ERR_OK;
}
