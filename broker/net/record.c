#include "net/record.h"

#include <pthread.h>
#include <string.h>

#define MAJOR_VERSION 3
#define MINOR_VERSION 3 /* what TLS 1.3 writes (RFC 8446, 5.1) */

enum record_verdict record_check(struct bytes in, size_t *len)
{
    if (in.len > 0 && (in.p[0] < RECORD_CHANGE_CIPHER_SPEC || in.p[0] > RECORD_APPLICATION_DATA))
        return RECORD_NOT_TLS;
    if (in.len > 1 && in.p[1] != MAJOR_VERSION)
        return RECORD_NOT_TLS;
    if (in.len < RECORD_HEADER_BYTES)
        return RECORD_PARTIAL;
    size_t body = (size_t)in.p[3] << 8 | in.p[4];
    if (body > RECORD_BODY_MAX_BYTES)
        return RECORD_TOO_LONG;
    if (in.len < RECORD_HEADER_BYTES + body)
        return RECORD_PARTIAL;
    *len = RECORD_HEADER_BYTES + body;
    return RECORD_WHOLE;
}

void record_header(enum record_type type, size_t body_len, uint8_t out[RECORD_HEADER_BYTES])
{
    out[0] = (uint8_t)type;
    out[1] = MAJOR_VERSION;
    out[2] = MINOR_VERSION;
    out[3] = (uint8_t)(body_len >> 8);
    out[4] = (uint8_t)body_len;
}

static int pipe_read(BIO *bio, char *out, size_t len, size_t *done)
{
    struct record_pipe *pipe = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (pipe->in.len == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    size_t n = len < pipe->in.len ? len : pipe->in.len;
    memcpy(out, pipe->in.p, n);
    pipe->in = bytes_make(pipe->in.p + n, pipe->in.len - n);
    *done = n;
    return 1;
}

static int pipe_write(BIO *bio, const char *in, size_t len, size_t *done)
{
    struct record_pipe *pipe = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (buf_append(pipe->out, bytes_make(in, len)) != ERR_OK) {
        pipe->out_failed = true;
        return 0;
    }
    if (pipe->on_written)
        pipe->on_written(bytes_make(in, len), pipe->arg);
    *done = len;
    return 1;
}

static long pipe_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH; /* nothing is held back here */
}

static BIO_METHOD *pipe_method;
static pthread_once_t pipe_method_once = PTHREAD_ONCE_INIT;

static void make_pipe_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "nanopush records");
    if (method && BIO_meth_set_read_ex(method, pipe_read) && BIO_meth_set_write_ex(method, pipe_write) &&
        BIO_meth_set_ctrl(method, pipe_ctrl))
        pipe_method = method;
    else
        BIO_meth_free(method);
}

BIO *record_bio_new(struct record_pipe *pipe)
{
    pthread_once(&pipe_method_once, make_pipe_method);
    BIO *bio = pipe_method ? BIO_new(pipe_method) : NULL;
    if (!bio)
        return NULL;
    BIO_set_data(bio, pipe);
    BIO_set_init(bio, 1);
    return bio;
}
