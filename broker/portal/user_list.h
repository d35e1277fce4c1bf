/** UserService.ListUsers, a row of the table in user_service.c. Internal to portal/. */
#ifndef NANOPUSH_PORTAL_USER_LIST_H
#define NANOPUSH_PORTAL_USER_LIST_H

#include "portal/rpc.h"

void user_list(struct rpc_call *call, const ProtobufCMessage *request);

#endif
