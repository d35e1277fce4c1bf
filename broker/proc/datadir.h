/**
 * The data directory: everything that a broker keeps on disk.
 *
 *     cluster.secret                  one secret for all machines of a cluster; 0600
 *     device-ca.pem, device-ca.key    the CA that phones pin; it issues
 *     server.pem, server.key          the certificate of the device port and the portal port
 *     admin.sock                      the admin socket; who may open it is an administrator
 *     ports                           where the broker listens, for clients on this machine; there while it is ready
 *     redis/                          the embedded Redis: its socket, its append-only file, its log
 *     lock                            held by the master
 */
#ifndef NANOPUSH_PROC_DATADIR_H
#define NANOPUSH_PROC_DATADIR_H

#include "base/buf.h"
#include "net/address.h"

#define DATADIR_PATH_SIZE 1200 /* of a file's path in it, NUL included */

struct datadir {
    const char *path; /* the caller's */
    int fd;           /* the directory */
    int lock_fd;
    bool locked; /* by this process */
};

/**
 * Make the directory (mode 0700) unless it is there, and lock it, unless another broker has.
 * @param why  gets a line for the operator on error.
 * @return ERR_OK, locked or not; ERR_DENIED, ERR_IO, ERR_NOMEM.
 */
MUST_CHECK enum err datadir_open(const char *path, struct datadir *ret, struct buf *why);
void datadir_close(struct datadir *dir);

/** Try again to lock it. @return ERR_OK; ERR_EXISTS: another broker still holds it; ERR_IO. */
MUST_CHECK enum err datadir_lock(struct datadir *dir);

/** Let another broker have it, and go on with what is open. */
void datadir_unlock(struct datadir *dir);

/**
 * Make what is missing: cluster secret, CA, certificate for @p names and for this machine's loopback.
 * @return ERR_OK; on error @p why has a line for the operator.
 */
MUST_CHECK enum err datadir_prepare(const struct datadir *dir, const char *const *names, size_t name_count,
                                    struct buf *why);

/** Path of a file in it. */
void datadir_file(const struct datadir *dir, const char *name, char out[DATADIR_PATH_SIZE]);

/**
 * A unix socket in it, by the descriptor: short whatever the directory's path is. Good in this process and in children
 * that do not exec. "unix:/proc/self/fd/7/admin.sock".
 */
void datadir_socket(const struct datadir *dir, const char *name, char out[ADDRESS_TEXT_SIZE]);

/** Write the file ports, whole or not at all. @return ERR_OK; ERR_IO; ERR_NOMEM. */
MUST_CHECK enum err datadir_write_ports(const struct datadir *dir, const char *device, const char *portal,
                                        const char *stats);

/** Remove a file; one that is not there is as good. */
void datadir_remove(const struct datadir *dir, const char *name);

#endif
