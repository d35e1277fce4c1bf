/** domain/answer: a phone's word, signed here with real keys; every claim wrong, one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "answer_fixture.h"
#include "domain/answer.h"
#include "nanopush/v1/common.pb-c.h"

#define TAG    "0123456789abcdef0123"
#define DEVICE "00112233445566778899aabbccddeeff-" TAG
#define ID     "ffeeddccbbaa99887766554433221100-" TAG
#define EXPIRE 1800000060 /* seconds */

static Record__Device device = RECORD__DEVICE__INIT;
static Record__Challenge record = RECORD__CHALLENGE__INIT;
static struct challenge_view view;
static uint8_t nonce[32] = "an unpredictable nonce";
static uint8_t display[] = "what the person saw";

static int group_set_up(void **state)
{
    (void)state;
    return make_keys();
}

static int group_tear_down(void **state)
{
    (void)state;
    free_keys();
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    device.id = DEVICE;
    device.organisation = record.organisation = "acme";
    device.user = record.user = "J\xc3\xb6rg";
    device.generation = 3;
    device.possession_key = (ProtobufCBinaryData){.data = points[POSSESSION], .len = P256_PUBLIC_BYTES};
    device.user_verification_key =
        (ProtobufCBinaryData){.data = points[USER_VERIFICATION], .len = P256_PUBLIC_BYTES};
    record.id = ID;
    record.portal = "intranet";
    record.nonce = (ProtobufCBinaryData){.data = nonce, .len = sizeof nonce};
    record.display = (ProtobufCBinaryData){.data = display, .len = sizeof display};
    record.mode = NANOPUSH__V1__MODE__MODE_TAP;
    record.user_verification = NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_REQUIRED;
    view = (struct challenge_view){
        .record = &record, .state = CHALLENGE_PENDING, .expire_unix_ms = EXPIRE * INT64_C(1000) + 999};
    return 0;
}

static size_t good(struct claim claims[CLAIMS_MAX], const char *decision)
{
    return good_claims(claims, decision, &device, &record, EXPIRE);
}

static struct claim *claim_of(struct claim *claims, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(claims[i].name, name) == 0)
            return &claims[i];
    return NULL;
}

/* Open and judge; NONE where it is refused, and @p step says by which. */
static enum err judge(struct buf jws, enum challenge_state *became, const char **step)
{
    struct answer answer;
    *step = "open";
    *became = CHALLENGE_NONE;
    enum err e = answer_open(buf_view(&jws), &device, &answer);
    if (e == ERR_OK) {
        *step = "judge";
        e = answer_judge(&answer, &device, &view, "042", became);
        answer_done(&answer);
    }
    buf_done(&jws);
    return e;
}

static void expect(const struct claim *claims, size_t count, const char *typ, int by, enum err expected,
                   enum challenge_state state, const char *what)
{
    enum challenge_state became;
    const char *step;
    enum err e = judge(sign(claims, count, typ, by, by), &became, &step);
    if (e != expected || became != state)
        fail_msg("%s: %s says %s, %s", what, step, err_name(e), challenge_state_name(became));
}

/* ---- what is good ---- */

static const struct {
    const char *decision, *typ;
    enum challenge_state state;
} decisions[] = {
    {"approve", JWS_TYP_APPROVAL, CHALLENGE_APPROVED},
    {"deny", JWS_TYP_REFUSAL, CHALLENGE_DENIED},
    {"not_me", JWS_TYP_REFUSAL, CHALLENGE_REPORTED},
};

static void each_decision_ends_the_challenge_in_its_way(void **state)
{
    (void)state;
    struct claim claims[CLAIMS_MAX];
    for (size_t i = 0; i < 3; i++) {
        size_t count = good(claims, decisions[i].decision);
        expect(claims, count, decisions[i].typ, USER_VERIFICATION, ERR_OK, decisions[i].state,
               decisions[i].decision);
    }
}

static void possession_key_refuses_always_and_approves_where_it_may(void **state)
{
    (void)state;
    struct claim claims[CLAIMS_MAX];
    for (int asked = 1; asked <= 3; asked++) { /* required, preferred, not asked */
        record.user_verification = (uint32_t)asked;
        for (size_t i = 0; i < 3; i++) {
            bool enough = i > 0 || asked != NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_REQUIRED;
            size_t count = good(claims, decisions[i].decision);
            expect(claims, count, decisions[i].typ, POSSESSION, enough ? ERR_OK : ERR_DENIED,
                   enough ? decisions[i].state : CHALLENGE_NONE, decisions[i].decision);
        }
    }
}

static void mode_must_be_that_of_the_challenge(void **state)
{
    (void)state;
    static const char *const modes[] = {"\"tap\"", "\"choose\"", "\"code\""};
    struct claim claims[CLAIMS_MAX];
    for (size_t asked = 0; asked < 3; asked++)
        for (size_t said = 0; said < 3; said++) {
            if (said == asked)
                continue;
            record.mode = (uint32_t)asked + NANOPUSH__V1__MODE__MODE_TAP;
            size_t count = good(claims, "approve");
            strcpy(claim_of(claims, count, "mode")->json, modes[said]);
            claims[count++] = (struct claim){.name = "code", .json = "\"042\""};
            expect(claims, count - (said == 0), JWS_TYP_APPROVAL, USER_VERIFICATION, ERR_INVALID,
                   CHALLENGE_NONE, modes[said]);
        }
}

/* ---- every claim wrong, one by one ---- */

static const struct claim wrong[] = {
    {"v", "2"},
    {"v", "\"1\""},
    {"iss", "\"00112233445566778899aabbccddeefe-" TAG "\""}, /* another phone of the same user */
    {"iss", "\"\""},
    {"org", "\"acme2\""},
    {"org", "\"acm\""},
    {"sub", "\"Jorg\""},
    {"sub", "\"j\xc3\xb6rg\""},
    {"aud", "\"intranet2\""},
    {"aud", "\"INTRANET\""},
    {"aud", "[\"intranet\"]"},
    {"jti", "\"ffeeddccbbaa99887766554433221101-" TAG "\""},
    {"nonce", "\"AAAAAAAAAAAAAAAAAAAAAA\""},
    {"nonce", "\"YW4gdW5wcmVkaWN0YWJsZSBub25jZQ\""}, /* its beginning */
    {"nonce", "\"\""},
    {"decision", "\"Approve\""},
    {"decision", "true"},
    {"mode", "\"none\""},
    {"display", "\"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU\""}, /* of nothing */
    {"gen", "2"},
    {"gen", "4"},
    {"gen", "3.0"},
    {"gen", "-1"},
    {"iat", "\"1800000001\""},
    {"exp", "1800000059"},
    {"exp", "1800000061"},
    {"exp", "1800000060999"},
    {"code", "\"123\""}, /* TAP has none */
    {"amr", "\"face\""}, /* not known */
};

static void any_wrong_claim_is_refused(void **state)
{
    (void)state;
    for (size_t d = 0; d < 3; d++)
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
            struct claim claims[CLAIMS_MAX];
            size_t count = good(claims, decisions[d].decision);
            struct claim *claim = claim_of(claims, count, wrong[i].name);
            *(claim ? claim : &claims[count++]) = wrong[i];
            expect(claims, count, decisions[d].typ, USER_VERIFICATION, ERR_INVALID, CHALLENGE_NONE,
                   wrong[i].json);
        }
}

static void any_missing_claim_is_refused(void **state)
{
    (void)state;
    struct claim claims[CLAIMS_MAX];
    size_t count = good(claims, "approve");
    for (size_t i = 0; i < count; i++) {
        good(claims, "approve");
        claims[i].json[0] = '\0';
        expect(claims, count, JWS_TYP_APPROVAL, USER_VERIFICATION, ERR_INVALID, CHALLENGE_NONE,
               claims[i].name);
    }
}

static void any_difference_in_what_was_shown_is_refused(void **state)
{
    (void)state;
    struct claim claims[CLAIMS_MAX];
    size_t count = good(claims, "approve");
    display[3] ^= 1; /* what the challenge holds, not what was signed */
    expect(claims, count, JWS_TYP_APPROVAL, USER_VERIFICATION, ERR_INVALID, CHALLENGE_NONE, "display");
    display[3] ^= 1;
    record.display.len--;
    expect(claims, count, JWS_TYP_APPROVAL, USER_VERIFICATION, ERR_INVALID, CHALLENGE_NONE, "display");
}

/* ---- keys and types ---- */

static void type_and_decision_must_fit(void **state)
{
    (void)state;
    static const char *const types[] = {JWS_TYP_APPROVAL,    JWS_TYP_REFUSAL,        JWS_TYP_ROTATION,
                                        JWS_TYP_UNLOCK,      JWS_TYP_REMOVE,         "JWT",
                                        "nanopush-approval", "NANOPUSH-APPROVAL+JWT"};
    struct claim claims[CLAIMS_MAX];
    for (size_t d = 0; d < 3; d++)
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
            bool fits = strcmp(types[i], decisions[d].typ) == 0;
            size_t count = good(claims, decisions[d].decision);
            expect(claims, count, types[i], USER_VERIFICATION, fits ? ERR_OK : ERR_INVALID,
                   fits ? decisions[d].state : CHALLENGE_NONE, types[i]);
        }
}

static void signer_must_be_the_key_that_the_kid_names(void **state)
{
    (void)state;
    struct claim claims[CLAIMS_MAX];
    size_t count = good(claims, "approve");
    for (int kid = 0; kid < KEY_COUNT; kid++)
        for (int by = 0; by < KEY_COUNT; by++) {
            enum challenge_state became;
            const char *step;
            enum err expected = kid == STRANGER || kid != by ? ERR_BAD_SIGNATURE
                                : by == USER_VERIFICATION    ? ERR_OK
                                                             : ERR_DENIED;
            assert_int_equal(judge(sign(claims, count, JWS_TYP_APPROVAL, kid, by), &became, &step), expected);
            assert_int_equal(became, expected == ERR_OK ? CHALLENGE_APPROVED : CHALLENGE_NONE);
        }
}

static void device_without_keys_has_signed_nothing(void **state)
{
    (void)state;
    struct claim claims[CLAIMS_MAX];
    size_t count = good(claims, "approve");
    device.possession_key.len = device.user_verification_key.len = 0;
    expect(claims, count, JWS_TYP_APPROVAL, USER_VERIFICATION, ERR_BAD_SIGNATURE, CHALLENGE_NONE, "no keys");
    device.possession_key.len = device.user_verification_key.len = P256_PUBLIC_BYTES - 1;
    expect(claims, count, JWS_TYP_APPROVAL, USER_VERIFICATION, ERR_BAD_SIGNATURE, CHALLENGE_NONE,
           "short keys");
}

static void opened_answer_says_which_key_signed(void **state)
{
    (void)state;
    struct claim claims[CLAIMS_MAX];
    size_t count = good(claims, "deny");
    for (int by = POSSESSION; by <= USER_VERIFICATION; by++) {
        struct answer answer;
        struct buf jws = sign(claims, count, JWS_TYP_REFUSAL, by, by);
        assert_int_equal(answer_open(buf_view(&jws), &device, &answer), ERR_OK);
        assert_int_equal(answer.by_user_verification, by == USER_VERIFICATION);
        assert_int_equal(answer.statement.decision, DECISION_DENY);
        assert_string_equal(answer.statement.sub, record.user);
        answer_done(&answer);
        buf_done(&jws);
    }
}

/* ---- bytes ---- */

static void every_changed_or_missing_byte_is_refused(void **state)
{
    (void)state;
    struct claim claims[CLAIMS_MAX];
    struct answer answer;
    size_t count = good(claims, "approve");
    struct buf jws = sign(claims, count, JWS_TYP_APPROVAL, USER_VERIFICATION, USER_VERIFICATION);
    for (size_t i = 0; i < buf_len(&jws); i++) {
        char *cut = malloc(i + 1);
        assert_non_null(cut);
        memcpy(cut + 1, buf_view(&jws).p, i);
        assert_int_not_equal(answer_open(bytes_make(cut + 1, i), &device, &answer), ERR_OK);
        free(cut);
        uint8_t *byte = (uint8_t *)(uintptr_t)buf_view(&jws).p + i;
        *byte ^= 1;
        assert_int_not_equal(answer_open(buf_view(&jws), &device, &answer), ERR_OK);
        *byte ^= 1;
    }
    assert_int_equal(answer_open(buf_view(&jws), &device, &answer), ERR_OK);
    answer_done(&answer);
    buf_done(&jws);
}

static void too_long_is_refused_before_it_is_parsed(void **state)
{
    (void)state;
    static uint8_t many[ANSWER_MAX_BYTES + 1];
    struct answer answer;
    memset(many, 'A', sizeof many);
    assert_int_equal(answer_open(bytes_make(many, sizeof many), &device, &answer), ERR_TOO_BIG);
    assert_int_equal(answer_open(bytes_make(many, sizeof many - 1), &device, &answer), ERR_MALFORMED);
    assert_int_equal(answer_open(bytes_make(NULL, 0), &device, &answer), ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(name, set_up)
        TEST(each_decision_ends_the_challenge_in_its_way),
        TEST(possession_key_refuses_always_and_approves_where_it_may),
        TEST(mode_must_be_that_of_the_challenge),
        TEST(any_wrong_claim_is_refused),
        TEST(any_missing_claim_is_refused),
        TEST(any_difference_in_what_was_shown_is_refused),
        TEST(type_and_decision_must_fit),
        TEST(signer_must_be_the_key_that_the_kid_names),
        TEST(device_without_keys_has_signed_nothing),
        TEST(opened_answer_says_which_key_signed),
        TEST(every_changed_or_missing_byte_is_refused),
        TEST(too_long_is_refused_before_it_is_parsed),
    };
    return cmocka_run_group_tests_name("answer", tests, group_set_up, group_tear_down);
}
