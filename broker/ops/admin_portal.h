/**
 * The part of AdminService that is about portals. Internal to ops/: rows of the table in admin.c.
 */
#ifndef NANOPUSH_OPS_ADMIN_PORTAL_H
#define NANOPUSH_OPS_ADMIN_PORTAL_H

#include "portal/rpc.h"

void admin_create_portal(struct rpc_call *call, const ProtobufCMessage *request);
void admin_list_portals(struct rpc_call *call, const ProtobufCMessage *request);
void admin_remove_portal(struct rpc_call *call, const ProtobufCMessage *request);
void admin_rotate_credential(struct rpc_call *call, const ProtobufCMessage *request);
void admin_finish_rotation(struct rpc_call *call, const ProtobufCMessage *request);
void admin_set_certificates(struct rpc_call *call, const ProtobufCMessage *request);
void admin_set_limits(struct rpc_call *call, const ProtobufCMessage *request);

#endif
