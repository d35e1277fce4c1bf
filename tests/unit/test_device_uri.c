/* clients/device/uri.c. */
#include "device_vectors.h"

#include "device/internal.h"

#define PIN   "s2Q2LONZ7l352I0IAkKBZ5nnvKF_0PyZSh8AANQ1h2E"
#define TOKEN "leHsNSBDPWaV5h-HVNo3rg"
#define URI                                                                                                  \
    "nanopush://enrol?v=1&h=push.example.com:7440&n=push.example.com&o=example&u=ada&e=e1"                   \
    "&t=" TOKEN "&p=" PIN

static void uri_says_what_the_vectors_say(void **state)
{
    (void)state;
    json_t *file = vectors_load("enrol"), *vector;
    size_t i;
    json_array_foreach(json_object_get(file, "vectors"), i, vector)
    {
        struct np_enrolment_uri uri;
        uint8_t bytes[64];
        char address[512];
        assert_int_equal(np_enrolment_uri_parse(vector_text(vector, "uri"), &uri), NP_OK);
        snprintf(address, sizeof address, "%s:%u", uri.host, uri.port);
        assert_string_equal(address, vector_text(vector, "address"));
        assert_string_equal(uri.server_name, vector_text(vector, "server_name"));
        assert_string_equal(uri.organisation, vector_text(vector, "organisation"));
        assert_string_equal(uri.user, vector_text(vector, "user"));
        assert_string_equal(uri.enrolment_id, vector_text(vector, "enrolment_id"));
        assert_int_equal(vector_bytes(vector, "token", bytes, sizeof bytes), sizeof uri.token);
        assert_memory_equal(bytes, uri.token, sizeof uri.token);
        assert_int_equal(vector_bytes(vector, "pin", bytes, sizeof bytes), sizeof uri.pin);
        assert_memory_equal(bytes, uri.pin, sizeof uri.pin);
        size_t secret_len = vector_bytes(vector, "secret", bytes, sizeof bytes);
        assert_int_equal(secret_len, uri.has_secret ? sizeof uri.secret : 0);
        assert_memory_equal(bytes, uri.secret, secret_len);
    }
    json_decref(file);
}

static void uri_host_may_be_an_address(void **state)
{
    (void)state;
    struct np_enrolment_uri uri;
    const char *rest = "&n=a.b&o=x&u=a%2bb%26c&e=e1&t=" TOKEN "&p=" PIN "&v=1";
    char text[512];
    snprintf(text, sizeof text, "nanopush://enrol?h=[2001:db8::1]:65535%s", rest);
    assert_int_equal(np_enrolment_uri_parse(text, &uri), NP_OK);
    assert_string_equal(uri.host, "2001:db8::1");
    assert_int_equal(uri.port, 65535);
    assert_string_equal(uri.user, "a+b&c");
    snprintf(text, sizeof text, "nanopush://enrol?h=%%5B::1%%5D%%3A1%s", rest);
    assert_int_equal(np_enrolment_uri_parse(text, &uri), NP_OK);
    assert_string_equal(uri.host, "::1");
}

static void uri_cut_short_is_refused(void **state)
{
    (void)state;
    const char *whole = URI;
    char text[1024];
    for (size_t len = 0; len < strlen(whole); len++) {
        struct np_enrolment_uri uri;
        snprintf(text, sizeof text, "%.*s", (int)len, whole);
        assert_int_not_equal(np_enrolment_uri_parse(text, &uri), NP_OK);
    }
}

static void uri_of_another_form_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *was, *is;
        enum np_error error;
    } rows[] = {
        {"v=1", "v=2", NP_UNSUPPORTED},
        {"v=1", "v=11", NP_UNSUPPORTED},
        {"nanopush:", "Nanopush:", NP_MALFORMED},
        {"enrol?", "enrol/?", NP_MALFORMED},
        {"v=1", "v=1&v=1", NP_MALFORMED},
        {"v=1", "v=1&x=1", NP_MALFORMED},
        {"v=1", "v=1&", NP_MALFORMED},
        {"u=ada", "u=", NP_MALFORMED},
        {"u=ada", "u=a%0ab", NP_MALFORMED},
        {"u=ada", "u=a%00b", NP_MALFORMED},
        {"u=ada", "u=a%ffb", NP_MALFORMED},
        {"u=ada", "u=a%e2%80%aeb", NP_MALFORMED},
        {"u=ada", "u=a%2", NP_MALFORMED},
        {"u=ada", "u=a%2x", NP_MALFORMED},
        {"u=ada", "u=a b", NP_MALFORMED},
        {"u=ada", "u=\xc5\xbd", NP_MALFORMED},
        {":7440", "", NP_MALFORMED},
        {":7440", ":0", NP_MALFORMED},
        {":7440", ":65536", NP_MALFORMED},
        {":7440", ":07440", NP_MALFORMED},
        {":7440", ":7440x", NP_MALFORMED},
        {"h=push.example.com", "h=2001:db8::1", NP_MALFORMED},
        {"h=push.example.com", "h=[::1", NP_MALFORMED},
        {"h=push.example.com", "h=[]", NP_MALFORMED},
        {"h=push.example.com", "h=user@push", NP_MALFORMED},
        {"n=push", "n=*.push", NP_MALFORMED},
        {TOKEN, "leHsNSBDPWaV5h-HVNo3rh", NP_MALFORMED}, /* unused bits not zero */
        {TOKEN, "leHsNSBDPWaV5h-HVNo3rg=", NP_MALFORMED},
        {TOKEN, "leHsNSBDPWaV5h+HVNo3rg", NP_MALFORMED},
        {TOKEN, "leHsNSBDPWaV5h-HVNo3", NP_MALFORMED},
        {PIN, PIN "#", NP_MALFORMED},
        {PIN, PIN "#s=", NP_MALFORMED},
        {PIN, PIN "#s=" TOKEN "x", NP_MALFORMED},
        {PIN, PIN "#s=" TOKEN "&x=1", NP_MALFORMED},
        {PIN, PIN "#S=" TOKEN, NP_MALFORMED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct np_enrolment_uri uri = {.port = 99};
        char text[1024];
        const char *whole = URI, *at = strstr(whole, rows[i].was);
        assert_non_null(at);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - whole), whole, rows[i].is,
                 at + strlen(rows[i].was));
        assert_int_equal(np_enrolment_uri_parse(text, &uri), rows[i].error);
        assert_int_equal(uri.port, 99);
    }
}

static void uri_values_have_limits(void **state)
{
    (void)state;
    static const struct {
        const char *was;
        size_t most;
    } rows[] = {{"u=ada", NP_USER_SIZE - 1},
                {"o=example", NP_ID_SIZE - 1},
                {"e=e1", NP_ID_SIZE - 1},
                {"n=push.example.com", NP_HOST_SIZE - 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t more = 0; more <= 1; more++) {
            struct np_enrolment_uri uri;
            char text[1024], value[512];
            memset(value, 'a', rows[i].most + more);
            value[rows[i].most + more] = '\0';
            const char *whole = URI, *at = strstr(whole, rows[i].was);
            snprintf(text, sizeof text, "%.*s%.2s%s%s", (int)(at - whole), whole, rows[i].was, value,
                     at + strlen(rows[i].was));
            assert_int_equal(np_enrolment_uri_parse(text, &uri), more ? NP_MALFORMED : NP_OK);
        }
    }
    char text[NP_URI_BYTES_MAX + 2];
    struct np_enrolment_uri uri;
    memset(text, 'a', sizeof text);
    text[NP_URI_BYTES_MAX + 1] = '\0';
    assert_int_equal(np_enrolment_uri_parse(text, &uri), NP_TOO_BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uri_says_what_the_vectors_say), cmocka_unit_test(uri_host_may_be_an_address),
        cmocka_unit_test(uri_cut_short_is_refused),      cmocka_unit_test(uri_of_another_form_is_refused),
        cmocka_unit_test(uri_values_have_limits),
    };
    return cmocka_run_group_tests_name("device_uri", tests, NULL, NULL);
}
