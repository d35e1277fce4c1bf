/**
 * The services of nanopush.v1 that portals call, one file each; proc/ hands their tables to rpc_server_new().
 */
#ifndef NANOPUSH_PORTAL_SERVICES_H
#define NANOPUSH_PORTAL_SERVICES_H

#include "portal/rpc.h"

extern const struct rpc_method challenge_service[], enrolment_service[], user_service[], event_service[];

/** What of ChallengeService an administrator may call. */
extern const struct rpc_method challenge_admin_service[];

/** grpc.health.v1, which needs no credential. */
extern const struct rpc_method health_service[];

/** What handlers need to know of this broker: rpc_surroundings() is one of these. */
struct portal_surroundings {
    const char *device_address; /* host:port that phones dial */
    const char *server_name;    /* that the broker's certificate bears */
    uint8_t trust_anchor[SHA256_BYTES];
};

#endif
