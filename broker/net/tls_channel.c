#include "net/tls_channel.h"

#include <openssl/err.h>

#define HANDSHAKE_RECORDS_MAX 256 /* a client may cut its messages into as many */
#define DRY_RECORDS_MAX       32  /* one after the other without plaintext: empty ones, key updates */

enum err tls_channel_init(struct tls_channel *c, SSL_CTX *tls, struct buf *output)
{
    *c = (struct tls_channel){.pipe = {.out = output}};
    c->ssl = SSL_new(tls);
    BIO *bio = c->ssl ? record_bio_new(&c->pipe) : NULL;
    if (!bio) {
        ERR_clear_error();
        return ERR_NOMEM;
    }
    SSL_set_bio(c->ssl, bio, bio);
    SSL_set_accept_state(c->ssl);
    return ERR_OK;
}

void tls_channel_done(struct tls_channel *c)
{
    SSL_free(c->ssl);
    buf_done(&c->raw);
    *c = (struct tls_channel){0};
}

static enum tls_event fail(struct tls_channel *c, enum close_reason failure)
{
    c->tls_error = ERR_peek_error();
    ERR_clear_error();
    c->failed = true;
    c->failure = c->pipe.out_failed ? CLOSE_NOMEM : failure;
    return TLS_FAILED;
}

static enum tls_event shake_hands(struct tls_channel *c)
{
    int result = SSL_do_handshake(c->ssl);
    if (result == 1) {
        c->open = true;
        c->dry_records = 0;
        return TLS_OPENED;
    }
    return SSL_get_error(c->ssl, result) == SSL_ERROR_WANT_READ ? TLS_RECORD
                                                                : fail(c, CLOSE_HANDSHAKE_FAILED);
}

/* The record in the pipe is longer than its plaintext, so one read takes all of it. */
static enum tls_event decrypt(struct tls_channel *c, struct buf *input)
{
    size_t room = c->pipe.in.len, n = 0;
    uint8_t *at = buf_reserve(input, room);
    if (!at)
        return fail(c, CLOSE_NOMEM);
    int result = SSL_read_ex(c->ssl, at, room, &n);
    if (result == 1) {
        buf_commit(input, n);
        c->dry_records = 0;
        return TLS_PLAINTEXT;
    }
    buf_consume(input, 0); /* gives back what was reserved in an empty one */
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_ZERO_RETURN:
        return TLS_PEER_DONE;
    case SSL_ERROR_WANT_READ:
        return TLS_RECORD;
    default:
        return fail(c, CLOSE_PROTOCOL);
    }
}

static enum tls_event feed(struct tls_channel *c, size_t len, struct buf *input)
{
    c->pipe.in = bytes_make(buf_view(&c->raw).p, len);
    ERR_clear_error();
    c->dry_records++;
    enum tls_event event = c->open ? decrypt(c, input) : shake_hands(c);
    c->pipe.in = (struct bytes){0};
    buf_consume(&c->raw, len);
    if (event == TLS_RECORD && c->dry_records > (c->open ? DRY_RECORDS_MAX : HANDSHAKE_RECORDS_MAX))
        return fail(c, CLOSE_PROTOCOL);
    return event;
}

/* OpenSSL sees the bad header all the same, since it is OpenSSL that makes the alert. */
static enum tls_event refuse(struct tls_channel *c, struct buf *input)
{
    size_t waiting = buf_len(&c->raw);
    enum tls_event event = feed(c, waiting < RECORD_HEADER_BYTES ? waiting : RECORD_HEADER_BYTES, input);
    return event == TLS_FAILED ? event : fail(c, CLOSE_PROTOCOL);
}

enum tls_event tls_channel_step(struct tls_channel *c, struct buf *input)
{
    size_t len = 0;
    switch (record_check(buf_view(&c->raw), &len)) {
    case RECORD_PARTIAL:
        return TLS_WANTS_BYTES;
    case RECORD_WHOLE:
        return feed(c, len, input);
    case RECORD_NOT_TLS:
        if (!c->open && c->dry_records == 0)
            return fail(c, CLOSE_NOT_TLS);
        return refuse(c, input);
    default:
        return refuse(c, input);
    }
}

enum err tls_channel_write(struct tls_channel *c, struct bytes out)
{
    size_t done = 0;
    ERR_clear_error();
    if (SSL_write_ex(c->ssl, out.p, out.len, &done) == 1)
        return ERR_OK;
    ERR_clear_error();
    return c->pipe.out_failed ? ERR_NOMEM : ERR_CRYPTO;
}

void tls_channel_shutdown(struct tls_channel *c)
{
    if (!c->open || c->failed)
        return;
    SSL_shutdown(c->ssl);
    ERR_clear_error();
}

struct bytes tls_channel_alpn(const struct tls_channel *c)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    if (c->ssl)
        SSL_get0_alpn_selected(c->ssl, &name, &len);
    return bytes_make(name, len);
}
