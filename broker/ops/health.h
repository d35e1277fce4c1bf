/**
 * Whether logins would work, as the shared page and a ping of Redis show it: what is at fault, where, since when.
 */
#ifndef NANOPUSH_OPS_HEALTH_H
#define NANOPUSH_OPS_HEALTH_H

#include "core/metrics.h"

enum fault_kind {
#define FAULT(ident, grade, text, advice) FAULT_##ident,
#include "ops/fault.def"
#undef FAULT
    FAULT_COUNT
};

#define FAULT_NONE FAULT_COUNT

struct fault {
    enum fault_kind kind;
    unsigned worker; /* 0: of no single one */
    int64_t since_unix_ms;
};

/** What is wrong with a worker, the gravest: FAULT_NONE, or since when what is. A probe is late after PROBE_LATE_MS. */
struct fault health_of_worker(const struct metrics_page *page, unsigned worker, int64_t now_mono_ms,
                              int64_t now_unix_ms);

/** True where logins work all the same. */
bool fault_only_degrades(enum fault_kind kind);

/** For people: "worker 2 not ready", and what to do about that. Static texts. */
const char *fault_text(enum fault_kind kind);
const char *fault_advice(enum fault_kind kind);

#endif
