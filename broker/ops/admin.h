/**
 * AdminService, as the ops process serves it on the admin socket (proto/nanopush/v1/admin.proto).
 */
#ifndef NANOPUSH_OPS_ADMIN_H
#define NANOPUSH_OPS_ADMIN_H

#include "core/drain_order.h"
#include "core/metrics.h"
#include "portal/rpc.h"

/** What its handlers get by rpc_surroundings(). */
struct admin_surroundings {
    const struct metrics_page *page;
    unsigned worker_count;
    struct drain_order *drain_order;
};

extern const struct rpc_method admin_service[];

#endif
