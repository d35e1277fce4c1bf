#include "ops/stats.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "core/log.h"
#include "net/http.h"
#include "net/listener.h"
#include "ops/dashboard.h"
#include "ops/stats_json.h"

#define CONNECTIONS_MAX        64
#define REQUEST_LINE_MAX_BYTES 1024
#define HEAD_MAX_BYTES         4096
#define HEADER_COUNT_MAX       32

struct stats_port {
    struct listener *listener; /* NULL once stopped */
    struct http_server *server;
    struct stats_sources sources; /* but for redis_up, which is asked for each time */
    struct history *history;
    struct timer sample;
    char policy[DASHBOARD_POLICY_SIZE];
    stats_redis_up_fn redis_up;
    void *redis_up_arg;
};

static bool is(struct bytes text, const char *expected)
{
    return bytes_equal(text, bytes_of(expected));
}

/* An IP address or "localhost", with or without a port. */
static bool is_local_host(struct bytes host)
{
    char name[INET6_ADDRSTRLEN + sizeof "[]:65535"];
    struct in6_addr address;
    if (host.len == 0 || host.len >= sizeof name)
        return false;
    memcpy(name, host.p, host.len);
    name[host.len] = '\0';
    if (name[0] == '[') {
        char *end = strchr(name, ']');
        if (!end || (end[1] != '\0' && end[1] != ':'))
            return false;
        *end = '\0';
        return inet_pton(AF_INET6, name + 1, &address) == 1;
    }
    name[strcspn(name, ":")] = '\0';
    return inet_pton(AF_INET, name, &address) == 1 || strcasecmp(name, "localhost") == 0;
}

static void answer(struct http_exchange *ex, unsigned status, const char *content_type, struct bytes body)
{
    const struct http_header headers[] = {
        {bytes_of("Content-Type"), bytes_of(content_type)},
        {bytes_of("Cache-Control"), bytes_of("no-store")},
    };
    http_respond(ex, status, headers, 2, body);
}

static void answer_text(struct http_exchange *ex, unsigned status, const char *text)
{
    answer(ex, status, "text/plain; charset=utf-8", bytes_of(text));
}

static void answer_built(struct http_exchange *ex, unsigned status, const char *content_type, enum err built,
                         struct buf *body)
{
    if (built == ERR_OK)
        answer(ex, status, content_type, buf_view(body));
    else
        answer_text(ex, 500, "out of memory\n");
    buf_done(body);
}

static struct stats_sources sources_of(const struct stats_port *port)
{
    struct stats_sources sources = port->sources;
    sources.redis_up = port->redis_up(&sources.redis_since_unix_ms, &sources.redis_part, port->redis_up_arg);
    return sources;
}

/* One line for each thing that is not as it should be; none if all is. */
static enum err find_reasons(const struct stats_port *port, struct buf *reasons, bool *ready)
{
    const struct stats_sources sources = sources_of(port);
    struct fault faults[FAULTS_MAX];
    char since[LOG_TIME_SIZE];
    size_t count = stats_faults(&sources, faults, ready);
    for (size_t i = 0; i < count; i++) {
        if (faults[i].worker)
            TRY(buf_printf(reasons, "worker %u ", faults[i].worker));
        TRY(buf_printf(reasons, "%s", fault_text(faults[i].kind)));
        if (faults[i].kind == FAULT_REDIS && sources.redis_part[0])
            TRY(buf_printf(reasons, ": %s,", sources.redis_part));
        if (faults[i].since_unix_ms)
            TRY(buf_printf(reasons, " since %s", log_time(faults[i].since_unix_ms, since)));
        TRY(buf_append_byte(reasons, '\n'));
    }
    return ERR_OK;
}

static void get_dashboard(struct http_exchange *ex, const struct stats_port *port)
{
    const struct http_header headers[] = {
        {bytes_of("Content-Type"), bytes_of("text/html; charset=utf-8")},
        {bytes_of("Cache-Control"), bytes_of("no-store")},
        {bytes_of("Content-Security-Policy"), bytes_of(port->policy)},
        {bytes_of("X-Content-Type-Options"), bytes_of("nosniff")},
        {bytes_of("Referrer-Policy"), bytes_of("no-referrer")},
    };
    http_respond(ex, 200, headers, sizeof headers / sizeof *headers, dashboard_html());
}

static void get_metrics(struct http_exchange *ex, const struct stats_port *port)
{
    struct buf body = {0};
    enum err e = metrics_render(port->sources.page, &body);
    answer_built(ex, 200, METRICS_CONTENT_TYPE, e, &body);
}

static void get_json(struct http_exchange *ex, const struct stats_port *port)
{
    const struct stats_sources sources = sources_of(port);
    struct buf body = {0};
    enum err e = stats_json(&sources, &body);
    answer_built(ex, 200, "application/json", e, &body);
}

static void get_health(struct http_exchange *ex, const struct stats_port *port)
{
    (void)port;
    answer_text(ex, 200, "ok\n");
}

static void get_readiness(struct http_exchange *ex, const struct stats_port *port)
{
    struct buf text = {0};
    bool ready = false;
    enum err e = find_reasons(port, &text, &ready);
    if (e == ERR_OK && buf_len(&text) == 0)
        e = buf_printf(&text, "ready\n");
    answer_built(ex, ready ? 200 : 503, "text/plain; charset=utf-8", e, &text);
}

static const struct {
    const char *path;
    void (*get)(struct http_exchange *ex, const struct stats_port *port);
} pages[] = {
    {"/", get_dashboard},     {"/metrics", get_metrics},  {"/stats.json", get_json},
    {"/healthz", get_health}, {"/readyz", get_readiness},
};

static void refuse_host(struct http_exchange *ex, const struct bytes *host)
{
    LOG(WARN, OPS, "stats-host-refused", "host=%s", LOG_BYTES(host ? *host : bytes_of("")));
    answer_text(ex, 403, "ask by IP address or as localhost\n");
}

static void refuse_method(struct http_exchange *ex)
{
    const struct http_header headers[] = {
        {bytes_of("Content-Type"), bytes_of("text/plain; charset=utf-8")},
        {bytes_of("Allow"), bytes_of("GET, HEAD")},
    };
    http_respond(ex, 405, headers, 2, bytes_of("only GET and HEAD\n"));
}

static void on_request(struct http_exchange *ex, void *arg)
{
    const struct bytes *host = http_find_header(ex, "Host");
    if (!host || !is_local_host(*host)) {
        refuse_host(ex, host);
        return;
    }
    if (!is(ex->method, "GET") && !is(ex->method, "HEAD")) {
        refuse_method(ex);
        return;
    }
    if (ex->too_large) {
        answer_text(ex, 413, "no body, please\n");
        return;
    }
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (is(ex->path, pages[i].path)) {
            pages[i].get(ex, arg);
            return;
        }
    }
    answer_text(ex, 404, "there are /, /metrics, /stats.json, /healthz and /readyz\n");
}

static void on_bad_request(struct http_exchange *ex, enum bad_request why, void *arg)
{
    struct buf body = {0};
    (void)arg;
    enum err e = buf_printf(&body, "%s\n", bad_request_text(why));
    answer_built(ex, bad_request_status(why), "text/plain; charset=utf-8", e, &body);
}

/* No on_gone: every exchange is over when on_request returns. */
static const struct http_handlers http_handlers = {.on_request = on_request,
                                                   .on_bad_request = on_bad_request};

static void on_connection_closed(enum close_reason reason, void *arg)
{
    struct stats_port *port = arg;
    (void)reason;
    if (port->listener)
        listener_release(port->listener);
}

static void on_accept(int fd, const struct address *peer, void *arg)
{
    struct stats_port *port = arg;
    if (http_server_accept(port->server, fd, peer) != ERR_OK)
        listener_release(port->listener);
}

static const struct listener_handlers listener_handlers = {.on_accept = on_accept};

static void on_sample_due(void *arg)
{
    struct stats_port *port = arg;
    history_take(port->history, port->sources.page);
    timer_start(&port->sample, HISTORY_STEP_MS);
}

struct stats_port *stats_port_new(struct loop *loop, int fd, const struct metrics_page *page,
                                  const struct recent *recent, unsigned worker_count,
                                  stats_redis_up_fn redis_up, void *arg)
{
    struct stats_port *port = calloc(1, sizeof *port);
    if (!port)
        return NULL;
    if (dashboard_policy(port->policy) != ERR_OK) {
        free(port);
        return NULL;
    }
    port->history = history_new();
    port->sources = (struct stats_sources){
        .page = page, .recent = recent, .history = port->history, .worker_count = worker_count};
    timer_init(&port->sample, loop, on_sample_due, port);
    on_sample_due(port);
    port->redis_up = redis_up;
    port->redis_up_arg = arg;
    struct http_server_options options = {
        .stream = stream_limits_default,
        .http = http_limits_default,
        .on_connection_closed = on_connection_closed,
    };
    options.http.request_line_max = REQUEST_LINE_MAX_BYTES;
    options.http.head_max = HEAD_MAX_BYTES;
    options.http.header_count_max = HEADER_COUNT_MAX;
    options.http.body_max = 0;
    port->server = http_server_new(loop, &options, &http_handlers, port);
    const struct listener_options listening = {.connections_max = CONNECTIONS_MAX};
    if (port->server)
        port->listener = listener_new(loop, fd, &listening, &listener_handlers, port);
    if (!port->listener) {
        stats_port_free(port);
        return NULL;
    }
    return port;
}

void stats_port_stop(struct stats_port *port)
{
    timer_cancel(&port->sample);
    listener_free(port->listener);
    port->listener = NULL;
    http_server_abort(port->server, CLOSE_DRAINED);
}

void stats_port_free(struct stats_port *port)
{
    if (!port)
        return;
    timer_cancel(&port->sample);
    http_server_free(port->server);
    free(port->history);
    free(port);
}
