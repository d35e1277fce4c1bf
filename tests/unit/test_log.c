#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "core/log_limit.h"

/* Standard error is a pipe during each test. */
struct capture {
    int saved, reader;
    char text[65536];
};

static int begin(void **state)
{
    struct capture *c = calloc(1, sizeof *c);
    int ends[2];
    if (!c || pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
        return -1;
    c->saved = dup(STDERR_FILENO);
    c->reader = ends[0];
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    *state = c;
    log_init("worker-1", LOG_LEVEL_INFO);
    return 0;
}

static int end(void **state)
{
    struct capture *c = *state;
    dup2(c->saved, STDERR_FILENO);
    close(c->saved);
    close(c->reader);
    free(c);
    return 0;
}

/* What was logged since the last call. */
static const char *logged(struct capture *c)
{
    ssize_t len = read(c->reader, c->text, sizeof c->text - 1);
    c->text[len > 0 ? len : 0] = '\0';
    return c->text;
}

/* The line after its time. */
static const char *logged_event(struct capture *c)
{
    const char *text = logged(c);
    assert_memory_equal(text, "time=", 5);
    return text + strlen("time=2026-11-24T10:50:09.123Z ");
}

static unsigned count_lines(const char *text)
{
    unsigned count = 0;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}

static void an_event_is_one_line_of_pairs(void **state)
{
    LOG(WARN, DEVICE, "session-closed", "conn=%u reason=%s", 7u, "idle");
    assert_string_equal(logged_event(*state),
                        "level=warn process=worker-1 area=device event=session-closed conn=7 reason=idle\n");
    LOG(INFO, PROC, "started");
    assert_string_equal(logged_event(*state), "level=info process=worker-1 area=proc event=started\n");
}

static void a_level_includes_the_graver_ones_only(void **state)
{
    int evaluated = 0;
    LOG(DEBUG, NET, "read", "n=%d", ++evaluated);
    assert_string_equal(logged(*state), "");
    assert_int_equal(evaluated, 0);
    log_set_level(LOG_LEVEL_DEBUG);
    LOG(DEBUG, NET, "read", "n=%d", ++evaluated);
    assert_non_null(strstr(logged(*state), "n=1\n"));
    log_set_level(LOG_LEVEL_ERROR);
    LOG(WARN, NET, "read");
    assert_string_equal(logged(*state), "");
}

static void each_area_has_a_level_of_its_own(void **state)
{
    enum log_area area = LOG_AREA_LOG;
    assert_int_equal(log_area_parse("device", &area), ERR_OK);
    assert_int_equal(area, LOG_AREA_DEVICE);
    assert_int_equal(log_area_parse("devices", &area), ERR_INVALID);
    log_set_level(LOG_LEVEL_INFO);
    log_set_area_level(LOG_AREA_DEVICE, LOG_LEVEL_WARN);
    LOG(INFO, DEVICE, "quiet");
    assert_string_equal(logged(*state), "");
    LOG(INFO, PORTAL, "heard");
    assert_non_null(strstr(logged(*state), "event=heard"));
    log_set_area_level(LOG_AREA_DEVICE, LOG_LEVEL_DEBUG);
    LOG(DEBUG, DEVICE, "heard-too");
    assert_non_null(strstr(logged(*state), "event=heard-too"));
    log_set_level(LOG_LEVEL_INFO);
}

static void a_peer_cannot_forge_a_line_or_a_pair(void **state)
{
    const char *evil = "x\ntime=1 level=error event=\"fine\"";
    LOG(INFO, PORTAL, "name", "user=%s next=%d", LOG_STR(evil), 1);
    assert_string_equal(logged_event(*state), "level=info process=worker-1 area=portal event=name "
                                              "user=\"x\\ntime=1 level=error event=\\\"fine\\\"\" next=1\n");
    LOG(INFO, PORTAL, "name", "user=%s", "a\nb\r\x1b[31m\x80");
    assert_string_equal(logged_event(*state),
                        "level=info process=worker-1 area=portal event=name user=a?b??[31m?\n");
}

static void quoting_keeps_plain_values_and_escapes_the_rest(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        size_t len;
        const char *out;
    } rows[] = {
        {"plain-1.2:3/4", 13, "plain-1.2:3/4"},
        {"", 0, "\"\""},
        {"a b", 3, "\"a b\""},
        {"a=b", 3, "\"a=b\""},
        {"\"\\\n\r\t", 5, "\"\\\"\\\\\\n\\r\\t\""},
        {"a\0b", 3, "\"a\\x00b\""},
        {"\xc3\xa9\x7f\x1b", 4, "\"\\xc3\\xa9\\x7f\\x1b\""},
    };
    struct log_value value;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(log_quote(bytes_make(rows[i].in, rows[i].len), &value), rows[i].out);
    assert_string_equal(LOG_STR(NULL), "\"\"");
}

static void a_long_value_is_cut_inside_its_quotes(void **state)
{
    (void)state;
    char in[400];
    struct log_value value;
    for (size_t len = 1; len < sizeof in; len++) {
        memset(in, 'x', len);
        assert_true(strlen(log_quote(bytes_make(in, len), &value)) <= LOG_VALUE_MAX_BYTES);
        memset(in, '\1', len);
        const char *quoted = log_quote(bytes_make(in, len), &value);
        assert_true(strlen(quoted) <= LOG_VALUE_MAX_BYTES);
        assert_true(quoted[0] == '"' && quoted[strlen(quoted) - 1] == '"');
    }
    assert_non_null(strstr(value.text, "...\""));
}

static void a_long_line_is_cut_and_still_ends(void **state)
{
    char *filler = malloc(2 * LOG_LINE_MAX_BYTES);
    for (size_t len = LOG_LINE_MAX_BYTES - 120; len < LOG_LINE_MAX_BYTES + 10; len++) {
        log_init("w", LOG_LEVEL_INFO);
        memset(filler, 'x', len);
        filler[len] = '\0';
        LOG(INFO, NET, "long", "v=%s", filler);
        const char *line = logged(*state);
        assert_true(strlen(line) <= LOG_LINE_MAX_BYTES);
        assert_int_equal(count_lines(line), 1);
        assert_int_equal(line[strlen(line) - 1], '\n');
    }
    assert_non_null(strstr(((struct capture *)*state)->text, "xxx...\n"));
    free(filler);
}

static void repeats_beyond_the_limit_are_kept_back(void **state)
{
    for (int i = 0; i < LOG_LIMIT_EVENTS + 5; i++)
        LOG(INFO, NET, "flood", "i=%d", i);
    LOG(INFO, DEVICE, "flood");
    LOG(INFO, NET, "other");
    assert_int_equal(count_lines(logged(*state)), LOG_LIMIT_EVENTS + 2);
    log_flush(clock_mono_ms());
    assert_string_equal(logged(*state), "");
    log_flush(clock_mono_ms() + LOG_LIMIT_WINDOW_MS);
    assert_string_equal(logged_event(*state), "level=info process=worker-1 area=net event=repeats-suppressed "
                                              "suppressed=flood count=5 window_ms=10000\n");
}

static void a_window_ends_with_one_count(void **state)
{
    (void)state;
    struct log_limit limit = {0};
    struct log_limit_window ended;
    for (int i = 0; i < LOG_LIMIT_EVENTS + 3; i++)
        assert_int_equal(log_limit_pass(&limit, LOG_LEVEL_WARN, LOG_AREA_NET, "a", 1000 + i),
                         i < LOG_LIMIT_EVENTS);
    assert_true(log_limit_pass(&limit, LOG_LEVEL_INFO, LOG_AREA_NET, "b", 1000));

    assert_false(log_limit_take(&limit, 1000 + LOG_LIMIT_WINDOW_MS - 1, &ended));
    assert_true(log_limit_take(&limit, 1000 + LOG_LIMIT_WINDOW_MS, &ended));
    assert_string_equal(ended.event, "a");
    assert_int_equal(ended.level, LOG_LEVEL_WARN);
    assert_int_equal(ended.count, 3);
    assert_false(log_limit_take(&limit, 1000 + LOG_LIMIT_WINDOW_MS, &ended));
    assert_true(log_limit_pass(&limit, LOG_LEVEL_WARN, LOG_AREA_NET, "a", 1000 + LOG_LIMIT_WINDOW_MS));
}

static void more_events_than_windows_pass_unlimited(void **state)
{
    (void)state;
    struct log_limit limit = {0};
    char names[LOG_LIMIT_WINDOWS + 1][16];
    for (size_t i = 0; i <= LOG_LIMIT_WINDOWS; i++) {
        snprintf(names[i], sizeof names[i], "event-%zu", i);
        assert_true(log_limit_pass(&limit, LOG_LEVEL_INFO, LOG_AREA_NET, names[i], 0));
    }
    for (int i = 0; i < 2 * LOG_LIMIT_EVENTS; i++)
        assert_true(log_limit_pass(&limit, LOG_LEVEL_INFO, LOG_AREA_NET, names[LOG_LIMIT_WINDOWS], 0));
}

static void a_full_pipe_drops_lines_and_counts_them(void **state)
{
    struct capture *c = *state;
    char filler[4096];
    memset(filler, 'x', sizeof filler);
    while (write(STDERR_FILENO, filler, sizeof filler) > 0)
        ;
    /* A blocking descriptor, as one usually is: only asking first keeps this from hanging. */
    fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) & ~O_NONBLOCK);
    LOG(INFO, NET, "one");
    LOG(INFO, NET, "two");
    while (read(c->reader, c->text, sizeof c->text) > 0)
        ;
    LOG(INFO, NET, "three");
    const char *text = logged(c);
    assert_non_null(strstr(text, "event=log-lines-lost count=2\n"));
    assert_non_null(strstr(text, "event=three\n"));
    assert_int_equal(count_lines(text), 2);
}

static void a_reader_that_is_gone_stops_nothing(void **state)
{
    struct capture *c = *state;
    close(c->reader);
    c->reader = -1;
    LOG(INFO, NET, "into-the-void"); /* without the check this is SIGPIPE */
    errno = EPERM;
    LOG(INFO, NET, "into-the-void");
    assert_int_equal(errno, EPERM);
}

static void times_are_rfc3339_in_utc(void **state)
{
    (void)state;
    char text[LOG_TIME_SIZE];
    assert_string_equal(log_time(0, text), "1970-01-01T00:00:00.000Z");
    assert_string_equal(log_time(1795517409123, text), "2026-11-24T10:50:09.123Z");
}

static void level_names_are_exact(void **state)
{
    (void)state;
    enum log_level level;
    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        assert_int_equal(log_level_parse(log_level_name((enum log_level)i), &level), ERR_OK);
        assert_int_equal(level, i);
    }
    assert_int_equal(log_level_parse("Info", &level), ERR_INVALID);
    assert_int_equal(log_level_parse("", &level), ERR_INVALID);
    assert_string_equal(log_level_name(LOG_LEVEL_COUNT), "unknown");
}

int main(void)
{
#define CAPTURED(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest log_tests[] = {
        CAPTURED(an_event_is_one_line_of_pairs),
        CAPTURED(a_level_includes_the_graver_ones_only),
        CAPTURED(each_area_has_a_level_of_its_own),
        CAPTURED(a_peer_cannot_forge_a_line_or_a_pair),
        cmocka_unit_test(quoting_keeps_plain_values_and_escapes_the_rest),
        cmocka_unit_test(a_long_value_is_cut_inside_its_quotes),
        CAPTURED(a_long_line_is_cut_and_still_ends),
        CAPTURED(repeats_beyond_the_limit_are_kept_back),
        cmocka_unit_test(a_window_ends_with_one_count),
        cmocka_unit_test(more_events_than_windows_pass_unlimited),
        CAPTURED(a_full_pipe_drops_lines_and_counts_them),
        CAPTURED(a_reader_that_is_gone_stops_nothing),
        cmocka_unit_test(times_are_rfc3339_in_utc),
        cmocka_unit_test(level_names_are_exact),
    };
    return cmocka_run_group_tests_name("log", log_tests, NULL, NULL);
}
