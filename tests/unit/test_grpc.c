/** gRPC's and Connect's forms: envelopes, time-outs, messages of errors, queries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "portal/connect.h"
#include "portal/grpc.h"

static void envelope_goes_there_and_back(void **state)
{
    (void)state;
    static uint8_t large[70000];
    const struct bytes messages[] = {{0}, bytes_of("x"), bytes_make(large, sizeof large)};
    for (size_t i = 0; i < 3; i++) {
        struct buf out = {0};
        struct bytes message = {0};
        assert_int_equal(rpc_append_envelope(&out, 0, messages[i]), ERR_OK);
        assert_int_equal(buf_len(&out), RPC_ENVELOPE_BYTES + messages[i].len);
        assert_int_equal(rpc_open_envelope(buf_view(&out), &message), ERR_OK);
        assert_true(bytes_equal(message, messages[i]));
        buf_done(&out);
    }
}

static void envelope_cut_at_each_byte_is_malformed(void **state)
{
    (void)state;
    const uint8_t whole[] = {0, 0, 0, 0, 3, 'a', 'b', 'c'};
    struct bytes message = {0};
    assert_int_equal(rpc_open_envelope((struct bytes){0}, &message), ERR_BAD_STATE);
    for (size_t len = 1; len < sizeof whole; len++)
        assert_int_equal(rpc_open_envelope(bytes_make(whole, len), &message), ERR_MALFORMED);
    assert_int_equal(rpc_open_envelope(bytes_make(whole, sizeof whole), &message), ERR_OK);
}

static void anything_but_one_plain_envelope_is_refused(void **state)
{
    (void)state;
    static const struct {
        enum err e;
        size_t len;
        uint8_t body[12];
    } rows[] = {
        {ERR_UNSUPPORTED, 6, {1, 0, 0, 0, 1, 'a'}}, {ERR_UNSUPPORTED, 6, {3, 0, 0, 0, 1, 'a'}},
        {ERR_MALFORMED, 6, {2, 0, 0, 0, 1, 'a'}},   {ERR_MALFORMED, 6, {0x80, 0, 0, 0, 1, 'a'}},
        {ERR_MALFORMED, 6, {0, 0, 0, 0, 2, 'a'}},   {ERR_MALFORMED, 6, {0, 0xff, 0xff, 0xff, 0xff, 'a'}},
        {ERR_BAD_STATE, 6, {0, 0, 0, 0, 0, 'a'}},   {ERR_BAD_STATE, 10, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
    };
    struct bytes message = bytes_of("untouched");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(rpc_open_envelope(bytes_make(rows[i].body, rows[i].len), &message), rows[i].e);
    assert_true(bytes_equal(message, bytes_of("untouched")));
}

static void grpc_timeouts_are_milliseconds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } rows[] = {
        {"1H", 3600000},
        {"2M", 120000},
        {"3S", 3000},
        {"4m", 4},
        {"5000u", 5},
        {"5001u", 6},
        {"1u", 1},
        {"1n", 1},
        {"1000000n", 1},
        {"1000001n", 2},
        {"99999999H", 359999996400000},
        {"0S", 0},
        {"00000001S", 1000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t ms = 7;
        assert_true(grpc_parse_timeout(bytes_of(rows[i].text), &ms));
        assert_int_equal(ms, rows[i].ms);
    }
}

static void other_timeouts_are_refused(void **state)
{
    (void)state;
    static const char *const grpc_rows[] = {"",    "S",   "1",    "1s",  "1h", "-1S",        "+1S",
                                            "1 S", " 1S", "1.5S", "1SS", "1x", "123456789S", "0x1S"};
    static const char *const connect_rows[] = {"", "0", "-1", "1.5", "1s", "12345678901", " 1"};
    uint64_t ms = 0;
    for (size_t i = 0; i < sizeof grpc_rows / sizeof *grpc_rows; i++)
        assert_false(grpc_parse_timeout(bytes_of(grpc_rows[i]), &ms));
    for (size_t i = 0; i < sizeof connect_rows / sizeof *connect_rows; i++)
        assert_false(connect_parse_timeout(bytes_of(connect_rows[i]), &ms));
    assert_true(connect_parse_timeout(bytes_of("9999999999"), &ms));
    assert_int_equal(ms, 9999999999);
}

static void grpc_message_is_percent_encoded(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", ""},
        {"send Authorization: Bearer <id>.<secret>", "send Authorization: Bearer <id>.<secret>"},
        {"100%", "100%25"},
        {"a\nb\x7f", "a%0Ab%7F"},
        {"\xc3\xa9", "%C3%A9"},
        {" ~", " ~"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out = {0};
        assert_int_equal(grpc_append_message(&out, rows[i][0]), ERR_OK);
        assert_true(bytes_equal(buf_view(&out), bytes_of(rows[i][1])));
        buf_done(&out);
    }
}

static void codes_have_grpcs_numbers(void **state)
{
    (void)state;
    assert_int_equal(grpc_status(RPC_CANCELED), 1);
    assert_int_equal(grpc_status(RPC_INVALID_ARGUMENT), 3);
    assert_int_equal(grpc_status(RPC_DEADLINE_EXCEEDED), 4);
    assert_int_equal(grpc_status(RPC_NOT_FOUND), 5);
    assert_int_equal(grpc_status(RPC_RESOURCE_EXHAUSTED), 8);
    assert_int_equal(grpc_status(RPC_UNIMPLEMENTED), 12);
    assert_int_equal(grpc_status(RPC_UNAVAILABLE), 14);
    assert_int_equal(grpc_status(RPC_UNAUTHENTICATED), 16);
}

static void connect_errors_are_json(void **state)
{
    (void)state;
    struct buf out = {0};
    const struct rpc_error quoted = {.code = RPC_NOT_FOUND, .text = "no \"a\\b\"\n"};
    assert_int_equal(connect_append_error(&out, &quoted), ERR_OK);
    assert_true(
        bytes_equal(buf_view(&out), bytes_of("{\"code\":\"not_found\",\"message\":\"no \\\"a\\\\b\\\"?\"}")));
    buf_done(&out);
    assert_int_equal(connect_append_end(&out, NULL), ERR_OK);
    assert_true(bytes_equal(buf_view(&out), bytes_make("\2\0\0\0\2{}", 7)));
    buf_done(&out);
    const struct rpc_error aborted = {.code = RPC_ABORTED, .text = "x"};
    assert_int_equal(connect_append_end(&out, &aborted), ERR_OK);
    const char *end = "{\"error\":{\"code\":\"aborted\",\"message\":\"x\"}}";
    assert_int_equal(buf_len(&out), RPC_ENVELOPE_BYTES + strlen(end));
    assert_memory_equal(buf_view(&out).p + RPC_ENVELOPE_BYTES, end, strlen(end));
    buf_done(&out);
}

/* google.rpc.RetryInfo of 5 s and a message without JSON, as a list of details. */
static void details_are_carried_in_both_protocols(void **state)
{
    (void)state;
    struct rpc_detail retry = {.type = "google.rpc.RetryInfo"}, other = {.type = "x.Y"};
    struct list details;
    list_init(&details);
    list_append(&details, &retry.node);
    list_append(&details, &other.node);
    assert_int_equal(buf_append(&retry.packed, bytes_make("\x0a\x02\x08\x05", 4)), ERR_OK);
    assert_int_equal(buf_append(&retry.json, bytes_of("{\"retryDelay\":\"5s\"}")), ERR_OK);
    assert_int_equal(buf_append(&other.packed, bytes_make("\xfb\xff\xbf", 3)), ERR_OK);
    const struct rpc_error error = {.code = RPC_RESOURCE_EXHAUSTED, .text = "later", .details = &details};
    struct buf out = {0};
    assert_int_equal(connect_append_error(&out, &error), ERR_OK);
    assert_true(bytes_equal(
        buf_view(&out),
        bytes_of("{\"code\":\"resource_exhausted\",\"message\":\"later\",\"details\":["
                 "{\"type\":\"google.rpc.RetryInfo\",\"value\":\"CgIIBQ\",\"debug\":{\"retryDelay\":\"5s\"}},"
                 "{\"type\":\"x.Y\",\"value\":\"+/+/\"}]}")));
    buf_done(&out);
    assert_int_equal(grpc_append_details(&out, &error), ERR_OK);
    assert_true(
        bytes_equal(buf_view(&out),
                    bytes_of("CAgSBWxhdGVyGjAKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SBAoCCAU"
                             "aHgoXdHlwZS5nb29nbGVhcGlzLmNvbS94LlkSA/v/vw")));
    buf_done(&out);
    buf_done(&retry.packed);
    buf_done(&retry.json);
    buf_done(&other.packed);
}

static void parameters_are_found_in_a_query(void **state)
{
    (void)state;
    struct bytes query = bytes_of("a=1&&ab=2&c&a=3&d=x=y&=z"), value = {0};
    assert_true(connect_query(query, "a", &value));
    assert_true(bytes_equal(value, bytes_of("1")));
    assert_true(connect_query(query, "ab", &value));
    assert_true(bytes_equal(value, bytes_of("2")));
    assert_true(connect_query(query, "c", &value));
    assert_int_equal(value.len, 0);
    assert_true(connect_query(query, "d", &value));
    assert_true(bytes_equal(value, bytes_of("x=y")));
    assert_false(connect_query(query, "b", &value));
    assert_false(connect_query((struct bytes){0}, "a", &value));
}

static void message_of_a_query_is_decoded(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"message=%7B%22a%22%3A+1%7D&encoding=json", "{\"a\": 1}"},
        {"message={}", "{}"},
        {"encoding=json", ""},
        {"message=", ""},
        {"message=&base64=1", ""},
        {"base64=1&message=aGk", "hi"},
        {"base64=1&message=aGk%3D", "hi"},
        {"base64=1&message=aA==", "h"},
        {"base64=0&message=aGk", "aGk"},
    };
    static const char *const wrong[] = {
        "message=%",
        "message=%4",
        "message=%4x",
        "message=a%zz",
        "base64=1&message=a",
        "base64=1&message=a+b/",
        "base64=1&message=aGl=",
        "base64=1&message==",
        "base64=1&message=aA===",
    };
    struct buf out = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(connect_query_message(bytes_of(rows[i][0]), &out), ERR_OK);
        assert_true(bytes_equal(buf_view(&out), bytes_of(rows[i][1])));
        buf_done(&out);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (connect_query_message(bytes_of(wrong[i]), &out) != ERR_MALFORMED)
            fail_msg("%s", wrong[i]);
        buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(envelope_goes_there_and_back),
        cmocka_unit_test(envelope_cut_at_each_byte_is_malformed),
        cmocka_unit_test(anything_but_one_plain_envelope_is_refused),
        cmocka_unit_test(grpc_timeouts_are_milliseconds),
        cmocka_unit_test(other_timeouts_are_refused),
        cmocka_unit_test(grpc_message_is_percent_encoded),
        cmocka_unit_test(codes_have_grpcs_numbers),
        cmocka_unit_test(connect_errors_are_json),
        cmocka_unit_test(details_are_carried_in_both_protocols),
        cmocka_unit_test(parameters_are_found_in_a_query),
        cmocka_unit_test(message_of_a_query_is_decoded),
    };
    return cmocka_run_group_tests_name("grpc", tests, NULL, NULL);
}
