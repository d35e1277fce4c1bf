/**
 * The master: data directory, listening sockets, embedded Redis, and the lives of the children. It never reads a byte
 * from a peer, so there is nothing to attack it with.
 *
 *     start: directory, secret, CA -> sockets -> Redis -> ops, workers -> ports file
 *     SIGTERM, SIGINT: workers drain -> ops ends -> Redis ends -> exit; a second one cuts the drain short
 *     SIGUSR2: the program, as it is on disk now, is started to take this one's place (succession.h)
 *     a child that dies is started anew, at once, or with backoff if it did not live for a while
 */
#ifndef NANOPUSH_PROC_MASTER_H
#define NANOPUSH_PROC_MASTER_H

#include "core/config.h"

/** Run the broker; @p argv as main() has it, for a successor. @return the process's exit status; what could not be started is told on standard error. */
int master_run(struct config *config, const char *config_file, char *const *argv);

#endif
