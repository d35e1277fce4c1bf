/**
 * Parked connections against OpenSSL: the same bytes, the same key updates, the same alerts, and a connection that has
 * just been parked anywhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tls_pair.h"

static struct parking *parking;
static enum parking_secrets secrets; /* of this round */
static unsigned mismatches;

static void on_mismatch(void *arg)
{
    assert_ptr_equal(arg, &mismatches);
    mismatches++;
}

static void start(const struct parking_options *options)
{
    struct parking_options round = *options;
    round.secrets = secrets;
    mismatches = 0;
    parking = parking_new(&round, on_mismatch, &mismatches);
    assert_non_null(parking);
}

static int set_up(void **state)
{
    (void)state;
    start(&parking_options_default);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < TRAFFIC_SUITE_COUNT; i++)
        assert_int_equal(parking->shelves[i].slab.taken, 0);
    assert_int_equal(mismatches, 0);
    parking_free(parking);
    return 0;
}

static void start_again(const struct parking_options *options)
{
    parking_free(parking);
    start(options);
}

static void self_test_passes(void **state)
{
    (void)state;
    assert_int_equal(parking_self_test(parking), ERR_OK);
    assert_true(parking_version_known());
}

static void every_length_around_the_limits_goes_both_ways(void **state)
{
    (void)state;
    static const size_t around[] = {127, 255, 511, 16256, 16384, 32768};
    for (unsigned suite = 0; suite < TRAFFIC_SUITE_COUNT; suite++)
        for (unsigned padding = 1; padding <= 128; padding *= 128) {
            struct tls_pair pair;
            pair_open(&pair, parking, suite, padding);
            pair_park(&pair);
            for (size_t len = 1; len < 70; len++)
                pair_echo(&pair, len, 16384);
            for (size_t i = 0; i < sizeof around / sizeof *around; i++)
                for (size_t len = around[i] - 3; len <= around[i] + 3; len++)
                    pair_echo(&pair, len, 16384);
            pair_close(&pair);
        }
}

static void records_on_the_wire_are_padded(void **state)
{
    (void)state;
    struct tls_pair pair;
    pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 128);
    pair_park(&pair);
    for (size_t len = 1; len < 600; len += 13) {
        static const uint8_t text[600];
        assert_int_equal(tls_channel_write(&pair.channel, bytes_make(text, len), &pair.output), ERR_OK);
        assert_int_equal((buf_len(&pair.output) - RECORD_HEADER_BYTES - TRAFFIC_TAG_BYTES) % 128, 0);
        pair_to_client(&pair);
    }
    tls_channel_shutdown(&pair.channel, &pair.output);
    assert_int_equal(buf_len(&pair.output), RECORD_HEADER_BYTES + 128 + TRAFFIC_TAG_BYTES);
    pair_close(&pair);
}

/* A random walk of both sides, with parking at a random step: whatever was done before, it goes on. */
static void key_updates_of_both_sides_in_any_order(void **state)
{
    (void)state;
    srand(5);
    for (unsigned round = 0; round < 60; round++) {
        struct parking_options options = parking_options_default;
        options.records_per_key = round % 3 == 0 ? 3 : 1u << 20;
        options.update_s = round % 7 == 0 ? 0 : 3600;
        start_again(&options);
        struct tls_pair pair;
        pair_open(&pair, parking, round % TRAFFIC_SUITE_COUNT, round % 2 ? 128 : 1);
        int park_at = rand() % 10;
        for (int i = 0; i < 40; i++) {
            if (rand() % 3 == 0)
                assert_int_equal(SSL_key_update(pair.client, rand() % 2 ? SSL_KEY_UPDATE_REQUESTED
                                                                        : SSL_KEY_UPDATE_NOT_REQUESTED),
                                 1);
            pair_echo(&pair, 1 + (size_t)rand() % 300, 1 + (size_t)rand() % 200);
            if (i >= park_at && pair.channel.live)
                assert_int_equal(tls_channel_park(&pair.channel), PARK_DONE);
        }
        assert_non_null(pair.channel.parked);
        SSL_shutdown(pair.client);
        assert_false(pair_exchange(&pair, 1));
        tls_channel_shutdown(&pair.channel, &pair.output);
        assert_int_equal(pair_alert(&pair), SSL_AD_CLOSE_NOTIFY);
        pair_close(&pair);
    }
}

static void key_updates_may_come_in_pieces_and_in_many_records(void **state)
{
    (void)state;
    static const uint8_t update[] = {SSL3_MT_KEY_UPDATE, 0, 0, 1, 0};
    for (unsigned cuts = 0; cuts < 16; cuts++) { /* bit i: cut behind byte i */
        struct tls_pair pair;
        struct buf sent = {0};
        uint8_t part[8];
        size_t len = 0;
        pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
        pair_park(&pair);
        for (size_t i = 0; i < sizeof update; i++) {
            part[len++] = update[i];
            if (i < 4 && !(cuts & 1u << i))
                continue;
            part[len++] = RECORD_HANDSHAKE;
            pair_seal(&pair, bytes_make(part, len), &sent);
            len = 0;
        }
        assert_true(pair_to_channel(&pair, buf_view(&sent), 16384));
        buf_done(&sent);
        assert_int_equal(traffic_expand(pair.suite, pair.secret, "traffic upd", pair.secret, 32), ERR_OK);
        pair.sealed = 0;
        pair_seal(&pair, bytes_make("hello\x17", 6), &sent);
        assert_true(pair_to_channel(&pair, buf_view(&sent), 16384));
        assert_true(bytes_equal(buf_view(&pair.input), bytes_of("hello")));
        buf_done(&sent);
        pair_close(&pair);
    }
}

/* ---- what is refused, and how ---- */

struct bad {
    const char *what;
    const char *inner; /* content, type, padding; sealed with the phone's key. NULL: @p raw goes as it is */
    size_t len;
    int alert;
    bool openssl_differs; /* it is more lenient, or names another alert; the RFC's is right */
};

#define INNER(text) text, sizeof(text) - 1

static const struct bad bad_inner[] = {
    {"nothing but padding", INNER("\0\0\0\0"), SSL_AD_UNEXPECTED_MESSAGE, false},
    {"nothing at all", INNER(""), SSL_AD_UNEXPECTED_MESSAGE, true},
    {"change_cipher_spec inside", INNER("\x01\x14"), SSL_AD_UNEXPECTED_MESSAGE, false},
    {"unknown type", INNER("x\x18"), SSL_AD_UNEXPECTED_MESSAGE, false},
    {"type 1", INNER("x\x01"), SSL_AD_UNEXPECTED_MESSAGE, false},
    {"type 255", INNER("x\xff"), SSL_AD_UNEXPECTED_MESSAGE, false},
    {"empty handshake", INNER("\x16"), SSL_AD_UNEXPECTED_MESSAGE, false},
    {"a new ticket from a client", INNER("\x04\0\0\x01x\x16"), SSL_AD_UNEXPECTED_MESSAGE, false},
    {"a client hello", INNER("\x01\0\0\x01x\x16"), SSL_AD_UNEXPECTED_MESSAGE, false},
    {"a finished", INNER("\x14\0\0\x01x\x16"), SSL_AD_UNEXPECTED_MESSAGE, false},
    {"key update asking for 2", INNER("\x18\0\0\x01\x02\x16"), SSL_AD_ILLEGAL_PARAMETER, false},
    {"key update of no bytes", INNER("\x18\0\0\0\x16"), SSL_AD_DECODE_ERROR, false},
    {"key update of two bytes", INNER("\x18\0\0\x02\0\0\x16"), SSL_AD_UNEXPECTED_MESSAGE, true},
    {"key update of 64 KiB", INNER("\x18\x01\0\0\x16"), SSL_AD_DECODE_ERROR, true},
    {"something behind a key update", INNER("\x18\0\0\x01\0\0\x16"), SSL_AD_UNEXPECTED_MESSAGE, false},
    {"half an alert", INNER("\x02\x15"), SSL_AD_DECODE_ERROR, true},
    {"three bytes of alert", INNER("\x01\0\0\x15"), SSL_AD_DECODE_ERROR, true},
    {"empty alert", INNER("\x15"), SSL_AD_DECODE_ERROR, true},
};

static int alert_of(bool park, const struct bad *bad)
{
    struct tls_pair pair;
    struct buf sent = {0};
    pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
    if (park)
        pair_park(&pair);
    else
        pair_echo(&pair, 20, 16384);
    pair_seal(&pair, bytes_make(bad->inner, bad->len), &sent);
    bool going = pair_to_channel(&pair, buf_view(&sent), 16384);
    int alert = going ? -1 : pair_alert(&pair);
    if (!going && park) {
        assert_int_equal(tls_channel_failure(&pair.channel), CLOSE_PROTOCOL);
        assert_string_equal(tls_channel_error(&pair.channel), SSL_alert_desc_string_long(bad->alert));
        tls_channel_shutdown(&pair.channel, &pair.output);
        assert_int_equal(buf_len(&pair.output), 0); /* nothing after the alert */
    }
    buf_done(&sent);
    pair_close(&pair);
    return alert;
}

static void each_bad_message_meets_its_alert_as_from_openssl(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_inner / sizeof *bad_inner; i++) {
        const struct bad *bad = &bad_inner[i];
        int parked = alert_of(true, bad), live = alert_of(false, bad);
        if (parked != bad->alert || (live != bad->alert) != bad->openssl_differs)
            fail_msg("%s: alert %d, expected %d, OpenSSL %d", bad->what, parked, bad->alert, live);
    }
}

static int alert_of_raw(struct bytes raw)
{
    struct tls_pair pair;
    pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
    pair_park(&pair);
    bool going = pair_to_channel(&pair, raw, raw.len);
    int alert = going ? -1 : pair_alert(&pair);
    pair_close(&pair);
    return alert;
}

static void each_bad_record_meets_its_alert(void **state)
{
    (void)state;
    static const uint8_t longest[RECORD_HEADER_BYTES + RECORD_BODY_MAX_BYTES] = {23, 3, 3, 0x41, 0};
    assert_int_equal(alert_of_raw(bytes_make("\x14\x03\x03\x00\x01\x01", 6)), SSL_AD_UNEXPECTED_MESSAGE);
    assert_int_equal(alert_of_raw(bytes_make("\x15\x03\x03\x00\x02\x01\x00", 7)), SSL_AD_UNEXPECTED_MESSAGE);
    assert_int_equal(alert_of_raw(bytes_make("\x16\x03\x03\x00\x01\x00", 6)), SSL_AD_UNEXPECTED_MESSAGE);
    assert_int_equal(alert_of_raw(bytes_make("\x18\x03\x03\x00\x01\x00", 6)), SSL_AD_UNEXPECTED_MESSAGE);
    assert_int_equal(alert_of_raw(bytes_make("\x17\x02\x03\x00\x01\x00", 6)), SSL_AD_UNEXPECTED_MESSAGE);
    assert_int_equal(alert_of_raw(bytes_make("GET / HTTP/1.1\r\n", 16)), SSL_AD_UNEXPECTED_MESSAGE);
    assert_int_equal(alert_of_raw(bytes_make("\x17\x03\x03\x41\x01", 5)), SSL_AD_RECORD_OVERFLOW);
    assert_int_equal(alert_of_raw(bytes_make(longest, sizeof longest)), SSL_AD_BAD_RECORD_MAC);
    for (uint8_t len = 0; len < 40; len++) {
        const uint8_t header[] = {23, 3, 3, 0, len};
        uint8_t raw[45] = {0};
        memcpy(raw, header, 5);
        assert_int_equal(alert_of_raw(bytes_make(raw, 5u + len)), SSL_AD_BAD_RECORD_MAC);
    }
}

static void each_changed_bit_meets_bad_record_mac(void **state)
{
    (void)state;
    struct tls_pair pair;
    struct buf sent = {0};
    pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
    pair_park(&pair);
    pair_seal(&pair, bytes_make("hello\x17", 6), &sent);
    size_t len = buf_len(&sent);
    uint8_t good[64];
    memcpy(good, buf_view(&sent).p, len);
    buf_done(&sent);
    pair_close(&pair);
    for (size_t bit = 8 * RECORD_HEADER_BYTES; bit < 8 * len; bit++) {
        pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
        pair_park(&pair);
        pair_seal(&pair, bytes_make("hello\x17", 6), &sent);
        uint8_t *raw = (uint8_t *)buf_view(&sent).p;
        raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(pair_to_channel(&pair, buf_view(&sent), 16384));
        assert_int_equal(pair_alert(&pair), SSL_AD_BAD_RECORD_MAC);
        assert_int_equal(buf_len(&pair.input), 0);
        buf_done(&sent);
        pair_close(&pair);
    }
}

/* RFC 8446, 5.4: content, type and padding together are at most 2^14 + 1 bytes. */
static void inner_text_may_be_so_long(void **state)
{
    (void)state;
    static uint8_t inner[RECORD_INNER_MAX_BYTES + 1];
    for (int over = 0; over <= 1; over++) {
        struct tls_pair pair;
        struct buf sent = {0};
        memset(inner, 0, sizeof inner);
        inner[0] = 'x';
        inner[1] = RECORD_APPLICATION_DATA;
        pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
        pair_park(&pair);
        pair_seal(&pair, bytes_make(inner, RECORD_INNER_MAX_BYTES + (size_t)over), &sent);
        assert_int_equal(pair_to_channel(&pair, buf_view(&sent), 16384), !over);
        if (over)
            assert_int_equal(pair_alert(&pair), SSL_AD_RECORD_OVERFLOW);
        else
            assert_true(bytes_equal(buf_view(&pair.input), bytes_of("x")));
        buf_done(&sent);
        pair_close(&pair);
    }
}

static void data_amid_a_handshake_message_is_refused(void **state)
{
    (void)state;
    struct tls_pair pair;
    struct buf sent = {0};
    pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
    pair_park(&pair);
    pair_seal(&pair, bytes_make("\x18\0\x16", 3), &sent);
    pair_seal(&pair, bytes_make("x\x17", 2), &sent);
    assert_false(pair_to_channel(&pair, buf_view(&sent), 16384));
    assert_int_equal(pair_alert(&pair), SSL_AD_UNEXPECTED_MESSAGE);
    buf_done(&sent);
    pair_close(&pair);
}

static void alerts_of_the_peer_end_it_without_an_answer(void **state)
{
    (void)state;
    struct tls_pair pair;
    struct buf sent = {0};
    pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
    pair_park(&pair);
    pair_seal(&pair, bytes_make("\x01\x5a\x15", 3), &sent); /* user_canceled */
    assert_true(pair_to_channel(&pair, buf_view(&sent), 16384));
    buf_done(&sent);
    pair_seal(&pair, bytes_make("\x01\x50\x15", 3), &sent); /* internal_error, whatever its level says */
    assert_false(pair_to_channel(&pair, buf_view(&sent), 16384));
    tls_channel_shutdown(&pair.channel, &pair.output);
    assert_int_equal(buf_len(&pair.output), 0);
    assert_string_equal(tls_channel_error(&pair.channel), "internal error");
    buf_done(&sent);
    pair_close(&pair);
}

static void floods_without_data_are_ended(void **state)
{
    (void)state;
    static const struct bad floods[] = {
        {"empty records", INNER("\x17"), 0, false},
        {"padding", INNER("\x17\0\0\0\0"), 0, false},
        {"user_canceled", INNER("\x01\x5a\x15"), 0, false},
    };
    for (size_t f = 0; f < sizeof floods / sizeof *floods; f++) {
        struct tls_pair pair;
        struct buf sent = {0};
        pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
        pair_park(&pair);
        for (int i = 0; i < TLS_DRY_RECORDS_MAX; i++)
            pair_seal(&pair, bytes_make(floods[f].inner, floods[f].len), &sent);
        assert_true(pair_to_channel(&pair, buf_view(&sent), 16384));
        buf_done(&sent);
        pair_seal(&pair, bytes_make("x\x17", 2), &sent); /* data in between: counted anew */
        for (int i = 0; i < TLS_DRY_RECORDS_MAX; i++)
            pair_seal(&pair, bytes_make(floods[f].inner, floods[f].len), &sent);
        assert_true(pair_to_channel(&pair, buf_view(&sent), 16384));
        buf_done(&sent);
        pair_seal(&pair, bytes_make(floods[f].inner, floods[f].len), &sent);
        assert_false(pair_to_channel(&pair, buf_view(&sent), 16384));
        assert_int_equal(pair_alert(&pair), SSL_AD_UNEXPECTED_MESSAGE);
        buf_done(&sent);
        pair_close(&pair);
    }
}

/* ---- limits ---- */

static void peer_that_never_changes_its_key_is_asked_and_cut_off(void **state)
{
    (void)state;
    struct parking_options options = {.records_per_key = 8, .records_max = 16, .update_s = 3600};
    start_again(&options);
    struct tls_pair pair;
    struct buf sent = {0};
    pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
    pair_park(&pair);
    while (pair.sealed < 16) {
        pair_seal(&pair, bytes_make("x\x17", 2), &sent);
        assert_true(pair_to_channel(&pair, buf_view(&sent), 16384));
        assert_int_equal(buf_len(&pair.output) > 0, pair.sealed >= 8); /* the wish for a new one */
        buf_done(&sent);
    }
    pair_seal(&pair, bytes_make("x\x17", 2), &sent);
    assert_false(pair_to_channel(&pair, buf_view(&sent), 16384));
    assert_int_equal(pair_alert(&pair), SSL_AD_UNEXPECTED_MESSAGE);
    buf_done(&sent);
    pair_close(&pair);
}

static void stock_peer_lives_beyond_the_limit(void **state)
{
    (void)state;
    struct parking_options options = {.records_per_key = 8, .records_max = 16, .update_s = 3600};
    start_again(&options);
    struct tls_pair pair;
    pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
    pair_park(&pair);
    for (int i = 0; i < 500; i++)
        pair_echo(&pair, 10, 16384);
    pair_close(&pair);
}

/* ---- the moment of parking ---- */

static void parks_at_a_boundary_only(void **state)
{
    (void)state;
    struct tls_pair pair;
    pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
    assert_int_equal(tls_channel_park(&pair.channel), PARK_LATER); /* nothing was read with the last keys */
    pair_echo(&pair, 20, 16384);
    SSL_key_update(pair.client, SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(pair.client);
    assert_true(pair_exchange(&pair, 16384));
    assert_int_equal(tls_channel_park(&pair.channel), PARK_LATER); /* a new key that has opened nothing yet */
    pair_park(&pair);
    uint8_t out[TLS_EXPORT_BYTES];
    assert_int_equal(tls_channel_export(&pair.channel, "EXPORTER-test", out), ERR_BAD_STATE);
    assert_int_equal(tls_channel_alpn(&pair.channel).len, 0);
    pair_close(&pair);
    pair_open(&pair, NULL, TRAFFIC_AES_128_GCM, 1);
    pair_echo(&pair, 20, 16384);
    assert_int_equal(tls_channel_park(&pair.channel), PARK_REFUSED); /* its port does not park */
    pair_echo(&pair, 20, 16384);
    pair_close(&pair);
}

static void half_a_key_update_is_waited_for(void **state)
{
    (void)state;
    struct tls_pair pair;
    struct buf sent = {0};
    pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
    pair_echo(&pair, 20, 16384);
    pair_seal(&pair, bytes_make("\x18\0\x16", 3), &sent);
    assert_true(pair_to_channel(&pair, buf_view(&sent), 16384));
    assert_int_equal(tls_channel_park(&pair.channel), PARK_LATER); /* OpenSSL holds the half */
    buf_done(&sent);
    pair_seal(&pair, bytes_make("\0\x01\0\x16", 4), &sent);
    assert_true(pair_to_channel(&pair, buf_view(&sent), 16384));
    assert_int_equal(tls_channel_park(&pair.channel), PARK_LATER);
    buf_done(&sent);
    assert_int_equal(traffic_expand(pair.suite, pair.secret, "traffic upd", pair.secret, 32), ERR_OK);
    pair.sealed = 0;
    pair_seal(&pair, bytes_make("x\x17", 2), &sent);
    assert_true(pair_to_channel(&pair, buf_view(&sent), 16384));
    assert_int_equal(tls_channel_park(&pair.channel), PARK_DONE);
    buf_done(&sent);
    pair_close(&pair);
}

/* One record goes by uncounted, as it would if OpenSSL called back in another order. */
static void counters_that_do_not_prove_themselves_are_not_parked(void **state)
{
    (void)state;
    for (int writing = 0; writing <= 1; writing++) {
        struct tls_pair pair;
        pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
        pair_echo(&pair, 20, 16384);
        SSL_set_msg_callback(pair.server, NULL);
        if (writing) {
            assert_int_equal(tls_channel_write(&pair.channel, bytes_of("x"), &pair.output), ERR_OK);
            pair_to_client(&pair);
        } else {
            assert_int_equal(SSL_write(pair.client, "x", 1), 1);
            assert_true(pair_exchange(&pair, 16384));
        }
        assert_int_equal(tls_channel_park(&pair.channel), PARK_REFUSED);
        assert_non_null(pair.channel.live);
        pair_close(&pair);
    }
    assert_int_equal(mismatches, 1); /* told once */
    mismatches = 0;
}

/* What the KDF derives in one connection, at either end, is none of another one's. */
static void keys_of_connections_that_take_turns_are_their_own(void **state)
{
    (void)state;
    struct tls_pair pairs[3];
    for (int i = 0; i < 3; i++)
        pair_open(&pairs[i], parking, TRAFFIC_AES_128_GCM, 1);
    for (int i = 0; i < 12; i++) {
        struct tls_pair *pair = &pairs[i % 3];
        if (i / 3 == 1)
            SSL_key_update(pair->client, SSL_KEY_UPDATE_REQUESTED);
        pair_echo(pair, 10, 16384);
    }
    for (int i = 2; i >= 0; i--) {
        assert_int_equal(tls_channel_park(&pairs[i].channel), PARK_DONE);
        pair_echo(&pairs[i], 10, 16384);
    }
    for (int i = 0; i < 3; i++) {
        SSL_key_update(pairs[i].client, SSL_KEY_UPDATE_REQUESTED);
        pair_echo(&pairs[i], 10, 16384); /* the secrets are right, too, not the keys alone */
        pair_close(&pairs[i]);
    }
}

static void live_connections_update_their_keys_too(void **state)
{
    (void)state;
    struct parking_options options = {.records_per_key = 3, .records_max = 1u << 24, .update_s = 3600};
    start_again(&options);
    struct tls_pair pair;
    pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
    for (int i = 0; i < 30; i++) {
        uint64_t sealed = pair.sealed;
        pair_echo(&pair, 10, 16384); /* the client answers an update in front of what it says next */
        assert_int_equal(pair.sealed, sealed + (i > 0 && i % 3 == 0 ? 2 : 1));
    }
    pair_park(&pair);
    pair_echo(&pair, 10, 16384);
    pair_close(&pair);
}

static void slot_is_used_again_and_holds_nothing_of_before(void **state)
{
    (void)state;
    struct tls_pair pair;
    struct parked *slot = NULL;
    for (int i = 0; i < 20; i++) {
        pair_open(&pair, parking, TRAFFIC_AES_128_GCM, 1);
        pair_park(&pair);
        if (slot)
            assert_ptr_equal(pair.channel.parked, slot);
        slot = pair.channel.parked;
        for (int k = 0; k < i; k++)
            pair_echo(&pair, 50, 16384);
        pair_close(&pair);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(self_test_passes),
        TEST(every_length_around_the_limits_goes_both_ways),
        TEST(records_on_the_wire_are_padded),
        TEST(key_updates_of_both_sides_in_any_order),
        TEST(key_updates_may_come_in_pieces_and_in_many_records),
        TEST(each_bad_message_meets_its_alert_as_from_openssl),
        TEST(each_bad_record_meets_its_alert),
        TEST(each_changed_bit_meets_bad_record_mac),
        TEST(inner_text_may_be_so_long),
        TEST(data_amid_a_handshake_message_is_refused),
        TEST(alerts_of_the_peer_end_it_without_an_answer),
        TEST(floods_without_data_are_ended),
        TEST(peer_that_never_changes_its_key_is_asked_and_cut_off),
        TEST(stock_peer_lives_beyond_the_limit),
        TEST(parks_at_a_boundary_only),
        TEST(half_a_key_update_is_waited_for),
        TEST(counters_that_do_not_prove_themselves_are_not_parked),
        TEST(keys_of_connections_that_take_turns_are_their_own),
        TEST(live_connections_update_their_keys_too),
        TEST(slot_is_used_again_and_holds_nothing_of_before),
    };
    secrets = SECRETS_KDF;
    int failed = cmocka_run_group_tests_name("parking", tests, NULL, NULL);
    secrets = SECRETS_KEYLOG;
    return failed + cmocka_run_group_tests_name("parking, keylog", tests, NULL, NULL);
}
