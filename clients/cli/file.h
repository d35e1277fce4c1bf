/**
 * Whole files, read with a bound and written with care. All of them may hold secrets: what is made has mode
 * 0600.
 */
#ifndef NANOPUSH_CLI_FILE_H
#define NANOPUSH_CLI_FILE_H

#include "base/buf.h"

/**
 * Read a descriptor to its end.
 * @param[out] ret  the bytes; ended with buf_done().
 * @return ERR_OK; ERR_TOO_BIG above @p max bytes; ERR_IO (errno says more); ERR_NOMEM.
 */
MUST_CHECK enum err file_read_fd(int fd, size_t max, struct buf *ret);

/**
 * Read a file.
 * @param[out] open_to_others  whether group or others may read it; may be NULL.
 * @return as file_read_fd().
 */
MUST_CHECK enum err file_read(const char *path, size_t max, bool *open_to_others, struct buf *ret);

/**
 * The first line of a file, without its end, as text; "-" is standard input.
 * @param[out] ret  cleansed and freed by line_free().
 * @return as file_read(); ERR_MALFORMED if it is empty or has a NUL.
 */
MUST_CHECK enum err file_read_line(const char *path, size_t max, bool *open_to_others, char **ret);

/** Cleanse and free; NULL is allowed. */
void line_free(char *line);

/**
 * Write all of @p content and sync it.
 * @return ERR_OK; ERR_IO (errno says more).
 */
MUST_CHECK enum err file_write_fd(int fd, struct bytes content);

/**
 * Make a file that must not be there yet; a symbolic link counts as there.
 * @param[out] fd  open for writing, mode 0600; for file_write_fd() and close().
 * @return ERR_OK; ERR_EXISTS; ERR_IO (errno says more).
 */
MUST_CHECK enum err file_create(const char *path, int *fd);

#endif
