/*
 * crypto/jws: what is signed parses and verifies, everything else about the form is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "crypto/jws.h"

#define MAX_BYTES 2048
#define TYP       "nanopush-approval+jwt"
#define KID       "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
#define HEADER    "{\"alg\":\"ES256\",\"typ\":\"" TYP "\",\"kid\":\"" KID "\"}"
#define PAYLOAD   "{\"v\":1}"

static struct p256_key *key;
static uint8_t pub[P256_PUBLIC_BYTES];

static int make_key(void **state)
{
    (void)state;
    return p256_key_new(&key) != ERR_OK || p256_key_public(key, pub) != ERR_OK;
}

static int free_key(void **state)
{
    (void)state;
    p256_key_free(key);
    return 0;
}

/* A signed JWS; NUL-terminated. */
static void make_jws(const char *header, const char *payload, char out[MAX_BYTES])
{
    char header_text[1024], payload_text[1024], signature_text[BASE64URL_SIZE(P256_SIGNATURE_BYTES)];
    uint8_t signature[P256_SIGNATURE_BYTES];
    base64url_encode(bytes_of(header), header_text);
    base64url_encode(bytes_of(payload), payload_text);
    snprintf(out, MAX_BYTES, "%s.%s", header_text, payload_text);
    assert_int_equal(p256_sign(key, bytes_of(out), signature), ERR_OK);
    base64url_encode(bytes_make(signature, sizeof signature), signature_text);
    strcat(strcat(out, "."), signature_text);
}

static enum err parse_header(const char *header)
{
    char text[MAX_BYTES];
    struct jws jws;
    make_jws(header, PAYLOAD, text);
    enum err e = jws_parse(bytes_of(text), MAX_BYTES, &jws);
    if (e == ERR_OK)
        jws_done(&jws);
    return e;
}

static void test_signed_parses_and_verifies(void **state)
{
    (void)state;
    char text[MAX_BYTES];
    struct jws jws;
    make_jws(HEADER, PAYLOAD, text);
    assert_int_equal(jws_parse(bytes_of(text), strlen(text), &jws), ERR_OK);
    assert_string_equal(jws.typ, TYP);
    assert_string_equal(jws.kid, KID);
    assert_int_equal(buf_len(&jws.payload), strlen(PAYLOAD));
    assert_memory_equal(buf_view(&jws.payload).p, PAYLOAD, strlen(PAYLOAD));
    assert_int_equal(jws_verify(&jws, pub), ERR_OK);
    jws.signature[0] ^= 1;
    assert_int_equal(jws_verify(&jws, pub), ERR_BAD_SIGNATURE);
    jws_done(&jws);
}

static void test_order_of_members_is_free(void **state)
{
    (void)state;
    assert_int_equal(parse_header("{ \"kid\": \"" KID "\", \"typ\": \"x\", \"alg\": \"ES256\" }"), ERR_OK);
}

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    char text[MAX_BYTES];
    struct jws jws;
    make_jws(HEADER, PAYLOAD, text);
    for (size_t len = 0; len < strlen(text); len++) {
        char *cut = malloc(len ? len : 1); /* of its very size, so that the sanitizer sees a read behind it */
        assert_non_null(cut);
        memcpy(cut, text, len);
        assert_int_equal(jws_parse(bytes_make(cut, len), MAX_BYTES, &jws), ERR_MALFORMED);
        free(cut);
    }
}

/* Whatever the change: no parse, or no signature. The last character of each part has unused bits. */
static void test_every_changed_character_is_refused(void **state)
{
    (void)state;
    char text[MAX_BYTES];
    struct jws jws;
    make_jws(HEADER, PAYLOAD, text);
    for (size_t i = 0; i < strlen(text); i++) {
        char was = text[i];
        for (const char *c = "Ab0-.=+ \n"; *c; c++) {
            if (*c == was)
                continue;
            text[i] = *c;
            if (jws_parse(bytes_of(text), MAX_BYTES, &jws) != ERR_OK)
                continue;
            assert_int_equal(jws_verify(&jws, pub), ERR_BAD_SIGNATURE);
            jws_done(&jws);
        }
        text[i] = was;
    }
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_limits(void **state)
{
    (void)state;
    char text[MAX_BYTES], header[JWS_HEADER_MAX_BYTES + 2], typ[JWS_TYP_SIZE + 1];
    struct jws jws;
    make_jws(HEADER, PAYLOAD, text);
    assert_int_equal(jws_parse(bytes_of(text), strlen(text) - 1, &jws), ERR_TOO_BIG);

    snprintf(header, sizeof header, "%-*s", JWS_HEADER_MAX_BYTES, HEADER);
    assert_int_equal(parse_header(header), ERR_OK);
    snprintf(header, sizeof header, "%-*s", JWS_HEADER_MAX_BYTES + 1, HEADER);
    assert_int_equal(parse_header(header), ERR_TOO_BIG);

    memset(typ, 't', sizeof typ);
    for (size_t len = JWS_TYP_SIZE - 1; len <= JWS_TYP_SIZE; len++) {
        typ[len] = '\0';
        snprintf(header, sizeof header, "{\"alg\":\"ES256\",\"typ\":\"%s\",\"kid\":\"%s\"}", typ, KID);
        assert_int_equal(parse_header(header), len < JWS_TYP_SIZE ? ERR_OK : ERR_INVALID);
        typ[len] = 't';
    }
}

static void test_refused_headers(void **state)
{
    (void)state;
#define WITH(alg, typ, kid, rest) "{\"alg\":" alg ",\"typ\":" typ ",\"kid\":" kid rest "}"
#define S(text)                   "\"" text "\""
    const struct {
        const char *header;
        enum err expected;
    } rows[] = {
        {"", ERR_MALFORMED},
        {"[]", ERR_MALFORMED},
        {"\"ES256\"", ERR_MALFORMED},
        {HEADER "x", ERR_MALFORMED},
        {HEADER HEADER, ERR_MALFORMED},
        {WITH(S("ES256"), S("t"), S(KID), ",\"alg\":\"ES256\""), ERR_MALFORMED},
        {WITH(S("ES256"), S("t\\u0000"), S(KID), ""), ERR_MALFORMED},
        {WITH(S("ES256"), S("\xff"), S(KID), ""), ERR_MALFORMED},
        {"{}", ERR_INVALID},
        {WITH(S("none"), S("t"), S(KID), ""), ERR_UNSUPPORTED},
        {WITH(S("HS256"), S("t"), S(KID), ""), ERR_UNSUPPORTED},
        {WITH(S("es256"), S("t"), S(KID), ""), ERR_UNSUPPORTED},
        {WITH("256", S("t"), S(KID), ""), ERR_INVALID},
        {WITH(S("ES256"), "null", S(KID), ""), ERR_INVALID},
        {WITH(S("ES256"), S(""), S(KID), ""), ERR_INVALID},
        {WITH(S("ES256"), S("t"), "[]", ""), ERR_INVALID},
        {WITH(S("ES256"), S("t"), S(""), ""), ERR_INVALID},
        {WITH(S("ES256"), S("t"), S("oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-"), ""), ERR_INVALID},
        {WITH(S("ES256"), S("t"), S("oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-V"), ""), ERR_INVALID},
        {WITH(S("ES256"), S("t"), S(KID "="), ""), ERR_INVALID},
        {WITH(S("ES256"), S("t"), S(KID), ",\"crit\":[]"), ERR_INVALID},
        {WITH(S("ES256"), S("t"), S(KID), ",\"jwk\":{}"), ERR_INVALID},
        {"{\"alg\":\"ES256\",\"typ\":\"t\"}", ERR_INVALID},
    };
#undef WITH
#undef S
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum err e = parse_header(rows[i].header);
        if (e != rows[i].expected)
            fail_msg("%s: %s, not %s", rows[i].header, err_name(e), err_name(rows[i].expected));
    }
}

static void test_other_numbers_of_parts(void **state)
{
    (void)state;
    char text[MAX_BYTES];
    struct jws jws;
    make_jws(HEADER, PAYLOAD, text);
    strcat(text, ".");
    assert_int_equal(jws_parse(bytes_of(text), MAX_BYTES, &jws), ERR_MALFORMED);
    strcat(text, "AAAA");
    assert_int_equal(jws_parse(bytes_of(text), MAX_BYTES, &jws), ERR_MALFORMED);
    assert_int_equal(jws_parse(bytes_of("."), MAX_BYTES, &jws), ERR_MALFORMED);
    assert_int_equal(jws_parse(bytes_of(".."), MAX_BYTES, &jws), ERR_MALFORMED);
    assert_int_equal(jws_parse(bytes_of(NULL), MAX_BYTES, &jws), ERR_MALFORMED);
}

static void test_empty_payload(void **state)
{
    (void)state;
    char text[MAX_BYTES];
    struct jws jws;
    make_jws(HEADER, "", text);
    assert_int_equal(jws_parse(bytes_of(text), MAX_BYTES, &jws), ERR_OK);
    assert_int_equal(buf_len(&jws.payload), 0);
    assert_int_equal(jws_verify(&jws, pub), ERR_OK);
    jws_done(&jws);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signed_parses_and_verifies),
        cmocka_unit_test(test_order_of_members_is_free),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_every_changed_character_is_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_refused_headers),
        cmocka_unit_test(test_other_numbers_of_parts),
        cmocka_unit_test(test_empty_payload),
    };
    return cmocka_run_group_tests_name("jws", tests, make_key, free_key);
}
