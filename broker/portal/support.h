/**
 * Errors that a person will see: they carry what the organisation has to say to somebody who needs help
 * (AdminService, Organisation.support_text), as detail google.rpc.LocalizedMessage. Kept apart from the text of the
 * error, which is the portal's developer's.
 */
#ifndef NANOPUSH_PORTAL_SUPPORT_H
#define NANOPUSH_PORTAL_SUPPORT_H

#include "portal/rpc.h"

/**
 * As rpc_fail(), once the support text was read, of the caller's organisation; without it where there is none, and where
 * it cannot be read. The call has no on_end of its own any more.
 */
void support_fail(struct rpc_call *call, enum rpc_code code, const char *text, ...) PRINTF(3, 4);

#endif
