#include "net/http_headers.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

enum err http_headers_add(struct http_headers *list, struct bytes name, struct bytes value)
{
    struct http_header view = {{NULL, name.len}, {NULL, value.len}};
    TRY(buf_append(&list->text, name));
    TRY(buf_append(&list->text, value));
    return buf_append(&list->views, bytes_make(&view, sizeof view));
}

size_t http_headers_count(const struct http_headers *list)
{
    return buf_len(&list->views) / sizeof(struct http_header);
}

size_t http_headers_bytes(const struct http_headers *list)
{
    return list->text.cap + list->views.cap;
}

/* Only now, since the text moves while it grows. */
struct http_header *http_headers_view(struct http_headers *list)
{
    struct http_header *headers = (struct http_header *)(uintptr_t)buf_view(&list->views).p;
    const uint8_t *at = buf_view(&list->text).p;
    for (size_t i = 0; i < http_headers_count(list); i++) {
        headers[i].name.p = at;
        at += headers[i].name.len;
        headers[i].value.p = at;
        at += headers[i].value.len;
    }
    return headers;
}

void http_headers_done(struct http_headers *list)
{
    buf_done(&list->text);
    buf_done(&list->views);
}

static bool has_control_bytes(struct bytes in)
{
    for (size_t i = 0; i < in.len; i++)
        if (in.p[i] < ' ' || in.p[i] == 0x7f)
            return true;
    return false;
}

bool http_header_sendable(const struct http_header *h)
{
    return h->name.len > 0 && !memchr(h->name.p, ':', h->name.len) && !memchr(h->name.p, ' ', h->name.len) &&
           !has_control_bytes(h->name) && !has_control_bytes(h->value);
}

bool http_never_has_body(unsigned status)
{
    return status == 204 || status == 304;
}

/* Not strftime(): its names are the locale's. */
void http_format_date(char out[HTTP_DATE_SIZE])
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = (time_t)(clock_unix_ms() / 1000);
    struct tm t;
    gmtime_r(&now, &t);
    snprintf(out, HTTP_DATE_SIZE, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + 3 * t.tm_wday,
             (unsigned)t.tm_mday % 100, months + 3 * t.tm_mon, (unsigned)(t.tm_year + 1900) % 10000,
             (unsigned)t.tm_hour % 100, (unsigned)t.tm_min % 100, (unsigned)t.tm_sec % 100);
}

struct client_certificate *http_take_certificate(const struct stream *s)
{
    struct client_certificate read = {0};
    if (stream_client_certificate(s, &read) == ERR_NOT_FOUND)
        return NULL;
    struct client_certificate *certificate = mem_new(sizeof *certificate);
    *certificate = read;
    return certificate;
}
