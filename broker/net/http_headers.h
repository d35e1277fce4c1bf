/**
 * What both versions of HTTP need for the headers that they hold and send. Internal to net/.
 */
#ifndef NANOPUSH_NET_HTTP_HEADERS_H
#define NANOPUSH_NET_HTTP_HEADERS_H

#include "net/http.h"

/**
 * The certificate that the peer of @p s has shown, within its on_open; freed with free(). One that cannot be read is out of
 * date. NULL: none.
 */
struct client_certificate *http_take_certificate(const struct stream *s);

/** How long a connection may be without a request. */
static inline unsigned http_idle_ms(const struct http_limits *limits, bool trusted)
{
    return trusted || limits->strangers_idle_ms > limits->idle_ms ? limits->idle_ms
                                                                  : limits->strangers_idle_ms;
}

/** A list that owns its bytes. Zero-initialised is empty and valid. */
struct http_headers {
    struct buf text;  /* names and values, one after the other */
    struct buf views; /* struct http_header; where they point is set by http_headers_view() */
};

/** Append copies. @return ERR_OK; ERR_NOMEM (the list is then good for http_headers_done() only). */
MUST_CHECK enum err http_headers_add(struct http_headers *list, struct bytes name, struct bytes value);

size_t http_headers_count(const struct http_headers *list);

/** Bytes of memory in use. */
size_t http_headers_bytes(const struct http_headers *list);

/** The headers in order, to be read and changed in place; valid until the next call with this list. */
struct http_header *http_headers_view(struct http_headers *list);

/** Cleanse and free; the list is empty afterwards and may be used again. */
void http_headers_done(struct http_headers *list);

/** True if it can be sent: the name is not empty and without colon or space, and there is no control byte. */
bool http_header_sendable(const struct http_header *h);

/** True for statuses whose answers have neither body nor Content-Length (RFC 9110, 8.6). */
bool http_never_has_body(unsigned status);

/** Count what is no request, and have it answered. */
void http_refuse(struct http_exchange *ex, enum bad_request why, const struct http_handlers *handlers,
                 void *arg);

#define HTTP_DATE_SIZE 30 /* "Sun, 06 Nov 1994 08:49:37 GMT" */

/** The time now, as the header Date wants it (RFC 9110, 5.6.7). */
void http_format_date(char out[HTTP_DATE_SIZE]);

#endif
