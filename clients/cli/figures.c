#include "cli/figures.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Text that goes to a terminal: one that is no printable ASCII could repaint it. */
static void copy_text(const json_t *value, char *out, size_t size)
{
    const char *text = json_string_value(value);
    snprintf(out, size, "%s", text ? text : "");
    for (char *c = out; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
}

static int64_t integer(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static void read_fault(const json_t *row, struct figures_fault *ret)
{
    copy_text(json_object_get(row, "text"), ret->text, sizeof ret->text);
    copy_text(json_object_get(row, "advice"), ret->advice, sizeof ret->advice);
    ret->worker = (unsigned)integer(row, "worker");
    ret->since_unix_ms = integer(row, "since_unix_ms");
}

static void read_worker(const json_t *row, struct figures_worker *ret)
{
    const json_t *probe = json_object_get(row, "probe_age_ms");
    copy_text(json_object_get(row, "fault"), ret->fault, sizeof ret->fault);
    ret->number = (unsigned)integer(row, "number");
    ret->start_unix_ms = integer(row, "start_unix_ms");
    ret->probe_age_ms = json_is_integer(probe) ? json_integer_value(probe) : -1;
    ret->phones = integer(row, "phones");
    ret->connections = integer(row, "connections");
    ret->portals = integer(row, "portals");
    ret->live = integer(row, "live");
    ret->parked = integer(row, "parked");
    ret->memory_bytes = integer(row, "memory_bytes");
}

static void read_event(const json_t *row, struct figures_event *ret)
{
    ret->unix_ms = integer(row, "unix_ms");
    copy_text(json_object_get(row, "process"), ret->process, sizeof ret->process);
    copy_text(json_object_get(row, "severity"), ret->severity, sizeof ret->severity);
    copy_text(json_object_get(row, "kind"), ret->kind, sizeof ret->kind);
}

/* ---- metrics ---- */

static const json_t *samples_of(const json_t *root, const char *metric)
{
    return json_object_get(json_object_get(json_object_get(root, "metrics"), metric), "samples");
}

static bool has_label(const json_t *sample, const char *label)
{
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(sample, "labels"), name, value)
    {
        const char *text = json_string_value(value);
        if (text && strcmp(text, label) == 0)
            return true;
    }
    return false;
}

/* The sample with that label; the first one where @p label is NULL; NULL where there is none. */
static const json_t *find_sample(const json_t *root, const char *metric, const char *label)
{
    size_t i;
    json_t *sample;
    json_array_foreach(samples_of(root, metric), i, sample)
    {
        if (!label || has_label(sample, label))
            return sample;
    }
    return NULL;
}

static int64_t total(const json_t *root, const char *metric)
{
    int64_t sum = 0;
    size_t i;
    json_t *sample;
    json_array_foreach(samples_of(root, metric), i, sample) sum += integer(sample, "value");
    return sum;
}

static void read_histogram(const json_t *root, const char *metric, const char *label,
                           struct figures_histogram *ret)
{
    const json_t *family = json_object_get(json_object_get(root, "metrics"), metric);
    const json_t *bounds = json_object_get(family, "bounds");
    const json_t *buckets = json_object_get(find_sample(root, metric, label), "buckets");
    size_t count = json_array_size(buckets);
    if (count > FIGURES_BUCKETS_MAX || count != json_array_size(bounds) + 1)
        return;
    for (size_t i = 0; i < count; i++) {
        ret->bounds_s[i] = json_number_value(json_array_get(bounds, i)); /* 0 for the last, which has none */
        ret->buckets[i] = json_integer_value(json_array_get(buckets, i));
    }
    ret->count = count;
}

static void read_metrics(const json_t *root, struct figures *ret)
{
#define OUTCOME(ident, label, text)                                                                          \
    ret->outcomes[OUTCOME_##ident] =                                                                         \
        integer(find_sample(root, "nanopush_challenges_settled_total", label), "value");
    FIGURES_OUTCOMES(OUTCOME)
#undef OUTCOME
#define STAGE(ident, metric, label, text) read_histogram(root, metric, label, &ret->stages[STAGE_##ident]);
    FIGURES_STAGES(STAGE)
#undef STAGE
    ret->phones = total(root, "nanopush_devices_attached");
    ret->locks = total(root, "nanopush_locks_total");
    ret->refused = total(root, "nanopush_pushes_refused_total");
}

static int64_t element(const json_t *array, size_t i)
{
    return json_integer_value(json_array_get(array, i));
}

/* The last minute of totals that were noted step by step; of the steps there are where those are fewer. */
static void read_history(const json_t *history, struct figures *ret)
{
    const json_t *approved = json_object_get(history, "approved"),
                 *phones = json_object_get(history, "phones");
    double step_s = (double)integer(history, "step_ms") / 1000;
    size_t count = json_array_size(approved);
    ret->phones_most = ret->phones;
    for (size_t i = 0; i < json_array_size(phones); i++)
        if (element(phones, i) > ret->phones_most)
            ret->phones_most = element(phones, i);
    if (count < 2 || step_s <= 0)
        return;
    size_t steps = (size_t)(60 / step_s);
    if (steps < 1 || steps > count - 1)
        steps = count - 1;
    ret->logins_per_s = (double)(element(approved, count - 1) - element(approved, count - 1 - steps)) /
                        ((double)steps * step_s);
    for (size_t i = 1; i < count; i++) {
        double rate = (double)(element(approved, i) - element(approved, i - 1)) / step_s;
        if (rate > ret->logins_per_s_most)
            ret->logins_per_s_most = rate;
    }
}

/* Reads up to max rows of the array @p name with @p read into @p rows; nothing where there is no such array. */
#define READ_ROWS(root, name, rows, max, count, read)                                                        \
    do {                                                                                                     \
        const json_t *array = json_object_get((root), (name));                                               \
        (count) = json_array_size(array) < (max) ? json_array_size(array) : (max);                           \
        for (size_t i = 0; i < (count); i++)                                                                 \
            read(json_array_get(array, i), &(rows)[i]);                                                      \
    } while (0)

enum err figures_parse(struct bytes json, struct figures *ret)
{
    json_t *root = json_loadb((const char *)json.p, json.len, 0, NULL);
    const json_t *redis = json_object_get(root, "redis");
    if (!json_is_array(json_object_get(root, "workers")) || !json_is_array(json_object_get(root, "faults")) ||
        !json_is_boolean(json_object_get(root, "ready"))) {
        json_decref(root);
        return ERR_MALFORMED;
    }
    *ret = (struct figures){.now_unix_ms = integer(root, "now_unix_ms")};
    copy_text(json_object_get(root, "version"), ret->version, sizeof ret->version);
    ret->ready = json_is_true(json_object_get(root, "ready"));
    ret->redis_up = json_is_true(json_object_get(redis, "up"));
    ret->redis_since_unix_ms = integer(redis, "since_unix_ms");
    READ_ROWS(root, "faults", ret->faults, FIGURES_FAULTS_MAX, ret->fault_count, read_fault);
    READ_ROWS(root, "workers", ret->workers, FIGURES_WORKERS_MAX, ret->worker_count, read_worker);
    READ_ROWS(root, "recent", ret->recent, FIGURES_RECENT_MAX, ret->recent_count, read_event);
    read_metrics(root, ret);
    read_history(json_object_get(root, "history"), ret);
    json_decref(root);
    return ERR_OK;
}

double figures_quantile(const struct figures_histogram *now, const struct figures_histogram *before,
                        double share)
{
    int64_t fresh[FIGURES_BUCKETS_MAX];
    if (now->count < 2)
        return -1;
    for (size_t i = 0; i < now->count; i++)
        fresh[i] = now->buckets[i] - (before && before->count == now->count ? before->buckets[i] : 0);
    double wanted = (double)fresh[now->count - 1] * share;
    if (wanted <= 0)
        return -1;
    size_t i = 0;
    while (i + 1 < now->count && (double)fresh[i] < wanted)
        i++;
    double from = i ? now->bounds_s[i - 1] : 0, to = i + 1 < now->count ? now->bounds_s[i] : from;
    double below = i ? (double)fresh[i - 1] : 0, within = (double)fresh[i] - below;
    return within > 0 ? from + (to - from) * (wanted - below) / within : to;
}
