/**
 * Times that were measured, and their percentiles.
 */
#ifndef NANOPUSH_BENCH_SAMPLES_H
#define NANOPUSH_BENCH_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

/** Zero-initialised is empty. */
struct samples {
    uint32_t *us;
    size_t count, cap;
};

void samples_add(struct samples *s, int64_t us);

/** Empty it; it may be used again. */
void samples_done(struct samples *s);

/** Write `"NAME":{"count":..,"p50_us":..,"p90_us":..,"p99_us":..,"max_us":..}`, without NUL, to standard output. */
void samples_print(struct samples *s, const char *name);

#endif
