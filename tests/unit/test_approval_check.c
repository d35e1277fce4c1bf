/* cli/approval_check.h: the seven points, one refusal after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/approval_check.h"
#include "crypto/inputs.h"
#include "crypto/jws.h"
#include "wire/message.h"

#define NOW_UNIX_S  INT64_C(1800000000)
#define NONCE_BYTES 32

/** What the phone says: a test changes one thing of a good answer. */
struct answer {
    const struct p256_key *key; /* that signs */
    const char *alg, *typ, *kid;
    const char *iss, *org, *sub, *aud, *jti, *decision, *mode, *code; /* code NULL: no such claim */
    const char *more;                                                 /* further claims */
    uint8_t nonce[NONCE_BYTES];
    size_t nonce_len;
    struct buf display; /* whose hash it signs */
    long long exp;
};

struct fixture {
    struct p256_key *possession, *user_verification, *stranger;
    struct pinned_device devices[2]; /* ada's: another phone, and the one that answers */
    Nanopush__V1__CreateChallengeRequest asked;
    Nanopush__V1__ChallengeContext context;
    Nanopush__V1__DisplayField field;
    Nanopush__V1__DisplayField *fields[1];
    uint8_t nonce[NONCE_BYTES];
    Nanopush__V1__Display shown;
    Nanopush__V1__DisplayField shown_field;
    Nanopush__V1__DisplayField *shown_fields[1];
    struct approval_request request;
    struct answer answer;
    struct buf jws;
};

static void pin(struct pinned_device *device, const char *id, struct p256_key *possession,
                struct p256_key *user_verification)
{
    *device = (struct pinned_device){.device_id = id, .org = "nano"};
    assert_int_equal(p256_key_public(possession, device->possession_key), ERR_OK);
    assert_int_equal(p256_key_public(user_verification, device->user_verification_key), ERR_OK);
    assert_int_equal(p256_thumbprint(device->possession_key, device->possession), ERR_OK);
    assert_int_equal(p256_thumbprint(device->user_verification_key, device->user_verification), ERR_OK);
}

static void pin_other_phone(struct pinned_device *device)
{
    struct p256_key *possession, *user_verification;
    assert_int_equal(p256_key_new(&possession), ERR_OK);
    assert_int_equal(p256_key_new(&user_verification), ERR_OK);
    pin(device, "d0", possession, user_verification);
    p256_key_free(possession);
    p256_key_free(user_verification);
}

static void ask(struct fixture *f)
{
    f->field = (Nanopush__V1__DisplayField)NANOPUSH__V1__DISPLAY_FIELD__INIT;
    f->field.label = (char *)"Amount";
    f->field.value = (char *)"12 EUR";
    f->fields[0] = &f->field;
    f->context = (Nanopush__V1__ChallengeContext)NANOPUSH__V1__CHALLENGE_CONTEXT__INIT;
    f->context.application = (char *)"Mail";
    f->context.address = (char *)"192.0.2.7";
    f->context.place = (char *)"Graz";
    f->context.browser = (char *)"Firefox";
    f->context.operating_system = (char *)"Linux";
    f->context.message = (char *)"Hello";
    f->context.fields = f->fields;
    f->context.n_fields = 1;
    memset(f->nonce, 0x5a, sizeof f->nonce);
    f->asked = (Nanopush__V1__CreateChallengeRequest)NANOPUSH__V1__CREATE_CHALLENGE_REQUEST__INIT;
    f->asked.user = (char *)"ada";
    f->asked.context = &f->context;
    f->asked.mode = NANOPUSH__V1__MODE__MODE_CODE;
    f->asked.nonce = (ProtobufCBinaryData){.data = f->nonce, .len = sizeof f->nonce};
    f->request = (struct approval_request){.challenge_id = "c1",
                                           .portal = "nano-prod",
                                           .asked = &f->asked,
                                           .number = "042",
                                           .devices = f->devices,
                                           .device_count = 2};
}

static void show(struct fixture *f)
{
    f->shown_field = f->field;
    f->shown_fields[0] = &f->shown_field;
    f->shown = (Nanopush__V1__Display)NANOPUSH__V1__DISPLAY__INIT;
    f->shown.organisation = (char *)"Nano Works";
    f->shown.portal = (char *)"Nano portal";
    f->shown.user = (char *)"ada";
    f->shown.application = f->context.application;
    f->shown.address = f->context.address;
    f->shown.place = f->context.place;
    f->shown.browser = f->context.browser;
    f->shown.operating_system = f->context.operating_system;
    f->shown.message = f->context.message;
    f->shown.occasion = NANOPUSH__V1__OCCASION__OCCASION_SIGN_IN;
    f->shown.fields = f->shown_fields;
    f->shown.n_fields = 1;
}

/* After a change of f->shown: the phone hashes what it showed. */
static void show_again(struct fixture *f)
{
    buf_done(&f->answer.display);
    assert_int_equal(message_pack(&f->shown.base, &f->answer.display), ERR_OK);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_int_equal(p256_key_new(&f->possession), ERR_OK);
    assert_int_equal(p256_key_new(&f->user_verification), ERR_OK);
    assert_int_equal(p256_key_new(&f->stranger), ERR_OK);
    pin_other_phone(&f->devices[0]);
    pin(&f->devices[1], "d1", f->possession, f->user_verification);
    ask(f);
    show(f);
    f->answer = (struct answer){.key = f->user_verification,
                                .alg = "ES256",
                                .typ = JWS_TYP_APPROVAL,
                                .kid = f->devices[1].user_verification,
                                .iss = "d1",
                                .org = "nano",
                                .sub = "ada",
                                .aud = "nano-prod",
                                .jti = "c1",
                                .decision = "approve",
                                .mode = "code",
                                .code = "042",
                                .more = "",
                                .nonce_len = NONCE_BYTES,
                                .exp = NOW_UNIX_S + 30};
    memcpy(f->answer.nonce, f->nonce, NONCE_BYTES);
    show_again(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    buf_done(&f->answer.display);
    buf_done(&f->jws);
    p256_key_free(f->possession);
    p256_key_free(f->user_verification);
    p256_key_free(f->stranger);
    free(f);
    return 0;
}

static void append_part(struct buf *to, struct bytes part)
{
    char text[4096];
    assert_true(BASE64URL_SIZE(part.len) <= sizeof text);
    base64url_encode(part, text);
    assert_int_equal(buf_append(to, bytes_of(text)), ERR_OK);
}

static void append_claims(const struct answer *a, struct buf *to)
{
    char nonce[BASE64URL_SIZE(NONCE_BYTES)], display[DISPLAY_HASH_SIZE], code[64] = "";
    base64url_encode(bytes_make(a->nonce, a->nonce_len), nonce);
    assert_int_equal(input_display_hash(buf_view(&a->display), display), ERR_OK);
    if (a->code)
        snprintf(code, sizeof code, "\"code\":\"%s\",", a->code);
    assert_int_equal(buf_printf(to,
                                "{\"v\":1,\"iss\":\"%s\",\"org\":\"%s\",\"sub\":\"%s\",\"aud\":\"%s\","
                                "\"jti\":\"%s\",\"nonce\":\"%s\",\"decision\":\"%s\",\"mode\":\"%s\",%s"
                                "\"display\":\"%s\",\"gen\":1,\"iat\":%lld,\"exp\":%lld%s}",
                                a->iss, a->org, a->sub, a->aud, a->jti, nonce, a->decision, a->mode, code,
                                display, a->exp - 30, a->exp, a->more),
                     ERR_OK);
}

static void sign(struct fixture *f)
{
    const struct answer *a = &f->answer;
    char header[256];
    struct buf claims = {0};
    uint8_t signature[P256_SIGNATURE_BYTES];
    snprintf(header, sizeof header, "{\"alg\":\"%s\",\"typ\":\"%s\",\"kid\":\"%s\"}", a->alg, a->typ, a->kid);
    append_claims(a, &claims);
    buf_done(&f->jws);
    append_part(&f->jws, bytes_of(header));
    assert_int_equal(buf_append_byte(&f->jws, '.'), ERR_OK);
    append_part(&f->jws, buf_view(&claims));
    assert_int_equal(p256_sign(a->key, buf_view(&f->jws), signature), ERR_OK);
    assert_int_equal(buf_append_byte(&f->jws, '.'), ERR_OK);
    append_part(&f->jws, bytes_make(signature, sizeof signature));
    buf_done(&claims);
}

static enum approval check(struct fixture *f)
{
    sign(f);
    return approval_check(&f->request, buf_view(&f->jws), buf_view(&f->answer.display), NOW_UNIX_S);
}

#define assert_finding(f, ident) assert_string_equal(approval_text(check(f)), approval_text(APPROVAL_##ident))

static void good_approval_verifies(void **state)
{
    struct fixture *f = *state;
    assert_finding(f, VERIFIED);
}

static void key_must_be_pinned(void **state)
{
    struct fixture *f = *state;
    uint8_t pub[P256_PUBLIC_BYTES];
    char thumbprint[P256_THUMBPRINT_SIZE];
    assert_int_equal(p256_key_public(f->stranger, pub), ERR_OK);
    assert_int_equal(p256_thumbprint(pub, thumbprint), ERR_OK);
    f->answer.key = f->stranger;
    f->answer.kid = thumbprint;
    assert_finding(f, KEY_UNKNOWN);
}

static void key_is_known_by_either_thumbprint(void **state)
{
    struct fixture *f = *state;
    struct bytes jws;
    sign(f);
    jws = buf_view(&f->jws);
    assert_true(approval_key_known(jws, f->devices, 2));
    assert_false(approval_key_known(jws, f->devices, 1));
    assert_false(approval_key_known(jws, NULL, 0));
    assert_false(approval_key_known(bytes_make(jws.p, jws.len - 1), f->devices, 2));
    assert_false(approval_key_known(bytes_of(""), f->devices, 2));
    f->answer.kid = f->devices[0].possession;
    sign(f);
    assert_true(approval_key_known(buf_view(&f->jws), f->devices, 1));
}

static void no_phone_pinned_is_a_refusal(void **state)
{
    struct fixture *f = *state;
    f->request.device_count = 0;
    assert_finding(f, KEY_UNKNOWN);
}

static void signature_must_be_of_the_key_that_is_named(void **state)
{
    struct fixture *f = *state;
    f->answer.key = f->stranger;
    assert_finding(f, SIGNATURE);
}

static void possession_key_only_where_less_was_asked(void **state)
{
    struct fixture *f = *state;
    f->answer.key = f->possession;
    f->answer.kid = f->devices[1].possession;
    f->asked.user_verification = NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_UNSPECIFIED;
    assert_finding(f, KEY_ROLE);
    f->asked.user_verification = NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_REQUIRED;
    assert_finding(f, KEY_ROLE);
    f->asked.user_verification = (Nanopush__V1__UserVerification)99;
    assert_finding(f, KEY_ROLE);
    f->asked.user_verification = NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_PREFERRED;
    assert_finding(f, VERIFIED);
    f->asked.user_verification = NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_NOT_ASKED;
    assert_finding(f, VERIFIED);
}

static void algorithm_and_type_are_fixed(void **state)
{
    struct fixture *f = *state;
    f->answer.alg = "none";
    assert_finding(f, NO_JWS);
    f->answer.alg = "HS256";
    assert_finding(f, NO_JWS);
    f->answer.alg = "ES256";
    f->answer.typ = JWS_TYP_REFUSAL;
    assert_finding(f, TYPE);
    f->answer.typ = JWS_TYP_UNLOCK;
    assert_finding(f, TYPE);
}

static void claims_must_be_those_of_an_answer(void **state)
{
    struct fixture *f = *state;
    f->answer.more = ",\"admin\":true";
    assert_finding(f, NO_STATEMENT);
    f->answer.more = ",\"sub\":\"ada\"";
    assert_finding(f, NO_STATEMENT);
}

static void device_must_be_the_one_whose_key_signed(void **state)
{
    struct fixture *f = *state;
    f->answer.iss = "d0";
    assert_finding(f, DEVICE);
}

static void parties_must_be_ours(void **state)
{
    struct fixture *f = *state;
    f->answer.aud = "nano-test";
    assert_finding(f, AUDIENCE);
    f->answer.aud = "nano-prod";
    f->answer.org = "other";
    assert_finding(f, ORGANISATION);
    f->answer.org = "nano";
    f->answer.sub = "Ada";
    assert_finding(f, SUBJECT);
    f->answer.sub = "ada";
    f->answer.jti = "c2";
    assert_finding(f, CHALLENGE);
}

static void nonce_must_be_ours(void **state)
{
    struct fixture *f = *state;
    f->answer.nonce[NONCE_BYTES - 1] ^= 1;
    assert_finding(f, NONCE);
    f->answer.nonce[NONCE_BYTES - 1] ^= 1;
    f->answer.nonce_len = 16;
    assert_finding(f, NONCE);
}

static void without_a_nonce_of_ours_nothing_verifies(void **state)
{
    struct fixture *f = *state;
    f->asked.nonce.len = 0;
    assert_finding(f, NONCE);
}

static void mode_must_not_be_weaker(void **state)
{
    struct fixture *f = *state;
    f->answer.mode = "choose";
    assert_finding(f, MODE);
    f->answer.mode = "tap";
    f->answer.code = NULL;
    assert_finding(f, MODE);
    f->asked.mode = NANOPUSH__V1__MODE__MODE_CHOOSE;
    assert_finding(f, MODE);
    f->asked.mode = NANOPUSH__V1__MODE__MODE_TAP;
    assert_finding(f, MODE); /* a number stood on the page */
}

static void mode_that_was_not_asked_for_is_refused(void **state)
{
    struct fixture *f = *state;
    f->asked.mode = NANOPUSH__V1__MODE__MODE_UNSPECIFIED;
    assert_finding(f, MODE);
    f->request.number = "";
    f->answer.mode = "tap";
    f->answer.code = NULL;
    assert_finding(f, MODE);
    f->asked.mode = (Nanopush__V1__Mode)99;
    assert_finding(f, MODE);
}

static void stronger_mode_is_welcome(void **state)
{
    struct fixture *f = *state;
    f->asked.mode = NANOPUSH__V1__MODE__MODE_CHOOSE;
    assert_finding(f, VERIFIED);
    f->asked.mode = NANOPUSH__V1__MODE__MODE_TAP;
    assert_finding(f, VERIFIED);
}

static void tap_verifies_where_tap_was_asked(void **state)
{
    struct fixture *f = *state;
    f->asked.mode = NANOPUSH__V1__MODE__MODE_TAP;
    f->request.number = "";
    f->answer.mode = "tap";
    f->answer.code = NULL;
    assert_finding(f, VERIFIED);
}

static void number_must_be_the_one_shown(void **state)
{
    struct fixture *f = *state;
    f->answer.code = "043";
    assert_finding(f, CODE);
    f->answer.code = "42";
    assert_finding(f, CODE);
    f->answer.code = "0421";
    assert_finding(f, CODE);
    f->answer.code = "042";
    f->request.number = "";
    assert_finding(f, CODE);
}

static void display_hash_must_be_of_what_the_broker_returned(void **state)
{
    struct fixture *f = *state;
    struct buf other = {0};
    sign(f);
    f->shown.message = (char *)"Another";
    assert_int_equal(message_pack(&f->shown.base, &other), ERR_OK);
    assert_int_equal(approval_check(&f->request, buf_view(&f->jws), buf_view(&other), NOW_UNIX_S),
                     APPROVAL_DISPLAY_HASH);
    assert_int_equal(approval_check(&f->request, buf_view(&f->jws), bytes_make(NULL, 0), NOW_UNIX_S),
                     APPROVAL_DISPLAY_HASH);
    buf_done(&other);
}

static void display_must_say_what_was_asked(void **state)
{
    struct fixture *f = *state;
    char **texts[] = {&f->shown.user,    &f->shown.application, &f->shown.address,
                      &f->shown.place,   &f->shown.browser,     &f->shown.operating_system,
                      &f->shown.message, &f->shown_field.label, &f->shown_field.value};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *before = *texts[i];
        *texts[i] = (char *)"Other";
        show_again(f);
        assert_finding(f, DISPLAY_CONTENT);
        *texts[i] = (char *)"";
        show_again(f);
        assert_finding(f, DISPLAY_CONTENT);
        *texts[i] = before;
    }
    show_again(f);
    assert_finding(f, VERIFIED);
}

static void display_must_have_the_fields_asked_and_no_others(void **state)
{
    struct fixture *f = *state;
    f->shown.n_fields = 0;
    show_again(f);
    assert_finding(f, DISPLAY_CONTENT);
    f->context.n_fields = 0;
    assert_finding(f, VERIFIED);
    f->shown.n_fields = 1;
    show_again(f);
    assert_finding(f, DISPLAY_CONTENT);
}

static void display_must_be_of_a_sign_in(void **state)
{
    struct fixture *f = *state;
    f->shown.occasion = NANOPUSH__V1__OCCASION__OCCASION_NEW_PHONE;
    show_again(f);
    assert_finding(f, DISPLAY_CONTENT);
    f->shown.occasion = NANOPUSH__V1__OCCASION__OCCASION_UNSPECIFIED;
    show_again(f);
    assert_finding(f, DISPLAY_CONTENT);
}

static void other_sign_in_is_the_brokers_to_say(void **state)
{
    struct fixture *f = *state;
    f->shown.other_sign_in = true;
    show_again(f);
    assert_finding(f, VERIFIED);
}

static void display_names_of_the_registry_are_not_compared(void **state)
{
    struct fixture *f = *state;
    f->shown.organisation = (char *)"Renamed";
    f->shown.portal = (char *)"Renamed too";
    show_again(f);
    assert_finding(f, VERIFIED);
}

static void display_with_something_unknown_is_refused(void **state)
{
    struct fixture *f = *state;
    const uint8_t unknown_field[] = {0xa2, 0x06, 0x01, 'x'}; /* field 100, a string */
    assert_int_equal(buf_append(&f->answer.display, bytes_make(unknown_field, sizeof unknown_field)), ERR_OK);
    assert_finding(f, DISPLAY_CONTENT);
}

static void asked_without_context_shows_nothing_but_the_user(void **state)
{
    struct fixture *f = *state;
    f->asked.context = NULL;
    assert_finding(f, DISPLAY_CONTENT);
    f->shown = (Nanopush__V1__Display)NANOPUSH__V1__DISPLAY__INIT;
    f->shown.user = (char *)"ada";
    f->shown.occasion = NANOPUSH__V1__OCCASION__OCCASION_SIGN_IN;
    show_again(f);
    assert_finding(f, VERIFIED);
}

static void decision_must_be_approve(void **state)
{
    struct fixture *f = *state;
    f->asked.mode = NANOPUSH__V1__MODE__MODE_TAP;
    f->request.number = "";
    f->answer.mode = "tap";
    f->answer.code = NULL;
    f->answer.decision = "deny";
    assert_finding(f, DECISION);
    f->answer.decision = "not_me";
    assert_finding(f, DECISION);
}

static void expiry_is_by_our_clock(void **state)
{
    struct fixture *f = *state;
    f->answer.exp = NOW_UNIX_S + 1;
    assert_finding(f, VERIFIED);
    f->answer.exp = NOW_UNIX_S;
    assert_finding(f, EXPIRED);
    f->answer.exp = NOW_UNIX_S - 1000;
    assert_finding(f, EXPIRED);
}

static void truncated_or_changed_at_each_byte_is_refused(void **state)
{
    struct fixture *f = *state;
    sign(f);
    struct bytes jws = buf_view(&f->jws), display = buf_view(&f->answer.display);
    for (size_t len = 0; len < jws.len; len++) {
        uint8_t *exact = malloc(len ? len : 1); /* so that a read beyond shows */
        memcpy(exact, jws.p, len);
        assert_int_not_equal(approval_check(&f->request, bytes_make(exact, len), display, NOW_UNIX_S),
                             APPROVAL_VERIFIED);
        free(exact);
    }
    uint8_t *changed = malloc(jws.len);
    for (size_t i = 0; i < jws.len; i++) {
        memcpy(changed, jws.p, jws.len);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        assert_int_not_equal(approval_check(&f->request, bytes_make(changed, jws.len), display, NOW_UNIX_S),
                             APPROVAL_VERIFIED);
    }
    free(changed);
}

static void over_long_answer_is_refused(void **state)
{
    struct fixture *f = *state;
    sign(f);
    while (buf_len(&f->jws) <= APPROVAL_JWS_MAX_BYTES)
        assert_int_equal(buf_append_byte(&f->jws, 'A'), ERR_OK);
    assert_int_equal(approval_check(&f->request, buf_view(&f->jws), buf_view(&f->answer.display), NOW_UNIX_S),
                     APPROVAL_NO_JWS);
}

static void findings_have_a_text_and_a_point(void **state)
{
    (void)state;
    for (int i = 0; i < APPROVAL_COUNT; i++) {
        assert_true(strlen(approval_text((enum approval)i)) > 0);
        assert_in_range(approval_point((enum approval)i), 0, 7);
        if (i > APPROVAL_NOT_CHECKED) /* in the order of the list */
            assert_true(approval_point((enum approval)i) >= approval_point((enum approval)(i - 1)));
    }
}

#define CHECK_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(good_approval_verifies),
        CHECK_TEST(key_must_be_pinned),
        CHECK_TEST(key_is_known_by_either_thumbprint),
        CHECK_TEST(no_phone_pinned_is_a_refusal),
        CHECK_TEST(signature_must_be_of_the_key_that_is_named),
        CHECK_TEST(possession_key_only_where_less_was_asked),
        CHECK_TEST(algorithm_and_type_are_fixed),
        CHECK_TEST(claims_must_be_those_of_an_answer),
        CHECK_TEST(device_must_be_the_one_whose_key_signed),
        CHECK_TEST(parties_must_be_ours),
        CHECK_TEST(nonce_must_be_ours),
        CHECK_TEST(without_a_nonce_of_ours_nothing_verifies),
        CHECK_TEST(mode_must_not_be_weaker),
        CHECK_TEST(mode_that_was_not_asked_for_is_refused),
        CHECK_TEST(stronger_mode_is_welcome),
        CHECK_TEST(tap_verifies_where_tap_was_asked),
        CHECK_TEST(number_must_be_the_one_shown),
        CHECK_TEST(display_hash_must_be_of_what_the_broker_returned),
        CHECK_TEST(display_must_say_what_was_asked),
        CHECK_TEST(display_must_have_the_fields_asked_and_no_others),
        CHECK_TEST(display_must_be_of_a_sign_in),
        CHECK_TEST(other_sign_in_is_the_brokers_to_say),
        CHECK_TEST(display_names_of_the_registry_are_not_compared),
        CHECK_TEST(display_with_something_unknown_is_refused),
        CHECK_TEST(asked_without_context_shows_nothing_but_the_user),
        CHECK_TEST(decision_must_be_approve),
        CHECK_TEST(expiry_is_by_our_clock),
        CHECK_TEST(truncated_or_changed_at_each_byte_is_refused),
        CHECK_TEST(over_long_answer_is_refused),
        CHECK_TEST(findings_have_a_text_and_a_point),
    };
    return cmocka_run_group_tests_name("approval_check", tests, NULL, NULL);
}
