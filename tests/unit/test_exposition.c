/* cli/exposition.h: lines of a metrics page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/exposition.h"

#define assert_value(sample, expected) assert_true((sample).value == (expected))

static void sample_without_labels(void **state)
{
    (void)state;
    struct sample sample;
    assert_int_equal(sample_parse("nanopush_x_total 1234567", &sample), ERR_OK);
    assert_string_equal(sample.name, "nanopush_x_total");
    assert_int_equal(sample.label_count, 0);
    assert_value(sample, 1234567);
    assert_int_equal(sample_parse("x -0.5", &sample), ERR_OK);
    assert_value(sample, -0.5);
    assert_int_equal(sample_parse("x 7 1700000000000", &sample), ERR_OK); /* a time stamp */
    assert_value(sample, 7);
}

static void labels_are_unescaped(void **state)
{
    (void)state;
    struct sample sample;
    assert_int_equal(sample_parse("x{a=\"1\",b=\"q\\\"b\\\\nn\\n}\",} 2", &sample), ERR_OK);
    assert_int_equal(sample.label_count, 2);
    assert_string_equal(sample.labels[0].name, "a");
    assert_string_equal(sample.labels[0].value, "1");
    assert_string_equal(sample.labels[1].value, "q\"b\\nn\n}");
    assert_value(sample, 2);
    assert_int_equal(sample_parse("x{} 3", &sample), ERR_OK);
    assert_int_equal(sample.label_count, 0);
}

static void comments_and_empty_lines_are_no_samples(void **state)
{
    (void)state;
    struct sample sample;
    assert_int_equal(sample_parse("", &sample), ERR_NOT_FOUND);
    assert_int_equal(sample_parse("# HELP x y", &sample), ERR_NOT_FOUND);
}

static void truncated_line_is_refused_at_each_byte(void **state)
{
    (void)state;
    struct sample sample;
    const char line[] = "x{port=\"de\\nvice\"} 7";
    for (size_t len = 1; len < sizeof line - 1; len++) {
        char *cut = strndup(line, len);
        assert_int_equal(sample_parse(cut, &sample), ERR_MALFORMED);
        free(cut);
    }
    assert_int_equal(sample_parse(line, &sample), ERR_OK);
}

static void what_is_no_sample_is_refused(void **state)
{
    (void)state;
    struct sample sample;
    const char *const lines[] = {"{a=\"1\"} 2", "x {a=\"1\"} 2", "x{a=1} 2", "x{a=\"1\"b=\"2\"} 2",
                                 "x{=\"1\"} 2", "x two",         "x 2y",     "x{a=\"1\"}2"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_int_equal(sample_parse(lines[i], &sample), ERR_MALFORMED);
}

static void limits_hold(void **state)
{
    (void)state;
    struct sample sample;
    char line[SAMPLE_TEXT_SIZE * 2];
    for (size_t len = SAMPLE_TEXT_SIZE - 1; len <= SAMPLE_TEXT_SIZE; len++) {
        memset(line, 'n', len);
        strcpy(line + len, " 1");
        assert_int_equal(sample_parse(line, &sample), len < SAMPLE_TEXT_SIZE ? ERR_OK : ERR_TOO_BIG);
        strcpy(line, "x{a=\"");
        memset(line + 5, 'v', len);
        strcpy(line + 5 + len, "\"} 1");
        assert_int_equal(sample_parse(line, &sample), len < SAMPLE_TEXT_SIZE ? ERR_OK : ERR_TOO_BIG);
    }
    assert_int_equal(sample_parse("x{a=\"\",b=\"\",c=\"\",d=\"\"} 1", &sample), ERR_OK);
    assert_int_equal(sample_parse("x{a=\"\",b=\"\",c=\"\",d=\"\",e=\"\"} 1", &sample), ERR_TOO_BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sample_without_labels),
        cmocka_unit_test(labels_are_unescaped),
        cmocka_unit_test(comments_and_empty_lines_are_no_samples),
        cmocka_unit_test(truncated_line_is_refused_at_each_byte),
        cmocka_unit_test(what_is_no_sample_is_refused),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests_name("exposition", tests, NULL, NULL);
}
