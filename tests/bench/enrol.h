/**
 * Enrol a fleet's phones the way that real ones are: the portal creates an enrolment, the phone takes its token on a
 * connection of its own full handshake and signs with both keys. Several phones share a connection in turn, as phones with
 * several accounts may, so that a fleet is there in minutes.
 */
#ifndef NANOPUSH_BENCH_ENROL_H
#define NANOPUSH_BENCH_ENROL_H

#include "fleet.h"
#include "link.h"

struct enrol {
    struct fleet fleet;
    struct link_target device, portal;
    uint32_t next, end; /* phones next .. end - 1 are still to begin */
    uint32_t done, failed;
    const char *last_failure;
};

extern struct enrol enrol;

/** Enrol those of @p from .. @p from + @p count - 1 that are not yet, @p at_once at a time. */
void enrol_start(uint32_t from, uint32_t count, unsigned at_once);

/** True when all have ended. */
bool enrol_idle(void);

#endif
