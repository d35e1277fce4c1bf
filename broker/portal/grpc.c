#include "portal/grpc.h"

#include <stdio.h>

#include "core/log.h"
#include "google/rpc/status.pb-c.h"
#include "wire/message.h"

#define TIMEOUT_DIGITS_MAX 8
#define DETAILS_MAX        4
#define TYPE_URL_SIZE      96

_Static_assert(RPC_CANCELED == 0 && RPC_UNAUTHENTICATED == 15,
               "rpc_code.def is in the order of gRPC's numbers");

unsigned grpc_status(enum rpc_code code)
{
    return code + 1u;
}

/* Nanoseconds in one; 0: no unit. */
static uint64_t unit_ns(uint8_t unit)
{
    switch (unit) {
    case 'H':
        return 3600ull * 1000 * 1000 * 1000;
    case 'M':
        return 60ull * 1000 * 1000 * 1000;
    case 'S':
        return 1000ull * 1000 * 1000;
    case 'm':
        return 1000ull * 1000;
    case 'u':
        return 1000;
    case 'n':
        return 1;
    default:
        return 0;
    }
}

bool grpc_parse_timeout(struct bytes text, uint64_t *ms)
{
    const uint64_t ms_ns = 1000 * 1000;
    uint64_t value = 0;
    if (text.len < 2 || !rpc_parse_number(bytes_make(text.p, text.len - 1), TIMEOUT_DIGITS_MAX, &value))
        return false;
    uint64_t ns = unit_ns(text.p[text.len - 1]);
    *ms = ns >= ms_ns ? value * (ns / ms_ns) : (value * ns + ms_ns - 1) / ms_ns;
    return ns > 0;
}

enum err grpc_append_message(struct buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c > 0x7e || c == '%')
            TRY(buf_printf(out, "%%%02X", c));
        else
            TRY(buf_append_byte(out, c));
    }
    return ERR_OK;
}

static enum err open_request(const struct http_exchange *ex, struct buf *scratch, struct bytes *message)
{
    (void)scratch;
    return rpc_open_envelope(ex->body, message);
}

enum err grpc_append_details(struct buf *out, const struct rpc_error *error)
{
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    Google__Protobuf__Any any[DETAILS_MAX], *details[DETAILS_MAX];
    char types[DETAILS_MAX][TYPE_URL_SIZE];
    struct buf packed = {0};
    status.code = (int32_t)grpc_status(error->code);
    status.message = (char *)error->text;
    status.details = details;
    LIST_EACH (node, error->details) {
        const struct rpc_detail *detail = CONTAINER_OF(node, struct rpc_detail, node);
        size_t i = status.n_details;
        if (i == DETAILS_MAX)
            break;
        snprintf(types[i], TYPE_URL_SIZE, "type.googleapis.com/%s", detail->type);
        google__protobuf__any__init(&any[i]);
        any[i].type_url = types[i];
        any[i].value = (ProtobufCBinaryData){.data = detail->packed.p + detail->packed.head,
                                             .len = buf_len(&detail->packed)};
        details[status.n_details++] = &any[i];
    }
    enum err e = message_pack(&status.base, &packed);
    if (e == ERR_OK)
        e = rpc_append_base64(out, buf_view(&packed));
    buf_done(&packed);
    return e;
}

/* Write the status behind what was sent, or in place of everything; @p error NULL: it ended well. */
static void end(const struct rpc_answer *to, const struct rpc_error *error)
{
    struct http_header headers[RPC_HEADERS_MAX];
    char number[12];
    struct buf message = {0}, details = {0};
    size_t count = 0;
    if (!to->ex->started) {
        count = rpc_headers(to, to->content_type, headers);
        headers[count++] = (struct http_header){bytes_of("grpc-accept-encoding"), bytes_of("identity")};
    }
    snprintf(number, sizeof number, "%u", error ? grpc_status(error->code) : 0);
    headers[count++] = (struct http_header){bytes_of("grpc-status"), bytes_of(number)};
    if (error && grpc_append_message(&message, error->text) != ERR_OK)
        LOG(ERROR, PORTAL, "no-memory");
    if (error)
        headers[count++] = (struct http_header){bytes_of("grpc-message"), buf_view(&message)};
    bool detailed = error && error->details && !list_empty(error->details);
    if (detailed && grpc_append_details(&details, error) == ERR_OK)
        headers[count++] = (struct http_header){bytes_of("grpc-status-details-bin"), buf_view(&details)};
    if (to->ex->started)
        http_finish_with_trailers(to->ex, headers, count);
    else
        http_respond(to->ex, 200, headers, count, (struct bytes){0});
    buf_done(&message);
    buf_done(&details);
}

static void refuse(const struct rpc_answer *to, unsigned status, const struct rpc_error *error)
{
    (void)status;
    end(to, error);
}

static void reply(const struct rpc_answer *to, struct bytes message)
{
    rpc_start(to);
    if (http_send(to->ex, message) == ERR_OK)
        end(to, NULL);
    else
        http_abort(to->ex, CLOSE_QUEUE_FULL);
}

const struct rpc_protocol grpc = {
    .verb = "POST",
    .unary = true,
    .stream = true,
    .encoding_header = "grpc-encoding",
    .timeout_header = "grpc-timeout",
    .timeout_form = "1 to 8 digits and one of H M S m u n",
    .parse_timeout = grpc_parse_timeout,
    .open = open_request,
    .append = rpc_append_enveloped,
    .reply = reply,
    .end = end,
    .refuse = refuse,
};
