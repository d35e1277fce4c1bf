#include "ops/stats_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#ifndef NANOPUSH_VERSION
#define NANOPUSH_VERSION "unversioned"
#endif

static const char *yes_no(bool value)
{
    return value ? "true" : "false";
}

size_t stats_faults(const struct stats_sources *sources, struct fault faults[FAULTS_MAX], bool *ready)
{
    int64_t now_mono_ms = clock_mono_ms(), now_unix_ms = clock_unix_ms();
    size_t count = 0;
    if (!sources->redis_up)
        faults[count++] = (struct fault){FAULT_REDIS, 0, sources->redis_since_unix_ms};
    for (unsigned worker = 1; worker <= sources->worker_count; worker++) {
        faults[count] = health_of_worker(sources->page, worker, now_mono_ms, now_unix_ms);
        count += faults[count].kind != FAULT_NONE;
    }
    int64_t ops_since = metrics_slot_health(sources->page, sources->worker_count).audit_failing_unix_ms;
    if (ops_since)
        faults[count++] = (struct fault){FAULT_AUDIT_OPS, 0, ops_since};
    *ready = true;
    for (size_t i = 0; i < count; i++)
        *ready = *ready && fault_only_degrades(faults[i].kind);
    return count;
}

static enum err write_faults(const struct stats_sources *sources, struct buf *out)
{
    struct fault faults[FAULTS_MAX];
    bool ready;
    size_t count = stats_faults(sources, faults, &ready);
    TRY(buf_printf(out, "\"ready\":%s,\"faults\":[", yes_no(ready)));
    for (size_t i = 0; i < count; i++)
        TRY(buf_printf(
            out,
            "%s{\"text\":\"%s\",\"advice\":\"%s\",\"degrades\":%s,\"worker\":%u,\"since_unix_ms\":%" PRId64
            "}",
            i ? "," : "", fault_text(faults[i].kind), fault_advice(faults[i].kind),
            yes_no(fault_only_degrades(faults[i].kind)), faults[i].worker, faults[i].since_unix_ms));
    return buf_append_byte(out, ']');
}

/* 0 where it cannot be known. */
static int64_t own_memory_bytes(int pid)
{
    char path[32];
    long resident = 0, shared = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *file = pid ? fopen(path, "re") : NULL;
    if (!file)
        return 0;
    int got = fscanf(file, "%*d %ld %ld", &resident, &shared);
    fclose(file);
    return got == 2 ? (int64_t)(resident - shared) * sysconf(_SC_PAGESIZE) : 0;
}

static enum err write_worker(const struct stats_sources *sources, unsigned worker, struct buf *out)
{
    static const struct {
        const char *name;
        enum metric metric;
    } figures[] = {
        {"phones", METRIC_DEVICES_ATTACHED}, {"connections", METRIC_OPEN_DEVICE},
        {"portals", METRIC_OPEN_PORTAL},     {"live", METRIC_TLS_LIVE},
        {"parked", METRIC_STREAMS_PARKED},
    };
    int64_t now_mono_ms = clock_mono_ms();
    const struct metrics_health health = metrics_slot_health(sources->page, worker - 1);
    const struct fault fault = health_of_worker(sources->page, worker, now_mono_ms, clock_unix_ms());
    int64_t returned_mono_ms = health.probe_mono_ms[PROBE_RETURNED];
    TRY(buf_printf(out, "%s{\"number\":%u,\"pid\":%d,\"ready\":%s,\"start_unix_ms\":%" PRId64 ",\"fault\":",
                   worker > 1 ? "," : "", worker, health.pid, yes_no(health.ready), health.started_unix_ms));
    TRY(fault.kind == FAULT_NONE ? buf_printf(out, "null")
                                 : buf_printf(out, "\"%s\"", fault_text(fault.kind)));
    TRY(returned_mono_ms ? buf_printf(out, ",\"probe_age_ms\":%" PRId64, now_mono_ms - returned_mono_ms)
                         : buf_printf(out, ",\"probe_age_ms\":null"));
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        TRY(buf_printf(out, ",\"%s\":%" PRId64, figures[i].name,
                       metrics_value(sources->page, worker - 1, figures[i].metric)));
    return buf_printf(out, ",\"memory_bytes\":%" PRId64 "}", own_memory_bytes(health.pid));
}

static enum err write_recent(const struct stats_sources *sources, struct buf *out)
{
    static const char *const severities[] = {"notice", "warning", "error"};
    struct recent_entry entries[RECENT_MAX];
    size_t count = sources->recent ? recent_read(sources->recent, entries) : 0;
    TRY(buf_printf(out, "\"recent\":["));
    for (size_t i = 0; i < count; i++) {
        const struct recent_entry *entry = &entries[i];
        char process[24];
        if (entry->slot < sources->worker_count)
            snprintf(process, sizeof process, "worker %u", entry->slot + 1);
        else
            snprintf(process, sizeof process, "%s", entry->slot == sources->worker_count ? "ops" : "master");
        TRY(buf_printf(out,
                       "%s{\"unix_ms\":%" PRId64 ",\"process\":\"%s\",\"severity\":\"%s\",\"kind\":\"%s\"}",
                       i ? "," : "", entry->unix_ms, process, severities[entry->severity], entry->kind));
    }
    return buf_append_byte(out, ']');
}

enum err stats_json(const struct stats_sources *sources, struct buf *out)
{
    TRY(buf_printf(out, "{\"version\":\"%s\",\"now_unix_ms\":%" PRId64 ",", NANOPUSH_VERSION,
                   clock_unix_ms()));
    TRY(write_faults(sources, out));
    TRY(buf_printf(out, ",\"redis\":{\"up\":%s,\"since_unix_ms\":%" PRId64 ",\"down\":\"%s\"},\"workers\":[",
                   yes_no(sources->redis_up), sources->redis_since_unix_ms, sources->redis_part));
    for (unsigned worker = 1; worker <= sources->worker_count; worker++)
        TRY(write_worker(sources, worker, out));
    TRY(buf_printf(out, "],"));
    TRY(write_recent(sources, out));
    TRY(buf_printf(out, ",\"history\":"));
    TRY(history_render(sources->history, out));
    TRY(buf_printf(out, ",\"metrics\":"));
    TRY(metrics_render_json(sources->page, out));
    return buf_append_byte(out, '}');
}
