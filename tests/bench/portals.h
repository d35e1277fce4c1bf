/**
 * The portals of one swarm process: they ask phones that are picked at random, as many at once as told, and time each
 * login from the request to the verdict. How one asks is its protocol's (portal_*.c).
 */
#ifndef NANOPUSH_BENCH_PORTALS_H
#define NANOPUSH_BENCH_PORTALS_H

#include "fleet.h"
#include "link.h"
#include "samples.h"

/** One login at a time. */
struct login {
    uint32_t phone; /* number in the fleet */
    int64_t start_us;
    bool active, busy; /* asked, no verdict yet; the protocol is not done with it */
};

struct portal_protocol {
    const char *name, *alpn;
    /** Connect what is not connected, for as many logins at once as there are. */
    void (*open)(void);
    /** @return true when all is connected. */
    bool (*is_open)(void);
    /** Ask logins[i].phone; then portals_verdict(), and portals_free() once another may be asked. */
    void (*ask)(unsigned i);
};

extern const struct portal_protocol portal_nanopush, portal_mqtt, portal_nchan;

struct portals {
    const struct portal_protocol *protocol;
    struct link_target target;
    struct fleet fleet; /* nanopush only */
    struct login *logins;
    unsigned login_count;
    uint8_t *asked; /* a bit a phone: it has a question now */

    /* What portals_run() was told. */
    uint32_t from, phones; /* pick among phones from .. from + phones - 1 */
    uint64_t total;
    unsigned rate; /* a second; 0: as fast as answers come */
    bool verify;   /* the signature of each approval */

    int64_t run_us;
    uint64_t started, approved, verified, failed;
    const char *last_failure;
    struct samples latency;
};

extern struct portals portals;

/** Prepare for @p count logins at once, among at most @p phone_count phones. */
void portals_init(unsigned count, uint32_t phone_count);

/** Ask @p total times. */
void portals_run(uint32_t from, uint32_t count, uint64_t total, unsigned rate, bool verify);

/** Ask what is due. @return milliseconds until there may be more. */
int portals_tick(void);

/** True when every login of the run has ended. */
bool portals_idle(void);

/** ---- for protocols ---- */

/** The login has its verdict; @p why NULL: approved. */
void portals_verdict(unsigned i, const char *why);

/** Another may be asked in its place. */
void portals_free(unsigned i);

#endif
