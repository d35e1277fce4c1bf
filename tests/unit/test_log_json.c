#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "core/log.h"
#include "core/log_json.h"

static json_t *parse(const char *line)
{
    char out[LOG_JSON_MAX_BYTES];
    json_error_t error;
    size_t len = log_json(line, strlen(line), out);
    assert_true(len < sizeof out);
    json_t *object = json_loadb(out, len, JSON_REJECT_DUPLICATES, &error);
    assert_true(json_is_object(object));
    return object;
}

static void assert_value(const char *line, const char *key, const char *expected)
{
    json_t *object = parse(line);
    assert_string_equal(json_string_value(json_object_get(object, key)), expected);
    json_decref(object);
}

static void pairs_become_members(void **state)
{
    (void)state;
    assert_value("time=1 event=x conn=7", "conn", "7");
    assert_value("time=1 event=x conn=7", "time", "1");
    assert_value("a=b c=", "c", "");
    assert_value("a=\"b c=d\" e=f", "a", "b c=d");
    assert_value("a=\"b c=d\" e=f", "e", "f");
}

/* What log_quote() makes of any bytes comes back as they were, but for those above ASCII. */
static void quoted_values_come_back(void **state)
{
    (void)state;
    static const char *const values[] = {"plain",     "a b",      "\"", "\\",     "\\\"",
                                         "x\ny\r\tz", "\x01\x1f", "",   "a\\x41", "\"}"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char line[512];
        snprintf(line, sizeof line, "event=e v=%s last=1", LOG_STR(values[i]));
        assert_value(line, "v", values[i]);
        assert_value(line, "last", "1");
    }
}

static void a_line_cut_anywhere_is_an_object(void **state)
{
    (void)state;
    static const char whole[] = "event=e v=\"a \\\" \\x1f \\\\ \\n\" w=x\\ y=\"z\"q z";
    for (size_t len = 0; len < sizeof whole; len++) {
        char line[sizeof whole];
        memcpy(line, whole, len);
        line[len] = '\0';
        json_decref(parse(line));
    }
}

static void what_does_not_fit_is_left_out_whole(void **state)
{
    (void)state;
    char line[LOG_LINE_MAX_BYTES + 1] = "event=e v=\"";
    size_t len = strlen(line);
    while (len + 4 < sizeof line) {
        memcpy(line + len, "\\x01", 4);
        len += 4;
    }
    line[len] = '\0';
    assert_value(line, "event", "e");
}

int main(void)
{
    const struct CMUnitTest log_json_tests[] = {
        cmocka_unit_test(pairs_become_members),
        cmocka_unit_test(quoted_values_come_back),
        cmocka_unit_test(a_line_cut_anywhere_is_an_object),
        cmocka_unit_test(what_does_not_fit_is_left_out_whole),
    };
    return cmocka_run_group_tests_name("log_json", log_json_tests, NULL, NULL);
}
