/* EventService: comes with a later version; the contract is there, the answer is unimplemented. */
#include "nanopush/v1/admin.pb-c.h"
#include "nanopush/v1/event.pb-c.h"
#include "portal/services.h"

const struct rpc_method event_service[] = {
    RPC_METHOD(EventService, WatchEvents, watch_events_request, true, NANOPUSH__V1__SCOPE__SCOPE_CHALLENGE,
               NULL),
    {0},
};
