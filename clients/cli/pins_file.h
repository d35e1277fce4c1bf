/**
 * The pins file on disk: locked, read with bounds, replaced atomically. What stands in it is pins.h's
 * business.
 */
#ifndef NANOPUSH_CLI_PINS_FILE_H
#define NANOPUSH_CLI_PINS_FILE_H

#include "base/buf.h"

/** A file's directory, open and locked, and the file's name in it. */
struct pins_file {
    int directory;
    char *name;
};

/**
 * Open and lock the directory; waits for whoever holds the lock.
 * @param[out] ret  ended with pins_file_close().
 * @return ERR_OK; ERR_INVALID for an empty path or one that ends in a slash; ERR_IO (errno says more);
 * ERR_NOMEM.
 */
MUST_CHECK enum err pins_file_open(const char *path, struct pins_file *ret);

/**
 * Read it whole.
 * @param[out] ret  its bytes; empty where there is no file. The caller ends with buf_done().
 * @return ERR_OK; ERR_DENIED if group or others may read it; ERR_TOO_BIG above @p max; ERR_IO; ERR_NOMEM.
 */
MUST_CHECK enum err pins_file_read(const struct pins_file *file, size_t max, struct buf *ret);

/** Replace it: a new file of mode 0600, synced, renamed over the old. @return ERR_OK; ERR_IO; ERR_NOMEM. */
MUST_CHECK enum err pins_file_replace(const struct pins_file *file, struct bytes content);

/** Unlock and close. */
void pins_file_close(struct pins_file *file);

#endif
