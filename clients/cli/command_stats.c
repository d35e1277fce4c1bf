/* stats: the figures of the stats port, for a person. */
#include <curl/curl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/commands.h"
#include "cli/exposition.h"
#include "cli/say.h"
#include "cli/session.h"

#define METRICS_MAX_BYTES (4 * 1024 * 1024)
#define TIMEOUT_S         10L
#define TITLE_MAX_BYTES   512
#define TITLE_WIDTH       44
#define VALUE_WIDTH       16

static size_t on_body(char *p, size_t size, size_t len, void *arg)
{
    (void)size; /* always 1 */
    struct buf *body = arg;
    bool kept = buf_len(body) + len <= METRICS_MAX_BYTES && buf_append(body, bytes_make(p, len)) == ERR_OK;
    return kept ? len : 0;
}

static enum exit_status get(const char *url, struct buf *body)
{
    CURL *curl = curl_easy_init();
    char trouble[CURL_ERROR_SIZE] = "";
    if (!curl)
        return say_failure("the stats port", ERR_NOMEM);
    CURLcode bad = curl_easy_setopt(curl, CURLOPT_URL, url);
    bad |= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    bad |= curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, trouble);
    bad |= curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    bad |= curl_easy_setopt(curl, CURLOPT_PROXY, "");
    bad |= curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    bad |= curl_easy_setopt(curl, CURLOPT_TIMEOUT, TIMEOUT_S);
    bad |= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    bad |= curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    if (!bad)
        bad = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    if (!bad)
        return EXIT_STATUS_OK;
    say_error("the stats port", *trouble ? trouble : curl_easy_strerror(bad));
    return EXIT_STATUS_ERROR;
}

static bool whole(double value)
{
    return value > -1e15 && value < 1e15 && value == (double)(int64_t)value;
}

/* Figures of 1,234,567 are read at a glance, and those with a fraction are few. */
static void format_value(double value, char out[64])
{
    if (!whole(value)) {
        snprintf(out, 64, "%.6g", value);
        return;
    }
    char digits[32];
    int len = snprintf(digits, sizeof digits, "%" PRId64, (int64_t)(value < 0 ? -value : value));
    char *to = out;
    if (value < 0)
        *to++ = '-';
    for (int i = 0; i < len; i++) {
        *to++ = digits[i];
        if (i + 1 < len && (len - i - 1) % 3 == 0)
            *to++ = ',';
    }
    *to = '\0';
}

/* nanopush_connections_open{port="device"} is "connections open, device". */
static void print_sample(const struct sample *sample)
{
    char title[TITLE_MAX_BYTES], value[64];
    const char *name = strncmp(sample->name, "nanopush_", 9) == 0 ? sample->name + 9 : sample->name;
    size_t len = strlen(name);
    if (len > 6 && strcmp(name + len - 6, "_total") == 0)
        len -= 6;
    int at = snprintf(title, sizeof title, "%.*s", (int)len, name);
    for (char *c = title; *c; c++)
        *c = *c == '_' ? ' ' : *c;
    for (size_t i = 0; i < sample->label_count && at >= 0 && (size_t)at < sizeof title; i++)
        at += snprintf(title + at, sizeof title - (size_t)at, ", %s", sample->labels[i].value);
    format_value(sample->value, value);
    say_text(stdout, title);
    printf("%*s%*s\n", at < TITLE_WIDTH ? TITLE_WIDTH - at : 1, "", VALUE_WIDTH, value);
}

static void print_sample_json(const struct sample *sample)
{
    json_t *labels = json_object();
    for (size_t i = 0; i < sample->label_count; i++)
        json_object_set_new(labels, sample->labels[i].name, json_string(sample->labels[i].value));
    json_t *value = whole(sample->value) ? json_integer((json_int_t)sample->value) : json_real(sample->value);
    json_t *line = json_pack("{s:s, s:o, s:o?}", "name", sample->name, "labels", labels, "value", value);
    if (line)
        json_dumpf(line, stdout, JSON_COMPACT);
    puts("");
    json_decref(line);
}

static enum exit_status print_samples(char *text, bool json)
{
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        struct sample sample;
        enum err e = sample_parse(line, &sample);
        if (e == ERR_NOT_FOUND)
            continue;
        if (e != ERR_OK)
            return say_failure("a line of the stats port", e);
        if (json)
            print_sample_json(&sample);
        else
            print_sample(&sample);
    }
    return EXIT_STATUS_OK;
}

enum exit_status command_stats(const struct args *args)
{
    struct buf body = {0};
    char *address, *url;
    enum exit_status status = session_address(args, "stats", &address);
    if (status != EXIT_STATUS_OK)
        return status;
    int len = asprintf(&url, "http://%s/metrics", address);
    free(address);
    if (len < 0)
        return say_failure("the stats port", ERR_NOMEM);
    status = get(url, &body);
    free(url);
    if (status == EXIT_STATUS_OK && buf_append_byte(&body, '\0') != ERR_OK)
        status = say_failure("the stats port", ERR_NOMEM);
    if (status == EXIT_STATUS_OK)
        status = print_samples((char *)body.p, args_given(args, OPTION_JSON));
    buf_done(&body);
    return status;
}
