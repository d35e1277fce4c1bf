#include "portal/rpc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "portal/connect.h"
#include "wire/json.h"
#include "wire/message.h"

#define RPC_TEXT_MAX        512
#define RPC_HEADERS_MAX     6
#define DEADLINE_LONGEST_MS (24u * 3600 * 1000)

struct rpc_server {
    struct rpc_options options;
    const struct rpc_service *services;
    size_t service_count;
    struct domain *domain;
    void *surroundings;
    void (*on_closed)(void *arg);
    void *arg;
    struct http_server *http;
    struct list calls; /* struct rpc_call */
    char worker[12];
};

struct rpc_call {
    struct list node;
    struct rpc_server *server;
    struct http_exchange *ex;
    const struct rpc_method *method;
    enum connect_codec codec;
    bool stream; /* what the caller speaks; the method's own once it is known to agree */
    struct registry_op *authentication;
    struct portal *portal;
    struct arena arena;
    struct timer deadline;
    void (*on_end)(void *state);
    void *state;
};

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

/* ---- out ---- */

/* The exchange is over, or about to be; the handler is not told. */
static void call_free(struct rpc_call *call)
{
    list_remove(&call->node);
    registry_op_cancel(call->authentication);
    portal_unref(call->portal);
    timer_cancel(&call->deadline);
    arena_done(&call->arena);
    free(call);
}

/* The call ends by itself: the handler is told first. */
static void call_end_handler(struct rpc_call *call)
{
    void (*on_end)(void *state) = call->on_end;
    call->on_end = NULL;
    if (on_end)
        on_end(call->state);
}

static size_t headers_of(const struct rpc_server *server, const char *content_type, unsigned status,
                         struct http_header *headers)
{
    size_t count = 0;
    headers[count++] = (struct http_header){bytes_of("content-type"), bytes_of(content_type)};
    headers[count++] = (struct http_header){bytes_of("cache-control"), bytes_of("no-store")};
    if (server->worker[0])
        headers[count++] = (struct http_header){bytes_of("nanopush-worker"), bytes_of(server->worker)};
    if (status == 401)
        headers[count++] = (struct http_header){bytes_of("www-authenticate"), bytes_of("Bearer")};
    if (status == 405)
        headers[count++] = (struct http_header){bytes_of("allow"), bytes_of("POST")};
    if (status == 415)
        headers[count++] =
            (struct http_header){bytes_of("accept-post"),
                                 bytes_of("application/json, application/proto, application/connect+json, "
                                          "application/connect+proto")};
    return count;
}

static void respond(struct rpc_server *server, struct http_exchange *ex, unsigned status,
                    const char *content_type, struct bytes body)
{
    struct http_header headers[RPC_HEADERS_MAX];
    size_t count = headers_of(server, content_type, status, headers);
    http_respond(ex, status, headers, count, body);
}

static void count_outcome(enum rpc_code code)
{
    unsigned status = connect_code_status(code);
    if (status < 500 || code == RPC_UNIMPLEMENTED)
        METRIC_ADD(RPC_CLIENT_ERROR, 1);
    else
        METRIC_ADD(RPC_SERVER_ERROR, 1);
}

/* An error before there is a call, and of unary calls: HTTP status and JSON. */
static void refuse(struct rpc_server *server, struct http_exchange *ex, unsigned status, enum rpc_code code,
                   const char *text)
{
    struct buf body = {0};
    count_outcome(code);
    if (connect_append_error(&body, code, text) != ERR_OK)
        LOG(ERROR, PORTAL, "no-memory");
    respond(server, ex, status, "application/json", buf_view(&body));
    buf_done(&body);
}

static void start_stream(struct rpc_call *call)
{
    struct http_header headers[RPC_HEADERS_MAX];
    if (call->ex->started)
        return;
    size_t count = headers_of(call->server, connect_response_type(call->codec, true), 200, headers);
    http_start(call->ex, 200, headers, count);
}

static void end_stream(struct rpc_call *call, enum rpc_code code, const char *text)
{
    struct buf out = {0};
    struct http_exchange *ex = call->ex;
    start_stream(call);
    enum err e = connect_append_end(&out, code, text);
    if (e == ERR_OK)
        e = http_send(ex, buf_view(&out));
    buf_done(&out);
    ex->user = NULL; /* from here on the exchange has nobody to tell */
    call_free(call);
    if (e == ERR_OK)
        http_finish(ex);
    else
        http_abort(ex, CLOSE_QUEUE_FULL);
}

static void fail(struct rpc_call *call, enum rpc_code code, const char *text)
{
    struct rpc_server *server = call->server;
    struct http_exchange *ex = call->ex;
    LOG(DEBUG, PORTAL, "call-failed", "path=%s code=%s", call->method->path, connect_code_name(code));
    call->on_end = NULL;
    if (call->stream) {
        count_outcome(code);
        end_stream(call, code, text);
        return;
    }
    ex->user = NULL;
    call_free(call);
    refuse(server, ex, connect_code_status(code), code, text);
}

void rpc_fail(struct rpc_call *call, enum rpc_code code, const char *text, ...)
{
    char line[RPC_TEXT_MAX];
    va_list args;
    va_start(args, text);
    vsnprintf(line, sizeof line, text, args);
    va_end(args);
    fail(call, code, line);
}

void rpc_fail_store(struct rpc_call *call, enum err e)
{
    switch (e) {
    case ERR_UNAVAILABLE:
    case ERR_TIMEOUT:
        rpc_fail(call, RPC_UNAVAILABLE,
                 "the broker cannot reach its store; nothing was done that is not known; try again");
        return;
    case ERR_BAD_SIGNATURE:
    case ERR_MALFORMED:
        rpc_fail(call, RPC_DATA_LOSS, "a stored record is damaged and was not used; tell the operator");
        return;
    default:
        LOG(ERROR, PORTAL, "call-error", "path=%s error=%s", call->method->path, err_name(e));
        rpc_fail(call, RPC_INTERNAL, "the broker could not do this; tell the operator");
    }
}

void rpc_reply(struct rpc_call *call, const ProtobufCMessage *response)
{
    struct buf body = {0};
    struct rpc_server *server = call->server;
    struct http_exchange *ex = call->ex;
    enum connect_codec codec = call->codec;
    enum err e = connect_append_message(&body, codec, false, response);
    call->on_end = NULL;
    if (e != ERR_OK) {
        buf_done(&body);
        rpc_fail_store(call, e);
        return;
    }
    METRIC_ADD(RPC_OK, 1);
    ex->user = NULL;
    call_free(call);
    respond(server, ex, 200, connect_response_type(codec, false), buf_view(&body));
    buf_done(&body);
}

bool rpc_send(struct rpc_call *call, const ProtobufCMessage *response)
{
    struct buf out = {0};
    start_stream(call);
    enum err e = connect_append_message(&out, call->codec, true, response);
    if (e == ERR_OK)
        e = http_send(call->ex, buf_view(&out));
    buf_done(&out);
    if (e == ERR_OK || e == ERR_CLOSED)
        return true; /* on_gone is on its way where it is closed */
    struct http_exchange *ex = call->ex;
    call->on_end = NULL;
    ex->user = NULL;
    call_free(call);
    http_abort(ex, CLOSE_QUEUE_FULL);
    return false;
}

void rpc_finish(struct rpc_call *call)
{
    METRIC_ADD(RPC_OK, 1);
    call->on_end = NULL;
    end_stream(call, RPC_UNKNOWN, NULL);
}

/* ---- in ---- */

/* "challenge", "enrol", "admin": as portal add takes them. */
static const char *scope_name(int scope)
{
    static const char *const names[] = {"", "challenge", "enrol", "admin"};
    return (size_t)scope < sizeof names / sizeof *names ? names[scope] : "";
}

static void run(struct rpc_call *call)
{
    struct bytes body = call->ex->body;
    ProtobufCMessage *request = NULL;
    struct json_problem problem = {{0}};
    if (!rpc_has_scope(call, call->method->scope)) {
        rpc_fail(call, RPC_PERMISSION_DENIED, "the call needs scope %s, which this credential does not have",
                 scope_name(call->method->scope));
        return;
    }
    if (!call->method->handler) {
        rpc_fail(call, RPC_UNIMPLEMENTED, "not in this version of the broker");
        return;
    }
    if (call->stream) {
        enum err e = connect_open_envelope(body, &body);
        if (e != ERR_OK) {
            if (e == ERR_UNSUPPORTED)
                rpc_fail(call, RPC_UNIMPLEMENTED, "compression is not supported; use identity");
            else
                rpc_fail(call, RPC_UNIMPLEMENTED, "a server stream takes exactly one message");
            return;
        }
    }
    enum err e = call->codec == CONNECT_JSON
                     ? json_decode(call->method->input, body, &call->arena, &request, &problem)
                     : message_parse(call->method->input, body, 0, &call->arena, &request);
    if (e == ERR_TOO_BIG)
        rpc_fail(call, RPC_RESOURCE_EXHAUSTED, "the request has too many parts");
    else if (e != ERR_OK)
        rpc_fail(call, RPC_INVALID_ARGUMENT, "%s",
                 problem.text[0] ? problem.text : "not a message of this method");
    else
        call->method->handler(call, request);
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
    if (call->server->options.admin) {
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
    call_end_handler(call);
    rpc_fail(call, RPC_DEADLINE_EXCEEDED, "the deadline that you set has passed; what was accepted goes on");
}

static const struct rpc_method *find_method(const struct rpc_server *server, struct bytes path)
{
    for (size_t i = 0; i < server->service_count; i++)
        for (const struct rpc_method *m = server->services[i].methods; m->path; m++)
            if (bytes_equal(path, bytes_of(m->path)))
                return m;
    return NULL;
}

/* True if the header is absent or says that nothing is encoded. */
static bool is_identity(const struct http_exchange *ex, const char *header)
{
    const struct bytes *value = http_find_header(ex, header);
    return !value || value->len == 0 || bytes_equal(*value, bytes_of("identity"));
}

/* What can be said before the caller's form of errors is known. @return NULL if it was refused. */
static const struct rpc_method *admit(struct rpc_server *server, struct http_exchange *ex,
                                      enum connect_codec *codec)
{
    const struct bytes *type = http_find_header(ex, "content-type");
    const struct bytes *version = http_find_header(ex, "connect-protocol-version");
    const struct rpc_method *method = find_method(server, ex->path);
    bool stream = false;
    if (!method)
        refuse(server, ex, 404, RPC_UNIMPLEMENTED, "no such method; see proto/nanopush/v1");
    else if (!bytes_equal(ex->method, bytes_of("POST")))
        refuse(server, ex, 405, RPC_UNIMPLEMENTED, "methods are called by POST");
    else if (!type || !connect_content_type(*type, codec, &stream) || stream != method->stream)
        refuse(server, ex, 415, RPC_UNKNOWN,
               method->stream ? "content-type must be application/connect+json or application/connect+proto"
                              : "content-type must be application/json or application/proto");
    else if (version && !bytes_equal(*version, bytes_of("1")))
        refuse(server, ex, 400, RPC_INVALID_ARGUMENT, "connect-protocol-version must be 1");
    else
        return method;
    return NULL;
}

static void on_request(struct http_exchange *ex, void *arg)
{
    struct rpc_server *server = arg;
    enum connect_codec codec = CONNECT_JSON;
    const struct rpc_method *method = admit(server, ex, &codec);
    if (!method)
        return;
    struct rpc_call *call = mem_new(sizeof *call);
    list_append(&server->calls, &call->node);
    call->server = server;
    call->ex = ex;
    call->method = method;
    call->codec = codec;
    call->stream = method->stream;
    arena_init(&call->arena,
               server->options.body_max > ARENA_MAX_BYTES ? server->options.body_max : ARENA_MAX_BYTES);
    timer_init(&call->deadline, server->domain->loop, on_deadline, call);
    ex->user = call;

    const struct bytes *timeout = http_find_header(ex, "connect-timeout-ms");
    uint64_t timeout_ms = 0;
    if (ex->too_large) {
        METRIC_ADD(BAD_REQUESTS_TOO_LARGE, 1);
        rpc_fail(call, RPC_RESOURCE_EXHAUSTED, "the request is larger than %zu bytes",
                 server->options.body_max);
    } else if (!is_identity(ex, method->stream ? "connect-content-encoding" : "content-encoding")) {
        rpc_fail(call, RPC_UNIMPLEMENTED, "compression is not supported; supported encodings: identity");
    } else if (timeout && !connect_parse_timeout(*timeout, &timeout_ms)) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "connect-timeout-ms must be 1 to 10 digits");
    } else {
        if (timeout)
            timer_start(&call->deadline,
                        timeout_ms < DEADLINE_LONGEST_MS ? (unsigned)timeout_ms : DEADLINE_LONGEST_MS);
        authenticate(call);
    }
}

static void on_gone(struct http_exchange *ex, void *arg)
{
    (void)arg;
    struct rpc_call *call = ex->user;
    if (!call)
        return;
    call_end_handler(call);
    call_free(call);
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
    if (connect_append_error(body, code, reason) != ERR_OK)
        LOG(ERROR, PORTAL, "no-memory");
}

static const struct http_handlers handlers = {
    .on_request = on_request,
    .on_gone = on_gone,
    .on_bad_request = on_bad_request,
};

/* ---- life ---- */

static void on_connection_closed(enum close_reason reason, void *arg)
{
    struct rpc_server *server = arg;
    close_reason_count(reason);
    if (!server->options.admin)
        METRIC_ADD(OPEN_PORTAL, -1);
    if (server->on_closed)
        server->on_closed(server->arg);
}

struct rpc_server *rpc_server_new(const struct rpc_options *options, const struct rpc_service *services,
                                  size_t service_count, struct domain *domain, void *surroundings,
                                  void (*on_closed)(void *arg), void *arg)
{
    struct rpc_server *server = mem_new(sizeof *server);
    server->options = *options;
    server->services = services;
    server->service_count = service_count;
    server->domain = domain;
    server->surroundings = surroundings;
    server->on_closed = on_closed;
    server->arg = arg;
    list_init(&server->calls);
    if (options->worker)
        snprintf(server->worker, sizeof server->worker, "%u", options->worker);
    struct http_server_options http = {
        .tls = options->tls,
        .stream = stream_limits_default,
        .http = http_limits_default,
        .on_connection_closed = on_connection_closed,
    };
    http.http.body_max = options->body_max;
    http.stream.handshake_ms = options->handshake_ms;
    server->http = http_server_new(domain->loop, &http, &handlers, server);
    if (!server->http) {
        free(server);
        return NULL;
    }
    return server;
}

void rpc_server_free(struct rpc_server *server)
{
    if (!server)
        return;
    http_server_free(server->http);
    free(server);
}

void rpc_server_accept(struct rpc_server *server, int fd)
{
    if (!server->options.admin) {
        METRIC_ADD(ACCEPTED_PORTAL, 1);
        METRIC_ADD(OPEN_PORTAL, 1);
    }
    if (http_server_accept(server->http, fd) != ERR_OK)
        on_connection_closed(CLOSE_NOMEM, server);
}

void rpc_server_drain(struct rpc_server *server)
{
    http_server_drain(server->http);
    while (!list_empty(&server->calls)) {
        struct rpc_call *call = CONTAINER_OF(server->calls.next, struct rpc_call, node);
        call_end_handler(call);
        rpc_fail(call, RPC_UNAVAILABLE, "this worker is going; call again, what was accepted goes on");
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
