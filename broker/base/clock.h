/**
 * The two clocks. mono_ms never goes back and means nothing outside this boot; unix_ms is the wall clock. They are
 * different types of number: a variable's name says which one it holds. What decides about a challenge is neither,
 * but Redis' clock, read inside the scripts.
 */
#ifndef NANOPUSH_BASE_CLOCK_H
#define NANOPUSH_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_mono_ms(void);
int64_t clock_unix_ms(void);

/** Monotonic microseconds. */
int64_t clock_mono_us(void);

#endif
