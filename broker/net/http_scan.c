#include "net/http_scan.h"

#include <string.h>

#define CHUNK_DIGITS_MAX  8
#define LENGTH_DIGITS_MAX 18 /* fits 64 bits */

/* The limits on a line or a head that is not complete yet. */
static enum bad_request check_growth(struct bytes in, const struct http_limits *limits, size_t lines)
{
    if (lines == 0 && in.len > limits->request_line_max)
        return BAD_REQUEST_TARGET_TOO_LONG;
    if (in.len > limits->head_max)
        return BAD_REQUEST_HEADERS_TOO_LARGE;
    return BAD_REQUEST_NONE;
}

enum bad_request http_scan_find_head(struct bytes in, const struct http_limits *limits,
                                     struct http_head_search *search, size_t *len)
{
    const uint8_t *lf = NULL;
    while (search->seen < in.len && (lf = memchr(in.p + search->seen, '\n', in.len - search->seen))) {
        size_t end = (size_t)(lf - in.p) + 1;
        if (end < 2 || lf[-1] != '\r')
            return BAD_REQUEST_LINE_END;
        if (end == 2)
            return BAD_REQUEST_REQUEST_LINE;
        enum bad_request no = check_growth(bytes_make(in.p, end), limits, search->lines);
        if (no)
            return no;
        if (end - search->seen == 2) {
            *len = end;
            return BAD_REQUEST_NONE;
        }
        search->seen = end;
        if (++search->lines > limits->header_count_max + 1)
            return BAD_REQUEST_HEADERS_TOO_MANY;
    }
    *len = 0;
    return check_growth(in, limits, search->lines);
}

static bool is_token_byte(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct bytes in)
{
    for (size_t i = 0; i < in.len; i++)
        if (!is_token_byte(in.p[i]))
            return false;
    return in.len > 0;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Take what is before the next @p separator off the front of @p in, and the separator with it. */
static bool take_until(struct bytes *in, uint8_t separator, struct bytes *ret)
{
    const uint8_t *at = in->len ? memchr(in->p, separator, in->len) : NULL;
    if (!at)
        return false;
    *ret = bytes_make(in->p, (size_t)(at - in->p));
    *in = bytes_make(at + 1, in->len - ret->len - 1);
    return true;
}

static enum bad_request scan_version(struct bytes version)
{
    if (version.len != 8 || memcmp(version.p, "HTTP/", 5) != 0 || !is_digit(version.p[5]) ||
        version.p[6] != '.' || !is_digit(version.p[7]))
        return BAD_REQUEST_REQUEST_LINE;
    if (version.p[5] != '1' || version.p[7] != '1')
        return BAD_REQUEST_HTTP_VERSION;
    return BAD_REQUEST_NONE;
}

enum bad_request http_scan_target(struct bytes target, struct bytes *path, struct bytes *query)
{
    if (target.len == 0 || target.p[0] != '/')
        return BAD_REQUEST_TARGET;
    for (size_t i = 0; i < target.len; i++)
        if (target.p[i] <= ' ' || target.p[i] >= 0x7f || target.p[i] == '#')
            return BAD_REQUEST_TARGET;
    *query = target;
    if (!take_until(query, '?', path)) {
        *path = target;
        *query = (struct bytes){0};
    }
    return BAD_REQUEST_NONE;
}

static enum bad_request scan_request_line(struct bytes line, struct http_head *ret)
{
    struct bytes target;
    if (!take_until(&line, ' ', &ret->method) || !is_token(ret->method) || !take_until(&line, ' ', &target))
        return BAD_REQUEST_REQUEST_LINE;
    enum bad_request no = scan_version(line);
    return no ? no : http_scan_target(target, &ret->path, &ret->query);
}

static struct bytes trim(struct bytes in)
{
    while (in.len && (in.p[0] == ' ' || in.p[0] == '\t'))
        in = bytes_make(in.p + 1, in.len - 1);
    while (in.len && (in.p[in.len - 1] == ' ' || in.p[in.len - 1] == '\t'))
        in.len--;
    return in;
}

static enum bad_request scan_header(struct bytes line, struct http_header *ret)
{
    if (line.p[0] == ' ' || line.p[0] == '\t')
        return BAD_REQUEST_HEADER_FOLDED;
    if (!take_until(&line, ':', &ret->name) || !is_token(ret->name))
        return BAD_REQUEST_HEADER_NAME;
    for (size_t i = 0; i < line.len; i++)
        if ((line.p[i] < ' ' && line.p[i] != '\t') || line.p[i] == 0x7f)
            return BAD_REQUEST_HEADER_CONTROL;
    ret->value = trim(line);
    return BAD_REQUEST_NONE;
}

bool http_is_host(struct bytes value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.p[i] <= ' ' || value.p[i] >= 0x7f || strchr("/?#@,\\", value.p[i]))
            return false;
    return value.len > 0;
}

bool http_scan_length(struct bytes value, uint64_t *ret)
{
    uint64_t length = 0;
    if (value.len == 0 || value.len > LENGTH_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        if (!is_digit(value.p[i]))
            return false;
        length = length * 10 + (value.p[i] - '0');
    }
    *ret = length;
    return true;
}

/* What decides about framing and routing: each at most once, and in the one form that all servers read alike.
 */
static enum bad_request scan_meaning(const struct http_header *h, struct http_head *ret, bool *has_host)
{
    if (http_name_is(h->name, "Host")) {
        if (*has_host || !http_is_host(h->value))
            return BAD_REQUEST_HOST;
        *has_host = true;
    } else if (http_name_is(h->name, "Content-Length")) {
        if (ret->has_length || !http_scan_length(h->value, &ret->length))
            return BAD_REQUEST_CONTENT_LENGTH;
        ret->has_length = true;
    } else if (http_name_is(h->name, "Transfer-Encoding")) {
        if (ret->chunked || !http_name_is(h->value, "chunked"))
            return BAD_REQUEST_TRANSFER_ENCODING;
        ret->chunked = true;
    } else if (http_name_is(h->name, "Expect")) {
        if (!http_name_is(h->value, "100-continue"))
            return BAD_REQUEST_EXPECT;
        ret->expects_continue = true;
    }
    return BAD_REQUEST_NONE;
}

enum bad_request http_scan_head(struct bytes block, struct http_header *headers, struct http_head *ret)
{
    struct http_head head = {0};
    struct bytes line = {0};
    bool has_host = false;
    enum bad_request no = BAD_REQUEST_REQUEST_LINE;
    if (take_until(&block, '\n', &line))
        no = scan_request_line(bytes_make(line.p, line.len - 1), &head);
    while (!no && take_until(&block, '\n', &line) && line.len > 1) {
        struct http_header *h = &headers[head.header_count++];
        no = scan_header(bytes_make(line.p, line.len - 1), h);
        if (!no)
            no = scan_meaning(h, &head, &has_host);
    }
    if (no)
        return no;
    if (!has_host)
        return BAD_REQUEST_HOST;
    if (head.chunked && head.has_length)
        return BAD_REQUEST_TWO_LENGTHS;
    *ret = head;
    return BAD_REQUEST_NONE;
}

static int hex_digit(uint8_t c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool scan_size(struct http_chunk_scan *scan, uint8_t c)
{
    int digit = hex_digit(c);
    if (digit >= 0 && scan->digits < CHUNK_DIGITS_MAX) {
        scan->digits++;
        scan->size = scan->size * 16 + (unsigned)digit;
        return true;
    }
    scan->state = CHUNK_SIZE_LF;
    return c == '\r' && scan->digits > 0;
}

static bool scan_chunk_byte(struct http_chunk_scan *scan, uint8_t c)
{
    switch (scan->state) {
    case CHUNK_SIZE:
        return scan_size(scan, c);
    case CHUNK_SIZE_LF:
        scan->total += scan->size;
        scan->state = scan->size ? CHUNK_BYTES : CHUNK_LAST_CR;
        return c == '\n';
    case CHUNK_BYTES_CR:
        scan->state = CHUNK_BYTES_LF;
        return c == '\r';
    case CHUNK_BYTES_LF:
        scan->state = CHUNK_SIZE;
        scan->digits = 0;
        return c == '\n';
    case CHUNK_LAST_CR:
        scan->state = CHUNK_LAST_LF;
        return c == '\r';
    case CHUNK_LAST_LF:
        scan->state = CHUNK_DONE;
        return c == '\n';
    default:
        return false;
    }
}

enum bad_request http_scan_chunks(struct bytes in, uint64_t max, struct http_chunk_scan *scan, size_t *len)
{
    size_t at = 0;
    while (at < in.len && scan->state != CHUNK_DONE && scan->total <= max) {
        if (scan->state == CHUNK_BYTES) {
            size_t n = in.len - at < scan->size ? in.len - at : (size_t)scan->size;
            at += n;
            scan->size -= n;
            if (scan->size == 0)
                scan->state = CHUNK_BYTES_CR;
        } else if (!scan_chunk_byte(scan, in.p[at++])) {
            return BAD_REQUEST_CHUNK;
        }
    }
    *len = at;
    return BAD_REQUEST_NONE;
}
