/* cli/figures.h: what the stats port answers, and what it could answer instead; cli/sheet.h: lines that fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/figures_sheet.h"

static const char answer[] =
    "{\"version\":\"1.2\",\"now_unix_ms\":1000000,\"ready\":false,"
    "\"faults\":[{\"text\":\"gets no "
    "hints\",\"advice\":\"see\\u001b[2J\",\"worker\":2,\"since_unix_ms\":990000}],"
    "\"redis\":{\"up\":true,\"since_unix_ms\":1},"
    "\"workers\":[{\"number\":1,\"fault\":null,\"probe_age_ms\":null,\"phones\":7,\"memory_bytes\":1048576}],"
    "\"recent\":[{\"unix_ms\":5,\"process\":\"ops\",\"severity\":\"error\",\"kind\":\"audit-failing\"}],"
    "\"history\":{\"step_ms\":5000,\"phones\":[9,7],\"approved\":[10,20,70],\"asked\":[],\"other\":[]},"
    "\"metrics\":{\"nanopush_devices_attached\":{\"samples\":[{\"labels\":{},\"value\":7}]},"
    "\"nanopush_challenges_settled_total\":{\"samples\":[{\"labels\":{\"state\":\"approved\"},\"value\":70}]}"
    ","
    "\"nanopush_login_seconds\":{\"bounds\":[0.1,0.2],\"samples\":"
    "[{\"labels\":{\"stage\":\"ask\"},\"buckets\":[4,8,8]}]}}}";

static void test_reads_what_there_is(void **state)
{
    (void)state;
    struct figures *figures = calloc(1, sizeof *figures);
    assert_int_equal(figures_parse(bytes_of(answer), figures), ERR_OK);
    assert_string_equal(figures->version, "1.2");
    assert_false(figures->ready);
    assert_int_equal(figures->fault_count, 1);
    assert_string_equal(figures->faults[0].advice, "see?[2J"); /* nothing that would repaint a terminal */
    assert_int_equal(figures->workers[0].phones, 7);
    assert_int_equal(figures->workers[0].probe_age_ms, -1);
    assert_string_equal(figures->recent[0].kind, "audit-failing");
    assert_int_equal(figures->outcomes[OUTCOME_APPROVED], 70);
    assert_int_equal(figures->outcomes[OUTCOME_DENIED], 0);
    assert_int_equal(figures->phones_most, 9);
    assert_float_equal(figures->logins_per_s, 6, 1e-9); /* 60 in 10 s */
    assert_float_equal(figures->logins_per_s_most, 10, 1e-9);
    free(figures);
}

static void test_refuses_what_is_none_and_any_cut(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",   "x",    "[]",
                                        "{}", "null", "{\"ready\":true,\"workers\":1,\"faults\":[]}"};
    struct figures *figures = calloc(1, sizeof *figures);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(figures_parse(bytes_of(wrong[i]), figures), ERR_MALFORMED);
    for (size_t len = 0; len < sizeof answer - 1; len++)
        assert_int_equal(figures_parse(bytes_make(answer, len), figures), ERR_MALFORMED);
    free(figures);
}

static void test_quantiles(void **state)
{
    (void)state;
    const struct figures_histogram old = {.bounds_s = {1, 2}, .buckets = {2, 2, 2}, .count = 3};
    const struct figures_histogram now = {.bounds_s = {1, 2}, .buckets = {2, 6, 10}, .count = 3};
    const struct figures_histogram none = {.count = 0};
    assert_float_equal(figures_quantile(&now, NULL, 0.1), 0.5, 1e-9);
    assert_float_equal(figures_quantile(&now, NULL, 0.4), 1.5, 1e-9);
    assert_float_equal(figures_quantile(&now, NULL, 1), 2, 1e-9); /* above the last bound: that */
    assert_float_equal(figures_quantile(&now, &old, 0.25), 1.5, 1e-9);
    assert_true(figures_quantile(&old, &old, 0.5) < 0); /* nothing since */
    assert_true(figures_quantile(&none, NULL, 0.5) < 0);
}

/* No line is longer than the terminal, and no more lines than it has, at any size. */
static void test_fits(void **state)
{
    (void)state;
    struct figures *figures = calloc(1, sizeof *figures);
    assert_int_equal(figures_parse(bytes_of(answer), figures), ERR_OK);
    for (size_t width = 1; width < 90; width += 7) {
        for (size_t height = 1; height < 50; height += 3) {
            struct sheet sheet = {.width = width, .height = height, .line_end = "\n"};
            figures_sheet(figures, NULL, &sheet);
            assert_false(sheet.failed);
            size_t lines = 1, column = 0;
            for (size_t i = 0; i < buf_len(&sheet.out); i++) {
                bool end = buf_view(&sheet.out).p[i] == '\n';
                column = end ? 0 : column + 1;
                lines += end;
                assert_true(column <= width);
            }
            assert_true(lines <= height);
            buf_done(&sheet.out);
        }
    }
    free(figures);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_there_is),
        cmocka_unit_test(test_refuses_what_is_none_and_any_cut),
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_fits),
    };
    return cmocka_run_group_tests_name("figures", tests, NULL, NULL);
}
