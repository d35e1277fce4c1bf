/**
 * The ops process: stats port and admin socket, apart from the workers, so that both answer while those are saturated.
 */
#ifndef NANOPUSH_PROC_OPS_PROCESS_H
#define NANOPUSH_PROC_OPS_PROCESS_H

#include "proc/child.h"

/** Run until told to end. @return the process's exit status. */
int ops_process_run(const struct child_setup *setup);

#endif
