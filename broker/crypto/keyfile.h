/**
 * Files that hold keys, certificates and passwords: read whole with a limit, written
 * so that a crash leaves either the old file or the new one. Blocking: for start and reload, never for a
 * worker's loop.
 */
#ifndef NANOPUSH_CRYPTO_KEYFILE_H
#define NANOPUSH_CRYPTO_KEYFILE_H

#include "base/buf.h"

enum keyfile_access {
    KEYFILE_PRIVATE, /* mode 0600; refused when its group or others may read or write it */
    KEYFILE_PUBLIC,  /* mode 0644 */
};

/**
 * Read a file whole.
 * @param      max  largest file accepted, in bytes.
 * @param[out] ret  its bytes; cleansed and freed with buf_done(). What it held before is not freed.
 * @return ERR_OK; ERR_NOT_FOUND; ERR_DENIED if this process may not read it, or if it is KEYFILE_PRIVATE and
 * others may; ERR_INVALID if it is no regular file; ERR_TOO_BIG; ERR_NOMEM; ERR_IO.
 */
MUST_CHECK enum err keyfile_read(const char *path, enum keyfile_access access, size_t max, struct buf *ret);

/**
 * Write a file by way of a temporary one beside it, both synced to disk.
 * @return ERR_OK; ERR_NOT_FOUND if the directory does not exist; ERR_DENIED; ERR_TOO_BIG if @p path is too
 * long; ERR_CRYPTO; ERR_IO. On error @p path holds what it held, or the new contents if only the last sync
 * failed.
 */
MUST_CHECK enum err keyfile_replace(const char *path, enum keyfile_access access, struct bytes contents);

/** As keyfile_replace(), but never over a file that is there. @return as keyfile_replace(), and ERR_EXISTS.
 */
MUST_CHECK enum err keyfile_create(const char *path, enum keyfile_access access, struct bytes contents);

#endif
