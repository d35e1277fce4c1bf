#include "cli/figures_sheet.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ENOUGH_PHONES 100 /* below that memory per phone says nothing: it is the worker's own */
#define RECENT_SHOWN  12
#define CELL_SIZE     32
#define LABEL_WIDTH   18

/* ---- values ---- */

/* 1,234,567 is read at a glance. */
static const char *number(int64_t value, char out[CELL_SIZE])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, value < 0 ? -(uint64_t)value : (uint64_t)value);
    char *to = out;
    if (value < 0)
        *to++ = '-';
    for (int i = 0; i < len; i++) {
        *to++ = digits[i];
        if (i + 1 < len && (len - i - 1) % 3 == 0)
            *to++ = ',';
    }
    *to = '\0';
    return out;
}

static const char *duration(double s, char out[CELL_SIZE])
{
    if (s < 0)
        snprintf(out, CELL_SIZE, "-");
    else if (s < 0.001)
        snprintf(out, CELL_SIZE, "%.0f us", s * 1e6);
    else if (s < 1)
        snprintf(out, CELL_SIZE, s < 0.01 ? "%.1f ms" : "%.0f ms", s * 1e3);
    else if (s < 120)
        snprintf(out, CELL_SIZE, "%.1f s", s);
    else if (s < 7200)
        snprintf(out, CELL_SIZE, "%.0f min", s / 60);
    else if (s < 172800)
        snprintf(out, CELL_SIZE, "%.0f h", s / 3600);
    else
        snprintf(out, CELL_SIZE, "%.0f days", s / 86400);
    return out;
}

static const char *bytes_text(double bytes, char out[CELL_SIZE])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
    size_t unit = 0;
    for (; bytes >= 1024 && unit < 3; unit++)
        bytes /= 1024;
    snprintf(out, CELL_SIZE, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return out;
}

static const char *rate(double per_s, char out[CELL_SIZE])
{
    snprintf(out, CELL_SIZE, per_s >= 100 ? "%.0f" : per_s >= 10 ? "%.1f" : "%.2f", per_s);
    return out;
}

static const char *clock_text(int64_t unix_ms, char out[CELL_SIZE])
{
    time_t s = (time_t)(unix_ms / 1000);
    struct tm local;
    if (!localtime_r(&s, &local) || strftime(out, CELL_SIZE, "%H:%M:%S", &local) == 0)
        snprintf(out, CELL_SIZE, "-");
    return out;
}

/* ---- lines ---- */

static void title(struct sheet *sheet, const char *text)
{
    sheet_end_line(sheet);
    sheet_put(sheet, SHEET_SOFT, "%s", text);
}

static void put_status(const struct figures *now, struct sheet *sheet)
{
    char at[CELL_SIZE], since[CELL_SIZE], lasts[CELL_SIZE];
    sheet_put(sheet, SHEET_STRONG, "nanopush %s", now->version);
    sheet_put(sheet, SHEET_PLAIN, "  %s  ", clock_text(now->now_unix_ms, at));
    if (now->ready)
        sheet_put(sheet, now->fault_count ? SHEET_WARN : SHEET_GOOD, "logins work%s",
                  now->fault_count ? ", but look at this" : "");
    else
        sheet_put(sheet, SHEET_BAD, "NOT READY");
    sheet_end_line(sheet);
    for (size_t i = 0; i < now->fault_count; i++) {
        const struct figures_fault *fault = &now->faults[i];
        if (fault->worker)
            sheet_put(sheet, SHEET_BAD, "worker %u ", fault->worker);
        sheet_put(sheet, SHEET_BAD, "%s", fault->text);
        sheet_put(sheet, SHEET_PLAIN, " since %s (%s): %s", clock_text(fault->since_unix_ms, since),
                  duration((double)(now->now_unix_ms - fault->since_unix_ms) / 1000, lasts), fault->advice);
        sheet_end_line(sheet);
    }
    sheet_end_line(sheet);
}

static void put_row(struct sheet *sheet, const char *label, const char *value, const char *note)
{
    sheet_put(sheet, SHEET_SOFT, "%s", label);
    sheet_column(sheet, LABEL_WIDTH);
    sheet_put(sheet, SHEET_STRONG, "%s", value);
    sheet_put(sheet, SHEET_SOFT, "  %s", note);
    sheet_end_line(sheet);
}

static void put_figures(const struct figures *now, struct sheet *sheet)
{
    char value[CELL_SIZE], most[CELL_SIZE], note[CELL_SIZE * 4];
    int64_t memory = 0, connections = 0, parked = 0, live = 0, portals = 0;
    for (size_t i = 0; i < now->worker_count; i++) {
        memory += now->workers[i].memory_bytes;
        connections += now->workers[i].connections;
        parked += now->workers[i].parked;
        live += now->workers[i].live;
        portals += now->workers[i].portals;
    }
    snprintf(note, sizeof note, "most in ten minutes %s", number(now->phones_most, most));
    put_row(sheet, "phones connected", number(now->phones, value), note);
    snprintf(note, sizeof note, "of the last minute; most in ten minutes %s",
             rate(now->logins_per_s_most, most));
    put_row(sheet, "logins per second", rate(now->logins_per_s, value), note);
    snprintf(note, sizeof note, "%s in %zu workers", bytes_text((double)memory, most), now->worker_count);
    put_row(sheet, "memory per phone",
            connections >= ENOUGH_PHONES ? bytes_text((double)memory / (double)connections, value) : "-",
            note);
    snprintf(note, sizeof note, "parked, keys only; %" PRId64 " with an OpenSSL object, of portals %" PRId64,
             live, portals);
    put_row(sheet, "connections", number(parked, value), note);
}

static void put_outcomes(const struct figures *now, struct sheet *sheet)
{
    static const char *const texts[] = {
#define OUTCOME(ident, label, text) text,
        FIGURES_OUTCOMES(OUTCOME)
#undef OUTCOME
    };
    char value[CELL_SIZE];
    sheet_put(sheet, SHEET_SOFT, "challenges");
    sheet_column(sheet, LABEL_WIDTH);
    for (size_t i = 0; i < OUTCOME_COUNT; i++) {
        bool alarming = (i == OUTCOME_REPORTED || i == OUTCOME_FAILED) && now->outcomes[i];
        sheet_put(sheet, SHEET_SOFT, "%s ", texts[i]);
        sheet_put(sheet, alarming ? SHEET_WARN : SHEET_STRONG, "%s", number(now->outcomes[i], value));
        if (i == OUTCOME_FAILED) {
            sheet_end_line(sheet);
            sheet_column(sheet, LABEL_WIDTH);
        } else if (i + 1 < OUTCOME_COUNT) {
            sheet_put(sheet, SHEET_SOFT, ", ");
        }
    }
    sheet_end_line(sheet);
    sheet_column(sheet, LABEL_WIDTH);
    sheet_put(sheet, SHEET_SOFT, "locks ");
    sheet_put(sheet, now->locks ? SHEET_WARN : SHEET_STRONG, "%s", number(now->locks, value));
    sheet_put(sheet, SHEET_SOFT, ", pushes refused ");
    sheet_put(sheet, SHEET_STRONG, "%s", number(now->refused, value));
    sheet_end_line(sheet);
}

static void put_latency(const struct figures *now, const struct figures *before, struct sheet *sheet)
{
    static const char *const texts[] = {
#define STAGE(ident, metric, label, text) text,
        FIGURES_STAGES(STAGE)
#undef STAGE
    };
    title(sheet, before ? "LATENCY, last minute" : "LATENCY");
    sheet_column(sheet, 32);
    sheet_put(sheet, SHEET_SOFT, "     p50       p99");
    sheet_end_line(sheet);
    for (size_t i = 0; i < STAGE_COUNT; i++) {
        const struct figures_histogram *stage = &now->stages[i], *old = before ? &before->stages[i] : NULL;
        if (figures_quantile(stage, old, 1) < 0)
            old = NULL;
        char half[CELL_SIZE], most[CELL_SIZE];
        sheet_put(sheet, SHEET_PLAIN, "%s", texts[i]);
        sheet_column(sheet, 30);
        sheet_put_right(sheet, SHEET_STRONG, 9, duration(figures_quantile(stage, old, 0.5), half));
        sheet_put_right(sheet, SHEET_STRONG, 9, duration(figures_quantile(stage, old, 0.99), most));
        sheet_put(sheet, SHEET_SOFT, old || !before ? "" : "  since the start");
        sheet_end_line(sheet);
    }
}

static void put_process(struct sheet *sheet, const char *name, const char *state, bool good)
{
    sheet_put(sheet, SHEET_PLAIN, "%s", name);
    sheet_column(sheet, 11);
    sheet_put(sheet, good ? SHEET_GOOD : SHEET_BAD, "%s", state);
    sheet_column(sheet, 24);
}

static void put_processes(const struct figures *now, struct sheet *sheet)
{
    char cell[CELL_SIZE];
    title(sheet, "PROCESS    STATE             PHONES    CONNS  PORTALS     MEMORY    PROBE       UP");
    sheet_end_line(sheet);
    for (size_t i = 0; i < now->worker_count; i++) {
        const struct figures_worker *w = &now->workers[i];
        char name[CELL_SIZE];
        snprintf(name, sizeof name, "worker %u", w->number);
        put_process(sheet, name, w->fault[0] ? "see above" : "works", !w->fault[0]);
        sheet_put_right(sheet, SHEET_PLAIN, 10, number(w->phones, cell));
        sheet_put_right(sheet, SHEET_PLAIN, 8, number(w->connections, cell));
        sheet_put_right(sheet, SHEET_PLAIN, 8, number(w->portals, cell));
        sheet_put_right(sheet, SHEET_PLAIN, 10, bytes_text((double)w->memory_bytes, cell));
        sheet_put_right(sheet, SHEET_PLAIN, 8, duration((double)w->probe_age_ms / 1000, cell));
        sheet_put_right(sheet, SHEET_PLAIN, 8,
                        duration((double)(now->now_unix_ms - w->start_unix_ms) / 1000, cell));
        sheet_end_line(sheet);
    }
    put_process(sheet, "redis", now->redis_up ? "answers" : "silent", now->redis_up);
    sheet_column(sheet, 73);
    sheet_put_right(sheet, SHEET_PLAIN, 8,
                    duration((double)(now->now_unix_ms - now->redis_since_unix_ms) / 1000, cell));
    sheet_end_line(sheet);
}

static bool same_event(const struct figures_event *a, const struct figures_event *b)
{
    return strcmp(a->kind, b->kind) == 0 && strcmp(a->process, b->process) == 0;
}

static void put_event(const struct figures *now, size_t index, struct sheet *sheet)
{
    const struct figures_event *event = &now->recent[index];
    enum sheet_style style = strcmp(event->severity, "error") == 0     ? SHEET_BAD
                             : strcmp(event->severity, "warning") == 0 ? SHEET_WARN
                                                                       : SHEET_PLAIN;
    char at[CELL_SIZE], kind[sizeof event->kind];
    size_t count = 0;
    for (size_t i = index; i < now->recent_count; i++)
        count += same_event(&now->recent[i], event);
    memcpy(kind, event->kind, sizeof kind);
    for (char *c = kind; *c; c++)
        *c = *c == '_' || *c == '-' ? ' ' : *c;
    sheet_put(sheet, SHEET_SOFT, "%s  ", clock_text(event->unix_ms, at));
    sheet_put(sheet, style, "%s", kind);
    if (count > 1)
        sheet_put(sheet, style, " x%zu", count);
    sheet_put(sheet, SHEET_SOFT, "  %s", event->process);
    sheet_end_line(sheet);
}

static bool room(const struct sheet *sheet, size_t lines)
{
    return !sheet->height || sheet->row + lines <= sheet->height;
}

/* Of each kind and process the newest, which says how many there are. */
static void put_recent(const struct figures *now, struct sheet *sheet)
{
    size_t shown = 0;
    title(sheet, "RECENT");
    sheet_end_line(sheet);
    for (size_t i = 0; i < now->recent_count && shown < RECENT_SHOWN && room(sheet, 1); i++) {
        bool repeated = false;
        for (size_t j = 0; j < i && !repeated; j++)
            repeated = same_event(&now->recent[j], &now->recent[i]);
        if (repeated)
            continue;
        put_event(now, i, sheet);
        shown++;
    }
    if (!shown) {
        sheet_put(sheet, SHEET_SOFT, "nothing yet");
        sheet_end_line(sheet);
    }
}

void figures_sheet(const struct figures *now, const struct figures *before, struct sheet *sheet)
{
    put_status(now, sheet);
    put_figures(now, sheet);
    put_outcomes(now, sheet);
    put_latency(now, before, sheet);
    put_processes(now, sheet);
    if (room(sheet, 3))
        put_recent(now, sheet);
}
