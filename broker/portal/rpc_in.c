#include <strings.h>

#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "portal/connect.h"
#include "portal/grpc.h"
#include "portal/rpc_call.h"
#include "wire/json.h"
#include "wire/message.h"

#define DEADLINE_LONGEST_MS (24u * 3600 * 1000)

/* ---- who calls what, and how ---- */

/* What a request's content type says; that of its answer is the same. */
struct way {
    const char *type;
    const struct rpc_protocol *protocol;
    enum rpc_codec codec;
};

static const struct way ways[] = {
    {"application/json", &connect_unary, RPC_JSON},
    {"application/proto", &connect_unary, RPC_PROTO},
    {"application/connect+json", &connect_stream, RPC_JSON},
    {"application/connect+proto", &connect_stream, RPC_PROTO},
    {"application/grpc", &grpc, RPC_PROTO},
    {"application/grpc+proto", &grpc, RPC_PROTO},
};

/* A GET has no content, so its query says it. */
static const struct way get_ways[] = {
    {"application/json", &connect_get, RPC_JSON},
    {"application/proto", &connect_get, RPC_PROTO},
};

/* Parameters are of no meaning here, but a charset of utf-8 is often sent. */
static struct bytes without_parameters(struct bytes type)
{
    size_t len = 0;
    while (len < type.len && type.p[len] != ';' && type.p[len] != ' ')
        len++;
    return bytes_make(type.p, len);
}

static const struct way *way_of_post(const struct http_exchange *ex)
{
    const struct bytes *type = http_find_header(ex, "content-type");
    for (size_t i = 0; type && i < sizeof ways / sizeof *ways; i++)
        if (http_name_is(without_parameters(*type), ways[i].type))
            return &ways[i];
    return NULL;
}

static const struct way *way_of_get(const struct http_exchange *ex)
{
    struct bytes encoding = {0};
    connect_query(ex->query, "encoding", &encoding);
    if (bytes_equal(encoding, bytes_of("json")))
        return &get_ways[0];
    if (bytes_equal(encoding, bytes_of("proto")))
        return &get_ways[1];
    return NULL;
}

static const struct rpc_method *find_method(const struct rpc_server *server, struct bytes path)
{
    for (size_t i = 0; i < server->service_count; i++)
        for (const struct rpc_method *m = server->services[i].methods; m->path; m++)
            if (bytes_equal(path, bytes_of(m->path)))
                return m;
    return NULL;
}

/* Where the caller says which version of Connect it speaks, by header or in a query, there is one. */
static bool is_known_version(const struct http_exchange *ex)
{
    const struct bytes *header = http_find_header(ex, "connect-protocol-version");
    struct bytes parameter;
    return (!header || bytes_equal(*header, bytes_of("1"))) &&
           (!connect_query(ex->query, "connect", &parameter) || bytes_equal(parameter, bytes_of("v1")));
}

struct refusal {
    unsigned status; /* 0: it is not refused */
    enum rpc_code code;
    const char *text;
};

static struct refusal admit(const struct http_exchange *ex, const struct rpc_method *method,
                            const struct way *way)
{
    bool get = bytes_equal(ex->method, bytes_of("GET"));
    if (way && way->protocol == &grpc && !http_has_trailers(ex))
        return (struct refusal){505, RPC_UNIMPLEMENTED, "gRPC needs HTTP/2; Connect works over HTTP/1.1"};
    if (!method)
        return (struct refusal){404, RPC_UNIMPLEMENTED, "no such method; see proto/nanopush/v1"};
    if (!(get && method->safe) && !bytes_equal(ex->method, bytes_of("POST")))
        return (struct refusal){405, RPC_UNIMPLEMENTED,
                                "methods are called by POST, those without side effects also by GET"};
    if (get && !way)
        return (struct refusal){415, RPC_UNKNOWN, "the query must have encoding=json or encoding=proto"};
    if (!way || !(method->stream ? way->protocol->stream : way->protocol->unary))
        return (struct refusal){415, RPC_UNKNOWN,
                                method->stream
                                    ? "content-type must be application/connect+json, "
                                      "application/connect+proto or application/grpc"
                                    : "content-type must be application/json, application/proto or "
                                      "application/grpc"};
    if (!is_known_version(ex))
        return (struct refusal){400, RPC_INVALID_ARGUMENT, "connect-protocol-version must be 1"};
    return (struct refusal){0};
}

/* ---- the handler ---- */

/* "challenge", "enrol", "admin": as portal add takes them. */
static const char *scope_name(int scope)
{
    static const char *const names[] = {"", "challenge", "enrol", "admin"};
    return (size_t)scope < sizeof names / sizeof *names ? names[scope] : "";
}

/* @return NULL if the call was failed. */
static ProtobufCMessage *parse_request(struct rpc_call *call, struct bytes body)
{
    ProtobufCMessage *request = NULL;
    struct json_problem problem = {{0}};
    enum err e = call->codec == RPC_JSON
                     ? json_decode(call->method->input, body, &call->arena, &request, &problem)
                     : message_parse(call->method->input, body, 0, &call->arena, &request);
    if (e == ERR_TOO_BIG)
        rpc_fail(call, RPC_RESOURCE_EXHAUSTED, "the request has too many parts");
    else if (e != ERR_OK)
        rpc_fail(call, RPC_INVALID_ARGUMENT, "%s",
                 problem.text[0] ? problem.text : "not a message of this method");
    return e == ERR_OK ? request : NULL;
}

static ProtobufCMessage *open_request(struct rpc_call *call)
{
    struct buf scratch = {0};
    struct bytes body = {0};
    ProtobufCMessage *request = NULL;
    switch (call->protocol->open(call->ex, &scratch, &body)) {
    case ERR_OK:
        request = parse_request(call, body);
        break;
    case ERR_UNSUPPORTED:
        rpc_fail(call, RPC_UNIMPLEMENTED, "compression is not supported; use identity");
        break;
    case ERR_BAD_STATE:
        rpc_fail(call, RPC_UNIMPLEMENTED, "the method takes exactly one message");
        break;
    default:
        rpc_fail(call, RPC_INVALID_ARGUMENT, "the message is not in the form of its protocol");
    }
    buf_done(&scratch);
    return request;
}

/* A stream may be held for long, and by thousands: what it came with is given back before. */
static void serve(struct rpc_call *call, const ProtobufCMessage *request)
{
    struct rpc_server *server = call->server;
    bool stream = call->method->stream;
    http_forget_request(call->ex);
    server->served = call;
    call->method->handler(call, request);
    if (server->served && stream)
        arena_done(&call->arena);
    server->served = NULL;
}

static void run(struct rpc_call *call)
{
    if (!rpc_has_scope(call, call->method->scope)) {
        rpc_fail(call, RPC_PERMISSION_DENIED, "the call needs scope %s, which this credential does not have",
                 scope_name(call->method->scope));
    } else if (!call->method->handler) {
        rpc_fail(call, RPC_UNIMPLEMENTED, "not in this version of the broker");
    } else {
        const ProtobufCMessage *request = open_request(call);
        if (request)
            serve(call, request);
    }
}

static void on_authenticated(enum err e, struct portal *portal, void *arg)
{
    struct rpc_call *call = arg;
    call->authentication = NULL;
    if (e == ERR_DENIED) {
        rpc_fail(call, RPC_UNAUTHENTICATED,
                 "unknown credential; send Authorization: Bearer <portal id>.<secret>");
    } else if (e != ERR_OK) {
        rpc_fail_store(call, e);
    } else {
        call->portal = portal_ref(portal);
        run(call);
    }
}

static void authenticate(struct rpc_call *call)
{
    static const char scheme[] = "Bearer ";
    const struct bytes *header = http_find_header(call->ex, "authorization");
    if (call->server->options.admin || call->method->open) {
        run(call);
        return;
    }
    if (!header || header->len <= sizeof scheme - 1 ||
        strncasecmp((const char *)header->p, scheme, sizeof scheme - 1) != 0) {
        rpc_fail(call, RPC_UNAUTHENTICATED, "no credential; send Authorization: Bearer <portal id>.<secret>");
        return;
    }
    struct bytes credential = bytes_make(header->p + sizeof scheme - 1, header->len - (sizeof scheme - 1));
    call->authentication =
        registry_authenticate(call->server->domain->registry, credential, on_authenticated, call);
}

static void on_deadline(void *arg)
{
    struct rpc_call *call = arg;
    rpc_call_end_handler(call);
    rpc_fail(call, RPC_DEADLINE_EXCEEDED, "the deadline that you set has passed; what was accepted goes on");
}

/* True if the header is absent or says that nothing is encoded. */
static bool is_identity(const struct http_exchange *ex, const char *header)
{
    const struct bytes *value = http_find_header(ex, header);
    return !value || value->len == 0 || bytes_equal(*value, bytes_of("identity"));
}

static struct rpc_call *call_new(struct rpc_server *server, struct http_exchange *ex,
                                 const struct rpc_method *method, const struct way *way)
{
    struct rpc_call *call = mem_new(sizeof *call);
    list_append(&server->calls, &call->node);
    list_init(&call->details);
    call->server = server;
    call->ex = ex;
    call->method = method;
    call->protocol = way->protocol;
    call->content_type = way->type;
    call->codec = way->codec;
    arena_init(&call->arena,
               server->options.body_max > ARENA_MAX_BYTES ? server->options.body_max : ARENA_MAX_BYTES);
    timer_init(&call->deadline, server->domain->loop, on_deadline, call);
    ex->user = call;
    return call;
}

static void begin(struct rpc_call *call)
{
    const struct rpc_protocol *protocol = call->protocol;
    const struct bytes *timeout = http_find_header(call->ex, protocol->timeout_header);
    uint64_t timeout_ms = 0;
    if (call->ex->too_large) {
        METRIC_ADD(BAD_REQUESTS_TOO_LARGE, 1);
        rpc_fail(call, RPC_RESOURCE_EXHAUSTED, "the request is larger than %zu bytes",
                 call->server->options.body_max);
    } else if (!is_identity(call->ex, protocol->encoding_header)) {
        rpc_fail(call, RPC_UNIMPLEMENTED, "compression is not supported; supported encodings: identity");
    } else if (timeout && !protocol->parse_timeout(*timeout, &timeout_ms)) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "%s must be %s", protocol->timeout_header,
                 protocol->timeout_form);
    } else {
        if (timeout)
            timer_start(&call->deadline,
                        timeout_ms < DEADLINE_LONGEST_MS ? (unsigned)timeout_ms : DEADLINE_LONGEST_MS);
        authenticate(call);
    }
}

static void on_request(struct http_exchange *ex, void *arg)
{
    struct rpc_server *server = arg;
    const struct way *way = bytes_equal(ex->method, bytes_of("GET")) ? way_of_get(ex) : way_of_post(ex);
    const struct rpc_method *method = find_method(server, ex->path);
    struct refusal no = admit(ex, method, way);
    if (!no.status)
        begin(call_new(server, ex, method, way));
    else if (way && http_has_trailers(ex))
        rpc_refuse(server, ex, way->protocol, way->type, no.status, no.code, no.text);
    else
        rpc_refuse(server, ex, &connect_unary, NULL, no.status, no.code, no.text);
}

static void on_gone(struct http_exchange *ex, void *arg)
{
    (void)arg;
    struct rpc_call *call = ex->user;
    if (!call)
        return;
    rpc_call_end_handler(call);
    rpc_call_free(call);
}

static void on_bad_request(unsigned status, const char *reason, struct buf *body, const char **content_type,
                           void *arg)
{
    (void)arg;
    enum rpc_code code = status == 408                    ? RPC_DEADLINE_EXCEEDED
                         : status == 431 || status == 413 ? RPC_RESOURCE_EXHAUSTED
                                                          : RPC_INVALID_ARGUMENT;
    if (status == 408)
        METRIC_ADD(BAD_REQUESTS_TIMEOUT, 1);
    else
        METRIC_ADD(BAD_REQUESTS_PARSER, 1);
    *content_type = "application/json";
    const struct rpc_error error = {.code = code, .text = reason};
    if (connect_append_error(body, &error) != ERR_OK)
        LOG(ERROR, PORTAL, "no-memory");
}

const struct http_handlers rpc_handlers = {
    .on_request = on_request,
    .on_gone = on_gone,
    .on_bad_request = on_bad_request,
};
