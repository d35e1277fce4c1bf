/*
 * crypto/statement: each claim is required, of its type, within its bounds, and nothing else is let in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "crypto/statement.h"

#define DISPLAY "l1PPqYlxiYJdSF8shdFwYpEmUaEWpgBgjhpx4_5MjJ8"
#define APPROVE                                                                                              \
    "{\"v\":1,\"iss\":\"device\",\"org\":\"acme\",\"sub\":\"ada\",\"aud\":\"portal\",\"jti\":\"challenge\"," \
    "\"nonce\":\"AAECAwQFBgcICQoLDA0ODw\",\"decision\":\"approve\",\"mode\":\"code\",\"code\":\"042\","      \
    "\"display\":\"" DISPLAY "\",\"gen\":7,\"iat\":1700000000,\"exp\":1700000060}"

static const char *const claim_names[] = {"v",        "iss",  "org",  "sub",     "aud", "jti", "nonce",
                                          "decision", "mode", "code", "display", "gen", "iat", "exp"};
#define CLAIM_COUNT (sizeof claim_names / sizeof *claim_names)

static enum err parse(const char *text, struct statement *ret)
{
    return statement_parse(bytes_of(text), ret);
}

/* APPROVE with @p claim set to @p json, or without it where that is NULL. */
static enum err parse_with(const char *claim, const char *json)
{
    struct statement statement;
    json_t *claims = json_loads(APPROVE, 0, NULL);
    assert_non_null(claims);
    if (json)
        assert_int_equal(json_object_set_new(claims, claim, json_loads(json, JSON_DECODE_ANY, NULL)), 0);
    else
        assert_int_equal(json_object_del(claims, claim), 0);
    char *text = json_dumps(claims, JSON_COMPACT);
    assert_non_null(text);
    enum err e = parse(text, &statement);
    free(text);
    json_decref(claims);
    return e;
}

static enum err parse_decision(const char *decision, const char *mode, const char *code)
{
    struct statement statement;
    json_t *claims = json_loads(APPROVE, 0, NULL);
    assert_non_null(claims);
    json_object_set_new(claims, "decision", json_string(decision));
    json_object_set_new(claims, "mode", json_string(mode));
    if (code)
        json_object_set_new(claims, "code", json_string(code));
    else
        json_object_del(claims, "code");
    char *text = json_dumps(claims, 0);
    assert_non_null(text);
    enum err e = parse(text, &statement);
    free(text);
    json_decref(claims);
    return e;
}

static void test_approve(void **state)
{
    (void)state;
    struct statement s;
    assert_int_equal(parse(APPROVE, &s), ERR_OK);
    assert_string_equal(s.iss, "device");
    assert_string_equal(s.org, "acme");
    assert_string_equal(s.sub, "ada");
    assert_string_equal(s.aud, "portal");
    assert_string_equal(s.jti, "challenge");
    assert_int_equal(s.nonce_len, 16);
    assert_memory_equal(s.nonce, "\0\1\2\3\4\5\6\7\x8\x9\xa\xb\xc\xd\xe\xf", 16);
    assert_int_equal(s.decision, DECISION_APPROVE);
    assert_int_equal(s.mode, MODE_CODE);
    assert_string_equal(s.code, "042");
    char display[BASE64URL_SIZE(SHA256_BYTES)];
    base64url_encode(bytes_make(s.display, sizeof s.display), display);
    assert_string_equal(display, DISPLAY);
    assert_int_equal(s.gen, 7);
    assert_int_equal(s.iat_s, 1700000000);
    assert_int_equal(s.exp_s, 1700000060);
}

static void test_every_claim_is_required(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLAIM_COUNT; i++)
        assert_int_equal(parse_with(claim_names[i], NULL), ERR_INVALID);
}

static void test_every_wrong_type_is_refused(void **state)
{
    (void)state;
    const char *const values[] = {"null", "true", "[]", "{}", "1.0", "\"\"", "-1", "[\"acme\"]"};
    for (size_t i = 0; i < CLAIM_COUNT; i++) {
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            enum err e = parse_with(claim_names[i], values[k]);
            bool other_version = strcmp(claim_names[i], "v") == 0 && strcmp(values[k], "-1") == 0;
            if (e != (other_version ? ERR_UNSUPPORTED : ERR_INVALID))
                fail_msg("%s = %s: %s", claim_names[i], values[k], err_name(e));
        }
    }
}

static void test_unknown_and_duplicate_claims_are_refused(void **state)
{
    (void)state;
    char text[1024];
    struct statement s;
    assert_int_equal(parse_with("nbf", "1"), ERR_INVALID);
    assert_int_equal(parse_with("", "null"), ERR_INVALID);
    for (size_t i = 0; i < CLAIM_COUNT; i++) {
        snprintf(text, sizeof text, "{\"%s\":1,%s", claim_names[i], &APPROVE[1]);
        assert_int_equal(parse(text, &s), ERR_MALFORMED);
    }
}

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    struct statement s;
    for (size_t len = 0; len < strlen(APPROVE); len++) {
        char *cut = malloc(len ? len : 1);
        assert_non_null(cut);
        memcpy(cut, APPROVE, len);
        assert_int_equal(statement_parse(bytes_make(cut, len), &s), ERR_MALFORMED);
        free(cut);
    }
    assert_int_equal(parse(APPROVE "}", &s), ERR_MALFORMED);
    assert_int_equal(parse("[" APPROVE "]", &s), ERR_MALFORMED);
}

static void test_code_goes_with_the_decision(void **state)
{
    (void)state;
    const char *const decisions[] = {"approve", "deny", "not_me"};
    const char *const modes[] = {"tap", "choose", "code"};
    for (int d = 0; d < 3; d++) {
        for (int m = 0; m < 3; m++) {
            bool wanted = d == 0 && m != 0;
            assert_int_equal(parse_decision(decisions[d], modes[m], NULL), wanted ? ERR_INVALID : ERR_OK);
            assert_int_equal(parse_decision(decisions[d], modes[m], "12"), wanted ? ERR_OK : ERR_INVALID);
        }
    }
    assert_int_equal(parse_decision("Approve", "code", "12"), ERR_INVALID);
    assert_int_equal(parse_decision("approve", "TAP", NULL), ERR_INVALID);
}

static void test_code_bounds(void **state)
{
    (void)state;
    assert_int_equal(parse_with("code", "\"0\""), ERR_OK);
    assert_int_equal(parse_with("code", "\"12345678\""), ERR_OK);
    assert_int_equal(parse_with("code", "\"123456789\""), ERR_INVALID);
    assert_int_equal(parse_with("code", "\"12a\""), ERR_INVALID);
    assert_int_equal(parse_with("code", "\" 12\""), ERR_INVALID);
    assert_int_equal(parse_with("code", "\"-1\""), ERR_INVALID);
    assert_int_equal(parse_with("code", "\"\xd9\xa1\xd9\xa2\""), ERR_INVALID); /* Arabic-Indic 12 */
}

static void test_string_bounds(void **state)
{
    (void)state;
    static const char *const names[] = {"iss", "org", "sub", "aud", "jti"};
    char json[STATEMENT_STRING_MAX_BYTES + 4];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (int len = STATEMENT_STRING_MAX_BYTES; len <= STATEMENT_STRING_MAX_BYTES + 1; len++) {
            snprintf(json, sizeof json, "\"%0*d\"", len, 0);
            enum err expected = len <= STATEMENT_STRING_MAX_BYTES ? ERR_OK : ERR_INVALID;
            assert_int_equal(parse_with(names[i], json), expected);
        }
    }
}

static void test_bytes_bounds(void **state)
{
    (void)state;
    uint8_t bytes[STATEMENT_NONCE_MAX_BYTES + 1] = {0};
    char json[128], text[BASE64URL_SIZE(sizeof bytes)];
    for (size_t len = 0; len <= sizeof bytes; len++) {
        base64url_encode(bytes_make(bytes, len), text);
        snprintf(json, sizeof json, "\"%s\"", text);
        bool nonce_fits = len >= STATEMENT_NONCE_MIN_BYTES && len <= STATEMENT_NONCE_MAX_BYTES;
        assert_int_equal(parse_with("nonce", json), nonce_fits ? ERR_OK : ERR_INVALID);
        assert_int_equal(parse_with("display", json), len == SHA256_BYTES ? ERR_OK : ERR_INVALID);
    }
    assert_int_equal(parse_with("nonce", "\"AAECAwQFBgcICQoLDA0ODw==\""), ERR_INVALID);
    assert_int_equal(parse_with("nonce", "\"AAECAwQFBgcICQoLDA0ODx\""), ERR_INVALID); /* unused bits set */
    assert_int_equal(parse_with("nonce", "\"AAECAwQFBgcICQoLDA0O+w\""), ERR_INVALID);
}

static void test_number_bounds(void **state)
{
    (void)state;
    struct statement s;
    assert_int_equal(parse_with("v", "2"), ERR_UNSUPPORTED);
    assert_int_equal(parse_with("v", "0"), ERR_UNSUPPORTED);
    assert_int_equal(parse_with("gen", "0"), ERR_OK);
    assert_int_equal(parse_with("gen", "4294967295"), ERR_OK);
    assert_int_equal(parse_with("gen", "4294967296"), ERR_INVALID);
    assert_int_equal(parse_with("iat", "253402300799"), ERR_OK);
    assert_int_equal(parse_with("iat", "253402300800"), ERR_INVALID);
    assert_int_equal(parse_with("exp", "9223372036854775807"), ERR_INVALID);
    assert_int_equal(parse("{\"exp\":9223372036854775808}", &s), ERR_MALFORMED);
}

static void test_longest_payload(void **state)
{
    (void)state;
    char text[STATEMENT_MAX_BYTES + 2];
    struct statement s;
    snprintf(text, sizeof text, "%-*s", STATEMENT_MAX_BYTES, APPROVE);
    assert_int_equal(parse(text, &s), ERR_OK);
    snprintf(text, sizeof text, "%-*s", STATEMENT_MAX_BYTES + 1, APPROVE);
    assert_int_equal(parse(text, &s), ERR_TOO_BIG);
}

static void test_strings_are_utf8_without_nul(void **state)
{
    (void)state;
    struct statement s;
    assert_int_equal(parse_with("sub", "\"J\xc3\xbcrg\""), ERR_OK);
    assert_int_equal(parse("{\"sub\":\"\xc3\"}", &s), ERR_MALFORMED);
    assert_int_equal(parse("{\"sub\":\"a\\u0000b\"}", &s), ERR_MALFORMED);
    assert_int_equal(parse("{\"sub\":\"\\ud800\"}", &s), ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_approve),
        cmocka_unit_test(test_every_claim_is_required),
        cmocka_unit_test(test_every_wrong_type_is_refused),
        cmocka_unit_test(test_unknown_and_duplicate_claims_are_refused),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_code_goes_with_the_decision),
        cmocka_unit_test(test_code_bounds),
        cmocka_unit_test(test_string_bounds),
        cmocka_unit_test(test_bytes_bounds),
        cmocka_unit_test(test_number_bounds),
        cmocka_unit_test(test_longest_payload),
        cmocka_unit_test(test_strings_are_utf8_without_nul),
    };
    return cmocka_run_group_tests_name("statement", tests, NULL, NULL);
}
