#include "net/parked.h"

#include <assert.h>
#include <openssl/ssl.h>
#include <string.h>

#include "base/clock.h"
#include "core/metrics.h"
#include "net/parking.h"
#include "net/record.h"

#define KEY_UPDATE_BYTES 5 /* RFC 8446, 4.6.3: header and one byte */
#define ALERT_BYTES      2
#define NO_ALERT         0xff

enum direction { READ, WRITE };

/* As small as it can be: there is one for each phone. */
struct parked {
    uint32_t records[2]; /* the next sequence number */
    uint32_t updated_s;  /* monotonic, when the write key was new */
    uint8_t dry_records;
    uint8_t alert;            /* that ended it */
    uint8_t failure;          /* enum close_reason */
    uint8_t fragment_len : 3; /* bytes of a key update, which goes on in the next record */
    uint8_t padding_bits : 4;
    uint8_t mute : 1; /* nothing is sealed any more */
    uint8_t keys[];   /* a direction: secret, key, IV */
};

static_assert(sizeof(struct parked) == 16, "an idle phone pays for every byte");

static const struct parking_shelf *shelf_of(const struct parked *p)
{
    return CONTAINER_OF(slab_of(p), struct parking_shelf, slab);
}

static size_t keys_bytes(const struct traffic_suite *suite)
{
    return (size_t)suite->secret_bytes + suite->key_bytes + TRAFFIC_IV_BYTES;
}

size_t parked_bytes(const struct traffic_suite *suite)
{
    return sizeof(struct parked) + 2 * keys_bytes(suite);
}

static uint8_t *secret_of(struct parked *p, enum direction d)
{
    return p->keys + d * keys_bytes(shelf_of(p)->suite);
}

static struct traffic_key key_of(struct parked *p, enum direction d)
{
    const struct traffic_suite *suite = shelf_of(p)->suite;
    const uint8_t *key = secret_of(p, d) + suite->secret_bytes;
    return (struct traffic_key){key, key + suite->key_bytes};
}

static uint32_t now_s(void)
{
    return (uint32_t)(clock_mono_ms() / 1000);
}

/* RFC 8446, 7.3 */
static enum err derive_key(struct parked *p, enum direction d)
{
    const struct traffic_suite *suite = shelf_of(p)->suite;
    uint8_t *secret = secret_of(p, d), *key = secret + suite->secret_bytes;
    TRY(traffic_expand(suite, secret, "key", key, suite->key_bytes));
    return traffic_expand(suite, secret, "iv", key + suite->key_bytes, TRAFFIC_IV_BYTES);
}

/* RFC 8446, 7.2 */
static enum err next_key(struct parked *p, enum direction d)
{
    const struct traffic_suite *suite = shelf_of(p)->suite;
    TRY(traffic_expand(suite, secret_of(p, d), "traffic upd", secret_of(p, d), suite->secret_bytes));
    p->records[d] = 0;
    return derive_key(p, d);
}

static enum err set_direction(struct parked *p, enum direction d, const struct traffic_state *state)
{
    const struct traffic_suite *suite = shelf_of(p)->suite;
    uint8_t *secret = secret_of(p, d), *key = secret + suite->secret_bytes;
    memcpy(secret, state->secret, suite->secret_bytes);
    p->records[d] = (uint32_t)state->records;
    if (!state->key_known || !state->iv_known)
        return derive_key(p, d);
    memcpy(key, state->key, suite->key_bytes);
    memcpy(key + suite->key_bytes, state->iv, TRAFFIC_IV_BYTES);
    return ERR_OK;
}

struct parked *parked_new(struct parking *parking, const struct traffic_suite *suite,
                          const struct traffic_state *read, const struct traffic_state *write,
                          unsigned padding)
{
    if (read->records >= parking->options.records_max || write->records >= parking->options.records_max)
        return NULL;
    struct parked *p = slab_take(&parking->shelves[suite - traffic_suites].slab);
    if (!p)
        return NULL;
    p->updated_s = now_s();
    p->padding_bits = (unsigned)__builtin_ctz(padding) & 15;
    p->alert = NO_ALERT;
    METRIC_ADD(STREAMS_PARKED, 1);
    if (set_direction(p, READ, read) == ERR_OK && set_direction(p, WRITE, write) == ERR_OK)
        return p;
    parked_free(p);
    return NULL;
}

void parked_free(struct parked *p)
{
    if (!p)
        return;
    traffic_ciphers_forget(shelf_of(p)->parking->ciphers, shelf_of(p)->suite);
    slab_put(p);
    METRIC_ADD(STREAMS_PARKED, -1);
}

static bool proves(struct parked *p, enum direction d, struct bytes record)
{
    struct bytes sealed = bytes_make(record.p + RECORD_HEADER_BYTES, record.len - RECORD_HEADER_BYTES);
    struct buf text = {0};
    uint8_t *at = p->records[d] > 0 ? buf_reserve(&text, sealed.len) : NULL;
    bool opens = at && traffic_open(shelf_of(p)->parking->ciphers, shelf_of(p)->suite, key_of(p, d),
                                    p->records[d] - 1, record.p, sealed, at) == ERR_OK;
    if (opens)
        buf_commit(&text, sealed.len); /* so that it is cleansed */
    buf_done(&text);
    return opens;
}

bool parked_proves(struct parked *p, struct bytes last_read, struct bytes last_written)
{
    return proves(p, READ, last_read) && proves(p, WRITE, last_written);
}

/* ---- out ---- */

/* Length of content, type and padding. */
static size_t padded(const struct parked *p, size_t len)
{
    size_t block = (size_t)1 << p->padding_bits, padded_len = (len + block - 1) & ~(block - 1);
    return padded_len < RECORD_INNER_MAX_BYTES ? padded_len : RECORD_INNER_MAX_BYTES;
}

/* The counter moves with every record that was sealed, whatever becomes of it. */
static enum err seal(struct parked *p, enum record_type type, struct bytes content, struct buf *output)
{
    if (p->mute)
        return ERR_CRYPTO;
    size_t inner = padded(p, content.len + 1), body = inner + TRAFFIC_TAG_BYTES;
    uint8_t *at = buf_reserve(output, RECORD_HEADER_BYTES + body);
    enum err e = at ? ERR_OK : ERR_NOMEM;
    if (e == ERR_OK) {
        uint8_t *text = at + RECORD_HEADER_BYTES;
        record_header(RECORD_APPLICATION_DATA, body, at);
        memcpy(text, content.p, content.len);
        text[content.len] = type;
        memset(text + content.len + 1, 0, inner - content.len - 1);
        e = traffic_seal(shelf_of(p)->parking->ciphers, shelf_of(p)->suite, key_of(p, WRITE),
                         p->records[WRITE]++, at, text, inner);
        if (e != ERR_OK)
            bytes_cleanse(at, RECORD_HEADER_BYTES + body);
        else
            buf_commit(output, RECORD_HEADER_BYTES + body);
    }
    p->mute = e != ERR_OK;
    return e;
}

static enum err update_write_key(struct parked *p, bool request, struct buf *output)
{
    const uint8_t message[KEY_UPDATE_BYTES] = {SSL3_MT_KEY_UPDATE, 0, 0, 1, request};
    TRY(seal(p, RECORD_HANDSHAKE, bytes_make(message, sizeof message), output));
    enum err e = next_key(p, WRITE);
    p->mute = e != ERR_OK;
    p->updated_s = now_s();
    METRIC_ADD(KEY_UPDATES_SENT, 1);
    return e;
}

static bool write_key_is_old(const struct parked *p)
{
    const struct parking_options *options = &shelf_of(p)->parking->options;
    return p->records[WRITE] >= options->records_per_key || now_s() - p->updated_s >= options->update_s;
}

enum err parked_write(struct parked *p, struct bytes out, struct buf *output)
{
    while (out.len > 0) {
        size_t n = out.len < RECORD_INNER_MAX_BYTES ? out.len : RECORD_INNER_MAX_BYTES - 1;
        if (write_key_is_old(p))
            TRY(update_write_key(p, true, output));
        TRY(seal(p, RECORD_APPLICATION_DATA, bytes_make(out.p, n), output));
        out = bytes_make(out.p + n, out.len - n);
    }
    return ERR_OK;
}

static void send_alert(struct parked *p, uint8_t level, uint8_t description, struct buf *output)
{
    const uint8_t alert[ALERT_BYTES] = {level, description};
    enum err e = seal(p, RECORD_ALERT, bytes_make(alert, sizeof alert), output);
    (void)e; /* the connection ends either way */
    p->mute = true;
}

void parked_shutdown(struct parked *p, struct buf *output)
{
    send_alert(p, SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY, output);
}

/* ---- in ---- */

static enum tls_event end(struct parked *p, enum close_reason failure)
{
    p->failure = failure;
    p->mute = true;
    return TLS_FAILED;
}

static enum tls_event refuse(struct parked *p, uint8_t description, struct buf *output)
{
    p->alert = description;
    send_alert(p, SSL3_AL_FATAL, description, output);
    return end(p, CLOSE_PROTOCOL);
}

enum tls_event parked_refuse(struct parked *p, bool too_long, struct buf *output)
{
    return refuse(p, too_long ? SSL_AD_RECORD_OVERFLOW : SSL_AD_UNEXPECTED_MESSAGE, output);
}

static enum tls_event on_alert(struct parked *p, struct bytes content, struct buf *output)
{
    if (content.len != ALERT_BYTES)
        return refuse(p, SSL_AD_DECODE_ERROR, output);
    switch (content.p[1]) {
    case SSL_AD_CLOSE_NOTIFY:
        return TLS_PEER_DONE;
    case SSL_AD_USER_CANCELLED: /* close_notify follows (RFC 8446, 6.1) */
        return TLS_RECORD;
    default: /* whatever its level says, it is fatal (6.2), and not answered */
        p->alert = content.p[1];
        return end(p, CLOSE_PROTOCOL);
    }
}

static enum tls_event on_key_update(struct parked *p, uint8_t request, struct buf *output)
{
    if (request > 1)
        return refuse(p, SSL_AD_ILLEGAL_PARAMETER, output);
    METRIC_ADD(KEY_UPDATES_RECEIVED, 1);
    enum err e = next_key(p, READ);
    if (e == ERR_OK && request)
        e = update_write_key(p, false, output);
    if (e != ERR_OK)
        return end(p, e == ERR_NOMEM ? CLOSE_NOMEM : CLOSE_INTERNAL);
    return TLS_RECORD;
}

/* Of all handshake messages only a key update may come, in as many pieces as the peer likes, and with it its record
 * ends (RFC 8446, 5.1). All but its last byte are known beforehand, so a piece is kept as its length. */
static enum tls_event on_handshake(struct parked *p, struct bytes content, struct buf *output)
{
    static const uint8_t header[KEY_UPDATE_BYTES - 1] = {SSL3_MT_KEY_UPDATE, 0, 0, 1};
    if (content.len == 0 || p->fragment_len + content.len > KEY_UPDATE_BYTES)
        return refuse(p, SSL_AD_UNEXPECTED_MESSAGE, output);
    for (; content.len > 0 && p->fragment_len < sizeof header; p->fragment_len++) {
        if (content.p[0] != header[p->fragment_len])
            return refuse(p, p->fragment_len ? SSL_AD_DECODE_ERROR : SSL_AD_UNEXPECTED_MESSAGE, output);
        content = bytes_make(content.p + 1, content.len - 1);
    }
    if (content.len == 0)
        return TLS_RECORD;
    p->fragment_len = 0;
    return on_key_update(p, content.p[0], output);
}

/* Type and content behind the padding; false if there is nothing else. */
static bool strip(struct bytes *inner, uint8_t *type)
{
    size_t len = inner->len;
    while (len > 0 && inner->p[len - 1] == 0)
        len--;
    if (len == 0)
        return false;
    *type = inner->p[len - 1];
    inner->len = len - 1;
    return true;
}

/* @p inner was opened to where @p input goes on. */
static enum tls_event dispatch(struct parked *p, struct bytes inner, struct buf *input, struct buf *output)
{
    uint8_t type = 0;
    if (inner.len > RECORD_INNER_MAX_BYTES)
        return refuse(p, SSL_AD_RECORD_OVERFLOW, output);
    if (!strip(&inner, &type) || (p->fragment_len && type != RECORD_HANDSHAKE))
        return refuse(p, SSL_AD_UNEXPECTED_MESSAGE, output);
    switch (type) {
    case RECORD_APPLICATION_DATA:
        if (inner.len == 0)
            return TLS_RECORD;
        buf_commit(input, inner.len);
        return TLS_PLAINTEXT;
    case RECORD_ALERT:
        return on_alert(p, inner, output);
    case RECORD_HANDSHAKE:
        return on_handshake(p, inner, output);
    default:
        return refuse(p, SSL_AD_UNEXPECTED_MESSAGE, output);
    }
}

/* Counts what was opened; false when the peer has to be refused. */
static bool count_record(struct parked *p, struct buf *output)
{
    const struct parking_options *options = &shelf_of(p)->parking->options;
    uint32_t records = ++p->records[READ];
    if (records == options->records_per_key && update_write_key(p, true, output) != ERR_OK)
        return false;
    return records <= options->records_max;
}

static enum tls_event open_record(struct parked *p, struct bytes record, uint8_t *text, struct buf *input,
                                  struct buf *output)
{
    struct bytes sealed = bytes_make(record.p + RECORD_HEADER_BYTES, record.len - RECORD_HEADER_BYTES);
    if (traffic_open(shelf_of(p)->parking->ciphers, shelf_of(p)->suite, key_of(p, READ), p->records[READ],
                     record.p, sealed, text) != ERR_OK)
        return refuse(p, SSL_AD_BAD_RECORD_MAC, output);
    if (!count_record(p, output))
        return refuse(p, SSL_AD_UNEXPECTED_MESSAGE, output);
    return dispatch(p, bytes_make(text, sealed.len - TRAFFIC_TAG_BYTES), input, output);
}

enum tls_event parked_step(struct parked *p, struct bytes record, struct buf *input, struct buf *output)
{
    if (record.p[0] != RECORD_APPLICATION_DATA)
        return refuse(p, SSL_AD_UNEXPECTED_MESSAGE, output);
    uint8_t *text = buf_reserve(input, record.len);
    if (!text)
        return end(p, CLOSE_NOMEM);
    enum tls_event event = open_record(p, record, text, input, output);
    buf_consume(input, 0); /* gives back what was reserved in an empty one */
    if (event == TLS_PLAINTEXT)
        p->dry_records = 0;
    else if (event == TLS_RECORD && ++p->dry_records > TLS_DRY_RECORDS_MAX)
        return refuse(p, SSL_AD_UNEXPECTED_MESSAGE, output);
    return event;
}

enum close_reason parked_failure(const struct parked *p)
{
    return (enum close_reason)p->failure;
}

const char *parked_alert_text(const struct parked *p)
{
    return p->alert == NO_ALERT ? NULL : SSL_alert_desc_string_long(p->alert);
}
