#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "nanopush/v1/admin.pb-c.h"
#include "nanopush/v1/challenge.pb-c.h"
#include "nanopush/v1/device.pb-c.h"
#include "nanopush/v1/user.pb-c.h"
#include "wire/json.h"

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, ARENA_MAX_BYTES);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static ProtobufCMessage *decode(const ProtobufCMessageDescriptor *descriptor, const char *text)
{
    ProtobufCMessage *message = NULL;
    struct json_problem problem = {"no problem"};
    enum err e = json_decode(descriptor, bytes_of(text), JSON_MAX_DEPTH, &arena, &message, &problem);
    if (e != ERR_OK)
        print_error("%s: %s\n", text, problem.text);
    assert_int_equal(e, ERR_OK);
    assert_string_equal(problem.text, "no problem");
    return message;
}

static void assert_refused(const ProtobufCMessageDescriptor *descriptor, const char *text, enum err expected,
                           const char *expected_problem)
{
    ProtobufCMessage *message = NULL;
    struct json_problem problem;
    assert_int_equal(json_decode(descriptor, bytes_of(text), JSON_MAX_DEPTH, &arena, &message, &problem),
                     expected);
    assert_string_equal(problem.text, expected_problem);
    assert_null(message);
}

static void assert_encoded(const ProtobufCMessage *message, const char *expected)
{
    struct buf out = {0};
    assert_int_equal(buf_append(&out, bytes_of(">")), ERR_OK);
    assert_int_equal(json_encode(message, &out), ERR_OK);
    assert_int_equal(buf_append(&out, bytes_make("", 1)), ERR_OK);
    assert_string_equal((const char *)buf_view(&out).p + 1, expected);
    buf_done(&out);
}

static void assert_not_encoded(const ProtobufCMessage *message, enum err expected)
{
    struct buf out = {0};
    assert_int_equal(json_encode(message, &out), expected);
    assert_int_equal(buf_len(&out), 0);
    buf_done(&out);
}

/* Text in, canonical text out. */
static void assert_canonical(const ProtobufCMessageDescriptor *descriptor, const char *text,
                             const char *expected)
{
    assert_encoded(decode(descriptor, text), expected);
}

#define DESCRIPTOR(type)                  (&nanopush__v1__##type##__descriptor)
#define ASSERT_CANONICAL(type, in, out)   assert_canonical(DESCRIPTOR(type), in, out)
#define ASSERT_INVALID(type, in, problem) assert_refused(DESCRIPTOR(type), in, ERR_INVALID, problem)

static const char full_request[] =
    "{\"user\":\"ada\",\"context\":{\"application\":\"NANO\",\"operatingSystem\":\"Linux\",\"fields\":"
    "[{\"label\":\"Amount\",\"value\":\"5\"},{}]},\"mode\":\"MODE_CODE\",\"userVerification\":"
    "\"USER_VERIFICATION_REQUIRED\",\"life\":\"60s\",\"nonce\":\"+/8A\",\"browserSession\":\"b\","
    "\"idempotencyKey\":\"k\"}";

static void decodes_each_kind_of_field(void **state)
{
    (void)state;
    const Nanopush__V1__CreateChallengeRequest *request =
        (const Nanopush__V1__CreateChallengeRequest *)decode(DESCRIPTOR(create_challenge_request),
                                                             full_request);
    assert_string_equal(request->user, "ada");
    assert_string_equal(request->context->operating_system, "Linux");
    assert_string_equal(request->context->place, "");
    assert_int_equal(request->context->n_fields, 2);
    assert_string_equal(request->context->fields[0]->label, "Amount");
    assert_string_equal(request->context->fields[1]->label, "");
    assert_int_equal(request->mode, NANOPUSH__V1__MODE__MODE_CODE);
    assert_int_equal(request->life->seconds, 60);
    assert_int_equal(request->nonce.len, 3);
    assert_memory_equal(request->nonce.data, "\xfb\xff\0", 3);
    assert_encoded(&request->base, full_request);
}

static void names_are_taken_in_both_cases(void **state)
{
    (void)state;
    ASSERT_CANONICAL(create_challenge_request, "{\"browser_session\":\"x\"}", "{\"browserSession\":\"x\"}");
    ASSERT_CANONICAL(create_challenge_request, "{\"browserSession\":\"x\"}", "{\"browserSession\":\"x\"}");
    ASSERT_INVALID(create_challenge_request, "{\"browser_session\":\"x\",\"browserSession\":\"x\"}",
                   "browserSession: stands twice, under both of its names");
    ASSERT_INVALID(create_challenge_request, "{\"browser_session\":null,\"browserSession\":\"x\"}",
                   "browserSession: stands twice, under both of its names");
}

static void absent_null_and_default_are_the_same(void **state)
{
    (void)state;
    ASSERT_CANONICAL(create_challenge_request, "{}", "{}");
    ASSERT_CANONICAL(create_challenge_request,
                     "{\"user\":null,\"context\":null,\"mode\":null,\"nonce\":null,\"life\":null}", "{}");
    ASSERT_CANONICAL(create_challenge_request, "{\"user\":\"\",\"mode\":0,\"nonce\":\"\"}", "{}");
    ASSERT_CANONICAL(create_challenge_request, "{\"context\":{\"fields\":[]}}", "{\"context\":{}}");
    ASSERT_CANONICAL(device, "{\"connected\":false,\"generation\":0}", "{}");
}

static void unknown_members_are_ignored(void **state)
{
    (void)state;
    ASSERT_CANONICAL(create_challenge_request, "{\"x\":[{\"user\":1.5e3},null],\"user\":\"a\",\"User\":2}",
                     "{\"user\":\"a\"}");
}

static void refuses_what_is_no_json_object(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      " ",
                                      "{",
                                      "{}}",
                                      "{} x",
                                      "null",
                                      "1",
                                      "\"{}\"",
                                      "{\"user\":}",
                                      "{'user':1}",
                                      "{\"user\":\"\\u12\"}",
                                      "{\"user\":\"\\ud800\"}",
                                      "{\"user\":\"a\nb\"}",
                                      "{\"user\":01}",
                                      "\"\\"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ProtobufCMessage *message = NULL;
        struct json_problem problem;
        assert_int_equal(json_decode(DESCRIPTOR(create_challenge_request), bytes_of(bad[i]), JSON_MAX_DEPTH,
                                     &arena, &message, &problem),
                         ERR_MALFORMED);
        assert_non_null(strstr(problem.text, ": not a JSON object"));
    }
    ASSERT_INVALID(create_challenge_request, "[]", "must be an object");
}

static void refuses_a_request_cut_anywhere(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof full_request - 1; len++) {
        ProtobufCMessage *message = NULL;
        struct json_problem problem;
        assert_int_equal(json_decode(DESCRIPTOR(create_challenge_request), bytes_make(full_request, len),
                                     JSON_MAX_DEPTH, &arena, &message, &problem),
                         ERR_MALFORMED);
        assert_null(message);
    }
}

/* Lines only: columns are jansson's, and differ between its versions. */
static void says_what_is_malformed(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"{\"user\":\"a\",\n\"user\":\"b\"}", ": a member stands twice"},
        {"{\"x\":{\n\"y\":1,\"y\":1}}", ": a member stands twice"},
        {"{\n\"user\":\"\xff\"}", ": invalid UTF-8"},
        {"{\n\"user\":\"a\\u0000b\"}", ": a string has a NUL character"},
        {"{\n\"revision\":9223372036854775808}", ": a number is too large; write it as a string"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        ProtobufCMessage *message;
        struct json_problem problem;
        assert_int_equal(json_decode(DESCRIPTOR(challenge), bytes_of(pairs[i][0]), JSON_MAX_DEPTH, &arena,
                                     &message, &problem),
                         ERR_MALFORMED);
        assert_memory_equal(problem.text, "line 2, column ", 15);
        assert_non_null(strstr(problem.text, pairs[i][1]));
    }
}

static void says_where_the_type_is_wrong(void **state)
{
    (void)state;
    ASSERT_INVALID(create_challenge_request, "{\"user\":5}", "user: must be a string");
    ASSERT_INVALID(create_challenge_request, "{\"context\":{\"fields\":[{},{},{\"label\":true}]}}",
                   "context.fields[2].label: must be a string");
    ASSERT_INVALID(create_challenge_request, "{\"context\":{\"fields\":[null]}}",
                   "context.fields[0]: must be an object");
    ASSERT_INVALID(create_challenge_request, "{\"context\":{\"fields\":{}}}",
                   "context.fields: must be a list");
    ASSERT_INVALID(create_challenge_request, "{\"context\":[]}", "context: must be an object");
    ASSERT_INVALID(create_challenge_request, "{\"nonce\":[1]}", "nonce: must be a string");
    ASSERT_INVALID(create_challenge_request, "{\"mode\":true}",
                   "mode: must be a name or number of nanopush.v1.Mode");
    ASSERT_INVALID(create_challenge_request, "{\"life\":60}",
                   "life: must be seconds, such as \"60s\" or \"1.5s\"");
    ASSERT_INVALID(challenge, "{\"createTime\":0}",
                   "createTime: must be an RFC 3339 time, such as \"2026-01-31T09:30:00Z\"");
    ASSERT_INVALID(device, "{\"connected\":\"true\"}", "connected: must be true or false");
    ASSERT_INVALID(create_portal_request, "{\"portal\":{\"modes\":[1,\"MODE_NONE\"]}}",
                   "portal.modes[1]: must be a name or number of nanopush.v1.Mode");
}

static void a_problem_never_repeats_the_text(void **state)
{
    (void)state;
    ProtobufCMessage *message;
    struct json_problem problem;
    static const char text[] = "{\"mode\":\"<script>\",\"user\":<script>}";
    assert_int_equal(json_decode(DESCRIPTOR(create_challenge_request), bytes_of(text), JSON_MAX_DEPTH, &arena,
                                 &message, &problem),
                     ERR_MALFORMED);
    assert_null(strstr(problem.text, "script"));
    assert_int_equal(json_decode(DESCRIPTOR(create_challenge_request), bytes_of("{\"mode\":\"<script>\"}"),
                                 JSON_MAX_DEPTH, &arena, &message, &problem),
                     ERR_INVALID);
    assert_null(strstr(problem.text, "script"));
}

static void enums_are_names_or_numbers(void **state)
{
    (void)state;
    ASSERT_CANONICAL(create_challenge_request, "{\"mode\":\"MODE_TAP\"}", "{\"mode\":\"MODE_TAP\"}");
    ASSERT_CANONICAL(create_challenge_request, "{\"mode\":2}", "{\"mode\":\"MODE_CHOOSE\"}");
    ASSERT_CANONICAL(create_challenge_request, "{\"mode\":77}", "{\"mode\":77}");
    ASSERT_CANONICAL(create_challenge_request, "{\"mode\":-2147483648}", "{\"mode\":-2147483648}");
    ASSERT_CANONICAL(portal, "{\"modes\":[\"MODE_TAP\",3],\"scopes\":[\"SCOPE_ENROL\"]}",
                     "{\"modes\":[\"MODE_TAP\",\"MODE_CODE\"],\"scopes\":[\"SCOPE_ENROL\"]}");
    static const char *const bad[] = {"\"mode_tap\"", "\"TAP\"",     "\"1\"", "\"\"",
                                      "2147483648",   "-2147483649", "1.5"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"mode\":%s}", bad[i]);
        ASSERT_INVALID(create_challenge_request, text, "mode: must be a name or number of nanopush.v1.Mode");
    }
}

static void integers_are_numbers_or_strings_in_range(void **state)
{
    (void)state;
    ASSERT_CANONICAL(get_challenge_request, "{\"waitMs\":4294967295}", "{\"waitMs\":4294967295}");
    ASSERT_CANONICAL(get_challenge_request, "{\"waitMs\":\"60000\"}", "{\"waitMs\":60000}");
    ASSERT_CANONICAL(get_challenge_request, "{\"waitMs\":6e4}", "{\"waitMs\":60000}");
    ASSERT_CANONICAL(get_challenge_request, "{\"waitMs\":1.0}", "{\"waitMs\":1}");
    ASSERT_CANONICAL(challenge, "{\"revision\":7}", "{\"revision\":\"7\"}");
    ASSERT_CANONICAL(challenge, "{\"revision\":\"18446744073709551615\"}",
                     "{\"revision\":\"18446744073709551615\"}");
    ASSERT_CANONICAL(challenge, "{\"revision\":9223372036854775807}",
                     "{\"revision\":\"9223372036854775807\"}");
    static const char *const bad[] = {
        "-1",      "4294967296", "1.5",   "1e10",   "-1.0",
        "1e300",   "\"\"",       "\"-\"", "\" 1\"", "\"1 \"",
        "\"0x1\"", "\"1.0\"",    "true",  "[1]",    "\"99999999999999999999999\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"waitMs\":%s}", bad[i]);
        ASSERT_INVALID(get_challenge_request, text, "waitMs: must be a whole number from 0 to 4294967295");
    }
    ASSERT_INVALID(challenge, "{\"revision\":\"18446744073709551616\"}",
                   "revision: must be a whole number from 0 to 18446744073709551615");
}

/* None of the project's messages has signed fields outside Timestamp, so a Pong is made to have one. */
static void signed_integers_have_their_own_ranges(void **state)
{
    (void)state;
    ProtobufCFieldDescriptor field = DESCRIPTOR(pong)->fields[0];
    ProtobufCMessageDescriptor pong = *DESCRIPTOR(pong);
    pong.fields = &field;
    Nanopush__V1__Pong message = NANOPUSH__V1__PONG__INIT, *decoded;
    message.base.descriptor = &pong;

    field.type = PROTOBUF_C_TYPE_SINT64;
    message.broker_unix_ms = (uint64_t)INT64_MIN;
    assert_encoded(&message.base, "{\"brokerUnixMs\":\"-9223372036854775808\"}");
    decoded = (Nanopush__V1__Pong *)decode(&pong, "{\"brokerUnixMs\":\"-9223372036854775808\"}");
    assert_true(decoded->broker_unix_ms == (uint64_t)INT64_MIN);
    decoded = (Nanopush__V1__Pong *)decode(&pong, "{\"brokerUnixMs\":-9223372036854775808}");
    assert_true(decoded->broker_unix_ms == (uint64_t)INT64_MIN);
    assert_refused(&pong, "{\"brokerUnixMs\":\"9223372036854775808\"}", ERR_INVALID,
                   "brokerUnixMs: must be a whole number from -9223372036854775808 to 9223372036854775807");

    field.type = PROTOBUF_C_TYPE_INT32;
    message.broker_unix_ms = (uint32_t)-5;
    assert_encoded(&message.base, "{\"brokerUnixMs\":-5}");
    decoded = (Nanopush__V1__Pong *)decode(&pong, "{\"brokerUnixMs\":-2147483648}");
    assert_true(decoded->broker_unix_ms == (uint32_t)INT32_MIN);
    assert_refused(&pong, "{\"brokerUnixMs\":-2147483649}", ERR_INVALID,
                   "brokerUnixMs: must be a whole number from -2147483648 to 2147483647");
}

static void bytes_are_either_base64(void **state)
{
    (void)state;
    ASSERT_CANONICAL(create_challenge_request, "{\"nonce\":\"-_8\"}", "{\"nonce\":\"+/8=\"}");
    ASSERT_CANONICAL(create_challenge_request, "{\"nonce\":\"-_8=\"}", "{\"nonce\":\"+/8=\"}");
    ASSERT_CANONICAL(create_challenge_request, "{\"nonce\":\"+/8\"}", "{\"nonce\":\"+/8=\"}");
    ASSERT_CANONICAL(create_challenge_request, "{\"nonce\":\"_w\"}", "{\"nonce\":\"/w==\"}");
    ASSERT_CANONICAL(create_challenge_request, "{\"nonce\":\"/w==\"}", "{\"nonce\":\"/w==\"}");
    static const char *const bad[] = {
        "A", "AAAAA", "AA=", "=", "====", "A===", "AA==AA==", "AA AA", "AAA*", "AB", "/w= ", "AAAA="};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"nonce\":\"%s\"}", bad[i]);
        ASSERT_INVALID(create_challenge_request, text, "nonce: must be base64");
    }
}

static void strings_are_escaped_and_kept(void **state)
{
    (void)state;
    ASSERT_CANONICAL(
        create_challenge_request,
        "{\"user\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\\u00e9\xc3\xa9\\ud83d\\ude00\"}",
        "{\"user\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\xc3\xa9\xc3\xa9\xf0\x9f\x98\x80\"}");
    Nanopush__V1__Pong pong = NANOPUSH__V1__PONG__INIT;
    assert_encoded(&pong.base, "{}");
    Nanopush__V1__Challenge challenge = NANOPUSH__V1__CHALLENGE__INIT;
    challenge.id = "c1";
    challenge.user = "\xff";
    assert_not_encoded(&challenge.base, ERR_INVALID);
}

static void times_are_text(void **state)
{
    (void)state;
    ASSERT_CANONICAL(challenge, "{\"createTime\":\"2026-01-31T11:30:00.50+02:00\"}",
                     "{\"createTime\":\"2026-01-31T09:30:00.500Z\"}");
    ASSERT_INVALID(challenge, "{\"createTime\":\"today\"}",
                   "createTime: must be an RFC 3339 time, such as \"2026-01-31T09:30:00Z\"");
    ASSERT_CANONICAL(create_challenge_request, "{\"life\":\"60.0s\"}", "{\"life\":\"60s\"}");
    ASSERT_INVALID(create_challenge_request, "{\"life\":\"1m\"}",
                   "life: must be seconds, such as \"60s\" or \"1.5s\"");
}

static void times_out_of_range_are_not_encoded(void **state)
{
    (void)state;
    Google__Protobuf__Timestamp at = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Nanopush__V1__CreateChallengeResponse response = NANOPUSH__V1__CREATE_CHALLENGE_RESPONSE__INIT;
    response.expire_time = &at;
    at.seconds = 253402300800;
    assert_not_encoded(&response.base, ERR_INVALID);
    Google__Protobuf__Duration life = GOOGLE__PROTOBUF__DURATION__INIT;
    Nanopush__V1__CreateChallengeRequest request = NANOPUSH__V1__CREATE_CHALLENGE_REQUEST__INIT;
    request.life = &life;
    life.seconds = 1;
    life.nanos = -1;
    assert_not_encoded(&request.base, ERR_INVALID);
}

static void a_oneof_has_one_member(void **state)
{
    (void)state;
    ASSERT_CANONICAL(phone_message, "{\"ping\":{}}", "{\"ping\":{}}");
    ASSERT_CANONICAL(phone_message, "{\"ping\":null,\"ack\":{\"challengeId\":\"c\",\"attempt\":2}}",
                     "{\"ack\":{\"challengeId\":\"c\",\"attempt\":2}}");
    ASSERT_INVALID(phone_message, "{\"ping\":{},\"ack\":{}}",
                   "ping: excludes another member that is there too");
    Nanopush__V1__BrokerMessage broker = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    assert_encoded(&broker.base, "{}");
}

/* A fresh buffer of text repeated count times between a start and an end. */
static struct buf repeated(const char *start, const char *text, size_t count, const char *end)
{
    struct buf out = {0};
    assert_int_equal(buf_append(&out, bytes_of(start)), ERR_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_append(&out, bytes_of(text)), ERR_OK);
    assert_int_equal(buf_append(&out, bytes_of(end)), ERR_OK);
    assert_int_equal(buf_append(&out, bytes_make("", 1)), ERR_OK);
    return out;
}

static void depth_is_limited(void **state)
{
    (void)state;
    struct buf deepest = repeated("{\"x\":", "[", JSON_MAX_DEPTH - 1, "");
    struct buf ends = repeated("", "]", JSON_MAX_DEPTH - 1, "}");
    char text[256];
    snprintf(text, sizeof text, "%s%s", (const char *)deepest.p, (const char *)ends.p);
    ASSERT_CANONICAL(create_challenge_request, text, "{}");
    snprintf(text, sizeof text, "%s[]%s", (const char *)deepest.p, (const char *)ends.p);
    assert_refused(DESCRIPTOR(create_challenge_request), text, ERR_TOO_BIG, "nested deeper than 32 levels");
    buf_done(&deepest);
    buf_done(&ends);
}

static void brackets_in_strings_do_not_count(void **state)
{
    (void)state;
    struct buf text = repeated("{\"user\":\"\\\"", "[", JSON_MAX_DEPTH + 1, "\\\\\"}");
    ASSERT_CANONICAL(create_challenge_request, (const char *)text.p, (const char *)text.p);
    buf_done(&text);
}

static void tokens_are_limited(void **state)
{
    (void)state;
    struct buf most = repeated("{\"x\":[1", ",1", JSON_MAX_TOKENS - 3, "]}");
    ASSERT_CANONICAL(create_challenge_request, (const char *)most.p, "{}");
    buf_done(&most);
    struct buf more = repeated("{\"x\":[1", ",1", JSON_MAX_TOKENS - 2, "]}");
    assert_refused(DESCRIPTOR(create_challenge_request), (const char *)more.p, ERR_TOO_BIG,
                   "more than 4096 brackets, commas and colons");
    buf_done(&more);
}

static void a_full_arena_is_said_with_its_place(void **state)
{
    (void)state;
    struct buf text = repeated("{\"context\":{\"fields\":[{}", ",{}", 1500, "]}}");
    ProtobufCMessage *message = NULL;
    struct json_problem problem;
    assert_int_equal(json_decode(DESCRIPTOR(create_challenge_request), bytes_of((const char *)text.p),
                                 JSON_MAX_DEPTH, &arena, &message, &problem),
                     ERR_TOO_BIG);
    assert_non_null(strstr(problem.text, "context.fields["));
    assert_non_null(strstr(problem.text, "]: more than the broker takes in one message"));
    buf_done(&text);
}

/* The project's messages have neither, so a Pong and a DisplayField are made to. */
static void floats_and_maps_are_not_supported(void **state)
{
    (void)state;
    ProtobufCFieldDescriptor field = DESCRIPTOR(pong)->fields[0];
    ProtobufCMessageDescriptor pong = *DESCRIPTOR(pong);
    pong.fields = &field;
    field.type = PROTOBUF_C_TYPE_DOUBLE;
    Nanopush__V1__Pong message = NANOPUSH__V1__PONG__INIT;
    message.base.descriptor = &pong;
    assert_not_encoded(&message.base, ERR_UNSUPPORTED);
    assert_refused(&pong, "{}", ERR_UNSUPPORTED, "a message with a field that this API does not use");

    ProtobufCFieldDescriptor key_and_value[2] = {DESCRIPTOR(display_field)->fields[0],
                                                 DESCRIPTOR(display_field)->fields[1]};
    ProtobufCMessageDescriptor entry = *DESCRIPTOR(display_field);
    key_and_value[0].name = "key";
    entry.short_name = "LabelsEntry";
    entry.fields = key_and_value;
    field.type = PROTOBUF_C_TYPE_MESSAGE;
    field.descriptor = &entry;
    assert_not_encoded(&message.base, ERR_UNSUPPORTED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest json[] = {
        TEST(decodes_each_kind_of_field),
        TEST(names_are_taken_in_both_cases),
        TEST(absent_null_and_default_are_the_same),
        TEST(unknown_members_are_ignored),
        TEST(refuses_what_is_no_json_object),
        TEST(refuses_a_request_cut_anywhere),
        TEST(says_what_is_malformed),
        TEST(says_where_the_type_is_wrong),
        TEST(a_problem_never_repeats_the_text),
        TEST(enums_are_names_or_numbers),
        TEST(integers_are_numbers_or_strings_in_range),
        TEST(signed_integers_have_their_own_ranges),
        TEST(bytes_are_either_base64),
        TEST(strings_are_escaped_and_kept),
        TEST(times_are_text),
        TEST(times_out_of_range_are_not_encoded),
        TEST(a_oneof_has_one_member),
        TEST(depth_is_limited),
        TEST(brackets_in_strings_do_not_count),
        TEST(tokens_are_limited),
        TEST(a_full_arena_is_said_with_its_place),
        TEST(floats_and_maps_are_not_supported),
    };
    return cmocka_run_group_tests(json, NULL, NULL);
}
