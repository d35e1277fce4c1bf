/**
 * How one master takes another one's place, on the same data directory and the same listening sockets, so that there is
 * at no time nobody who accepts.
 *
 *     successor                                          predecessor
 *     gets the sockets (activation.h), finds the
 *     directory locked; starts its workers, then ops
 *     all ready: admin.sock is its own now, SIGUSR1 --->  sees that admin.sock is another's; lets go of Redis and
 *     gets the lock, adopts Redis, writes ports    <---   of the lock; its workers drain without notice; ends
 *
 * Until SIGUSR1 nothing has changed for the predecessor: a successor that does not get ready ends, and that is all.
 */
#ifndef NANOPUSH_PROC_SUCCESSION_H
#define NANOPUSH_PROC_SUCCESSION_H

#include <sys/types.h>

#include "proc/activation.h"
#include "proc/datadir.h"

struct succession {
    int predecessor_pid; /* whose place is to be taken; 0: nobody's, or it is done */
    int successor_pid;   /* that this master started; 0: none */
    bool announced;
    dev_t admin_dev; /* admin.sock as this master made it */
    ino_t admin_ino;
};

/**
 * The directory is locked by another master: take its place, if its sockets are there.
 * @return ERR_OK: predecessor_pid is set; ERR_EXISTS with a line in @p why: it cannot be; ERR_NOMEM.
 */
MUST_CHECK enum err succession_begin(struct succession *succession, const struct datadir *dir,
                                     const struct activation *activation, struct buf *why);

/** Where this master is to make its admin socket; the caller does so, and calls succession_note_admin(). */
const char *succession_admin_name(const struct succession *succession);
MUST_CHECK enum err succession_note_admin(struct succession *succession, const struct datadir *dir);

/** Put our admin socket in its place, and tell the predecessor, if it is there still. @return ERR_OK; ERR_IO. */
MUST_CHECK enum err succession_announce(struct succession *succession, const struct datadir *dir);

/** True if admin.sock is another master's now, not what this one made. */
bool succession_displaced(const struct succession *succession, const struct datadir *dir);

/**
 * Start @p program with @p argv and these sockets, to be the successor.
 * @return ERR_OK; ERR_EXISTS: one is starting already; ERR_IO.
 */
MUST_CHECK enum err succession_start(struct succession *succession, const struct activation *sockets,
                                     const char *program, char *const *argv);

#endif
