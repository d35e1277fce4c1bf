/**
 * This worker's inbox: a stream in Redis that other workers put hints into, read on a connection of its own because the
 * read blocks. Internal to store/.
 *
 * An inbox lives as long as its worker renews it; one that is gone (Redis restarted, the worker was stopped for too
 * long) is replaced by one of the next generation under a new name, never made again under the old one, since ids in
 * it could go backwards.
 */
#ifndef NANOPUSH_STORE_INBOX_H
#define NANOPUSH_STORE_INBOX_H

#include "store/store.h"

struct inbox;

/** Open the first generation as soon as Redis is there. */
struct inbox *inbox_new(struct store *store);

/** The store's connection is up (again): see whether the inbox is still there. */
void inbox_check(struct inbox *inbox);

/** Remove it from Redis and free. NULL is allowed. */
void inbox_free(struct inbox *inbox);

#endif
