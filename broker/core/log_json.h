/**
 * A line of the log as JSON, for collectors: {"time":"...","level":"info",...}, each value a string.
 */
#ifndef NANOPUSH_CORE_LOG_JSON_H
#define NANOPUSH_CORE_LOG_JSON_H

#include <stddef.h>

#define LOG_JSON_MAX_BYTES 4096 /* within PIPE_BUF, as the lines themselves */

/**
 * Write @p line, key=value pairs as log.h has them, of printable ASCII without its line feed, as one object.
 * @return its length, less than LOG_JSON_MAX_BYTES; pairs that do not fit are left out.
 */
size_t log_json(const char *line, size_t len, char out[LOG_JSON_MAX_BYTES]);

#endif
