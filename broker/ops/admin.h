/**
 * AdminService, as the ops process serves it on the admin socket (proto/nanopush/v1/admin.proto).
 */
#ifndef NANOPUSH_OPS_ADMIN_H
#define NANOPUSH_OPS_ADMIN_H

#include "portal/rpc.h"

extern const struct rpc_method admin_service[];

#endif
