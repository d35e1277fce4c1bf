/**
 * A worker: one event loop, its own connections to Redis, both TLS ports. The place where the parts are wired together;
 * device/ and portal/ meet nowhere else.
 */
#ifndef NANOPUSH_PROC_WORKER_H
#define NANOPUSH_PROC_WORKER_H

#include "proc/child.h"

/**
 * Run worker @p number (from 1 on) in this process until it is told to end and has drained.
 * @return the process's exit status.
 */
int worker_run(struct child_setup *setup, unsigned number);

#endif
