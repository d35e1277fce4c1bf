/**
 * A parked connection behind its keys: the fuzzer's bytes are what the peer seals, what it sends unsealed, and what the
 * owner writes, in any order. What comes out must be whole records that open one after the other with the broker's
 * keys, following its key updates, and nothing after an alert.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "net/record.h"
#include "net/tls_channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);

#define KEY_UPDATE_BYTES 5

/* The peer's view of one direction. */
struct side {
    struct traffic_state state;
    uint8_t key[TRAFFIC_KEY_MAX_BYTES], iv[TRAFFIC_IV_BYTES];
};

static struct parking *parking;
static struct traffic_ciphers *ciphers;
static const struct traffic_suite *suite;

static void check(bool is_so)
{
    if (!is_so)
        abort();
}

static void derive(struct side *side)
{
    check(traffic_expand(suite, side->state.secret, "key", side->key, suite->key_bytes) == ERR_OK);
    check(traffic_expand(suite, side->state.secret, "iv", side->iv, sizeof side->iv) == ERR_OK);
}

static void next_key(struct side *side)
{
    check(traffic_expand(suite, side->state.secret, "traffic upd", side->state.secret, suite->secret_bytes) ==
          ERR_OK);
    side->state.records = 0;
    derive(side);
}

static void seal(struct side *side, const uint8_t *inner, size_t len, struct buf *out)
{
    uint8_t header[RECORD_HEADER_BYTES];
    record_header(RECORD_APPLICATION_DATA, len + TRAFFIC_TAG_BYTES, header);
    check(buf_append(out, bytes_make(header, sizeof header)) == ERR_OK);
    uint8_t *at = buf_reserve(out, len + TRAFFIC_TAG_BYTES);
    if (len)
        memcpy(at, inner, len);
    check(traffic_seal(ciphers, suite, (struct traffic_key){side->key, side->iv}, side->state.records++,
                       header, at, len) == ERR_OK);
    buf_commit(out, len + TRAFFIC_TAG_BYTES);
}

/* @return false after an alert. */
static bool open_all(struct side *side, struct buf *output)
{
    bool ended = false;
    size_t len = 0;
    while (buf_len(output) > 0) {
        uint8_t text[RECORD_BODY_MAX_BYTES];
        struct bytes out = buf_view(output);
        check(!ended && record_check(out, &len) == RECORD_WHOLE);
        struct bytes sealed = bytes_make(out.p + RECORD_HEADER_BYTES, len - RECORD_HEADER_BYTES);
        check(traffic_open(ciphers, suite, (struct traffic_key){side->key, side->iv}, side->state.records++,
                           out.p, sealed, text) == ERR_OK);
        size_t inner = sealed.len - TRAFFIC_TAG_BYTES;
        check(inner % 128 == 0 || inner == RECORD_INNER_MAX_BYTES);
        while (inner > 0 && text[inner - 1] == 0)
            inner--;
        check(inner > 0);
        ended = text[inner - 1] == RECORD_ALERT;
        if (text[inner - 1] == RECORD_HANDSHAKE)
            next_key(side);
        buf_consume(output, len);
    }
    return !ended;
}

/* Follows a key update of the peer's own, in pieces as it may be; @return how much of one is there. */
static size_t follow(struct side *side, const uint8_t *inner, size_t len, size_t so_far)
{
    while (len > 0 && inner[len - 1] == 0)
        len--;
    if (len == 0 || inner[len - 1] != RECORD_HANDSHAKE)
        return so_far;
    so_far += len - 1;
    if (so_far < KEY_UPDATE_BYTES)
        return so_far;
    next_key(side);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
    struct parking_options options = {.records_per_key = 7, .records_max = 40, .update_s = 3600};
    if (!parking) {
        parking = parking_new(&options, NULL, NULL);
        ciphers = traffic_ciphers_new();
    }
    if (len < 1)
        return 0;
    suite = &traffic_suites[p[0] % TRAFFIC_SUITE_COUNT];
    struct side phone = {.state.secret = {1}}, broker = {.state.secret = {2}};
    derive(&phone);
    derive(&broker);
    struct tls_channel c = {.parked = parked_new(parking, suite, &phone.state, &broker.state, 128)};
    struct buf raw = {0}, input = {0}, output = {0};
    size_t at = 1, fragment = 0;
    bool going = c.parked != NULL;
    while (going && at + 2 <= len) {
        size_t n = p[at + 1], taken = 1;
        uint8_t what = p[at];
        at += 2;
        n = n < len - at ? n : len - at;
        if (what % 4 == 0 && n > 0)
            check(tls_channel_write(&c, bytes_make(p + at, n), &output) == ERR_OK);
        else if (what % 4 == 1)
            check(buf_append(&raw, bytes_make(p + at, n)) == ERR_OK);
        else
            seal(&phone, p + at, n, &raw);
        while (going && taken > 0) {
            enum tls_event event = tls_channel_step(&c, buf_view(&raw), &taken, &input, &output);
            buf_consume(&raw, taken);
            going = event != TLS_FAILED && event != TLS_PEER_DONE;
            if (event == TLS_RECORD && taken > 0 && what % 4 > 1)
                fragment = follow(&phone, p + at, n, fragment);
            if (event == TLS_FAILED)
                check(tls_channel_failure(&c) == CLOSE_PROTOCOL);
        }
        at += n;
    }
    tls_channel_shutdown(&c, &output);
    open_all(&broker, &output);
    check(ERR_peek_error() == 0);
    tls_channel_done(&c);
    buf_done(&raw);
    buf_done(&input);
    buf_done(&output);
    return 0;
}
