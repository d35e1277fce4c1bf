/**
 * The whole terminal, for a program that paints it: the alternate screen, without cursor, keys read one by one. However
 * the program ends the terminal is again as it was: at exit, by SIGINT, SIGTERM, SIGHUP and SIGQUIT, which then end the
 * program as ever, and while it is stopped (SIGTSTP). One a process.
 */
#ifndef NANOPUSH_CLI_TERMINAL_H
#define NANOPUSH_CLI_TERMINAL_H

#include "base/bytes.h"

enum terminal_event {
    TERMINAL_NOTHING,
    TERMINAL_REPAINT, /* it has another size, or was shown to somebody else meanwhile */
    TERMINAL_KEY,
    TERMINAL_GONE,
};

/**
 * Take it over.
 * @return ERR_OK; ERR_UNSUPPORTED: standard input or output is no terminal, or one that cannot be painted; ERR_IO.
 */
MUST_CHECK enum err terminal_open(void);

/** Give it back. */
void terminal_close(void);

/** Descriptors to wait for before terminal_next(). */
void terminal_descriptors(int ret[2]);

/** The next thing that happened, without waiting for one. @param[out] key  set with TERMINAL_KEY. */
enum terminal_event terminal_next(char *key);

/** Characters a line, and lines; 80 and 24 where the terminal does not say. */
void terminal_size(size_t *columns, size_t *rows);

/** Write @p frame from the upper left corner on. @return ERR_OK; ERR_IO. */
MUST_CHECK enum err terminal_paint(struct bytes frame);

#endif
