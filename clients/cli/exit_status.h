/** What nanopush ends with (exit_status.def). */
#ifndef NANOPUSH_CLI_EXIT_STATUS_H
#define NANOPUSH_CLI_EXIT_STATUS_H

enum exit_status {
#define EXIT_STATUS(ident, number, text) EXIT_STATUS_##ident = (number),
#include "cli/exit_status.def"
#undef EXIT_STATUS
};

#endif
