#include "ops/health.h"

#include "domain/probe.h"

enum grade { GRADE_STOPS, GRADE_DEGRADES };

static const struct {
    enum grade grade;
    const char *text, *advice;
} texts[] = {
#define FAULT(ident, grade, text, advice) {GRADE_##grade, text, advice},
#include "ops/fault.def"
#undef FAULT
};

bool fault_only_degrades(enum fault_kind kind)
{
    return texts[kind].grade == GRADE_DEGRADES;
}

const char *fault_text(enum fault_kind kind)
{
    return texts[kind].text;
}

const char *fault_advice(enum fault_kind kind)
{
    return texts[kind].advice;
}

/* The last step that a late probe did not reach is at fault. */
static enum fault_kind judge(const struct metrics_health *health, int64_t now_mono_ms)
{
    const int64_t *at = health->probe_mono_ms;
    if (health->pid == 0)
        return FAULT_NEVER_STARTED;
    if (!health->ready)
        return FAULT_NOT_READY;
    if (now_mono_ms - at[PROBE_TURNED] > PROBE_LATE_MS)
        return FAULT_STOPPED;
    if (now_mono_ms - at[PROBE_RETURNED] <= PROBE_LATE_MS)
        return health->audit_failing_unix_ms ? FAULT_AUDIT : FAULT_NONE;
    return now_mono_ms - at[PROBE_WRITTEN] > PROBE_LATE_MS ? FAULT_STORE : FAULT_INBOX;
}

struct fault health_of_worker(const struct metrics_page *page, unsigned worker, int64_t now_mono_ms,
                              int64_t now_unix_ms)
{
    const struct metrics_health health = metrics_slot_health(page, worker - 1);
    struct fault fault = {.kind = judge(&health, now_mono_ms), .worker = worker};
    enum probe_step missed = fault.kind == FAULT_STOPPED ? PROBE_TURNED : PROBE_RETURNED;
    fault.since_unix_ms = fault.kind == FAULT_AUDIT ? health.audit_failing_unix_ms
                          : fault.kind == FAULT_NOT_READY || fault.kind == FAULT_NEVER_STARTED
                              ? health.ready_changed_unix_ms
                              : now_unix_ms - (now_mono_ms - health.probe_mono_ms[missed]);
    return fault;
}
