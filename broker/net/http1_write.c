#include "net/http1_write.h"

#include <http_parser.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define DATE_SIZE 30 /* "Sun, 06 Nov 1994 08:49:37 GMT" */

/* Not strftime(): its names are the locale's. */
static void format_date(char out[DATE_SIZE])
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = (time_t)(clock_unix_ms() / 1000);
    struct tm t;
    gmtime_r(&now, &t);
    snprintf(out, DATE_SIZE, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + 3 * t.tm_wday,
             (unsigned)t.tm_mday % 100, months + 3 * t.tm_mon, (unsigned)(t.tm_year + 1900) % 10000,
             (unsigned)t.tm_hour % 100, (unsigned)t.tm_min % 100, (unsigned)t.tm_sec % 100);
}

static bool has_control_bytes(struct bytes in)
{
    for (size_t i = 0; i < in.len; i++)
        if (in.p[i] < ' ' || in.p[i] == 0x7f)
            return true;
    return false;
}

static enum err write_header(const struct http_header *h, struct buf *out)
{
    if (h->name.len == 0 || memchr(h->name.p, ':', h->name.len) || memchr(h->name.p, ' ', h->name.len) ||
        has_control_bytes(h->name) || has_control_bytes(h->value))
        return ERR_INVALID;
    TRY(buf_append(out, h->name));
    TRY(buf_append(out, bytes_of(": ")));
    TRY(buf_append(out, h->value));
    return buf_append(out, bytes_of("\r\n"));
}

/* RFC 9110, 8.6: neither of the two has a Content-Length that means something. */
static bool never_has_body(unsigned status)
{
    return status == 204 || status == 304;
}

static const char *status_phrase(unsigned status)
{
    const char *phrase = http_status_str((enum http_status)status);
    return phrase[0] == '<' ? "" : phrase; /* "<unknown>" */
}

enum err http1_write_answer(const struct http1_answer *answer, struct buf *out)
{
    char date[DATE_SIZE];
    format_date(date);
    TRY(buf_printf(out, "HTTP/1.1 %03u %s\r\nDate: %s\r\n", answer->status, status_phrase(answer->status),
                   date));
    for (size_t i = 0; i < answer->header_count; i++)
        TRY(write_header(&answer->headers[i], out));
    if (answer->close)
        TRY(buf_append(out, bytes_of("Connection: close\r\n")));
    if (answer->framing == HTTP1_CHUNKED)
        TRY(buf_append(out, bytes_of("Transfer-Encoding: chunked\r\n")));
    else if (!never_has_body(answer->status))
        TRY(buf_printf(out, "Content-Length: %zu\r\n", answer->body.len));
    TRY(buf_append(out, bytes_of("\r\n")));
    if (answer->without_body || never_has_body(answer->status))
        return ERR_OK;
    return buf_append(out, answer->body);
}

enum err http1_write_chunk(struct bytes part, struct buf *out)
{
    TRY(buf_printf(out, "%zx\r\n", part.len));
    TRY(buf_append(out, part));
    return buf_append(out, bytes_of("\r\n"));
}
