/**
 * What a swarm process can be told, by mode.
 */
#ifndef NANOPUSH_BENCH_COMMANDS_H
#define NANOPUSH_BENCH_COMMANDS_H

#include <stdbool.h>

#define COMMAND_NUMBERS_MAX 5

struct command {
    const char *name;                            /* NULL: the table's end */
    void (*start)(const unsigned long *numbers); /* those that were not given are 0 */
    bool (*is_done)(void);
};

struct mode {
    const char *name;
    /** @return NULL, or what is wrong. */
    const char *(*init)(int argc, char **argv);
    /** Do what is due. @return milliseconds until more may be. */
    int (*tick)(void);
    /** Write members of a JSON object to standard output. */
    void (*report)(void);
    const struct command *commands; /* NULL: all is done after init() */
};

/** The mode of that name, or NULL. */
const struct mode *mode_find(const char *name);

#endif
