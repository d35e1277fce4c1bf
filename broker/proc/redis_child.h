/**
 * The embedded Redis: a real redis-server that the master keeps, on a unix socket in the data directory, without TCP
 * port, append-only file on. One that a master before left behind is taken over as it is.
 */
#ifndef NANOPUSH_PROC_REDIS_CHILD_H
#define NANOPUSH_PROC_REDIS_CHILD_H

#include "proc/datadir.h"

struct redis_child {
    const struct datadir *dir;
    const char *program; /* option redis_server: "" to search PATH */
    bool always;         /* each write is on the disk before it is answered */
    int pidfd;           /* readable when it has ended; -1 while there is none */
    int pid;
};

/**
 * Take over, or start, and wait until it answers PING. Called again while its process lives, it only waits again: a
 * second one on the same files would lose what the first one writes.
 * @param why  gets a line for the operator on error.
 * @return ERR_OK; ERR_NOT_FOUND: no program; ERR_TIMEOUT: it did not answer in REDIS_START_MS; ERR_IO, ERR_NOMEM.
 */
#define REDIS_START_MS 10000
MUST_CHECK enum err redis_child_start(struct redis_child *redis, struct buf *why);

/** It has ended (pidfd was readable): reap it. */
void redis_child_reap(struct redis_child *redis);

/** It is another master's now, and runs on. */
void redis_child_release(struct redis_child *redis);

/** Ask it to write everything and end, and wait for that. */
void redis_child_stop(struct redis_child *redis);

#endif
