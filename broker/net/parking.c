#include "net/parking.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "core/metrics.h"
#include "crypto/tls13_kdf.h"
#include "net/record.h"

/* Owned by the SSL_CTX, as its application data under context_index(). */
struct attachment {
    struct parking *parking;
    unsigned padding;
};

struct park_notes {
    const struct attachment *attachment;
    struct traffic_state read, write;
    bool read_known, write_known; /* the secrets came */
    uint8_t inner_type;           /* of the record read last */
    struct buf last_read, last_written;
};

const struct parking_options parking_options_default = {
    .secrets = SECRETS_KDF,
    .records_per_key = 1u << 20,
    .records_max = 1u << 24,
    .update_s = 3600,
};

static void free_attachment(void *parent, void *attachment, CRYPTO_EX_DATA *all, int index, long argl,
                            void *argp)
{
    (void)parent, (void)all, (void)index, (void)argl, (void)argp;
    free(attachment);
}

static int context_index(void)
{
    static int index = -1;
    if (index < 0)
        index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_attachment);
    return index;
}

static int notes_index(void)
{
    static int index = -1;
    if (index < 0)
        index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return index;
}

/* ---- what OpenSSL tells ---- */

static void set_secret(struct traffic_state *state, bool *known, struct bytes secret)
{
    *state = (struct traffic_state){0};
    *known = secret.len <= sizeof state->secret;
    if (*known)
        memcpy(state->secret, secret.p, secret.len);
}

static bool is_secret(const struct traffic_state *state, bool known, struct bytes secret)
{
    return known && secret.len <= sizeof state->secret &&
           bytes_equal_secret(secret, bytes_make(state->secret, secret.len));
}

/* A key or IV counts for the direction whose secret it is made of. OpenSSL makes both right after the secret. */
static void take_key(struct traffic_state *state, struct bytes label, struct bytes made)
{
    if (bytes_equal(label, bytes_of("key")) && made.len <= sizeof state->key) {
        memcpy(state->key, made.p, made.len);
        state->key_known = true;
    } else if (bytes_equal(label, bytes_of("iv")) && made.len == sizeof state->iv) {
        memcpy(state->iv, made.p, made.len);
        state->iv_known = true;
    }
}

/* RFC 8446, 7.1 to 7.3. What belongs to neither direction is not looked at. */
static void on_expansion(struct bytes secret, struct bytes label, struct bytes made, void *arg)
{
    struct park_notes *notes = arg;
    if (bytes_equal(label, bytes_of("c ap traffic"))) {
        set_secret(&notes->read, &notes->read_known, made);
        return;
    }
    if (bytes_equal(label, bytes_of("s ap traffic"))) {
        set_secret(&notes->write, &notes->write_known, made);
        return;
    }
    bool reading = is_secret(&notes->read, notes->read_known, secret);
    if (!reading && !is_secret(&notes->write, notes->write_known, secret))
        return;
    struct traffic_state *state = reading ? &notes->read : &notes->write;
    if (bytes_equal(label, bytes_of("traffic upd")))
        set_secret(state, reading ? &notes->read_known : &notes->write_known, made);
    else
        take_key(state, label, made);
}

/* "LABEL <client random> <secret>", the last two in hex. Only the two labels that are asked for are looked at. */
static bool read_secret(const char *line, const char *label, struct traffic_state *state)
{
    size_t len = strlen(label);
    if (strncmp(line, label, len) != 0)
        return false;
    if (line[len] != '0' && line[len] != 'N') /* of the handshake, or of a key update that OpenSSL did */
        return false;
    const char *hex = strrchr(line, ' ');
    size_t secret_bytes = hex ? strlen(hex + 1) / 2 : 0;
    if (secret_bytes == 0 || secret_bytes > sizeof state->secret)
        return false;
    state->records = 0;
    return hex_decode(bytes_of(hex + 1), state->secret, secret_bytes) == ERR_OK;
}

static void on_keylog(const SSL *ssl, const char *line)
{
    struct park_notes *notes = SSL_get_ex_data(ssl, notes_index());
    if (!notes)
        return;
    if (read_secret(line, "CLIENT_TRAFFIC_SECRET_", &notes->read))
        notes->read_known = true;
    else if (read_secret(line, "SERVER_TRAFFIC_SECRET_", &notes->write))
        notes->write_known = true;
}

/*
 * OpenSSL writes each secret that it logs in hex, byte by byte with sprintf(), and five of them in a handshake. The two
 * that are wanted follow these messages of their connection within the same call, so nothing is logged but after them.
 */
static bool announces_key(uint8_t message)
{
    return message == SSL3_MT_FINISHED || message == SSL3_MT_KEY_UPDATE;
}

static void on_message(int writing, int version, int type, const void *p, size_t len, SSL *ssl, void *arg)
{
    (void)version, (void)arg;
    struct park_notes *notes = SSL_get_ex_data(ssl, notes_index());
    const uint8_t *bytes = p;
    if (!notes || len == 0)
        return;
    if (type == SSL3_RT_HANDSHAKE && notes->attachment->parking->options.secrets == SECRETS_KEYLOG)
        SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(ssl), announces_key(bytes[0]) ? on_keylog : NULL);
    else if (type == SSL3_RT_HEADER && bytes[0] == RECORD_APPLICATION_DATA)
        (writing ? &notes->write : &notes->read)->records++;
    else if (type == SSL3_RT_INNER_CONTENT_TYPE && !writing)
        notes->inner_type = bytes[0];
}

/* ---- notes ---- */

struct park_notes *park_notes_new(SSL *ssl)
{
    const struct attachment *attachment = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), context_index());
    struct park_notes *notes = attachment ? calloc(1, sizeof *notes) : NULL;
    if (!notes)
        return NULL;
    notes->attachment = attachment;
    if (SSL_set_ex_data(ssl, notes_index(), notes) == 1)
        return notes;
    free(notes);
    return NULL;
}

void park_notes_free(struct park_notes *notes)
{
    if (!notes)
        return;
    buf_done(&notes->last_read);
    buf_done(&notes->last_written);
    bytes_cleanse(notes, sizeof *notes);
    free(notes);
}

const struct parking_options *park_notes_options(const struct park_notes *notes)
{
    return notes ? &notes->attachment->parking->options : &parking_options_default;
}

void park_notes_begin(struct park_notes *notes)
{
    if (notes && notes->attachment->parking->options.secrets == SECRETS_KDF)
        tls13_kdf_observe(on_expansion, notes);
}

void park_notes_end(void)
{
    tls13_kdf_observe(NULL, NULL);
}

/* Out of memory here only means that there is no proof, and so no parking. */
static void note(struct buf *b, struct bytes in)
{
    if (buf_append(b, in) != ERR_OK)
        buf_done(b);
}

void park_notes_read(struct park_notes *notes, struct bytes record)
{
    if (!notes || !notes->read_known)
        return;
    buf_done(&notes->last_read);
    note(&notes->last_read, record);
}

/* What is kept is the last record, or the part of it that was written. */
void park_notes_written(struct park_notes *notes, struct bytes out)
{
    size_t len = 0;
    if (!notes || !notes->write_known)
        return;
    note(&notes->last_written, out);
    while (record_check(buf_view(&notes->last_written), &len) == RECORD_WHOLE &&
           len < buf_len(&notes->last_written))
        buf_consume(&notes->last_written, len);
}

/* ---- taking over ---- */

static bool is_record(struct bytes in)
{
    size_t len = 0;
    return record_check(in, &len) == RECORD_WHOLE && len == in.len;
}

/*
 * OpenSSL holds nothing that would be lost: it was given whole records only and waits for a header; it owes no key
 * update; and the record that it read last was application data, so that no handshake message is half read.
 */
static bool at_boundary(const struct park_notes *notes, const SSL *ssl)
{
    return SSL_is_init_finished(ssl) && SSL_get_shutdown(ssl) == 0 && !SSL_has_pending(ssl) &&
           strcmp(SSL_rstate_string(ssl), "RH") == 0 && SSL_get_key_update_type(ssl) == SSL_KEY_UPDATE_NONE &&
           notes->read_known && notes->write_known && notes->inner_type == RECORD_APPLICATION_DATA &&
           notes->read.records > 0 && notes->write.records > 0 && is_record(buf_view(&notes->last_read)) &&
           is_record(buf_view(&notes->last_written));
}

static void alarm_once(struct parking *parking)
{
    METRIC_ADD(PARKING_REFUSED_PROOF, 1);
    if (!parking->alarmed && parking->on_mismatch)
        parking->on_mismatch(parking->arg);
    parking->alarmed = true;
}

enum park_result parking_take(struct park_notes *notes, SSL *ssl, struct parked **ret)
{
    if (!at_boundary(notes, ssl))
        return PARK_LATER;
    struct parking *parking = notes->attachment->parking;
    const struct traffic_suite *suite =
        traffic_suite_find(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl)));
    struct parked *p =
        suite ? parked_new(parking, suite, &notes->read, &notes->write, notes->attachment->padding) : NULL;
    if (!p) {
        METRIC_ADD(PARKING_REFUSED_RESOURCES, 1);
        return PARK_REFUSED;
    }
    if (!parked_proves(p, buf_view(&notes->last_read), buf_view(&notes->last_written))) {
        parked_free(p);
        alarm_once(parking);
        return PARK_REFUSED;
    }
    METRIC_ADD(PARKINGS, 1);
    if (parking->options.secrets == SECRETS_KDF)
        METRIC_ADD(PARKING_SECRETS_KDF, 1);
    else
        METRIC_ADD(PARKING_SECRETS_KEYLOG, 1);
    *ret = p;
    return PARK_DONE;
}

/* ---- life ---- */

struct parking *parking_new(const struct parking_options *options, void (*on_mismatch)(void *arg), void *arg)
{
    struct parking *parking = calloc(1, sizeof *parking);
    if (!parking)
        return NULL;
    *parking = (struct parking){.options = *options, .on_mismatch = on_mismatch, .arg = arg};
    for (size_t i = 0; i < TRAFFIC_SUITE_COUNT; i++) {
        struct parking_shelf *shelf = &parking->shelves[i];
        shelf->parking = parking;
        shelf->suite = &traffic_suites[i];
        slab_init(&shelf->slab, parked_bytes(shelf->suite), true);
    }
    parking->ciphers = traffic_ciphers_new();
    if (parking->ciphers && (options->secrets != SECRETS_KDF || tls13_kdf_load() == ERR_OK))
        return parking;
    parking_free(parking);
    return NULL;
}

void parking_free(struct parking *parking)
{
    if (!parking)
        return;
    for (size_t i = 0; i < TRAFFIC_SUITE_COUNT; i++)
        slab_done(&parking->shelves[i].slab);
    traffic_ciphers_free(parking->ciphers);
    free(parking);
}

enum err parking_attach(struct parking *parking, SSL_CTX *ctx, unsigned padding)
{
    struct attachment *attachment = malloc(sizeof *attachment);
    if (!attachment)
        return ERR_NOMEM;
    *attachment = (struct attachment){parking, padding};
    if (SSL_CTX_set_block_padding(ctx, padding > 1 ? padding : 0) != 1 ||
        SSL_CTX_set_ex_data(ctx, context_index(), attachment) != 1) {
        free(attachment);
        return ERR_CRYPTO;
    }
    SSL_CTX_set_msg_callback(ctx, on_message);
    return ERR_OK;
}
