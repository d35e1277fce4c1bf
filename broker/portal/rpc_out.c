#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "google/rpc/error_details.pb-c.h"
#include "portal/rpc_call.h"
#include "wire/json.h"
#include "wire/message.h"

#define RPC_TEXT_MAX 512

static void count_outcome(enum rpc_code code)
{
    unsigned status = rpc_code_status(code);
    if (status < 500 || code == RPC_UNIMPLEMENTED)
        METRIC_ADD(RPC_CLIENT_ERROR, 1);
    else
        METRIC_ADD(RPC_SERVER_ERROR, 1);
}

void rpc_refuse(const struct rpc_answer *to, const struct rpc_protocol *protocol, unsigned status,
                enum rpc_code code, const char *text)
{
    const struct rpc_error error = {.code = code, .text = text};
    count_outcome(code);
    protocol->refuse(to, status, &error);
}

static struct rpc_answer answer_of(const struct rpc_call *call)
{
    struct rpc_answer to = {
        .ex = call->ex, .content_type = call->content_type, .worker = call->server->worker};
    if (call->retry_ms)
        snprintf(to.retry_after, sizeof to.retry_after, "%u", (call->retry_ms - 1) / 1000 + 1);
    return to;
}

/* From here on the exchange has nobody to tell; the caller of this answers it. */
static void leave(struct rpc_call *call)
{
    call->ex->user = NULL;
    rpc_call_free(call);
}

void rpc_add_detail(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct rpc_detail *detail = mem_new(sizeof *detail);
    detail->type = message->descriptor->name;
    list_append(&call->details, &detail->node);
    if (message_pack(message, &detail->packed) != ERR_OK || json_encode(message, &detail->json) != ERR_OK)
        LOG(WARN, PORTAL, "detail-incomplete", "type=%s", detail->type);
}

void rpc_add_retry(struct rpc_call *call, unsigned retry_ms)
{
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;
    delay.seconds = retry_ms / 1000;
    delay.nanos = (int32_t)(retry_ms % 1000) * 1000000;
    retry.retry_delay = &delay;
    call->retry_ms = retry_ms;
    rpc_add_detail(call, &retry.base);
}

static void fail(struct rpc_call *call, enum rpc_code code, const char *text)
{
    const struct rpc_protocol *protocol = call->protocol;
    const struct rpc_answer to = answer_of(call);
    struct list details;
    const struct rpc_error error = {.code = code, .text = text, .details = &details};
    LOG(DEBUG, PORTAL, "call-failed", "path=%s code=%s", call->method->path, rpc_code_name(code));
    count_outcome(code);
    list_init(&details);
    list_move(&call->details, &details);
    leave(call);
    protocol->end(&to, &error);
    rpc_details_free(&details);
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
                 "the broker cannot reach its store; it may or may not have been done: repeat it with the "
                 "same idempotency key");
        return;
    case ERR_LOST:
        rpc_fail(call, RPC_ABORTED,
                 "lost by a fail-over of the store: it was not answered; publish it again");
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
    const struct rpc_protocol *protocol = call->protocol;
    const struct rpc_answer to = answer_of(call);
    enum err e = protocol->append(&body, call->codec, response);
    if (e != ERR_OK) {
        buf_done(&body);
        rpc_fail_store(call, e);
        return;
    }
    METRIC_ADD(RPC_OK, 1);
    leave(call);
    protocol->reply(&to, buf_view(&body));
    buf_done(&body);
}

bool rpc_send(struct rpc_call *call, const ProtobufCMessage *response)
{
    struct buf out = {0};
    const struct rpc_answer to = answer_of(call);
    rpc_start(&to);
    enum err e = call->protocol->append(&out, call->codec, response);
    if (e == ERR_OK)
        e = http_send(to.ex, buf_view(&out));
    buf_done(&out);
    if (e == ERR_OK || e == ERR_CLOSED)
        return true; /* on_gone is on its way where it is closed */
    leave(call);
    bad_request_count(BAD_REQUEST_UNREAD);
    http_abort(to.ex, CLOSE_QUEUE_FULL);
    return false;
}

void rpc_finish(struct rpc_call *call)
{
    const struct rpc_protocol *protocol = call->protocol;
    const struct rpc_answer to = answer_of(call);
    METRIC_ADD(RPC_OK, 1);
    leave(call);
    protocol->end(&to, NULL);
}
