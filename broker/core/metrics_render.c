/* The page as Prometheus, a program and a reader want it: one walk over the rows of metric.def, three writers. */
#include <inttypes.h>
#include <stdio.h>

#include "core/metrics_page.h"

#ifndef NANOPUSH_VERSION
#define NANOPUSH_VERSION "unversioned"
#endif

const struct metric_row metric_rows[] = {
    {"nanopush_build_info", "version", "Always 1; the label says what runs.", GAUGE, NULL, -1},
#define METRIC(ident, kind, name, help)  {name, NULL, help, kind, NULL, METRIC_##ident},
#define FAMILY(kind, name, label, help)  {name, label, help, kind, NULL, -1},
#define SERIES(ident, value)             {NULL, NULL, NULL, COUNTER, value, METRIC_##ident},
#define HISTOGRAM(ident, name, help)     {name, NULL, help, HISTOGRAM_KIND, NULL, HISTOGRAM_##ident},
#define HISTOGRAMS(name, label, help)    {name, label, help, HISTOGRAM_KIND, NULL, -1},
#define HISTOGRAM_SERIES(ident, value)   {NULL, NULL, NULL, HISTOGRAM_KIND, value, HISTOGRAM_##ident},
#define PORTAL_FAMILY(name, label, help) {name, label, help, PORTAL_COUNTER, NULL, -1},
#define PORTAL_SERIES(ident, value)      {NULL, NULL, NULL, PORTAL_COUNTER, value, PORTAL_METRIC_##ident},
#include "core/metric.def"
};

const size_t metric_row_count = sizeof metric_rows / sizeof *metric_rows;

static const char *const kind_names[] = {
    [COUNTER] = "counter", [GAUGE] = "gauge", [HISTOGRAM_KIND] = "histogram", [PORTAL_COUNTER] = "counter"};

/** One series, summed over all slots. */
struct sample {
    const struct metric_row *family;
    const char *portal, *value; /* NULL: no such label */
    int64_t number;
    int64_t buckets[HISTOGRAM_BOUNDS + 1], sum_us; /* of a histogram; cumulative */
};

/** What a form writes. */
struct form {
    enum err (*head)(struct buf *out, const struct metric_row *family, bool first);
    enum err (*sample)(struct buf *out, const struct sample *sample, bool first);
    enum err (*tail)(struct buf *out);
};

static void sum_histogram(const struct metrics_page *page, int index, struct sample *sample)
{
    for (unsigned i = 0; i < page->slot_count; i++) {
        const struct histogram_values *values = &page->slots[i].histograms[index];
        for (size_t b = 0; b <= HISTOGRAM_BOUNDS; b++)
            sample->buckets[b] += atomic_get(&values->buckets[b]);
        sample->sum_us += atomic_get(&values->sum_us);
    }
    for (size_t b = 1; b <= HISTOGRAM_BOUNDS; b++)
        sample->buckets[b] += sample->buckets[b - 1];
    sample->number = sample->buckets[HISTOGRAM_BOUNDS];
}

static int64_t sum_portal(const struct metrics_page *page, size_t portal, int index)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < page->slot_count; i++)
        sum += atomic_get(&page->slots[i].portals[portal][index]);
    return sum;
}

/* Those that were counted for, and what came together as one. */
static enum err write_portals(const struct metrics_page *page, const struct form *form, struct buf *out,
                              struct sample *sample, int index, bool *first)
{
    for (size_t i = 0; i <= METRICS_PORTALS_MAX; i++) {
        if (i < METRICS_PORTALS_MAX && atomic_load(&page->portals[i].state) != PORTAL_NAME_SET)
            continue;
        sample->portal = i < METRICS_PORTALS_MAX ? page->portals[i].text : PORTAL_OTHER_NAME;
        sample->number = sum_portal(page, i, index);
        TRY(form->sample(out, sample, *first));
        *first = false;
    }
    return ERR_OK;
}

static enum err write_series(const struct metrics_page *page, const struct form *form, struct buf *out,
                             const struct metric_row *family, const struct metric_row *row, bool *first)
{
    struct sample sample = {.family = family, .value = row->value};
    if (family->kind == PORTAL_COUNTER)
        return write_portals(page, form, out, &sample, row->index, first);
    if (family->kind == HISTOGRAM_KIND)
        sum_histogram(page, row->index, &sample);
    else
        sample.number = metrics_sum(page, (enum metric)row->index);
    TRY(form->sample(out, &sample, *first));
    *first = false;
    return ERR_OK;
}

static enum err render(const struct metrics_page *page, const struct form *form, struct buf *out)
{
    const struct metric_row *family = metric_rows;
    bool first = true;
    for (const struct metric_row *r = metric_rows; r < metric_rows + metric_row_count; r++) {
        if (r->name) {
            if (r > metric_rows)
                TRY(form->tail(out));
            family = r;
            TRY(form->head(out, r, r == metric_rows));
            first = true;
        }
        if (r == metric_rows)
            TRY(form->sample(out, &(struct sample){.family = r, .value = NANOPUSH_VERSION, .number = 1},
                             true));
        else if (r->index >= 0)
            TRY(write_series(page, form, out, family, r, &first));
    }
    return form->tail(out);
}

/* ---- Prometheus ---- */

static enum err text_head(struct buf *out, const struct metric_row *family, bool first)
{
    (void)first;
    return buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
                      kind_names[family->kind]);
}

/* "{portal=..,stage=..,le=..}", what there is of it. */
static enum err text_labels(struct buf *out, const struct sample *sample, const char *bound)
{
    const char *const names[] = {"portal", sample->family->label, "le"};
    const char *const values[] = {sample->portal, sample->value, bound};
    const char *before = "{";
    for (size_t i = 0; i < 3; i++) {
        if (!values[i])
            continue;
        TRY(buf_printf(out, "%s%s=\"%s\"", before, names[i], values[i]));
        before = ",";
    }
    return *before == ',' ? buf_append_byte(out, '}') : ERR_OK;
}

static enum err text_line(struct buf *out, const struct sample *sample, const char *suffix, const char *bound,
                          int64_t number)
{
    TRY(buf_printf(out, "%s%s", sample->family->name, suffix));
    TRY(text_labels(out, sample, bound));
    return buf_printf(out, " %" PRId64 "\n", number);
}

static enum err text_sample(struct buf *out, const struct sample *sample, bool first)
{
    char bound[32];
    (void)first;
    if (sample->family->kind != HISTOGRAM_KIND)
        return text_line(out, sample, "", NULL, sample->number);
    for (size_t b = 0; b < HISTOGRAM_BOUNDS; b++) {
        snprintf(bound, sizeof bound, "%g", (double)histogram_bounds_us[b] / 1e6);
        TRY(text_line(out, sample, "_bucket", bound, sample->buckets[b]));
    }
    TRY(text_line(out, sample, "_bucket", "+Inf", sample->number));
    TRY(buf_printf(out, "%s_sum", sample->family->name));
    TRY(text_labels(out, sample, NULL));
    TRY(buf_printf(out, " %.6f\n", (double)sample->sum_us / 1e6));
    return text_line(out, sample, "_count", NULL, sample->number);
}

static enum err text_tail(struct buf *out)
{
    (void)out;
    return ERR_OK;
}

enum err metrics_render(const struct metrics_page *page, struct buf *out)
{
    static const struct form form = {text_head, text_sample, text_tail};
    return render(page, &form, out);
}

/* ---- JSON; no name, label or help has a character that JSON would escape ---- */

static enum err json_head(struct buf *out, const struct metric_row *family, bool first)
{
    TRY(buf_printf(out, "%s\"%s\":{\"type\":\"%s\",\"help\":\"%s\",", first ? "" : ",", family->name,
                   kind_names[family->kind], family->help));
    if (family->kind == HISTOGRAM_KIND) {
        for (size_t b = 0; b < HISTOGRAM_BOUNDS; b++)
            TRY(buf_printf(out, "%s%g", b ? "," : "\"bounds\":[", (double)histogram_bounds_us[b] / 1e6));
        TRY(buf_printf(out, "],"));
    }
    return buf_printf(out, "\"samples\":[");
}

static enum err json_sample(struct buf *out, const struct sample *sample, bool first)
{
    TRY(buf_printf(out, "%s{\"labels\":{", first ? "" : ","));
    if (sample->portal)
        TRY(buf_printf(out, "\"portal\":\"%s\",", sample->portal));
    if (sample->value)
        TRY(buf_printf(out, "\"%s\":\"%s\"", sample->family->label, sample->value));
    if (sample->family->kind != HISTOGRAM_KIND)
        return buf_printf(out, "},\"value\":%" PRId64 "}", sample->number);
    TRY(buf_printf(out, "},\"sum\":%.6f,\"count\":%" PRId64 ",\"buckets\":", (double)sample->sum_us / 1e6,
                   sample->number));
    for (size_t b = 0; b <= HISTOGRAM_BOUNDS; b++)
        TRY(buf_printf(out, "%s%" PRId64, b ? "," : "[", sample->buckets[b]));
    return buf_printf(out, "]}");
}

static enum err json_tail(struct buf *out)
{
    return buf_printf(out, "]}");
}

enum err metrics_render_json(const struct metrics_page *page, struct buf *out)
{
    static const struct form form = {json_head, json_sample, json_tail};
    TRY(buf_append_byte(out, '{'));
    TRY(render(page, &form, out));
    return buf_append_byte(out, '}');
}

/* ---- the reference ---- */

enum err metrics_render_reference(struct buf *out)
{
    TRY(buf_printf(
        out,
        "# Metrics\n\nMade from [core/metric.def](core/metric.def) by `make reference`. `/metrics` of the "
        "stats port shows them to Prometheus, `/stats.json` to programs.\n\n"
        "| name | type | labels | what |\n|---|---|---|---|\n"));
    for (const struct metric_row *r = metric_rows; r < metric_rows + metric_row_count; r++) {
        if (!r->name)
            continue;
        TRY(buf_printf(out, "| `%s` | %s | %s%s", r->name, kind_names[r->kind],
                       r->kind == PORTAL_COUNTER ? "portal, " : "", r->label ? r->label : ""));
        const struct metric_row *series = r + 1;
        for (; series < metric_rows + metric_row_count && !series->name; series++)
            TRY(buf_printf(out, "%s%s", series == r + 1 ? ": " : ", ", series->value));
        TRY(buf_printf(out, " | %s |\n", r->help));
    }
    return ERR_OK;
}
