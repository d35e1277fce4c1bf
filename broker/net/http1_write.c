#include "net/http1_write.h"

#include <http_parser.h>

#include "net/http_headers.h"

static enum err write_header(const struct http_header *h, struct buf *out)
{
    if (!http_header_sendable(h))
        return ERR_INVALID;
    TRY(buf_append(out, h->name));
    TRY(buf_append(out, bytes_of(": ")));
    TRY(buf_append(out, h->value));
    return buf_append(out, bytes_of("\r\n"));
}

static const char *status_phrase(unsigned status)
{
    const char *phrase = http_status_str((enum http_status)status);
    return phrase[0] == '<' ? "" : phrase; /* "<unknown>" */
}

enum err http1_write_answer(const struct http1_answer *answer, struct buf *out)
{
    char date[HTTP_DATE_SIZE];
    http_format_date(date);
    TRY(buf_printf(out, "HTTP/1.1 %03u %s\r\nDate: %s\r\n", answer->status, status_phrase(answer->status),
                   date));
    for (size_t i = 0; i < answer->header_count; i++)
        TRY(write_header(&answer->headers[i], out));
    if (answer->close)
        TRY(buf_append(out, bytes_of("Connection: close\r\n")));
    if (answer->framing == HTTP1_CHUNKED)
        TRY(buf_append(out, bytes_of("Transfer-Encoding: chunked\r\n")));
    else if (!http_never_has_body(answer->status))
        TRY(buf_printf(out, "Content-Length: %zu\r\n", answer->body.len));
    TRY(buf_append(out, bytes_of("\r\n")));
    if (answer->without_body || http_never_has_body(answer->status))
        return ERR_OK;
    return buf_append(out, answer->body);
}

enum err http1_write_chunk(struct bytes part, struct buf *out)
{
    TRY(buf_printf(out, "%zx\r\n", part.len));
    TRY(buf_append(out, part));
    return buf_append(out, bytes_of("\r\n"));
}
