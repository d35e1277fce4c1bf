/**
 * The commands' functions, command_<ident>() for each row of command.def, in a file per group. Each gets a
 * command line that args_parse() accepted, prints what it has to, and returns what the program ends with.
 */
#ifndef NANOPUSH_CLI_COMMANDS_H
#define NANOPUSH_CLI_COMMANDS_H

#include "cli/args.h"
#include "cli/exit_status.h"

#define COMMAND(ident, name, operands, min, max, options, summary, detail)                                   \
    enum exit_status command_##ident(const struct args *args);
#include "cli/command.def"
#undef COMMAND

#endif
