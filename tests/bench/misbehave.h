/**
 * Peers that do what no phone does, to see that a server bears them beside those that behave.
 */
#ifndef NANOPUSH_BENCH_MISBEHAVE_H
#define NANOPUSH_BENCH_MISBEHAVE_H

#include <stdbool.h>
#include <stdint.h>

enum misbehaviour {
    MISBEHAVE_GARBAGE,    /* bytes that are no TLS */
    MISBEHAVE_HALF_HELLO, /* half a record, and silence */
    MISBEHAVE_SILENT,     /* a handshake, and silence */
    MISBEHAVE_BAD_FRAME,  /* a handshake, and a frame that cannot be */
    MISBEHAVE_BAD_RECORD, /* a handshake, and a record that does not open */
    MISBEHAVE_HANG_UP,    /* a reset, somewhere in the handshake */
    MISBEHAVE_COUNT
};

struct misbehave {
    uint32_t open, closed; /* not ended by the server yet; ended by it */
};

extern struct misbehave misbehave;

/** Open @p count connections to where the phones lead that do @p kind. Those of before are closed. */
void misbehave_start(enum misbehaviour kind, uint32_t count);

/** Hang up what is to be hung up on. */
void misbehave_tick(void);

/** True when the server has ended them all, or 30 s have passed. */
bool misbehave_is_done(void);

#endif
