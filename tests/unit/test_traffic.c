/** crypto/traffic against the values of RFC 8448, section 3, and against damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "crypto/hkdf.h"
#include "crypto/traffic.h"

static struct traffic_ciphers *ciphers;

static const struct traffic_suite *const aes128 = &traffic_suites[TRAFFIC_AES_128_GCM];

struct side {
    uint8_t secret[32], key[16], iv[TRAFFIC_IV_BYTES];
};

static struct side side_of(const char *secret)
{
    struct side side;
    assert_int_equal(hex_decode(bytes_of(secret), side.secret, 32), ERR_OK);
    assert_int_equal(traffic_expand(aes128, side.secret, "key", side.key, 16), ERR_OK);
    assert_int_equal(traffic_expand(aes128, side.secret, "iv", side.iv, 12), ERR_OK);
    return side;
}

static struct side client(void)
{
    return side_of("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");
}

static struct side server(void)
{
    return side_of("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643");
}

static void expect_hex(const uint8_t *p, size_t len, const char *hex)
{
    char text[HEX_SIZE(64)];
    hex_encode(bytes_make(p, len), text);
    assert_string_equal(text, hex);
}

static void keys_are_those_of_rfc_8448(void **state)
{
    (void)state;
    struct side c = client(), s = server();
    expect_hex(c.key, 16, "17422dda596ed5d9acd890e3c63f5051");
    expect_hex(c.iv, 12, "5b78923dee08579033e523d9");
    expect_hex(s.key, 16, "9f02283b6c9c07efc26bb9f2ac92e356");
    expect_hex(s.iv, 12, "cf782b88dd83549aadf1e984");
}

/* Seals what the RFC shows as sent, and opens what it shows on the wire. */
static void expect_record(const struct side *side, uint64_t sequence, struct bytes inner,
                          const char *wire_hex)
{
    uint8_t wire[128], text[128], header[TRAFFIC_HEADER_BYTES];
    size_t len = strlen(wire_hex) / 2;
    struct traffic_key key = {side->key, side->iv};
    assert_int_equal(hex_decode(bytes_of(wire_hex), wire, len), ERR_OK);
    memcpy(header, wire, sizeof header);
    assert_int_equal(len, sizeof header + inner.len + TRAFFIC_TAG_BYTES);
    struct bytes sealed = bytes_make(wire + sizeof header, len - sizeof header);
    assert_int_equal(traffic_open(ciphers, aes128, key, sequence, header, sealed, text), ERR_OK);
    assert_memory_equal(text, inner.p, inner.len);
    memcpy(text, inner.p, inner.len);
    assert_int_equal(traffic_seal(ciphers, aes128, key, sequence, header, text, inner.len), ERR_OK);
    assert_memory_equal(text, sealed.p, sealed.len);
}

static void records_are_those_of_rfc_8448(void **state)
{
    (void)state;
    struct side c = client(), s = server();
    uint8_t inner[51];
    for (uint8_t i = 0; i < 50; i++)
        inner[i] = i;
    inner[50] = 23;
    expect_record(
        &c, 0, bytes_make(inner, 51),
        "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b"
        "62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4");
    expect_record(
        &s, 1, bytes_make(inner, 51),
        "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a59a8"
        "fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d");
    expect_record(&c, 1, bytes_make("\x01\x00\x15", 3), "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3");
    expect_record(&s, 2, bytes_make("\x01\x00\x15", 3), "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9");
}

static void what_is_changed_anywhere_does_not_open(void **state)
{
    (void)state;
    for (size_t i = 0; i < TRAFFIC_SUITE_COUNT; i++) {
        const struct traffic_suite *suite = &traffic_suites[i];
        const uint8_t header[TRAFFIC_HEADER_BYTES] = {23, 3, 3, 0, 20 + TRAFFIC_TAG_BYTES};
        uint8_t key[TRAFFIC_KEY_MAX_BYTES] = {1}, iv[TRAFFIC_IV_BYTES] = {2},
                sealed[20 + TRAFFIC_TAG_BYTES] = {3};
        uint8_t text[sizeof sealed], other[TRAFFIC_HEADER_BYTES];
        struct traffic_key k = {key, iv};
        assert_int_equal(traffic_seal(ciphers, suite, k, 5, header, sealed, 20), ERR_OK);
        struct bytes whole = bytes_make(sealed, sizeof sealed);
        for (size_t at = 0; at < sizeof sealed; at++) {
            sealed[at] ^= 1;
            memset(text, 9, sizeof text);
            assert_int_equal(traffic_open(ciphers, suite, k, 5, header, whole, text), ERR_DENIED);
            for (size_t n = 0; n < 20; n++)
                assert_int_equal(text[n], 0); /* nothing unchecked is left */
            sealed[at] ^= 1;
            assert_int_equal(traffic_open(ciphers, suite, k, 5, header, whole, text), ERR_OK);
        }
        for (size_t at = 0; at < sizeof header; at++) {
            memcpy(other, header, sizeof header);
            other[at] ^= 1;
            assert_int_equal(traffic_open(ciphers, suite, k, 5, other, whole, text), ERR_DENIED);
        }
        assert_int_equal(traffic_open(ciphers, suite, k, 4, header, whole, text), ERR_DENIED);
        assert_int_equal(traffic_open(ciphers, suite, k, 6, header, whole, text), ERR_DENIED);
        for (size_t len = 0; len < sizeof sealed; len++)
            assert_int_equal(traffic_open(ciphers, suite, k, 5, header, bytes_make(sealed, len), text),
                             ERR_DENIED);
        assert_int_equal(ERR_peek_error(), 0);
    }
}

static void empty_text_is_sealed_and_opened(void **state)
{
    (void)state;
    const uint8_t header[TRAFFIC_HEADER_BYTES] = {23, 3, 3, 0, TRAFFIC_TAG_BYTES};
    for (size_t i = 0; i < TRAFFIC_SUITE_COUNT; i++) {
        uint8_t key[TRAFFIC_KEY_MAX_BYTES] = {1}, iv[TRAFFIC_IV_BYTES] = {2}, sealed[TRAFFIC_TAG_BYTES],
                text[1] = {7};
        struct traffic_key k = {key, iv};
        assert_int_equal(traffic_seal(ciphers, &traffic_suites[i], k, 0, header, sealed, 0), ERR_OK);
        assert_int_equal(
            traffic_open(ciphers, &traffic_suites[i], k, 0, header, bytes_make(sealed, sizeof sealed), text),
            ERR_OK);
        sealed[3] ^= 1;
        assert_int_equal(
            traffic_open(ciphers, &traffic_suites[i], k, 0, header, bytes_make(sealed, sizeof sealed), text),
            ERR_DENIED);
        assert_int_equal(text[0], 7);
    }
}

static void bad_lengths_are_refused(void **state)
{
    (void)state;
    struct side c = client();
    uint8_t out[TRAFFIC_SECRET_MAX_BYTES + 1];
    char too_long[HKDF_LABEL_MAX_BYTES + 2];
    memset(too_long, 'x', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = '\0';
    assert_int_equal(traffic_expand(aes128, c.secret, "key", out, 0), ERR_INVALID);
    assert_int_equal(traffic_expand(aes128, c.secret, "key", out, 33), ERR_INVALID);
    assert_int_equal(traffic_expand(aes128, c.secret, "traffic upd", out, 32), ERR_OK);
    assert_int_equal(traffic_expand(aes128, c.secret, too_long, out, 32), ERR_INVALID);
    assert_int_equal(traffic_expand(aes128, c.secret, too_long + 1, out, 32), ERR_OK);
    assert_null(traffic_suite_find(0x1304));
    assert_ptr_equal(traffic_suite_find(0x1301), aes128);
}

static int set_up(void **state)
{
    (void)state;
    ciphers = traffic_ciphers_new();
    return ciphers ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    traffic_ciphers_forget(ciphers, aes128);
    traffic_ciphers_free(ciphers);
    traffic_ciphers_free(NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_those_of_rfc_8448),
        cmocka_unit_test(records_are_those_of_rfc_8448),
        cmocka_unit_test(what_is_changed_anywhere_does_not_open),
        cmocka_unit_test(empty_text_is_sealed_and_opened),
        cmocka_unit_test(bad_lengths_are_refused),
    };
    return cmocka_run_group_tests_name("traffic", tests, set_up, tear_down);
}
