#include "portal/rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/metrics.h"
#include "domain/event.h"
#include "portal/rpc_call.h"

/* ---- calls ---- */

struct domain *rpc_domain(const struct rpc_call *call)
{
    return call->server->domain;
}

void *rpc_surroundings(const struct rpc_call *call)
{
    return call->server->surroundings;
}

const Record__Portal *rpc_portal(const struct rpc_call *call)
{
    return call->portal ? call->portal->record : NULL;
}

const char *rpc_actor(const struct rpc_call *call, char room[RPC_ACTOR_SIZE])
{
    const Record__Portal *portal = rpc_portal(call);
    uid_t uid = 0;
    if (portal)
        event_by_portal(portal->id, room);
    else if (stream_peer_uid(call->ex->stream, &uid) == ERR_OK)
        snprintf(room, RPC_ACTOR_SIZE, "administrator, uid %u", (unsigned)uid);
    else
        snprintf(room, RPC_ACTOR_SIZE, "administrator");
    return room;
}

const struct stream *rpc_connection(const struct rpc_call *call)
{
    return call->ex->stream;
}

bool rpc_has_scope(const struct rpc_call *call, int scope)
{
    const Record__Portal *portal = rpc_portal(call);
    if (call->server->options.admin || scope == 0)
        return true;
    for (size_t i = 0; portal && i < portal->n_scopes; i++)
        if ((int)portal->scopes[i] == scope)
            return true;
    return false;
}

void rpc_on_end(struct rpc_call *call, void (*fn)(void *state), void *state)
{
    call->on_end = fn;
    call->state = state;
}

void rpc_call_free(struct rpc_call *call)
{
    if (call->server->served == call)
        call->server->served = NULL;
    list_remove(&call->node);
    registry_op_cancel(call->authentication);
    permit_end(&call->permit);
    portal_unref(call->portal);
    timer_cancel(&call->deadline);
    arena_done(&call->arena);
    rpc_details_free(&call->details);
    free(call);
}

void rpc_call_end_handler(struct rpc_call *call)
{
    void (*on_end)(void *state) = call->on_end;
    call->on_end = NULL;
    if (on_end)
        on_end(call->state);
}

/* ---- the server ---- */

static void on_connection_closed(enum close_reason reason, void *arg)
{
    struct rpc_server *server = arg;
    close_reason_count(reason);
    if (!server->options.admin)
        METRIC_ADD(OPEN_PORTAL, -1);
    if (server->handlers->on_closed)
        server->handlers->on_closed(server->arg);
}

static void on_connection_settled(void *arg)
{
    struct rpc_server *server = arg;
    if (server->handlers->on_settled)
        server->handlers->on_settled(server->arg);
}

void rpc_set_limits(struct rpc_options *options, const struct config *config)
{
    struct stream_limits *stream = &options->stream;
    struct http_limits *http = &options->http;
    *stream = stream_limits_default;
    *http = http_limits_default;
    stream->handshake_ms = (unsigned)config->handshake_timeout_ms;
    stream->stall_ms = stream->flush_ms = http->stall_ms = (unsigned)config->write_timeout_ms;
    stream->write_max = (size_t)config->write_queue_max_bytes;
    stream->write_low = stream->write_max / 16;
    http->head_max = (size_t)config->headers_max_bytes;
    http->request_line_max = http->head_max / 2;
    http->header_count_max = (size_t)config->headers_max;
    http->body_max = (size_t)config->request_max_bytes;
    http->head_ms = (unsigned)config->headers_timeout_ms;
    http->body_ms = (unsigned)config->body_timeout_ms;
    http->idle_ms = (unsigned)config->idle_timeout_s * 1000;
    http->streams_max = (unsigned)config->streams_max;
    http->strangers_idle_ms = (unsigned)config->strangers_idle_timeout_s * 1000;
    http->strangers_max = (unsigned)config->strangers_max;
    http->strangers_streams_max = (unsigned)config->strangers_streams_max;
    http->control_burst = (unsigned)config->http2_control_frames_max;
    http->control_per_s = (unsigned)config->http2_control_frames_per_s;
    http->resets_per_s = (unsigned)config->http2_resets_per_s;
    stream->input_max = http->head_max + stream_limits_default.input_max / 2;
    options->json_depth_max = (unsigned)config->json_depth_max;
}

struct rpc_server *rpc_server_new(const struct rpc_options *options, const struct rpc_service *services,
                                  size_t service_count, struct domain *domain, void *surroundings,
                                  const struct accepted_handlers *handlers, void *arg)
{
    struct rpc_server *server = mem_new(sizeof *server);
    server->options = *options;
    server->services = services;
    server->service_count = service_count;
    server->domain = domain;
    server->surroundings = surroundings;
    server->handlers = handlers;
    server->arg = arg;
    list_init(&server->calls);
    if (options->worker)
        snprintf(server->worker, sizeof server->worker, "%u", options->worker);
    struct http_server_options http = {
        .tls = options->tls,
        .stream = options->stream,
        .http = options->http,
        .on_connection_settled = on_connection_settled,
        .on_connection_closed = on_connection_closed,
    };
    server->http = http_server_new(domain->loop, &http, &rpc_handlers, server);
    if (!server->http) {
        free(server);
        return NULL;
    }
    return server;
}

void rpc_server_reload(struct rpc_server *server, const struct config *config, SSL_CTX *tls)
{
    rpc_set_limits(&server->options, config);
    http_server_set_limits(server->http, &server->options.stream, &server->options.http);
    http_server_set_tls(server->http, tls);
}

void rpc_server_free(struct rpc_server *server)
{
    if (!server)
        return;
    http_server_free(server->http);
    free(server);
}

void rpc_server_accept(struct rpc_server *server, int fd, const struct address *peer)
{
    enum err e = http_server_accept(server->http, fd, peer);
    if (e == ERR_OK && !server->options.admin) {
        METRIC_ADD(ACCEPTED_PORTAL, 1);
        METRIC_ADD(OPEN_PORTAL, 1);
    }
    if (e == ERR_OK)
        return;
    METRIC_ADD(REFUSED_PORTAL, e == ERR_LIMIT);
    on_connection_settled(server);
    if (server->handlers->on_closed)
        server->handlers->on_closed(server->arg);
}

void rpc_server_drain(struct rpc_server *server)
{
    http_server_drain(server->http);
    while (!list_empty(&server->calls)) {
        struct rpc_call *call = CONTAINER_OF(server->calls.next, struct rpc_call, node);
        rpc_call_end_handler(call);
        rpc_fail(call, RPC_UNAVAILABLE, "this worker is going; call again, what was accepted goes on");
    }
}

void rpc_server_drain_undo(struct rpc_server *server)
{
    http_server_drain_undo(server->http);
}

void rpc_server_portal_changed(struct rpc_server *server, const char *id, const struct portal *now)
{
    struct list withdrawn;
    list_init(&withdrawn);
    LIST_EACH_SAFE (node, &server->calls) {
        struct rpc_call *call = CONTAINER_OF(node, struct rpc_call, node);
        if (!call->portal || strcmp(call->portal->record->id, id) != 0 || portal_accepts(now, &call->proof))
            continue;
        list_remove(node);
        list_append(&withdrawn, node);
    }
    while (!list_empty(&withdrawn)) {
        struct rpc_call *call = CONTAINER_OF(withdrawn.next, struct rpc_call, node);
        rpc_call_end_handler(call);
        rpc_fail(call, RPC_UNAUTHENTICATED, "the credential of this call was withdrawn; call with a new one");
    }
}

void rpc_server_abort(struct rpc_server *server)
{
    http_server_abort(server->http, CLOSE_DRAINED);
}

size_t rpc_server_connections(const struct rpc_server *server)
{
    return http_server_connections(server->http);
}
