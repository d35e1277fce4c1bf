/**
 * What the broker is doing, as `nanopush stats` and `nanopush top` show it: read from /stats.json of the stats port
 * (broker/ops/stats_json.h). What another version of the broker does not say is 0 or empty.
 */
#ifndef NANOPUSH_CLI_FIGURES_H
#define NANOPUSH_CLI_FIGURES_H

#include "base/bytes.h"

#define FIGURES_WORKERS_MAX 64
#define FIGURES_FAULTS_MAX  (FIGURES_WORKERS_MAX + 8)
#define FIGURES_RECENT_MAX  64
#define FIGURES_BUCKETS_MAX 32
#define FIGURES_TEXT_SIZE   160

/** OUTCOME(ident, label, text): how a challenge ended, as the metric's label has it, and for people. */
#define FIGURES_OUTCOMES(OUTCOME)                                                                            \
    OUTCOME(APPROVED, "approved", "approved")                                                                \
    OUTCOME(DENIED, "denied", "denied")                                                                      \
    OUTCOME(REPORTED, "reported", "not me")                                                                  \
    OUTCOME(FAILED, "failed", "wrong number")                                                                \
    OUTCOME(EXPIRED, "expired", "expired")                                                                   \
    OUTCOME(CANCELLED, "cancelled", "cancelled")                                                             \
    OUTCOME(SUPERSEDED, "superseded", "superseded")

/** STAGE(ident, metric, label, text): a histogram; label: NULL where it has none. */
#define FIGURES_STAGES(STAGE)                                                                                \
    STAGE(ASK, "nanopush_login_seconds", "ask", "portal asks, is accepted")                                  \
    STAGE(PUSH, "nanopush_login_seconds", "push", "push is on the phone")                                    \
    STAGE(ANSWER, "nanopush_login_seconds", "answer", "answer is verified, stored")                          \
    STAGE(RETURN, "nanopush_login_seconds", "return", "portal has the answer")                               \
    STAGE(WHOLE, "nanopush_login_seconds", "whole", "whole, with the person")                                \
    STAGE(CONNECT, "nanopush_connect_seconds", "hello", "phone connects")                                    \
    STAGE(REDIS, "nanopush_redis_seconds", NULL, "redis")

enum figures_outcome {
#define OUTCOME(ident, label, text) OUTCOME_##ident,
    FIGURES_OUTCOMES(OUTCOME)
#undef OUTCOME
        OUTCOME_COUNT
};

enum figures_stage {
#define STAGE(ident, metric, label, text) STAGE_##ident,
    FIGURES_STAGES(STAGE)
#undef STAGE
        STAGE_COUNT
};

struct figures_histogram {
    double bounds_s[FIGURES_BUCKETS_MAX]; /* upper, of all buckets but the last */
    int64_t buckets[FIGURES_BUCKETS_MAX]; /* cumulative: the last is the count */
    size_t count;                         /* of buckets; 0: there is no such histogram */
};

struct figures_fault {
    char text[FIGURES_TEXT_SIZE], advice[FIGURES_TEXT_SIZE];
    unsigned worker; /* 0: of no single one */
    int64_t since_unix_ms;
};

struct figures_worker {
    unsigned number;
    char fault[FIGURES_TEXT_SIZE];       /* empty: none */
    int64_t start_unix_ms, probe_age_ms; /* -1: no probe has come back yet */
    int64_t phones, connections, portals, live, parked, memory_bytes;
};

struct figures_event {
    int64_t unix_ms;
    char process[32], severity[16], kind[48];
};

struct figures {
    char version[48];
    int64_t now_unix_ms;
    bool ready, redis_up;
    int64_t redis_since_unix_ms;
    struct figures_fault faults[FIGURES_FAULTS_MAX];
    struct figures_worker workers[FIGURES_WORKERS_MAX];
    struct figures_event recent[FIGURES_RECENT_MAX]; /* newest first */
    size_t fault_count, worker_count, recent_count;
    int64_t outcomes[OUTCOME_COUNT], locks, refused;
    int64_t phones, phones_most; /* most: of the last ten minutes */
    double logins_per_s,
        logins_per_s_most; /* of the last minute; most: of five seconds in the last ten minutes */
    struct figures_histogram stages[STAGE_COUNT];
};

/**
 * Read an answer. Control characters of its texts become '?'.
 * @return ERR_OK; ERR_MALFORMED: no JSON, or not what the port answers; @p ret is of no use then.
 */
MUST_CHECK enum err figures_parse(struct bytes json, struct figures *ret);

/**
 * The value, in seconds, below which @p share of what was counted lies, by interpolation within its bucket.
 * @param before  count only what came after it; NULL: all.
 * @return negative where nothing was counted.
 */
double figures_quantile(const struct figures_histogram *now, const struct figures_histogram *before,
                        double share);

#endif
