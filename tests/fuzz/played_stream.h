/**
 * net/stream for the fuzzer: its input comes from the fuzzer, its output is forgotten. Also the fuzzer's bytes, of which
 * all that is played takes its decisions.
 */
#ifndef NANOPUSH_TESTS_PLAYED_STREAM_H
#define NANOPUSH_TESTS_PLAYED_STREAM_H

#include <stdlib.h>
#include <string.h>

#include "net/stream.h"

static const uint8_t *at, *end;

static uint8_t next_byte(void)
{
    return at < end ? *at++ : 0;
}

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

void stream_park(struct stream *s)
{
    (void)s;
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

bool stream_resumed(const struct stream *s)
{
    (void)s;
    return next_byte() == 0xff;
}

#endif
