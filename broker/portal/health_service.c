/* grpc.health.v1, for load balancers and probes; a worker is healthy while its probes come back. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "domain/probe.h"
#include "grpc/health/v1/health.pb-c.h"
#include "portal/services.h"

/* They are held without a credential; of one connection, of one address (a balancer may be many), of a process. */
#define CONNECTION_WATCHES_MAX 4
#define ADDRESS_WATCHES_MAX    100
#define WATCHES_MAX            1000
#define LOOK_MS                5000

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

struct health_watch {
    struct list node;
    struct rpc_call *call;
    const struct stream *connection; /* to compare with */
    struct address peer;
    struct timer look;
    serving_status told;
    bool known; /* the service is */
};

static struct list watches = {&watches, &watches}; /* struct health_watch */
static unsigned watch_count;

static bool is_known(const char *service)
{
    static const char *const names[] = {
        "",
        "nanopush.v1.ChallengeService",
        "nanopush.v1.EnrolmentService",
        "nanopush.v1.UserService",
        "nanopush.v1.EventService",
        "grpc.health.v1.Health",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(service, names[i]) == 0)
            return true;
    return false;
}

static serving_status status_now(const struct rpc_call *call)
{
    return probe_sound(rpc_domain(call)->probe) ? STATUS(SERVING) : STATUS(NOT_SERVING);
}

static void check(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Grpc__Health__V1__HealthCheckRequest *request =
        (const Grpc__Health__V1__HealthCheckRequest *)message;
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    if (!is_known(request->service)) {
        rpc_fail(call, RPC_NOT_FOUND, "no such service; the empty name stands for all");
        return;
    }
    response.status = status_now(call);
    rpc_reply(call, &response.base);
}

static void watch_end(void *state)
{
    struct health_watch *watch = state;
    timer_cancel(&watch->look);
    list_remove(&watch->node);
    free(watch);
    watch_count--;
}

/* False: the caller reads too slowly, and the call has ended. */
static bool tell(struct health_watch *watch)
{
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = watch->told = watch->known ? status_now(watch->call) : STATUS(SERVICE_UNKNOWN);
    return rpc_send(watch->call, &response.base);
}

static void on_look(void *arg)
{
    struct health_watch *watch = arg;
    if (watch->known && watch->told != status_now(watch->call) && !tell(watch))
        watch_end(watch);
    else
        timer_start(&watch->look, LOOK_MS);
}

/* An address without its port. @return false where there is none, or none left for one more watch. */
static bool has_room(const struct stream *connection, const struct address *peer)
{
    unsigned of_connection = 0, of_address = 0;
    LIST_EACH (node, &watches) {
        const struct health_watch *watch = CONTAINER_OF(node, struct health_watch, node);
        of_connection += watch->connection == connection;
        of_address += address_same_host(&watch->peer, peer);
    }
    return of_connection < CONNECTION_WATCHES_MAX && of_address < ADDRESS_WATCHES_MAX &&
           watch_count < WATCHES_MAX;
}

static void watch_service(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Grpc__Health__V1__HealthCheckRequest *request =
        (const Grpc__Health__V1__HealthCheckRequest *)message;
    const struct stream *connection = rpc_connection(call);
    struct address peer;
    if (stream_peer(connection, &peer) != ERR_OK || !has_room(connection, &peer)) {
        rpc_fail(call, RPC_RESOURCE_EXHAUSTED, "too many watch already; call Check from time to time");
        return;
    }
    struct health_watch *watch = mem_new(sizeof *watch);
    watch_count++;
    list_append(&watches, &watch->node);
    watch->connection = connection;
    watch->peer = peer;
    watch->call = call;
    watch->known = is_known(request->service);
    timer_init(&watch->look, rpc_domain(call)->loop, on_look, watch);
    rpc_on_end(call, watch_end, watch);
    if (tell(watch))
        timer_start(&watch->look, LOOK_MS);
    else
        watch_end(watch);
}

const struct rpc_method health_service[] = {
    {.path = "/grpc.health.v1.Health/Check",
     .input = &grpc__health__v1__health_check_request__descriptor,
     .handler = check,
     .safe = true,
     .open = true},
    {.path = "/grpc.health.v1.Health/Watch",
     .input = &grpc__health__v1__health_check_request__descriptor,
     .stream = true,
     .handler = watch_service,
     .open = true},
    {0},
};
