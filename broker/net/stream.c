#include "net/stream.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slab.h"
#include "net/tls_channel.h"

#define READ_BYTES        16384
#define READS_PER_WAKE_UP 4
#define ANSWERS_MAX_BYTES 16384 /* beyond write_max, for records that TLS adds */

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

/* What a stream at work needs: there while it waits for anything but the peer's next byte. */
struct busy {
    struct tls_channel tls; /* empty on a plain stream */
    struct timer deadline;  /* what for depends on the state */
    struct timer stall;     /* armed while the kernel takes nothing of output */
    struct deferral turn;
    unsigned work;     /* what turn is for */
    struct buf raw;    /* received and no whole record, or no room for it in input */
    struct buf input;  /* plaintext not consumed */
    struct buf output; /* sealed once: it is sent or lost */
};

/* What an idle stream is: its keys, in the place of what it needs at work, which has them then. */
struct stream {
    struct io io;
    const struct stream_limits *limits;
    const struct stream_handlers *handlers;
    void *arg;
    union {
        struct busy *busy;
        struct parked *parked; /* while idle; NULL on a plain stream */
    };
    uint8_t state;  /* enum state */
    uint8_t reason; /* enum close_reason */
    bool idle : 1;
    bool client : 1;
    bool paused : 1;    /* by the owner */
    bool fresh : 1;     /* plaintext came that on_read has not been called for */
    bool peer_done : 1; /* its FIN or close_notify came */
    bool eof : 1;       /* its FIN came */
    bool blocked : 1;   /* the kernel's send buffer is full */
    bool above_low : 1; /* on_drain is due when output falls to write_low */
    bool park : 1;      /* the owner wants it, and it is not done */
    bool turning : 1;   /* inside on_io() or on_turn(), which settle in the end */
};

static struct slab streams; /* of this process: one thread */

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
    s->state = (uint8_t)to;
    return true;
}

static void on_deadline(void *arg);
static void on_stall(void *arg);
static void on_turn(void *arg);

static struct busy *busy(struct stream *s)
{
    if (!s->idle)
        return s->busy;
    struct busy *b = mem_new(sizeof *b);
    b->tls.parked = s->parked;
    timer_init(&b->deadline, s->io.loop, on_deadline, s);
    timer_init(&b->stall, s->io.loop, on_stall, s);
    deferral_init(&b->turn, on_turn, s);
    s->idle = false;
    return s->busy = b;
}

static size_t waiting(const struct stream *s)
{
    return s->idle ? 0 : buf_len(&s->busy->input);
}

static void later(struct stream *s, enum work work)
{
    struct busy *b = busy(s);
    b->work |= work;
    loop_defer(s->io.loop, &b->turn);
}

static bool is_closing(const struct stream *s)
{
    return s->state == CLOSING || s->state == LINGERING;
}

/* Buffers stay until the stream is freed: the owner may hold a view of the input while it aborts. */
static void end(struct stream *s, enum close_reason reason)
{
    if (!is_closing(s))
        s->reason = (uint8_t)reason;
    if (!move(s, CLOSED))
        return;
    timer_cancel(&busy(s)->deadline);
    timer_cancel(&busy(s)->stall);
    io_done(&s->io);
    close(s->io.fd);
    later(s, WORK_CLOSED);
}

static void begin_close(struct stream *s, enum close_reason reason)
{
    if (!move(s, CLOSING))
        return;
    s->reason = (uint8_t)reason;
    timer_start(&busy(s)->deadline, s->limits->flush_ms);
    tls_channel_shutdown(&busy(s)->tls, &busy(s)->output);
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
    shutdown(s->io.fd, SHUT_WR);
    if (move(s, LINGERING))
        timer_start(&busy(s)->deadline, s->limits->linger_ms);
}

static void flush(struct stream *s)
{
    struct busy *b = busy(s);
    s->blocked = false;
    while (buf_len(&b->output) > 0 && !s->blocked) {
        struct bytes out = buf_view(&b->output);
        ssize_t n = send(s->io.fd, out.p, out.len, MSG_NOSIGNAL);
        if (n > 0) {
            buf_consume(&b->output, (size_t)n);
            timer_cancel(&b->stall);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            s->blocked = true;
        } else if (errno != EINTR) {
            end(s, CLOSE_PEER_RESET);
            return;
        }
    }
    if (s->blocked && !timer_armed(&b->stall))
        timer_start(&b->stall, s->limits->stall_ms);
    if (s->above_low && buf_len(&b->output) <= s->limits->write_low) {
        s->above_low = false;
        if (s->state == OPEN && s->handlers->on_drain)
            s->handlers->on_drain(s, s->arg);
    }
    if (buf_len(&b->output) == 0)
        sent_all(s);
}

static bool has_room(const struct stream *s)
{
    return !s->paused && !s->peer_done && waiting(s) < s->limits->input_max;
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
    timer_cancel(&busy(s)->deadline);
    s->handlers->on_open(s, s->arg);
}

static bool is_tls(const struct stream *s)
{
    return s->idle ? s->parked != NULL : s->busy->tls.live || s->busy->tls.parked;
}

static bool may_unwrap(const struct stream *s)
{
    return is_tls(s) && (s->state == HANDSHAKE || (s->state == OPEN && has_room(s)));
}

/* In the state OPEN the deadline is that of a record of which a part is there. */
static void watch_record(struct stream *s, bool progress)
{
    if (s->state != OPEN || s->idle)
        return;
    bool partial = may_unwrap(s) && buf_len(&s->busy->raw) > 0;
    if (!partial)
        timer_cancel(&s->busy->deadline);
    else if (progress || !timer_armed(&s->busy->deadline))
        timer_start(&s->busy->deadline, s->limits->record_ms);
}

static void fail_tls(struct stream *s)
{
    enum close_reason failure = tls_channel_failure(&s->busy->tls);
    if (failure == CLOSE_NOT_TLS || failure == CLOSE_NOMEM)
        end(s, failure); /* no alert to send */
    else
        begin_close(s, failure);
}

static void on_tls_event(struct stream *s, enum tls_event event)
{
    if (event == TLS_OPENED)
        opened(s);
    else if (event == TLS_PLAINTEXT)
        s->fresh = true;
    else if (event == TLS_PEER_DONE)
        s->peer_done = true;
    else if (event == TLS_FAILED)
        fail_tls(s);
    if (s->state == OPEN && buf_len(&s->busy->output) > s->limits->write_max + ANSWERS_MAX_BYTES)
        end(s, CLOSE_QUEUE_FULL); /* it has answers made that it does not read */
}

/* @return how many of @p in are done with. */
static size_t unwrap(struct stream *s, struct bytes in)
{
    size_t done = 0, taken = 1;
    while (may_unwrap(s) && taken > 0) {
        struct bytes rest = done > 0 ? bytes_make(in.p + done, in.len - done) : in;
        on_tls_event(s, tls_channel_step(&s->busy->tls, rest, &taken, &s->busy->input, &s->busy->output));
        done += taken;
    }
    return done;
}

/* What waits from earlier, and @p in behind it, which is kept as far as it is not done with. */
static void unwrap_all(struct stream *s, struct bytes in)
{
    struct busy *b = busy(s);
    size_t done = 0;
    if (buf_len(&b->raw) == 0) {
        done = unwrap(s, in);
        in = done > 0 ? bytes_make(in.p + done, in.len - done) : in;
    }
    if (buf_append(&b->raw, in) != ERR_OK)
        end(s, CLOSE_NOMEM);
    if (done == 0) {
        done = unwrap(s, buf_view(&b->raw));
        buf_consume(&b->raw, done);
    }
    watch_record(s, done > 0);
}

/* False when there is nothing more to read in this turn. */
static bool read_once(struct stream *s)
{
    uint8_t received[READ_BYTES], *at = received;
    struct buf *into = is_closing(s) || is_tls(s) ? NULL : &busy(s)->input;
    if (into && !(at = buf_reserve(into, READ_BYTES))) {
        end(s, CLOSE_NOMEM);
        return false;
    }
    ssize_t n = recv(s->io.fd, at, READ_BYTES, 0);
    int error = errno;
    if (into && n > 0)
        buf_commit(into, (size_t)n);
    else if (into)
        buf_consume(into, 0);
    else if (n > 0 && !is_closing(s))
        unwrap_all(s, bytes_make(received, (size_t)n));
    if (n == 0)
        s->eof = s->peer_done = true;
    else if (n > 0 && into)
        s->fresh = true;
    else if (n < 0 && error != EAGAIN && error != EWOULDBLOCK && error != EINTR)
        end(s, CLOSE_PEER_RESET);
    return n == READ_BYTES;
}

static void deliver(struct stream *s)
{
    if (s->state == OPEN && s->fresh && !s->paused && waiting(s) > 0) {
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
        ;
    deliver(s);
}

static void park(struct stream *s)
{
    if (s->state == OPEN && s->park && tls_channel_park(&busy(s)->tls) != PARK_LATER)
        s->park = false;
}

/* Nothing of what a stream at work needs is in use. */
static void release_if_idle(struct stream *s)
{
    if (s->idle || s->state != OPEN)
        return;
    struct busy *b = s->busy;
    if (b->tls.live || b->work || timer_armed(&b->deadline) || timer_armed(&b->stall) ||
        buf_len(&b->raw) + buf_len(&b->input) + buf_len(&b->output) > 0)
        return;
    s->parked = b->tls.parked;
    s->idle = true;
    free(b);
}

/* Whatever happened in this turn: send what it left, and poll for what is possible next. The last thing that is done
 * in it. */
static void settle(struct stream *s)
{
    if (s->state == CONNECTING || s->state == CLOSED)
        return;
    if (is_closing(s))
        buf_done(&busy(s)->raw);
    if (!s->blocked && !s->idle)
        flush(s);
    if (s->state != CLOSED && io_want(&s->io, may_read(s), s->blocked) != ERR_OK)
        end(s, CLOSE_NOMEM);
    park(s);
    release_if_idle(s);
}

static void on_connected(struct stream *s)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(s->io.fd, SOL_SOCKET, SO_ERROR, &error, &len) || error)
        end(s, CLOSE_CONNECT_FAILED);
    else if (!is_tls(s))
        opened(s);
    else if (move(s, HANDSHAKE))
        on_tls_event(s, tls_channel_begin(&busy(s)->tls, &busy(s)->input, &busy(s)->output));
}

static void on_io(unsigned events, void *arg)
{
    struct stream *s = arg;
    s->turning = true;
    if (s->state == CONNECTING) {
        on_connected(s);
    } else {
        if (events & IO_WRITE)
            s->blocked = false;
        if (events & IO_READ)
            receive(s);
    }
    s->turning = false;
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
    struct busy *b = busy(s);
    tls_channel_done(&b->tls);
    buf_done(&b->raw);
    buf_done(&b->input);
    buf_done(&b->output);
    free(b);
    slab_put(s);
}

static void on_turn(void *arg)
{
    struct stream *s = arg;
    unsigned work = s->busy->work;
    s->busy->work = 0;
    if (work & WORK_FREE) {
        free_stream(s);
    } else if (work & WORK_CLOSED) {
        s->handlers->on_closed(s, (enum close_reason)s->reason, s->arg);
        later(s, WORK_FREE);
    } else {
        s->turning = true;
        if (work & WORK_OPEN)
            opened(s);
        if (work & WORK_REREAD && waiting(s) > 0)
            s->fresh = true;
        unwrap_all(s, (struct bytes){0});
        deliver(s);
        s->turning = false;
        settle(s);
    }
}

/* What the stream waits for first. */
static enum err start(struct stream *s, SSL_CTX *tls)
{
    timer_start(&busy(s)->deadline, s->limits->handshake_ms);
    if (s->client) {
        if (tls)
            TRY(tls_channel_init_client(&busy(s)->tls, tls));
        return io_want(&s->io, false, true);
    }
    if (!tls) {
        later(s, WORK_OPEN);
        return ERR_OK;
    }
    TRY(tls_channel_init(&busy(s)->tls, tls));
    return move(s, HANDSHAKE) ? io_want(&s->io, true, false) : ERR_BAD_STATE;
}

struct stream *stream_new(struct loop *loop, int fd, SSL_CTX *tls, enum stream_role role,
                          const struct stream_limits *limits, const struct stream_handlers *handlers,
                          void *arg)
{
    if (!streams.block_bytes)
        slab_init(&streams, sizeof(struct stream), false);
    struct stream *s = slab_take(&streams);
    if (!s) {
        close(fd);
        return NULL;
    }
    *s = (struct stream){
        .idle = true, .client = role == STREAM_CLIENT, .limits = limits, .handlers = handlers, .arg = arg};
    io_init(&s->io, loop, fd, on_io, s);
    if (start(s, tls) == ERR_OK)
        return s;
    timer_cancel(&busy(s)->deadline);
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
    return s->idle ? (struct bytes){0} : buf_view(&s->busy->input);
}

void stream_consume(struct stream *s, size_t n)
{
    if (s->idle)
        return;
    buf_consume(&s->busy->input, n);
    if (!s->turning)
        later(s, WORK_SETTLE); /* there may be room again, or nothing left to do */
}

enum err stream_write(struct stream *s, struct bytes out)
{
    if (s->state < OPEN)
        return ERR_BAD_STATE;
    if (s->state > OPEN)
        return ERR_CLOSED;
    if (out.len == 0)
        return ERR_OK;
    struct buf *output = &busy(s)->output;
    if (out.len > s->limits->write_max || buf_len(output) > s->limits->write_max - out.len)
        return ERR_LIMIT;
    enum err e = is_tls(s) ? tls_channel_write(&busy(s)->tls, out, output) : buf_append(output, out);
    if (e != ERR_OK) {
        end(s, e == ERR_NOMEM ? CLOSE_NOMEM : CLOSE_INTERNAL);
        return e;
    }
    if (buf_len(output) > s->limits->write_low)
        s->above_low = true;
    later(s, WORK_SETTLE);
    return ERR_OK;
}

size_t stream_queued(const struct stream *s)
{
    return s->idle ? 0 : buf_len(&s->busy->output);
}

void stream_park(struct stream *s)
{
    s->park = true;
    later(s, WORK_SETTLE);
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
    return s->state == OPEN && !s->idle ? tls_channel_export(&s->busy->tls, label, out) : ERR_BAD_STATE;
}

struct bytes stream_alpn(const struct stream *s)
{
    return s->idle ? (struct bytes){0} : tls_channel_alpn(&s->busy->tls);
}

bool stream_resumed(const struct stream *s)
{
    return !s->idle && tls_channel_resumed(&s->busy->tls);
}

enum err stream_client_certificate(const struct stream *s, struct client_certificate *ret)
{
    if (!is_tls(s))
        return ERR_NOT_FOUND;
    return s->state == OPEN && !s->idle ? tls_channel_certificate(&s->busy->tls, ret) : ERR_BAD_STATE;
}

const char *stream_tls_error(const struct stream *s)
{
    return s->idle ? NULL : tls_channel_error(&s->busy->tls);
}

enum err stream_peer(const struct stream *s, struct address *ret)
{
    return s->state == CLOSED ? ERR_IO : address_of_peer(s->io.fd, ret);
}

enum err stream_peer_uid(const struct stream *s, uid_t *ret)
{
    struct address local;
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (s->state == CLOSED || address_of_socket(s->io.fd, &local) != ERR_OK || !address_is_unix(&local) ||
        getsockopt(s->io.fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
        return ERR_UNSUPPORTED;
    *ret = peer.uid;
    return ERR_OK;
}
