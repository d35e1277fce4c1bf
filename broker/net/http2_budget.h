/**
 * How often a peer may do what costs it little and brings nothing: a token bucket. Knows no clock and no connection.
 */
#ifndef NANOPUSH_NET_HTTP2_BUDGET_H
#define NANOPUSH_NET_HTTP2_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

/** Zero-initialised, but for the constants, is full from the first take on. */
struct http2_budget {
    unsigned burst, per_s; /* constant: tokens at most, and how many a second come back */
    unsigned spent;        /* 0..burst */
    int64_t since_mono_ms; /* up to here what came back is counted */
};

/** Take one. @return false if there is none. */
bool http2_budget_take(struct http2_budget *budget, int64_t mono_ms);

/** Give up to @p count back, for something useful that the peer did. */
void http2_budget_give(struct http2_budget *budget, unsigned count);

#endif
