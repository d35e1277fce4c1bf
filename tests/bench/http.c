#include "http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Length of the line at the front, its CR LF included; 0: not all there. */
static size_t line_length(struct bytes in)
{
    const uint8_t *end = in.len ? memmem(in.p, in.len, "\r\n", 2) : NULL;
    return end ? (size_t)(end - in.p) + 2 : 0;
}

static const char *field_of(const char *head, const char *name)
{
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, strlen(name)) == 0)
            return line + 2 + strlen(name);
    return NULL;
}

static enum err take_head(struct http_response *response, struct buf *in)
{
    char head[4096];
    struct bytes view = buf_view(in);
    const uint8_t *end = view.len ? memmem(view.p, view.len, "\r\n\r\n", 4) : NULL;
    if (!end)
        return view.len < sizeof head ? ERR_OK : ERR_MALFORMED;
    size_t len = (size_t)(end - view.p) + 4;
    if (len >= sizeof head || memcmp(view.p, "HTTP/1.1 ", 9) != 0)
        return ERR_MALFORMED;
    memcpy(head, view.p, len);
    head[len] = '\0';
    buf_consume(in, len);
    response->status = (unsigned)strtoul(head + 9, NULL, 10);
    const char *length = field_of(head, "Content-Length:");
    response->left = length ? strtoul(length, NULL, 10) : 0;
    if (response->status == 101)
        response->phase = HTTP_DONE;
    else if (field_of(head, "Transfer-Encoding: chunked"))
        response->phase = HTTP_CHUNK_SIZE;
    else
        response->phase = response->left ? HTTP_LENGTH : HTTP_DONE;
    return ERR_OK;
}

static enum err take_body(struct http_response *response, struct buf *in, struct buf *body,
                          enum http_phase next)
{
    struct bytes view = buf_view(in);
    size_t n = view.len < response->left ? view.len : response->left;
    if (n == 0)
        return ERR_OK;
    TRY(buf_append(body, bytes_make(view.p, n)));
    buf_consume(in, n);
    response->left -= n;
    if (response->left == 0)
        response->phase = next;
    return ERR_OK;
}

/* A line of the chunked form. */
static void take_line(struct http_response *response, struct buf *in)
{
    struct bytes view = buf_view(in);
    size_t len = line_length(view);
    if (len == 0)
        return;
    if (response->phase == HTTP_CHUNK_SIZE) {
        response->left = strtoul((const char *)view.p, NULL, 16);
        response->phase = response->left ? HTTP_CHUNK : HTTP_LAST;
    } else {
        response->phase = response->phase == HTTP_CHUNK_END ? HTTP_CHUNK_SIZE
                          : len == 2                        ? HTTP_DONE
                                                            : HTTP_LAST;
    }
    buf_consume(in, len);
}

enum err http_response_take(struct http_response *response, struct buf *in, struct buf *body)
{
    size_t before;
    do {
        before = buf_len(in);
        switch (response->phase) {
        case HTTP_HEAD:
            TRY(take_head(response, in));
            break;
        case HTTP_LENGTH:
            TRY(take_body(response, in, body, HTTP_DONE));
            break;
        case HTTP_CHUNK:
            TRY(take_body(response, in, body, HTTP_CHUNK_END));
            break;
        case HTTP_CHUNK_SIZE:
        case HTTP_CHUNK_END:
        case HTTP_LAST:
            take_line(response, in);
            break;
        case HTTP_DONE:
            return ERR_OK;
        }
    } while (buf_len(in) != before);
    return ERR_OK;
}
