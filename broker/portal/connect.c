#include "portal/connect.h"

#include <string.h>

#include "core/log.h"

#define ENVELOPE_END       2
#define TIMEOUT_DIGITS_MAX 10

static const char post_types[] = "application/json, application/proto, application/connect+json, "
                                 "application/connect+proto, application/grpc";

/* ---- errors ---- */

/* Our texts are ASCII without control characters; quotes and backslashes may come from a path that a caller sent. */
static enum err append_quoted(struct buf *out, const char *text)
{
    TRY(buf_append_byte(out, '"'));
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            TRY(buf_append_byte(out, '\\'));
        TRY(buf_append_byte(out, (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : (uint8_t)*text));
    }
    return buf_append_byte(out, '"');
}

/* "debug" is the detail in words, for whoever has no library that knows its type. */
static enum err append_detail(struct buf *out, const struct rpc_detail *detail)
{
    TRY(buf_printf(out, "{\"type\":\"%s\",\"value\":\"", detail->type));
    TRY(rpc_append_base64(out, buf_view(&detail->packed)));
    TRY(buf_append_byte(out, '"'));
    if (buf_len(&detail->json) > 0) {
        TRY(buf_append(out, bytes_of(",\"debug\":")));
        TRY(buf_append(out, buf_view(&detail->json)));
    }
    return buf_append_byte(out, '}');
}

enum err connect_append_error(struct buf *out, const struct rpc_error *error)
{
    const char *before = ",\"details\":[";
    TRY(buf_printf(out, "{\"code\":\"%s\",\"message\":", rpc_code_name(error->code)));
    TRY(append_quoted(out, error->text));
    if (error->details && !list_empty(error->details)) {
        LIST_EACH (node, error->details) {
            TRY(buf_append(out, bytes_of(before)));
            TRY(append_detail(out, CONTAINER_OF(node, struct rpc_detail, node)));
            before = ",";
        }
        TRY(buf_append_byte(out, ']'));
    }
    return buf_append_byte(out, '}');
}

static void refuse(const struct rpc_answer *to, unsigned status, const struct rpc_error *error)
{
    struct http_header headers[RPC_HEADERS_MAX];
    struct buf body = {0};
    size_t count = rpc_headers(to, "application/json", headers);
    if (status == 401)
        headers[count++] = (struct http_header){bytes_of("www-authenticate"), bytes_of("Bearer")};
    if (status == 405)
        headers[count++] = (struct http_header){bytes_of("allow"), bytes_of(to->safe ? "GET, POST" : "POST")};
    if (status == 415)
        headers[count++] = (struct http_header){bytes_of("accept-post"), bytes_of(post_types)};
    if (connect_append_error(&body, error) != ERR_OK)
        LOG(ERROR, PORTAL, "no-memory");
    http_respond(to->ex, status, headers, count, buf_view(&body));
    buf_done(&body);
}

/* ---- unary ---- */

bool connect_parse_timeout(struct bytes text, uint64_t *ms)
{
    return rpc_parse_number(text, TIMEOUT_DIGITS_MAX, ms) && *ms > 0;
}

static enum err unary_open(const struct http_exchange *ex, struct buf *scratch, struct bytes *message)
{
    (void)scratch;
    *message = ex->body;
    return ERR_OK;
}

static void unary_reply(const struct rpc_answer *to, struct bytes message)
{
    struct http_header headers[RPC_HEADERS_MAX];
    http_respond(to->ex, 200, headers, rpc_headers(to, to->content_type, headers), message);
}

static void unary_end(const struct rpc_answer *to, const struct rpc_error *error)
{
    refuse(to, rpc_code_status(error->code), error);
}

#define TIMEOUT                                                                                              \
    .timeout_header = "connect-timeout-ms", .timeout_form = "1 to 10 digits",                                \
    .parse_timeout = connect_parse_timeout

const struct rpc_protocol connect_unary = {
    .verb = "POST",
    .unary = true,
    .encoding_header = "content-encoding",
    TIMEOUT,
    .open = unary_open,
    .append = rpc_append_bare,
    .reply = unary_reply,
    .end = unary_end,
    .refuse = refuse,
};

/* ---- unary by GET ---- */

/* Take what is before the next separator, or all, off the front. */
static struct bytes take_until(struct bytes *in, uint8_t separator)
{
    const uint8_t *at = in->len ? memchr(in->p, separator, in->len) : NULL;
    size_t len = at ? (size_t)(at - in->p) : in->len;
    struct bytes taken = bytes_make(in->p, len);
    *in = at ? bytes_make(at + 1, in->len - len - 1) : (struct bytes){0};
    return taken;
}

bool connect_query(struct bytes query, const char *name, struct bytes *value)
{
    while (query.len > 0) {
        struct bytes pair = take_until(&query, '&');
        if (bytes_equal(take_until(&pair, '='), bytes_of(name))) {
            *value = pair;
            return true;
        }
    }
    return false;
}

static enum err percent_decode(struct bytes in, struct buf *out)
{
    for (size_t i = 0; i < in.len; i++) {
        uint8_t byte = in.p[i] == '+' ? ' ' : in.p[i];
        if (in.p[i] == '%') {
            if (in.len - i < 3)
                return ERR_MALFORMED;
            TRY(hex_decode(bytes_make(in.p + i + 1, 2), &byte, 1));
            i += 2;
        }
        TRY(buf_append_byte(out, byte));
    }
    return ERR_OK;
}

/* Padding is optional here, but where it is there, it must be right. */
static struct bytes without_padding(struct bytes in)
{
    if (in.len == 0 || in.len % 4 != 0 || in.p[in.len - 1] != '=')
        return in;
    return bytes_make(in.p, in.len - (in.p[in.len - 2] == '=' ? 2 : 1));
}

static enum err append_base64url(struct bytes padded, struct buf *out)
{
    struct bytes in = without_padding(padded);
    size_t room = in.len * 3 / 4, len = 0;
    if (room == 0)
        return in.len ? ERR_MALFORMED : ERR_OK;
    uint8_t *at = buf_reserve(out, room);
    if (!at)
        return ERR_NOMEM;
    TRY(base64url_decode(in, at, room, &len));
    buf_commit(out, len);
    return ERR_OK;
}

enum err connect_query_message(struct bytes query, struct buf *out)
{
    struct bytes value, base64;
    if (!connect_query(query, "message", &value))
        return ERR_OK;
    if (!connect_query(query, "base64", &base64) || !bytes_equal(base64, bytes_of("1")))
        return percent_decode(value, out);
    struct buf text = {0};
    enum err e = percent_decode(value, &text);
    if (e == ERR_OK)
        e = append_base64url(buf_view(&text), out);
    buf_done(&text);
    return e;
}

static enum err get_open(const struct http_exchange *ex, struct buf *scratch, struct bytes *message)
{
    struct bytes compression;
    if (connect_query(ex->query, "compression", &compression) && compression.len > 0 &&
        !bytes_equal(compression, bytes_of("identity")))
        return ERR_UNSUPPORTED;
    TRY(connect_query_message(ex->query, scratch));
    *message = buf_view(scratch);
    return ERR_OK;
}

const struct rpc_protocol connect_get = {
    .verb = "GET",
    .unary = true,
    .encoding_header = "content-encoding",
    TIMEOUT,
    .open = get_open,
    .append = rpc_append_bare,
    .reply = unary_reply,
    .end = unary_end,
    .refuse = refuse,
};

/* ---- server streams ---- */

enum err connect_append_end(struct buf *out, const struct rpc_error *error)
{
    struct buf end = {0};
    enum err e = buf_append(&end, bytes_of(error ? "{\"error\":" : "{"));
    if (e == ERR_OK && error)
        e = connect_append_error(&end, error);
    if (e == ERR_OK)
        e = buf_append_byte(&end, '}');
    if (e == ERR_OK)
        e = rpc_append_envelope(out, ENVELOPE_END, buf_view(&end));
    buf_done(&end);
    return e;
}

static enum err stream_open(const struct http_exchange *ex, struct buf *scratch, struct bytes *message)
{
    (void)scratch;
    return rpc_open_envelope(ex->body, message);
}

static void stream_end(const struct rpc_answer *to, const struct rpc_error *error)
{
    struct buf out = {0};
    rpc_start(to);
    enum err e = connect_append_end(&out, error);
    if (e == ERR_OK)
        e = http_send(to->ex, buf_view(&out));
    buf_done(&out);
    if (e == ERR_OK)
        http_finish(to->ex);
    else
        http_abort(to->ex, CLOSE_QUEUE_FULL);
}

const struct rpc_protocol connect_stream = {
    .verb = "POST",
    .stream = true,
    .encoding_header = "connect-content-encoding",
    TIMEOUT,
    .open = stream_open,
    .append = rpc_append_enveloped,
    .end = stream_end,
    .refuse = refuse,
};
