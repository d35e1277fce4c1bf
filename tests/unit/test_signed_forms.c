/**
 * What a phone signs, approval, refusal, rotation, unlock and removal, through everything that reads it: crypto/jws,
 * crypto/statement, crypto/act, domain/answer. Each form that JOSE or JSON could be wrong in, rightly signed as it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/bn.h>

#include "answer_fixture.h"
#include "crypto/act.h"
#include "domain/answer.h"
#include "nanopush/v1/common.pb-c.h"

#define TAG    "0123456789abcdef0123"
#define DEVICE "00112233445566778899aabbccddeeff-" TAG
#define ID     "ffeeddccbbaa99887766554433221100-" TAG
#define EXPIRE 1800000060 /* seconds */
#define BIND   "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

enum kind { APPROVAL, REFUSAL, ROTATION, UNLOCK, REMOVE, KIND_COUNT };

static const char *const types[KIND_COUNT] = {JWS_TYP_APPROVAL, JWS_TYP_REFUSAL, JWS_TYP_ROTATION,
                                              JWS_TYP_UNLOCK, JWS_TYP_REMOVE};
static Record__Device device = RECORD__DEVICE__INIT;
static Record__Challenge challenge = RECORD__CHALLENGE__INIT;
static const struct challenge_view view = {
    .record = &challenge, .state = CHALLENGE_PENDING, .expire_unix_ms = EXPIRE * INT64_C(1000)};
static uint8_t nonce[16] = "0123456789abcde";

static int group_set_up(void **state)
{
    (void)state;
    device.id = DEVICE;
    device.organisation = challenge.organisation = "acme";
    device.user = challenge.user = "ada";
    device.generation = 3;
    device.possession_key = (ProtobufCBinaryData){.data = points[POSSESSION], .len = P256_PUBLIC_BYTES};
    device.user_verification_key =
        (ProtobufCBinaryData){.data = points[USER_VERIFICATION], .len = P256_PUBLIC_BYTES};
    challenge.id = ID;
    challenge.portal = "intranet";
    challenge.nonce = (ProtobufCBinaryData){.data = nonce, .len = sizeof nonce};
    challenge.mode = NANOPUSH__V1__MODE__MODE_TAP;
    challenge.user_verification = NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_REQUIRED;
    return make_keys();
}

static int group_tear_down(void **state)
{
    (void)state;
    free_keys();
    return 0;
}

/* ---- a good one, as texts ---- */

struct texts {
    char header[1024], claims[8192];
};

static void write_good(enum kind kind, struct texts *ret)
{
    struct claim claims[CLAIMS_MAX];
    snprintf(ret->header, sizeof ret->header, "{\"alg\":\"ES256\",\"typ\":\"%s\",\"kid\":\"%s\"}",
             types[kind], kids[USER_VERIFICATION]);
    size_t len = (size_t)snprintf(ret->claims, sizeof ret->claims, "{");
    size_t count = good_claims(claims, kind == APPROVAL ? "approve" : "deny", &device, &challenge, EXPIRE);
    for (size_t i = 0; i < count; i++) {
        bool common = strstr("v iss org sub gen iat", claims[i].name) != NULL;
        if (kind <= REFUSAL || common)
            len += (size_t)snprintf(ret->claims + len, sizeof ret->claims - len, "%s\"%s\":%s",
                                    len == 1 ? "" : ",", claims[i].name, claims[i].json);
    }
    if (kind == ROTATION)
        snprintf(ret->claims + len, sizeof ret->claims - len, ",\"tp1\":\"%s\",\"tp2\":\"%s\"}",
                 kids[POSSESSION], kids[STRANGER]);
    else
        snprintf(ret->claims + len, sizeof ret->claims - len,
                 kind > ROTATION ? ",\"cb\":\"" BIND "\"}" : "}");
}

/* ---- opening one, as device/ and domain/ do ---- */

static enum err open_answer(struct bytes compact)
{
    struct answer answer;
    enum challenge_state became;
    TRY(answer_open(compact, &device, &answer));
    enum err e = answer_judge(&answer, &device, &view, "", &became);
    answer_done(&answer);
    return e;
}

static enum err open_act(enum kind kind, struct bytes compact)
{
    struct jws jws;
    struct act act;
    TRY(jws_parse(compact, ANSWER_MAX_BYTES, &jws));
    enum err e =
        strcmp(jws.typ, types[kind]) != 0 ? ERR_INVALID : jws_verify(&jws, points[USER_VERIFICATION]);
    if (e == ERR_OK && strcmp(jws.kid, kids[USER_VERIFICATION]) != 0)
        e = ERR_BAD_SIGNATURE;
    if (e == ERR_OK && act_parse(buf_view(&jws.payload), kind == ROTATION, &act) != ERR_OK)
        e = ERR_INVALID;
    if (e == ERR_OK && (strcmp(act.iss, DEVICE) != 0 || act.gen != device.generation))
        e = ERR_INVALID;
    jws_done(&jws);
    return e;
}

static enum err open_kind(enum kind kind, struct bytes compact)
{
    return kind <= REFUSAL ? open_answer(compact) : open_act(kind, compact);
}

/* The parts are base64url, or what a row has made of it; the signature is over just that. */
static enum err open_parts(enum kind kind, const char *header, const char *claims)
{
    struct buf jws = {0};
    uint8_t signature[P256_SIGNATURE_BYTES];
    assert_int_equal(buf_printf(&jws, "%s.%s", header, claims), ERR_OK);
    assert_int_equal(p256_sign(keys[USER_VERIFICATION], buf_view(&jws), signature), ERR_OK);
    assert_int_equal(buf_append_byte(&jws, '.'), ERR_OK);
    append_part(&jws, bytes_make(signature, sizeof signature));
    enum err e = open_kind(kind, buf_view(&jws));
    buf_done(&jws);
    return e;
}

static void encode(const char *text, char out[BASE64URL_SIZE(8192)])
{
    base64url_encode(bytes_of(text), out);
}

static enum err open_texts(enum kind kind, const struct texts *texts)
{
    static char header[BASE64URL_SIZE(8192)], claims[BASE64URL_SIZE(8192)];
    encode(texts->header, header);
    encode(texts->claims, claims);
    return open_parts(kind, header, claims);
}

/* ---- rows: one piece of text in the place of another ---- */

struct change {
    const char *from, *to; /* from "": in front; from "$": behind */
    enum err expected;
};

static bool replace(char *text, size_t size, const struct change *change)
{
    static char out[8192];
    char *at = strcmp(change->from, "$") == 0 ? text + strlen(text) : strstr(text, change->from);
    size_t from_len = strcmp(change->from, "$") == 0 ? 0 : strlen(change->from);
    if (!at)
        return false;
    int len = snprintf(out, sizeof out, "%.*s%s%s", (int)(at - text), text, change->to, at + from_len);
    assert_in_range(len, 0, size - 1);
    memcpy(text, out, (size_t)len + 1);
    return true;
}

static const struct change header_changes[] = {
    {"\"ES256\"", "\"none\"", ERR_UNSUPPORTED},
    {"\"ES256\"", "\"HS256\"", ERR_UNSUPPORTED},
    {"\"ES256\"", "\"RS256\"", ERR_UNSUPPORTED},
    {"\"ES256\"", "\"ES384\"", ERR_UNSUPPORTED},
    {"\"ES256\"", "\"ES256K\"", ERR_UNSUPPORTED},
    {"\"ES256\"", "\"\"", ERR_UNSUPPORTED},
    {"\"ES256\"", "null", ERR_INVALID},
    {"\"ES256\"", "[\"ES256\"]", ERR_INVALID},
    {"\"alg\":\"ES256\",", "", ERR_INVALID},
    {"}", ",\"crit\":[\"exp\"]}", ERR_INVALID},
    {"}", ",\"b64\":false}", ERR_INVALID},
    {"}", ",\"\":0}", ERR_INVALID},
    {"{", "{\"alg\":\"ES256\",", ERR_MALFORMED},
    {"{", "{\"\\u0061lg\":\"none\",", ERR_MALFORMED}, /* the same name, escaped */
    {"}", ",\"kid\":\"x\"}", ERR_MALFORMED},
    {"}", ",\"ty\\u0070\":\"JWT\"}", ERR_MALFORMED},
    {"nanopush-", "application/nanopush-", ERR_INVALID},
    {"nanopush-", "NANOPUSH-", ERR_INVALID},
    {"+jwt", "+jwt ", ERR_INVALID},
    {"+jwt", "+jwt\\u0000", ERR_MALFORMED},
    {"\"kid\"", "\"KID\"", ERR_INVALID},
    {"\"}", "=\"}", ERR_INVALID},
    {"", "\xef\xbb\xbf", ERR_MALFORMED},
    {"", "[", ERR_MALFORMED},
    {"}", ",}", ERR_MALFORMED},
    {"}", "/**/}", ERR_MALFORMED},
    {"}", "}{}", ERR_MALFORMED},
    {"}", "} x", ERR_MALFORMED},
    {"\"alg\"", "'alg'", ERR_MALFORMED},
    {"\"alg\"", "\"al\xff\"", ERR_MALFORMED},
    {"\"ES256\"", "\"\\ud800\"", ERR_MALFORMED},
    {"\"alg\"", "\"\\u0061lg\"", ERR_OK},
    {"\"ES256\"", "\"\\u0045S256\"", ERR_OK},
    {",", " ,\n\t", ERR_OK},
    {"$", "\r\n ", ERR_OK},
};

static const struct change claim_changes[] = {
    {"\"v\":1", "\"v\":1.0", ERR_INVALID},
    {"\"v\":1", "\"v\":1e0", ERR_INVALID},
    {"\"v\":1", "\"v\":true", ERR_INVALID},
    {"\"v\":1", "\"v\":\"1\"", ERR_INVALID},
    {"\"v\":1", "\"v\":2", ERR_INVALID},
    {"\"v\":1", "\"v\":0", ERR_INVALID},
    {"\"v\":1", "\"v\":4294967297", ERR_INVALID},
    {"\"v\":1", "\"v\":18446744073709551617", ERR_INVALID},
    {"\"v\":1", "\"v\":01", ERR_INVALID},
    {"\"v\":1", "\"v\":1,\"v\":1", ERR_INVALID},
    {"\"v\":1", "\"v\":1,\"\\u0076\":1", ERR_INVALID},
    {"\"v\":1", "\"V\":1", ERR_INVALID},
    {"\"v\":1,", "", ERR_INVALID},
    {"\"gen\":3", "\"gen\":3.0", ERR_INVALID},
    {"\"gen\":3", "\"gen\":4294967299", ERR_INVALID},
    {"\"gen\":3", "\"gen\":-3", ERR_INVALID},
    {"\"gen\":3", "\"gen\":+3", ERR_INVALID},
    {"\"gen\":3", "\"gen\":0x3", ERR_INVALID},
    {"\"gen\":3", "\"gen\":3e400", ERR_INVALID},
    {"\"gen\":3", "\"gen\":99999999999999999999999", ERR_INVALID},
    {"\"gen\":3", "\"gen\":NaN", ERR_INVALID},
    {"\"gen\":3", "\"gen\":[3]", ERR_INVALID},
    {"\"iat\":1", "\"iat\":-1", ERR_INVALID},
    {"\"iat\":1800000001", "\"iat\":253402300800", ERR_INVALID}, /* the year 10000 */
    {"\"iat\":1800000001", "\"iat\":1800000001.0", ERR_INVALID},
    {"\"iss\":\"", "\"iss\":\" ", ERR_INVALID},
    {"\"iss\":\"", "\"iss\":\"\\u0000", ERR_INVALID},
    {"\"iss\":\"", "\"iss\":\"\\udc00", ERR_INVALID},
    {"\"iss\":\"", "\"iss\":\"\xc0\x80", ERR_INVALID},
    {"\"iss\":\"", "\"iss\":\"\n", ERR_INVALID},
    {"\"sub\":\"ada\"", "\"sub\":null", ERR_INVALID},
    {"\"sub\":\"ada\"", "\"sub\":{\"sub\":\"ada\"}", ERR_INVALID},
    {"\"sub\":\"ada\"", "\"sub\":\"\"", ERR_INVALID},
    {"\"sub\":\"ada\"", "\"sub\":\"ada\",\"sub\":\"eve\"", ERR_INVALID},
    {"}", ",\"nbf\":1}", ERR_INVALID},
    {"}", ",\"\":null}", ERR_INVALID},
    {"}", ",\"a\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}", ERR_INVALID},
    {"", "\xef\xbb\xbf", ERR_INVALID},
    {"", "[", ERR_INVALID},
    {"}", ",}", ERR_INVALID},
    {"}", "}{}", ERR_INVALID},
    {"}", "} x", ERR_INVALID},
    {"}", "", ERR_INVALID},
    {"\"sub\"", "\"s\\u0075b\"", ERR_OK},
    {"\"sub\":\"ada\"", "\"sub\":\"\\u0061da\"", ERR_OK},
    {",", " ,\n\t", ERR_OK},
    {"$", "\r\n ", ERR_OK},
};

#define COUNT(array) (sizeof array / sizeof *array)

static void try_changes(bool in_header, const struct change *changes, size_t count)
{
    for (int kind = 0; kind < KIND_COUNT; kind++)
        for (size_t i = 0; i < count; i++) {
            struct texts texts;
            write_good((enum kind)kind, &texts);
            if (!(in_header ? replace(texts.header, sizeof texts.header, &changes[i])
                            : replace(texts.claims, sizeof texts.claims, &changes[i])))
                fail_msg("%s has no %s", types[kind], changes[i].from);
            enum err e = open_texts((enum kind)kind, &texts);
            if (e != changes[i].expected)
                fail_msg("%s, %s for %s: %s", types[kind], changes[i].to, changes[i].from, err_name(e));
        }
}

static void every_form_of_header_has_its_error(void **state)
{
    (void)state;
    try_changes(true, header_changes, COUNT(header_changes));
}

static void every_form_of_claims_is_refused(void **state)
{
    (void)state;
    try_changes(false, claim_changes, COUNT(claim_changes));
}

static void type_is_that_of_the_act(void **state)
{
    (void)state;
    for (int kind = 0; kind < KIND_COUNT; kind++)
        for (int typ = 0; typ < KIND_COUNT; typ++) {
            struct texts texts, other;
            write_good((enum kind)kind, &texts);
            write_good((enum kind)typ, &other);
            memcpy(texts.header, other.header, sizeof texts.header);
            assert_int_equal(open_texts((enum kind)kind, &texts), kind == typ ? ERR_OK : ERR_INVALID);
        }
}

static void claims_of_another_kind_are_refused(void **state)
{
    (void)state;
    for (int kind = 0; kind < KIND_COUNT; kind++)
        for (int other = 0; other < KIND_COUNT; other++) {
            struct texts texts, others;
            bool alike = kind == other || (kind >= UNLOCK && other >= UNLOCK);
            write_good((enum kind)kind, &texts);
            write_good((enum kind)other, &others);
            memcpy(texts.claims, others.claims, sizeof texts.claims);
            assert_int_equal(open_texts((enum kind)kind, &texts), alike ? ERR_OK : ERR_INVALID);
        }
}

static void deep_nesting_is_refused_and_overflows_nothing(void **state)
{
    (void)state;
    struct texts texts;
    char deep[4001];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        write_good((enum kind)kind, &texts);
        size_t len = strlen(texts.claims) - 1;
        snprintf(texts.claims + len, sizeof texts.claims - len, ",\"a\":%s", deep);
        assert_int_equal(open_texts((enum kind)kind, &texts), ERR_INVALID);
    }
}

/* ---- base64url ---- */

/* Change the text of one part; it has been encoded from a JSON text whose length leaves unused bits. */
typedef void (*encoding_fn)(char *part);

static void pad(char *part)
{
    strcat(part, strlen(part) % 4 == 2 ? "==" : "=");
}

static void set_trailing_bit(char *part)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char *last = part + strlen(part) - 1;
    *last = digits[(size_t)(strchr(digits, *last) - digits) | 1];
}

static void put_space(char *part)
{
    memmove(part + 5, part + 4, strlen(part + 4) + 1);
    part[4] = ' ';
}

static void put_line_end(char *part)
{
    strcat(part, "\n");
}

static void put_plus(char *part)
{
    part[4] = '+';
}

static void put_slash(char *part)
{
    part[4] = '/';
}

static void put_high_byte(char *part)
{
    part[4] = (char)0xc3;
}

static void cut_to_impossible_length(char *part)
{
    part[strlen(part) / 4 * 4 - 3] = '\0';
}

static void empty(char *part)
{
    part[0] = '\0';
}

static void no_part_has_a_second_encoding(void **state)
{
    (void)state;
    static const encoding_fn encodings[] = {
        pad,           set_trailing_bit,         put_space, put_line_end, put_plus, put_slash,
        put_high_byte, cut_to_impossible_length, empty};
    static char part[2][BASE64URL_SIZE(8192)];
    for (int kind = 0; kind < KIND_COUNT; kind++)
        for (size_t i = 0; i < COUNT(encodings); i++)
            for (int which = 0; which < 2; which++) {
                struct texts texts;
                write_good((enum kind)kind, &texts);
                while (strlen(texts.header) % 3 == 0)
                    strcat(texts.header, " ");
                while (strlen(texts.claims) % 3 == 0)
                    strcat(texts.claims, " ");
                encode(texts.header, part[0]);
                encode(texts.claims, part[1]);
                assert_int_equal(open_parts((enum kind)kind, part[0], part[1]), ERR_OK);
                encodings[i](part[which]);
                bool nothing = which == 1 && part[1][0] == '\0'; /* canonical, and no claims */
                enum err e = open_parts((enum kind)kind, part[0], part[1]);
                if (e != (nothing ? ERR_INVALID : ERR_MALFORMED))
                    fail_msg("%s, encoding %zu of part %d: %s", types[kind], i, which, err_name(e));
            }
}

/* ---- signatures ---- */

/* Put another signature behind a good statement. */
static enum err open_with_signature(enum kind kind, const uint8_t *signature, size_t len)
{
    static char header[BASE64URL_SIZE(8192)], claims[BASE64URL_SIZE(8192)];
    struct texts texts;
    struct buf jws = {0};
    write_good(kind, &texts);
    encode(texts.header, header);
    encode(texts.claims, claims);
    assert_int_equal(buf_printf(&jws, "%s.%s.", header, claims), ERR_OK);
    append_part(&jws, bytes_make(signature, len));
    enum err e = open_kind(kind, buf_view(&jws));
    buf_done(&jws);
    return e;
}

static void sign_good(enum kind kind, uint8_t signature[P256_SIGNATURE_BYTES])
{
    static char header[BASE64URL_SIZE(8192)], claims[BASE64URL_SIZE(8192)];
    struct texts texts;
    struct buf input = {0};
    write_good(kind, &texts);
    encode(texts.header, header);
    encode(texts.claims, claims);
    assert_int_equal(buf_printf(&input, "%s.%s", header, claims), ERR_OK);
    assert_int_equal(p256_sign(keys[USER_VERIFICATION], buf_view(&input), signature), ERR_OK);
    buf_done(&input);
}

#define ORDER "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"

static void read_order(uint8_t order[32])
{
    assert_int_equal(hex_decode(bytes_of(ORDER), order, 32), ERR_OK);
}

/* n - s is as good an s as s is: what is refused as a repeat must not depend on the signature's bytes. */
static void either_s_verifies(void **state)
{
    (void)state;
    uint8_t signature[P256_SIGNATURE_BYTES], order[32];
    read_order(order);
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        sign_good((enum kind)kind, signature);
        BIGNUM *n = BN_bin2bn(order, 32, NULL), *s = BN_bin2bn(signature + 32, 32, NULL);
        assert_true(BN_sub(s, n, s));
        assert_int_equal(open_with_signature((enum kind)kind, signature, 64), ERR_OK);
        assert_int_equal(BN_bn2binpad(s, signature + 32, 32), 32);
        assert_int_equal(open_with_signature((enum kind)kind, signature, 64), ERR_OK);
        BN_free(n);
        BN_free(s);
    }
}

static void no_other_pair_of_numbers_verifies(void **state)
{
    (void)state;
    uint8_t good[P256_SIGNATURE_BYTES], wrong[P256_SIGNATURE_BYTES], values[4][32] = {{0}};
    values[1][31] = 1;
    read_order(values[2]);
    memset(values[3], 0xff, 32);
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        sign_good((enum kind)kind, good);
        for (size_t half = 0; half < 3; half++)
            for (size_t i = 0; i < COUNT(values); i++) {
                memcpy(wrong, good, sizeof wrong);
                if (half != 1)
                    memcpy(wrong, values[i], 32);
                if (half != 0)
                    memcpy(wrong + 32, values[i], 32);
                assert_int_equal(open_with_signature((enum kind)kind, wrong, 64), ERR_BAD_SIGNATURE);
            }
        memcpy(wrong, good + 32, 32);
        memcpy(wrong + 32, good, 32);
        assert_int_equal(open_with_signature((enum kind)kind, wrong, 64), ERR_BAD_SIGNATURE);
    }
}

static void signature_has_64_bytes_and_is_no_der(void **state)
{
    (void)state;
    uint8_t der[8 + P256_SIGNATURE_BYTES] = {0x30, 0x44, 0x02, 0x20};
    sign_good(APPROVAL, der + 8);
    memmove(der + 4, der + 8, 32);
    der[36] = 0x02;
    der[37] = 0x20;
    memmove(der + 38, der + 40, 32);
    for (int kind = 0; kind < KIND_COUNT; kind++)
        for (size_t len = 0; len <= sizeof der; len++)
            assert_int_equal(open_with_signature((enum kind)kind, der, len),
                             len == P256_SIGNATURE_BYTES ? ERR_BAD_SIGNATURE : ERR_MALFORMED);
}

/* ---- who signed ---- */

static void answer_is_by_the_device_whose_key_it_names(void **state)
{
    (void)state;
    struct claim claims[CLAIMS_MAX];
    size_t count = good_claims(claims, "deny", &device, &challenge, EXPIRE);
    for (int kid = 0; kid < KEY_COUNT; kid++) {
        struct buf jws = sign(claims, count, JWS_TYP_REFUSAL, kid, STRANGER);
        assert_int_equal(answer_is_by(buf_view(&jws), &device), kid != STRANGER);
        assert_false(answer_is_by(bytes_make(buf_view(&jws).p, buf_len(&jws) - 1), &device));
        buf_done(&jws);
    }
    assert_false(answer_is_by(bytes_of(""), &device));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_header_has_its_error),
        cmocka_unit_test(every_form_of_claims_is_refused),
        cmocka_unit_test(type_is_that_of_the_act),
        cmocka_unit_test(claims_of_another_kind_are_refused),
        cmocka_unit_test(deep_nesting_is_refused_and_overflows_nothing),
        cmocka_unit_test(no_part_has_a_second_encoding),
        cmocka_unit_test(either_s_verifies),
        cmocka_unit_test(no_other_pair_of_numbers_verifies),
        cmocka_unit_test(signature_has_64_bytes_and_is_no_der),
        cmocka_unit_test(answer_is_by_the_device_whose_key_it_names),
    };
    return cmocka_run_group_tests_name("signed_forms", tests, group_set_up, group_tear_down);
}
