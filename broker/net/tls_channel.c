#include "net/tls_channel.h"

#include <openssl/err.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/metrics.h"
#include "net/record.h"

#define SSL_BYTES             14000 /* of an SSL object and what hangs off it, in OpenSSL 3.0 */
#define HANDSHAKE_RECORDS_MAX 256   /* a client may cut its messages into as many */

struct tls_live {
    SSL *ssl;
    struct record_pipe pipe;
    struct park_notes *notes; /* NULL: is not to be parked */
    unsigned dry_records;     /* since plaintext came last */
    uint32_t writes;          /* since the write key was new */
    int64_t updated_mono_ms;  /* when it was */
    unsigned long tls_error;  /* OpenSSL's, 0 for none */
    bool open;                /* the handshake is done */
    bool failed;
    enum close_reason failure; /* valid when failed */
};

static void free_live(struct tls_live *live)
{
    SSL_free(live->ssl);
    park_notes_free(live->notes);
    free(live);
    mem_freed(SSL_BYTES);
    METRIC_ADD(TLS_LIVE, -1);
}

static void on_written(struct bytes out, void *arg)
{
    struct tls_live *live = arg;
    park_notes_written(live->notes, out);
}

static enum err init(struct tls_channel *c, SSL_CTX *tls)
{
    struct tls_live *live = calloc(1, sizeof *live);
    if (!live)
        return ERR_NOMEM;
    METRIC_ADD(TLS_LIVE, 1);
    live->pipe = (struct record_pipe){.on_written = on_written, .arg = live};
    live->updated_mono_ms = clock_mono_ms();
    live->ssl = SSL_new(tls);
    BIO *bio = live->ssl ? record_bio_new(&live->pipe) : NULL;
    if (!bio) {
        ERR_clear_error();
        free_live(live);
        return ERR_NOMEM;
    }
    SSL_set_bio(live->ssl, bio, bio);
    c->live = live;
    return ERR_OK;
}

enum err tls_channel_init(struct tls_channel *c, SSL_CTX *tls)
{
    TRY(init(c, tls));
    SSL_set_accept_state(c->live->ssl);
    c->live->notes = park_notes_new(c->live->ssl);
    return ERR_OK;
}

enum err tls_channel_init_client(struct tls_channel *c, SSL_CTX *tls)
{
    TRY(init(c, tls));
    SSL_set_connect_state(c->live->ssl);
    const char *name = X509_VERIFY_PARAM_get0_host(SSL_get0_param(c->live->ssl), 0);
    if (!name || SSL_set_tlsext_host_name(c->live->ssl, name) == 1) /* none where it checks an address */
        return ERR_OK;
    ERR_clear_error();
    tls_channel_done(c);
    return ERR_NOMEM;
}

void tls_channel_done(struct tls_channel *c)
{
    if (c->live)
        free_live(c->live);
    parked_free(c->parked);
    *c = (struct tls_channel){0};
}

/* ---- in ---- */

static enum tls_event fail(struct tls_live *live, enum close_reason failure)
{
    live->tls_error = ERR_peek_error();
    ERR_clear_error();
    live->failed = true;
    live->failure = live->pipe.out_failed ? CLOSE_NOMEM : failure;
    return TLS_FAILED;
}

static enum tls_event shake_hands(struct tls_live *live)
{
    int result = SSL_do_handshake(live->ssl);
    if (result == 1) {
        live->open = true;
        live->dry_records = 0;
        return TLS_OPENED;
    }
    return SSL_get_error(live->ssl, result) == SSL_ERROR_WANT_READ ? TLS_RECORD
                                                                   : fail(live, CLOSE_HANDSHAKE_FAILED);
}

/* The record in the pipe is longer than its plaintext, so one read takes all of it. */
static enum tls_event decrypt(struct tls_live *live, struct buf *input)
{
    size_t room = live->pipe.in.len, n = 0;
    uint8_t *at = buf_reserve(input, room);
    if (!at)
        return fail(live, CLOSE_NOMEM);
    int result = SSL_read_ex(live->ssl, at, room, &n);
    if (result == 1) {
        buf_commit(input, n);
        live->dry_records = 0;
        return TLS_PLAINTEXT;
    }
    buf_consume(input, 0); /* gives back what was reserved in an empty one */
    switch (SSL_get_error(live->ssl, result)) {
    case SSL_ERROR_ZERO_RETURN:
        return TLS_PEER_DONE;
    case SSL_ERROR_WANT_READ:
        return TLS_RECORD;
    default:
        return fail(live, CLOSE_PROTOCOL);
    }
}

static enum tls_event feed(struct tls_live *live, struct bytes record, struct buf *input, struct buf *output)
{
    live->pipe.in = record;
    live->pipe.out = output;
    ERR_clear_error();
    live->dry_records++;
    park_notes_read(live->notes, record);
    park_notes_begin(live->notes);
    enum tls_event event = live->open ? decrypt(live, input) : shake_hands(live);
    park_notes_end();
    live->pipe.in = (struct bytes){0};
    if (event == TLS_RECORD && live->dry_records > (live->open ? TLS_DRY_RECORDS_MAX : HANDSHAKE_RECORDS_MAX))
        return fail(live, CLOSE_PROTOCOL);
    return event;
}

enum tls_event tls_channel_begin(struct tls_channel *c, struct buf *input, struct buf *output)
{
    return feed(c->live, (struct bytes){0}, input, output);
}

/* OpenSSL sees the bad header all the same, since it is OpenSSL that makes the alert. */
static enum tls_event refuse(struct tls_live *live, enum record_verdict verdict, struct bytes in,
                             struct buf *input, struct buf *output)
{
    if (verdict == RECORD_NOT_TLS && !live->open && live->dry_records == 0)
        return fail(live, CLOSE_NOT_TLS);
    struct bytes header = bytes_make(in.p, in.len < RECORD_HEADER_BYTES ? in.len : RECORD_HEADER_BYTES);
    enum tls_event event = feed(live, header, input, output);
    return event == TLS_FAILED ? event : fail(live, CLOSE_PROTOCOL);
}

enum tls_event tls_channel_step(struct tls_channel *c, struct bytes in, size_t *taken, struct buf *input,
                                struct buf *output)
{
    enum record_verdict verdict = record_check(in, taken);
    switch (verdict) {
    case RECORD_PARTIAL:
        *taken = 0;
        return TLS_RECORD;
    case RECORD_WHOLE:
        in.len = *taken;
        return c->parked ? parked_step(c->parked, in, input, output) : feed(c->live, in, input, output);
    default:
        *taken = in.len;
        return c->parked ? parked_refuse(c->parked, verdict == RECORD_TOO_LONG, output)
                         : refuse(c->live, verdict, in, input, output);
    }
}

/* ---- out ---- */

/* Hourly, and long before the limit of the cipher; OpenSSL sends it in front of the next record. */
static void update_key_if_due(struct tls_live *live)
{
    const struct parking_options *options = park_notes_options(live->notes);
    if (++live->writes < options->records_per_key &&
        clock_mono_ms() - live->updated_mono_ms < (int64_t)options->update_s * 1000)
        return;
    live->writes = 0;
    live->updated_mono_ms = clock_mono_ms();
    if (SSL_key_update(live->ssl, SSL_KEY_UPDATE_REQUESTED) == 1)
        METRIC_ADD(KEY_UPDATES_SENT, 1);
}

static enum err encrypt(struct tls_live *live, struct bytes out, struct buf *output)
{
    size_t done = 0;
    ERR_clear_error();
    live->pipe.out = output;
    update_key_if_due(live);
    park_notes_begin(live->notes);
    bool written = SSL_write_ex(live->ssl, out.p, out.len, &done) == 1;
    park_notes_end();
    if (written)
        return ERR_OK;
    ERR_clear_error();
    return live->pipe.out_failed ? ERR_NOMEM : ERR_CRYPTO;
}

enum err tls_channel_write(struct tls_channel *c, struct bytes out, struct buf *output)
{
    return c->parked ? parked_write(c->parked, out, output) : encrypt(c->live, out, output);
}

void tls_channel_shutdown(struct tls_channel *c, struct buf *output)
{
    if (c->parked) {
        parked_shutdown(c->parked, output);
    } else if (c->live && c->live->open && !c->live->failed) {
        c->live->pipe.out = output;
        SSL_shutdown(c->live->ssl);
        ERR_clear_error();
    }
}

/* ---- the handshake's results ---- */

enum park_result tls_channel_park(struct tls_channel *c)
{
    if (!c->live || !c->live->notes)
        return PARK_REFUSED;
    enum park_result result = parking_take(c->live->notes, c->live->ssl, &c->parked);
    if (result == PARK_DONE) {
        free_live(c->live);
        c->live = NULL;
    }
    return result;
}

enum err tls_channel_export(const struct tls_channel *c, const char *label, uint8_t out[TLS_EXPORT_BYTES])
{
    return c->live ? tls_export(c->live->ssl, label, out) : ERR_BAD_STATE;
}

enum err tls_channel_certificate(const struct tls_channel *c, struct client_certificate *ret)
{
    return c->live ? client_certificate_of(c->live->ssl, ret) : ERR_BAD_STATE;
}

bool tls_channel_resumed(const struct tls_channel *c)
{
    return c->live && SSL_session_reused(c->live->ssl);
}

struct bytes tls_channel_alpn(const struct tls_channel *c)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    if (c->live)
        SSL_get0_alpn_selected(c->live->ssl, &name, &len);
    return bytes_make(name, len);
}

enum close_reason tls_channel_failure(const struct tls_channel *c)
{
    return c->parked ? parked_failure(c->parked) : c->live->failure;
}

const char *tls_channel_error(const struct tls_channel *c)
{
    if (c->parked)
        return parked_alert_text(c->parked);
    if (!c->live || !c->live->tls_error)
        return NULL;
    if (ERR_GET_REASON(c->live->tls_error) == SSL_R_CERTIFICATE_VERIFY_FAILED) /* of that, what exactly */
        return X509_verify_cert_error_string(SSL_get_verify_result(c->live->ssl));
    return ERR_reason_error_string(c->live->tls_error);
}
