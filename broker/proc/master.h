/**
 * The master: data directory, listening sockets, embedded Redis, and the lives of the children. It never reads a byte
 * from a peer, so there is nothing to attack it with.
 *
 *     start: directory, secret, CA -> sockets -> Redis -> ops, workers -> ports file
 *     SIGTERM, SIGINT: workers drain -> ops ends -> Redis ends -> exit; a second one cuts the drain short
 *     a child that dies is started anew, at once, or with backoff if it did not live for a while
 */
#ifndef NANOPUSH_PROC_MASTER_H
#define NANOPUSH_PROC_MASTER_H

#include "core/config.h"

/** Run the broker. @return the process's exit status; what could not be started is told on standard error. */
int master_run(struct config *config, const char *config_file);

#endif
