/**
 * Calls of portals and administrators: from an HTTP exchange to a typed request in a handler, and back. By content type
 * the protocol is Connect (connect.h), JSON and protobuf, or gRPC (grpc.h); unary calls and server streams.
 *
 *     exchange -> protocol -> method by path -> credential -> scope -> request parsed -> handler
 *                                                                                              |
 *     rpc_reply() | rpc_send() ... rpc_finish() | rpc_fail()   <---- at once, or any time later
 *
 * A call ends when one of these is called, or by itself: the caller went away, or its deadline passed. Then the
 * handler's on_end runs, once, and the call is no more.
 */
#ifndef NANOPUSH_PORTAL_RPC_H
#define NANOPUSH_PORTAL_RPC_H

#include <protobuf-c/protobuf-c.h>

#include "core/config.h"
#include "domain/registry.h"
#include "net/http.h"
#include "net/listener.h"

#define RPC_CODE(ident, name, http) RPC_##ident,
enum rpc_code {
#include "portal/rpc_code.def"
    RPC_CODE_COUNT
};
#undef RPC_CODE

struct rpc_call;
struct rpc_server;

/** @p request is valid until the call ends; that of a stream until the handler returns. */
typedef void (*rpc_handler_fn)(struct rpc_call *call, const ProtobufCMessage *request);

/** Scopes are numbers of nanopush.v1.Scope; 0 asks for none. */
struct rpc_method {
    const char *path; /* "/nanopush.v1.ChallengeService/CreateChallenge" */
    const ProtobufCMessageDescriptor *input;
    bool stream;
    int scope;
    rpc_handler_fn handler; /* NULL: answered with unimplemented */
    bool safe;              /* unary, without side effects: Connect clients may call it by GET */
    bool open;              /* whoever connects may call it, without a credential */
};

/** A row of a service's table; Request is the request's name in protobuf-c's form, create_challenge_request. */
#define RPC_METHOD(service, method, request, streams, needed_scope, handler_fn)                              \
    {                                                                                                        \
        .path = "/nanopush.v1." #service "/" #method, .input = &nanopush__v1__##request##__descriptor,       \
        .stream = streams, .scope = needed_scope, .handler = handler_fn                                      \
    }

/** As RPC_METHOD, for a unary method with idempotency_level NO_SIDE_EFFECTS. */
#define RPC_SAFE_METHOD(service, method, request, needed_scope, handler_fn)                                  \
    {                                                                                                        \
        .path = "/nanopush.v1." #service "/" #method, .input = &nanopush__v1__##request##__descriptor,       \
        .scope = needed_scope, .handler = handler_fn, .safe = true                                           \
    }

/** A service's table; ended by a row without path. */
struct rpc_service {
    const struct rpc_method *methods;
};

struct rpc_options {
    SSL_CTX *tls;    /* NULL: plain */
    bool admin;      /* whoever connects is an administrator; else a bearer credential is asked for */
    unsigned worker; /* number in the response header nanopush-worker; 0: no such header */
    struct stream_limits stream;
    struct http_limits http;
    unsigned json_depth_max;
};

/** Set the limits of @p options from the configuration. */
void rpc_set_limits(struct rpc_options *options, const struct config *config);

/**
 * @param services   kept; @p service_count of them.
 * @param domain     kept; what handlers work on.
 * @param surroundings  for the handlers (rpc_surroundings()); kept.
 * @param handlers   of the connections that were accepted; kept.
 */
struct rpc_server *rpc_server_new(const struct rpc_options *options, const struct rpc_service *services,
                                  size_t service_count, struct domain *domain, void *surroundings,
                                  const struct accepted_handlers *handlers, void *arg);

/** Other limits from now on, and @p tls, of which a reference is taken, for connections accepted from now on. */
void rpc_server_reload(struct rpc_server *server, const struct config *config, SSL_CTX *tls);

/** There must be no connection left. NULL is allowed. */
void rpc_server_free(struct rpc_server *server);

/** Serve the accepted connection @p fd, which is taken over; or close it, where its address has too many on which no credential was good. */
void rpc_server_accept(struct rpc_server *server, int fd, const struct address *peer);

/** Answer calls that wait with unavailable, close idle connections, and others when their call is over. */
void rpc_server_drain(struct rpc_server *server);

/** Serve connections that are accepted from now on; those that were drained end all the same. */
void rpc_server_drain_undo(struct rpc_server *server);

/** End what is held in the name of the portal @p id by a credential that does not count any more. @p now NULL: it is gone. */
void rpc_server_portal_changed(struct rpc_server *server, const char *id, const struct portal *now);

/** Cut every connection. */
void rpc_server_abort(struct rpc_server *server);

size_t rpc_server_connections(const struct rpc_server *server);

/* ---- for handlers ---- */

struct domain *rpc_domain(const struct rpc_call *call);
void *rpc_surroundings(const struct rpc_call *call);

/** Whose credential it is; NULL for an administrator. Valid until the call ends. */
const Record__Portal *rpc_portal(const struct rpc_call *call);

#define RPC_ACTOR_SIZE 80

/**
 * Who calls, for the audit: "portal <id>", or "administrator, uid <number>" on the admin socket.
 * @return @p room.
 */
const char *rpc_actor(const struct rpc_call *call, char room[RPC_ACTOR_SIZE]);

/** The connection that it came by, to be told from others. */
const struct stream *rpc_connection(const struct rpc_call *call);

/** True if the credential has the scope; an administrator has all. */
bool rpc_has_scope(const struct rpc_call *call, int scope);

/** When the call ends by itself: silence what was started for it and free @p state. At most one a call. */
void rpc_on_end(struct rpc_call *call, void (*fn)(void *state), void *state);

/** Whether a call may be held to wait for something to change. @return false: it was failed, too many are. */
bool rpc_may_wait(struct rpc_call *call);

/** Answer a unary call; ends it. */
void rpc_reply(struct rpc_call *call, const ProtobufCMessage *response);

/** Send one message of a stream. @return false when the caller reads too slowly and was cut off: the call has ended. */
bool rpc_send(struct rpc_call *call, const ProtobufCMessage *response);

/** End a stream well. */
void rpc_finish(struct rpc_call *call);

/**
 * Add a detail to the error that the call is about to end with: a message that callers know by its full name, as
 * google.rpc.RetryInfo. Connect carries it in "details", gRPC in grpc-status-details-bin. Copied; lost where memory is
 * out, since an error without it is still an error.
 */
void rpc_add_detail(struct rpc_call *call, const ProtobufCMessage *detail);

/** End a call with an error, and the details added before; the text says what to do next. */
void rpc_fail(struct rpc_call *call, enum rpc_code code, const char *text, ...) PRINTF(3, 4);

/**
 * Say when the call is worth making again, with the error that it is about to end with: google.rpc.RetryInfo, and the header
 * Retry-After.
 */
void rpc_add_retry(struct rpc_call *call, unsigned retry_ms);

/** End a call with what an error of the store or of the broker itself means to a caller. */
void rpc_fail_store(struct rpc_call *call, enum err e);

#endif
