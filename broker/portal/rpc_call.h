/**
 * A call, and the server that it came to: what rpc.c, rpc_in.c and rpc_out.c share. Internal to portal/.
 */
#ifndef NANOPUSH_PORTAL_RPC_CALL_H
#define NANOPUSH_PORTAL_RPC_CALL_H

#include "domain/permit.h"
#include "portal/rpc_protocol.h"
#include "wire/arena.h"

struct rpc_server {
    struct rpc_options options;
    const struct rpc_service *services;
    size_t service_count;
    struct domain *domain;
    void *surroundings;
    const struct accepted_handlers *handlers;
    void *arg;
    struct http_server *http;
    struct list calls;       /* struct rpc_call */
    struct rpc_call *served; /* whose handler runs now; NULL once it has ended */
    char worker[12];
};

struct rpc_call {
    struct list node;
    struct rpc_server *server;
    struct http_exchange *ex;
    const struct rpc_method *method;
    const struct rpc_protocol *protocol;
    const char *content_type;
    enum rpc_codec codec;
    size_t body_max; /* bytes of its request */
    struct registry_op *authentication;
    struct portal *portal; /* in whose name it is made; NULL for an administrator */
    struct permit permit;
    unsigned retry_ms;  /* of the error to come; 0: no telling */
    struct proof proof; /* that was accepted */
    struct arena arena;
    struct timer deadline;
    void (*on_end)(void *state);
    void *state;
    struct list details; /* struct rpc_detail, of the error to come */
};

/** What rpc.c hands to http_server_new(); @p arg of its callbacks is the server. */
extern const struct http_handlers rpc_handlers;

/** Free it; its exchange, which it leaves, must be answered or gone. The handler is not told. */
void rpc_call_free(struct rpc_call *call);

/** The call ends by itself: tell the handler. */
void rpc_call_end_handler(struct rpc_call *call);

/** Refuse an exchange that is no call, in the form of @p protocol. */
void rpc_refuse(const struct rpc_answer *to, const struct rpc_protocol *protocol, unsigned status,
                enum rpc_code code, const char *text);

#endif
