#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/metrics.h"

#define SLOTS             3
#define PORTAL_ID_SIZE    32
#define HISTOGRAM_BUCKETS 21 /* "+Inf" included */

static int begin(void **state)
{
    *state = metrics_page_new(SLOTS);
    return *state ? 0 : -1;
}

static int end(void **state)
{
    metrics_page_free(*state);
    return 0;
}

/* The rendering as a string, freed by the caller. */
static char *render(const struct metrics_page *page)
{
    struct buf out = {0};
    assert_int_equal(metrics_render(page, &out), ERR_OK);
    struct bytes text = buf_view(&out);
    assert_null(memchr(text.p, '\0', text.len));
    char *copy = strndup((const char *)text.p, text.len);
    buf_done(&out);
    return copy;
}

static bool rendered(const struct metrics_page *page, const char *line)
{
    char *text = render(page);
    bool found = strstr(text, line) != NULL;
    free(text);
    return found;
}

static void what_is_counted_without_a_slot_goes_nowhere(void **state)
{
    METRIC_ADD(PUSHES_SENT, 5);
    assert_int_equal(metrics_sum(*state, METRIC_PUSHES_SENT), 0);
    metrics_use_slot(*state, 1);
    METRIC_ADD(PUSHES_SENT, 5);
    metrics_use_slot(NULL, 0);
    METRIC_ADD(PUSHES_SENT, 5);
    assert_int_equal(metrics_sum(*state, METRIC_PUSHES_SENT), 5);
}

static void slots_are_summed(void **state)
{
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        metrics_use_slot(*state, slot);
        METRIC_ADD(CHALLENGES_APPROVED, 10 + slot);
        METRIC_SET(STORE_UP, 1);
    }
    METRIC_ADD(DEVICES_ATTACHED, 4);
    METRIC_ADD(DEVICES_ATTACHED, -1);
    assert_true(rendered(*state, "\nnanopush_challenges_settled_total{outcome=\"approved\"} 33\n"));
    assert_true(rendered(*state, "\nnanopush_challenges_settled_total{outcome=\"denied\"} 0\n"));
    assert_true(rendered(*state, "\nnanopush_store_up 3\n"));
    assert_true(rendered(*state, "\nnanopush_devices_attached 3\n"));
}

static void a_child_counts_into_the_shared_page(void **state)
{
    pid_t child = fork();
    if (child == 0) {
        metrics_use_slot(*state, 2);
        METRIC_ADD(INBOX_READ, 7);
        metrics_slot_set_ready(*state, 2, true, 99);
        _exit(0);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(metrics_sum(*state, METRIC_INBOX_READ), 7);
    assert_true(metrics_slot_health(*state, 2).ready);
}

static void a_respawn_clears_the_gauges_of_its_slot_only(void **state)
{
    for (unsigned slot = 0; slot < 2; slot++) {
        metrics_use_slot(*state, slot);
        METRIC_ADD(OPEN_DEVICE, 2);
        METRIC_ADD(OPEN_PORTAL, 3);
        METRIC_SET(STORE_UP, 1);
        METRIC_ADD(ACCEPTED_PORTAL, 4);
        METRIC_ADD(LOOP_TURNS, 5);
        HISTOGRAM_ADD(REDIS, 5);
        PORTAL_METRIC_ADD(ASKED, "shop");
    }
    metrics_reset_gauges(*state, 0);
    assert_int_equal(metrics_sum(*state, METRIC_OPEN_DEVICE), 2);
    assert_int_equal(metrics_sum(*state, METRIC_OPEN_PORTAL), 3);
    assert_int_equal(metrics_sum(*state, METRIC_STORE_UP), 1);
    assert_int_equal(metrics_sum(*state, METRIC_ACCEPTED_PORTAL), 8);
    assert_int_equal(metrics_sum(*state, METRIC_LOOP_TURNS), 10);
    assert_true(rendered(*state, "\nnanopush_redis_seconds_count 2\n"));
    assert_true(rendered(*state, "{portal=\"shop\",event=\"asked\"} 2\n"));
}

static void health_keeps_the_time_of_the_last_change(void **state)
{
    assert_int_equal(metrics_slot_health(*state, 1).pid, 0);
    metrics_slot_started(*state, 1, 4711, 1000);
    struct metrics_health health = metrics_slot_health(*state, 1);
    assert_true(health.pid == 4711 && !health.ready);
    assert_true(health.started_unix_ms == 1000 && health.ready_changed_unix_ms == 1000);

    metrics_slot_set_ready(*state, 1, true, 2000);
    metrics_slot_set_ready(*state, 1, true, 3000);
    health = metrics_slot_health(*state, 1);
    assert_true(health.ready && health.started_unix_ms == 1000 && health.ready_changed_unix_ms == 2000);

    metrics_slot_started(*state, 1, 4712, 4000);
    health = metrics_slot_health(*state, 1);
    assert_true(health.pid == 4712 && !health.ready && health.ready_changed_unix_ms == 4000);
    assert_int_equal(metrics_slot_health(*state, 0).pid, 0);
}

/* A checker of the text format, as strict as `promtool check metrics` where the two overlap. */
struct family {
    char name[96];
    bool has_help, has_type, is_counter, is_histogram;
    unsigned samples;
};

static bool name_valid(const char *name)
{
    return *name && strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789") == strlen(name) && name[0] >= 'a';
}

static void check_comment(const char *line, struct family *f)
{
    char word[8], name[96], rest[400];
    assert_int_equal(sscanf(line, "# %7s %95s %399[^\n]", word, name, rest), 3);
    if (strcmp(word, "HELP") == 0) {
        assert_true(f->name[0] == '\0' || f->samples > 0);
        *f = (struct family){.has_help = true};
        snprintf(f->name, sizeof f->name, "%s", name);
        assert_true(name_valid(name));
        assert_null(strpbrk(rest, "\\\"")); /* so that no form has to escape it */
        assert_int_equal(rest[strlen(rest) - 1], '.');
        return;
    }
    assert_string_equal(word, "TYPE");
    assert_string_equal(name, f->name);
    assert_true(f->has_help && !f->has_type && f->samples == 0);
    f->has_type = true;
    f->is_counter = strcmp(rest, "counter") == 0;
    f->is_histogram = strcmp(rest, "histogram") == 0;
    assert_true(f->is_counter || f->is_histogram || strcmp(rest, "gauge") == 0);
    size_t len = strlen(name);
    assert_int_equal(f->is_counter, len > 6 && strcmp(name + len - 6, "_total") == 0);
}

/* Drop the suffix of a histogram's sample. */
static void strip_suffix(char *name)
{
    static const char *const suffixes[] = {"_bucket", "_sum", "_count"};
    for (size_t i = 0; i < 3; i++) {
        char *end = name + strlen(name) - strlen(suffixes[i]);
        if (end > name && strcmp(end, suffixes[i]) == 0) {
            *end = '\0';
            return;
        }
    }
    fail_msg("%s is no sample of a histogram", name);
}

static void check_labels(char *labels)
{
    for (char *label = strtok(labels, ","); label; label = strtok(NULL, ",")) {
        char name[32], value[80], rest[8];
        assert_int_equal(sscanf(label, "%31[^=]=\"%79[^\"]\"%7s", name, value, rest), 2);
        assert_true(name_valid(name));
    }
}

static void check_sample(const char *line, struct family *f)
{
    char name[96], labels[200], rest[8];
    double number;
    assert_true(f->has_type);
    if (strchr(line, '{')) {
        assert_int_equal(sscanf(line, "%95[^{]{%199[^}]} %lf%7s", name, labels, &number, rest), 3);
        check_labels(labels);
    } else {
        assert_int_equal(sscanf(line, "%95s %lf%7s", name, &number, rest), 2);
    }
    if (f->is_histogram)
        strip_suffix(name);
    assert_string_equal(name, f->name);
    f->samples++;
}

static void the_format_is_what_prometheus_reads(void **state)
{
    metrics_use_slot(*state, 0);
    for (int m = 0; m < METRIC_COUNT; m++)
        metrics_add((enum metric)m, m + 1);
    for (int h = 0; h < HISTOGRAM_COUNT; h++)
        metrics_observe((enum histogram)h, 1500);
    PORTAL_METRIC_ADD(ASKED, "shop");
    char *text = render(*state), *seen[8 * METRIC_COUNT], *rest = text;
    struct family family = {.samples = 0};
    size_t seen_count = 0, sample_count = 0;
    assert_int_equal(text[strlen(text) - 1], '\n');
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        if (*line == '#') {
            check_comment(line, &family);
        } else {
            check_sample(line, &family);
            sample_count++;
            *strrchr(line, ' ') = '\0'; /* name and label must be there once, whatever the number */
        }
        for (size_t i = 0; i < seen_count; i++)
            assert_string_not_equal(seen[i], line);
        assert_true(seen_count < sizeof seen / sizeof seen[0]);
        seen[seen_count++] = line;
    }
    assert_null(rest);
    size_t in_histograms = HISTOGRAM_COUNT * (HISTOGRAM_BUCKETS + 2), of_portals = PORTAL_METRIC_COUNT * 2;
    assert_int_equal(sample_count, METRIC_COUNT + 1 + in_histograms + of_portals);
    free(text);
}

static void a_histogram_is_cumulative_over_all_slots(void **state)
{
    metrics_use_slot(*state, 0);
    HISTOGRAM_ADD(REDIS, 100); /* a bound belongs to its bucket */
    HISTOGRAM_ADD(REDIS, 101);
    metrics_use_slot(*state, 1);
    HISTOGRAM_ADD(REDIS, 2000000);
    HISTOGRAM_ADD(REDIS, 900000000);
    assert_true(rendered(*state, "\nnanopush_redis_seconds_bucket{le=\"0.0001\"} 1\n"));
    assert_true(rendered(*state, "\nnanopush_redis_seconds_bucket{le=\"0.00025\"} 2\n"));
    assert_true(rendered(*state, "\nnanopush_redis_seconds_bucket{le=\"1\"} 2\n"));
    assert_true(rendered(*state, "\nnanopush_redis_seconds_bucket{le=\"2.5\"} 3\n"));
    assert_true(rendered(*state, "\nnanopush_redis_seconds_bucket{le=\"300\"} 3\n"));
    assert_true(rendered(*state, "\nnanopush_redis_seconds_bucket{le=\"+Inf\"} 4\n"));
    assert_true(rendered(*state, "\nnanopush_redis_seconds_sum 902.000201\n"));
    assert_true(rendered(*state, "\nnanopush_redis_seconds_count 4\n"));
}

static void portals_are_told_apart_up_to_a_limit(void **state)
{
    char id[PORTAL_ID_SIZE], line[128];
    for (unsigned i = 0; i < METRICS_PORTALS_MAX + 3; i++) {
        metrics_use_slot(*state, i % SLOTS);
        snprintf(id, sizeof id, "portal-%u", i);
        PORTAL_METRIC_ADD(APPROVED, id);
    }
    metrics_use_slot(*state, 1);
    PORTAL_METRIC_ADD(APPROVED, "portal-0");
    PORTAL_METRIC_ADD(APPROVED, "a-name-far-too-long-0123456789-0123456789-0123456789-0123456789-0");
    snprintf(line, sizeof line, "{portal=\"portal-%u\",event=\"approved\"} 1\n", METRICS_PORTALS_MAX - 1);
    assert_true(rendered(*state, "{portal=\"portal-0\",event=\"approved\"} 2\n"));
    assert_true(rendered(*state, line));
    assert_true(rendered(*state, "{portal=\"other\",event=\"approved\"} 4\n"));
}

static void the_reference_names_every_family(void **state)
{
    struct buf out = {0};
    (void)state;
    assert_int_equal(metrics_render_reference(&out), ERR_OK);
    assert_int_equal(buf_append_byte(&out, 0), ERR_OK);
    const char *text = (const char *)buf_view(&out).p;
#define FAMILY(kind, name, label, help) assert_non_null(strstr(text, "| `" name "` |"));
#define METRIC(ident, kind, name, help) FAMILY(kind, name, , help)
#define SERIES(ident, value)            assert_non_null(strstr(text, value));
#include "core/metric.def"
    buf_done(&out);
}

static void the_build_is_named(void **state)
{
    assert_true(rendered(*state, "\nnanopush_build_info{version=\""));
    assert_true(rendered(*state, "\"} 1\n"));
}

int main(void)
{
#define WITH_PAGE(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest metrics_tests[] = {
        WITH_PAGE(what_is_counted_without_a_slot_goes_nowhere),
        WITH_PAGE(slots_are_summed),
        WITH_PAGE(a_child_counts_into_the_shared_page),
        WITH_PAGE(a_respawn_clears_the_gauges_of_its_slot_only),
        WITH_PAGE(health_keeps_the_time_of_the_last_change),
        WITH_PAGE(the_format_is_what_prometheus_reads),
        WITH_PAGE(a_histogram_is_cumulative_over_all_slots),
        WITH_PAGE(portals_are_told_apart_up_to_a_limit),
        WITH_PAGE(the_reference_names_every_family),
        WITH_PAGE(the_build_is_named),
    };
    return cmocka_run_group_tests_name("metrics", metrics_tests, NULL, NULL);
}
