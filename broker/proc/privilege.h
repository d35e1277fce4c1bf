/**
 * What the broker may do: started as root it becomes a user, and keeps of root's rights the one to open ports below 1024
 * until they are open. From then on neither it nor what it starts has any, or can get one (capabilities(7), PR_SET_NO_NEW_PRIVS).
 */
#ifndef NANOPUSH_PROC_PRIVILEGE_H
#define NANOPUSH_PROC_PRIVILEGE_H

#include "base/buf.h"

/**
 * Become @p user ("": stay who we are), with that user's groups, and make @p data_dir that user's where it does not exist.
 * @param why  gets a line for the operator on error.
 * @return ERR_OK, also where we are that user already; ERR_NOT_FOUND: no such user; ERR_DENIED: we are neither root nor that
 * user; ERR_IO; ERR_NOMEM.
 */
MUST_CHECK enum err privilege_become(const char *user, const char *data_dir, struct buf *why);

/** Give up all capabilities, for good. To be called once all ports are open. @return ERR_OK; ERR_IO with a line in @p why. */
MUST_CHECK enum err privilege_drop(struct buf *why);

#endif
