/**
 * Listening sockets that a process gets from who started it: sd_listen_fds(3). $LISTEN_PID is the process that is meant,
 * $LISTEN_FDS how many there are, from descriptor 3 on, $LISTEN_FDNAMES what each is, "device:portal:stats".
 * A service manager hands them over; so does a broker to the one that takes its place.
 */
#ifndef NANOPUSH_PROC_ACTIVATION_H
#define NANOPUSH_PROC_ACTIVATION_H

#include "base/buf.h"

enum activation_socket { ACTIVATION_DEVICE, ACTIVATION_PORTAL, ACTIVATION_STATS, ACTIVATION_COUNT };

/** One for each socket; -1: there is none. */
struct activation {
    int fds[ACTIVATION_COUNT];
};

/**
 * Take what is meant for this process, non-blocking and close-on-exec, and take the variables out of the environment.
 * @param[out] ret  all -1 where nothing is, or for another process; else the caller's to close.
 * @param      why  gets a line for the operator on error.
 * @return ERR_OK; ERR_CONFIG: a name that is none of ours, or twice, or what is no listening stream socket; ERR_NOMEM.
 */
MUST_CHECK enum err activation_take(struct activation *ret, struct buf *why);

/** True if all of them are there. */
bool activation_is_whole(const struct activation *activation);

/**
 * In a process that was just forked: become @p program with these sockets, all of which must be there. Signals are
 * unblocked. Does not return; where it fails the process ends with status 127.
 */
_Noreturn void activation_exec(const struct activation *activation, const char *program, char *const *argv);

#endif
