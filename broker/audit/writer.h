/**
 * The audit of one process: its chain (audit/chain.h), in files of its own.
 *
 *     <data>/audit/<UTC time of start>-<process>-<chain>.<number>.jsonl     mode 0600, in a directory of mode 0700
 *
 * A file that has grown past its limit is closed and the chain goes on in the next number. The broker removes none of
 * them: how long an audit is kept is the operator's to say.
 *
 * Durability: an entry is in the kernel when audit_append() returns, so a process that dies loses nothing. Once a second
 * the kernel is told to begin writing it to the disk, without waiting for it, since a worker must not stand still; a file
 * is waited for (fdatasync) when it is closed. A machine that loses power can lose the last seconds.
 *
 * Where an entry cannot be written (the disk is full) the broker goes on, says so (log, nanopush_audit_failing,
 * nanopush_audit_lost_total), and the next entry that can be written says how many are missing.
 *
 * The head is published in the log, event audit-head, once a minute where it has moved, and at the end: logs that are kept
 * on another machine are what a chain is held against.
 */
#ifndef NANOPUSH_AUDIT_WRITER_H
#define NANOPUSH_AUDIT_WRITER_H

#include "audit/chain.h"
#include "core/loop.h"

struct audit;

struct audit_options {
    const char *directory; /* made if it is not there */
    const char *process;   /* "worker-1", "ops" */
    size_t file_bytes;     /* a file is closed past this */
};

/**
 * Begin a chain. Strings of @p options are copied. The first file is made with the first entry.
 * @param secret  kept.
 * @return ERR_OK; ERR_CRYPTO.
 */
MUST_CHECK enum err audit_open(struct loop *loop, const struct secret *secret,
                               const struct audit_options *options, struct audit **ret);

/** Publish the head, wait for the disk, free. NULL is allowed. */
void audit_close(struct audit *audit);

/** Write one entry, a JSON object without line feeds. Never fails the caller. */
void audit_append(struct audit *audit, struct bytes entry);

#endif
