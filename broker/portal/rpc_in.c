#include <strings.h>

#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "domain/watch.h"
#include "portal/connect.h"
#include "portal/grpc.h"
#include "portal/rpc_call.h"
#include "wire/json.h"
#include "wire/message.h"

#define OPEN_BODY_MAX_BYTES 1024 /* of methods that anybody may call */
#define UNCHECKED_RETRY_MS  1000
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

static enum bad_request admit(const struct http_exchange *ex, const struct rpc_method *method,
                              const struct way *way)
{
    bool get = bytes_equal(ex->method, bytes_of("GET"));
    if (way && way->protocol == &grpc && !http_has_trailers(ex))
        return BAD_REQUEST_GRPC_VERSION;
    if (!method)
        return BAD_REQUEST_NO_SUCH_METHOD;
    if (!(get && method->safe) && !bytes_equal(ex->method, bytes_of("POST")))
        return BAD_REQUEST_VERB;
    if (!way || !(method->stream ? way->protocol->stream : way->protocol->unary))
        return BAD_REQUEST_CONTENT_TYPE;
    return is_known_version(ex) ? BAD_REQUEST_NONE : BAD_REQUEST_CONNECT_VERSION;
}

static enum rpc_code code_of_status(unsigned status)
{
    switch (status) {
    case 404:
    case 405:
    case 501:
    case 505:
        return RPC_UNIMPLEMENTED;
    case 408:
        return RPC_DEADLINE_EXCEEDED;
    case 414:
    case 431:
        return RPC_RESOURCE_EXHAUSTED;
    case 415:
        return RPC_UNKNOWN;
    default:
        return RPC_INVALID_ARGUMENT;
    }
}

/* In the form of the caller's protocol, where it can be known. */
static void refuse(const struct rpc_server *server, struct http_exchange *ex, const struct way *way,
                   const struct rpc_method *method, enum bad_request why)
{
    bool own_form = way && http_has_trailers(ex);
    const struct rpc_answer to = {.ex = ex,
                                  .content_type = own_form ? way->type : NULL,
                                  .worker = server->worker,
                                  .safe = method && method->safe};
    unsigned status = bad_request_status(why);
    rpc_refuse(&to, own_form ? way->protocol : &connect_unary, status, code_of_status(status),
               bad_request_text(why));
}

/* ---- the handler ---- */

/* "challenge", "enrol", "admin": as portal add takes them. */
static const char *scope_name(int scope)
{
    static const char *const names[] = {"", "challenge", "enrol", "admin", "events"};
    return (size_t)scope < sizeof names / sizeof *names ? names[scope] : "";
}

static void fail_bad(struct rpc_call *call, enum bad_request why, enum rpc_code code, const char *text)
{
    bad_request_count(why);
    rpc_fail(call, code, "%s", text && text[0] ? text : bad_request_text(why));
}

/* @return NULL if the call was failed. */
static ProtobufCMessage *parse_request(struct rpc_call *call, struct bytes body)
{
    ProtobufCMessage *request = NULL;
    struct json_problem problem = {{0}};
    bool json = call->codec == RPC_JSON;
    enum err e = json ? json_decode(call->method->input, body, call->server->options.json_depth_max,
                                    &call->arena, &request, &problem)
                      : message_parse(call->method->input, body, 0, &call->arena, &request);
    if (e == ERR_TOO_BIG)
        fail_bad(call, json ? BAD_REQUEST_JSON_TOO_LARGE : BAD_REQUEST_PROTOBUF_TOO_LARGE,
                 RPC_RESOURCE_EXHAUSTED, problem.text);
    else if (e != ERR_OK)
        fail_bad(call, json ? BAD_REQUEST_JSON : BAD_REQUEST_PROTOBUF, RPC_INVALID_ARGUMENT, problem.text);
    return e == ERR_OK ? request : NULL;
}

bool rpc_may_wait(struct rpc_call *call)
{
    bool full = watches_full(rpc_domain(call));
    if (full)
        fail_bad(call, BAD_REQUEST_WAITS_TOO_MANY, RPC_RESOURCE_EXHAUSTED, NULL);
    return !full;
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
        fail_bad(call, BAD_REQUEST_COMPRESSED, RPC_UNIMPLEMENTED, NULL);
        break;
    case ERR_BAD_STATE:
        fail_bad(call, BAD_REQUEST_MESSAGE_COUNT, RPC_UNIMPLEMENTED, NULL);
        break;
    default:
        fail_bad(call, BAD_REQUEST_ENVELOPE, RPC_INVALID_ARGUMENT, NULL);
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

/* Only now is the body read, and anything of the request parsed. */
static void admitted(struct rpc_call *call)
{
    bool stranger = call->method->open && !call->server->options.admin;
    if (!rpc_has_scope(call, call->method->scope)) {
        rpc_fail(call, RPC_PERMISSION_DENIED, "the call needs scope %s, which this credential does not have",
                 scope_name(call->method->scope));
    } else if (!call->method->handler) {
        rpc_fail(call, RPC_UNIMPLEMENTED, "not in this version of the broker");
    } else {
        if (!stranger)
            http_trust(call->ex);
        call->body_max = stranger ? OPEN_BODY_MAX_BYTES : call->server->options.http.body_max;
        http_read_body(call->ex, call->body_max);
    }
}

static void limited(struct rpc_call *call, unsigned retry_ms)
{
    METRIC_ADD(CALLS_LIMITED, 1);
    rpc_add_retry(call, retry_ms);
    rpc_fail(call, RPC_RESOURCE_EXHAUSTED,
             "this portal makes too many calls a second, or holds too many; call again in %u ms", retry_ms);
}

static void on_permit(enum err e, unsigned retry_ms, void *arg)
{
    struct rpc_call *call = arg;
    if (e == ERR_OK)
        admitted(call);
    else if (e == ERR_LIMIT)
        limited(call, retry_ms);
    else
        rpc_fail_store(call, e);
}

static void permit(struct rpc_call *call)
{
    unsigned retry_ms = 0;
    switch (permit_take(call->server->domain->permits, call->portal->record, &call->permit, &retry_ms,
                        on_permit, call)) {
    case PERMIT_GIVEN:
        admitted(call);
        break;
    case PERMIT_REFUSED:
        limited(call, retry_ms);
        break;
    case PERMIT_LATER:
        break;
    }
}

static void on_authenticated(enum err e, struct portal *portal, const struct proof *proof, const char *why,
                             void *arg)
{
    struct rpc_call *call = arg;
    call->authentication = NULL;
    if (e == ERR_DENIED) {
        rpc_fail(call, RPC_UNAUTHENTICATED, "%s", why);
    } else if (e == ERR_LIMIT) {
        rpc_add_retry(call, UNCHECKED_RETRY_MS);
        rpc_fail(
            call, RPC_UNAVAILABLE,
            "too many credentials are being checked that are not known here; nothing was done, call again");
    } else if (e != ERR_OK) {
        rpc_fail_store(call, e);
    } else {
        call->portal = portal_ref(portal);
        call->proof = *proof;
        permit(call);
    }
}

/* @return false if there is an Authorization header that is no bearer secret. */
static bool find_bearer(const struct http_exchange *ex, struct bytes *ret)
{
    static const char scheme[] = "Bearer ";
    const struct bytes *header = http_find_header(ex, "authorization");
    if (!header)
        return true;
    if (header->len <= sizeof scheme - 1 ||
        strncasecmp((const char *)header->p, scheme, sizeof scheme - 1) != 0)
        return false;
    *ret = bytes_make(header->p + sizeof scheme - 1, header->len - (sizeof scheme - 1));
    return true;
}

static void authenticate(struct rpc_call *call)
{
    struct shown shown = {.certificate = call->ex->certificate};
    if (call->server->options.admin || call->method->open) {
        admitted(call);
        return;
    }
    if (!find_bearer(call->ex, &shown.credential) || (!shown.credential.len && !shown.certificate)) {
        rpc_fail(call, RPC_UNAUTHENTICATED,
                 "no credential; send Authorization: Bearer <portal id>.<secret>, or a client certificate");
    } else {
        call->authentication =
            registry_authenticate(call->server->domain->registry, &shown, on_authenticated, call);
    }
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
    size_t body_max = server->options.http.body_max;
    arena_init(&call->arena, body_max > ARENA_MAX_BYTES ? body_max : ARENA_MAX_BYTES);
    timer_init(&call->deadline, server->domain->loop, on_deadline, call);
    ex->user = call;
    return call;
}

static void begin(struct rpc_call *call)
{
    const struct rpc_protocol *protocol = call->protocol;
    const struct bytes *timeout = http_find_header(call->ex, protocol->timeout_header);
    uint64_t timeout_ms = 0;
    if (!is_identity(call->ex, protocol->encoding_header)) {
        fail_bad(call, BAD_REQUEST_COMPRESSED, RPC_UNIMPLEMENTED, NULL);
    } else if (timeout && !protocol->parse_timeout(*timeout, &timeout_ms)) {
        bad_request_count(BAD_REQUEST_TIMEOUT_HEADER);
        rpc_fail(call, RPC_INVALID_ARGUMENT, "%s must be %s", protocol->timeout_header,
                 protocol->timeout_form);
    } else {
        if (timeout)
            timer_start(&call->deadline,
                        timeout_ms < DEADLINE_LONGEST_MS ? (unsigned)timeout_ms : DEADLINE_LONGEST_MS);
        authenticate(call);
    }
}

static const struct way *way_of(const struct http_exchange *ex)
{
    return bytes_equal(ex->method, bytes_of("GET")) ? way_of_get(ex) : way_of_post(ex);
}

static void on_head(struct http_exchange *ex, void *arg)
{
    struct rpc_server *server = arg;
    const struct way *way = way_of(ex);
    const struct rpc_method *method = find_method(server, ex->path);
    enum bad_request no = admit(ex, method, way);
    bad_request_count(no);
    if (no)
        refuse(server, ex, way, method, no);
    else
        begin(call_new(server, ex, method, way));
}

static void on_request(struct http_exchange *ex, void *arg)
{
    struct rpc_call *call = ex->user;
    (void)arg;
    if (ex->too_large) {
        rpc_fail(call, RPC_RESOURCE_EXHAUSTED, "the request is larger than %zu bytes", call->body_max);
        return;
    }
    const ProtobufCMessage *request = open_request(call);
    if (request)
        serve(call, request);
}

static void on_gone(struct http_exchange *ex, void *arg)
{
    (void)arg;
    struct rpc_call *call = ex->user;
    if (!call)
        return;
    ex->user = NULL;
    rpc_call_end_handler(call);
    rpc_call_free(call);
}

static void on_bad_request(struct http_exchange *ex, enum bad_request why, void *arg)
{
    refuse(arg, ex, way_of(ex), NULL, why);
}

const struct http_handlers rpc_handlers = {
    .on_head = on_head,
    .on_request = on_request,
    .on_gone = on_gone,
    .on_bad_request = on_bad_request,
};
