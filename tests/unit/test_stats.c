#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/clock.h"
#include "core/log.h"
#include "net/listener.h"
#include "ops/stats.h"

#define WORKERS     2
#define DEADLINE_MS 5000

/* The port under test, and one client on the same loop. */
struct fixture {
    struct loop *loop;
    struct metrics_page *page;
    struct recent *recent;
    struct stats_port *port;
    int listening;
    bool redis_up;
    int client;
    struct io client_io;
    struct timer deadline;
    size_t answer_len;
    char answer[65536];
};

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

static void run_one_turn(struct loop *loop)
{
    struct deferral stop;
    deferral_init(&stop, stop_loop, loop);
    loop_defer(loop, &stop);
    loop_run(loop);
}

static bool redis_up(int64_t *since_unix_ms, const char **part, void *arg)
{
    *part = "";
    struct fixture *f = arg;
    if (!f->redis_up)
        *since_unix_ms = 1795517409123;
    return f->redis_up;
}

static void on_deadline(void *arg)
{
    (void)arg;
    fail_msg("no answer in time");
}

static void on_client_readable(unsigned events, void *arg)
{
    struct fixture *f = arg;
    (void)events;
    ssize_t got = read(f->client, f->answer + f->answer_len, sizeof f->answer - 1 - f->answer_len);
    if (got > 0)
        f->answer_len += (size_t)got;
    else
        loop_stop(f->loop);
}

/* When the worker's probe came to each step, in milliseconds before now. */
static void probe(struct fixture *f, unsigned slot, int64_t turned_ms, int64_t written_ms,
                  int64_t returned_ms)
{
    int64_t now_mono_ms = clock_mono_ms();
    metrics_slot_probe(f->page, slot, PROBE_TURNED, now_mono_ms - turned_ms);
    metrics_slot_probe(f->page, slot, PROBE_WRITTEN, now_mono_ms - written_ms);
    metrics_slot_probe(f->page, slot, PROBE_RETURNED, now_mono_ms - returned_ms);
}

static int begin(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct address address;
    struct buf why = {0};
    log_init("test", LOG_LEVEL_ERROR);
    f->loop = loop_new();
    f->page = metrics_page_new(WORKERS + 1);
    f->recent = recent_new();
    f->redis_up = true;
    for (unsigned slot = 0; slot < WORKERS; slot++) {
        metrics_slot_started(f->page, slot, 1000 + (int)slot, 1795517400000);
        metrics_slot_set_ready(f->page, slot, true, 1795517401000);
        probe(f, slot, 0, 0, 0);
    }
    assert_int_equal(address_parse("127.0.0.1:0", &address), ERR_OK);
    assert_int_equal(listener_open(&address, 16, &f->listening, &why), ERR_OK);
    f->port = stats_port_new(f->loop, f->listening, f->page, f->recent, WORKERS, redis_up, f);
    timer_init(&f->deadline, f->loop, on_deadline, f);
    *state = f;
    return f->port ? 0 : -1;
}

static int end(void **state)
{
    struct fixture *f = *state;
    stats_port_stop(f->port);
    run_one_turn(f->loop);
    stats_port_free(f->port);
    loop_free(f->loop);
    metrics_page_free(f->page);
    recent_free(f->recent);
    close(f->listening);
    free(f);
    return 0;
}

static void connect_client(struct fixture *f)
{
    struct address address;
    assert_int_equal(address_of_socket(f->listening, &address), ERR_OK);
    f->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(f->client, (const struct sockaddr *)&address.storage, address.len), 0);
}

/* Send @p request and return all that comes back until the broker closes. */
static const char *ask(struct fixture *f, const char *request)
{
    connect_client(f);
    assert_int_equal(write(f->client, request, strlen(request)), strlen(request));
    f->answer_len = 0;
    timer_start(&f->deadline, DEADLINE_MS);
    io_init(&f->client_io, f->loop, f->client, on_client_readable, f);
    assert_int_equal(io_want(&f->client_io, true, false), ERR_OK);
    loop_run(f->loop);
    io_done(&f->client_io);
    timer_cancel(&f->deadline);
    close(f->client);
    f->answer[f->answer_len] = '\0';
    return f->answer;
}

static const char *get(struct fixture *f, const char *method, const char *path, const char *host)
{
    char request[512];
    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", method, path,
             host);
    return ask(f, request);
}

static void assert_answer(const char *answer, const char *status, const char *body)
{
    char line[64];
    snprintf(line, sizeof line, "HTTP/1.1 %s ", status);
    assert_memory_equal(answer, line, strlen(line));
    const char *got = strstr(answer, "\r\n\r\n");
    assert_non_null(got);
    if (body)
        assert_string_equal(got + 4, body);
}

static void healthz_says_that_the_process_answers(void **state)
{
    struct fixture *f = *state;
    f->redis_up = false;
    assert_answer(get(f, "GET", "/healthz", "127.0.0.1"), "200", "ok\n");
}

static void readyz_is_ready_when_all_are(void **state)
{
    assert_answer(get(*state, "GET", "/readyz", "localhost:7442"), "200", "ready\n");
}

static void readyz_gives_each_reason_a_line(void **state)
{
    struct fixture *f = *state;
    metrics_slot_set_ready(f->page, 1, false, 1795517409123);
    assert_answer(get(f, "GET", "/readyz", "localhost"), "503",
                  "worker 2 not ready since 2026-11-24T10:50:09.123Z\n");
    metrics_slot_started(f->page, 0, 0, 0);
    f->redis_up = false;
    assert_answer(get(f, "GET", "/readyz", "localhost"), "503",
                  "redis unavailable since 2026-11-24T10:50:09.123Z\n"
                  "worker 1 never started\n"
                  "worker 2 not ready since 2026-11-24T10:50:09.123Z\n");
}

static void the_last_step_that_a_late_probe_missed_is_at_fault(void **state)
{
    static const struct {
        int64_t turned_ms, written_ms, returned_ms;
        const char *status, *body;
    } cases[] = {
        {2000, 2500, 2500, "200", "ready\n"},
        {100, 100, 2500, "200", "ready\n"},
        {9000, 9000, 9000, "503", "worker 2 stopped or saturated since "},
        {100, 9000, 9000, "503", "worker 2 gets no answer from redis since "},
        {100, 100, 9000, "503", "worker 2 gets no hints since "},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        probe(f, 1, cases[i].turned_ms, cases[i].written_ms, cases[i].returned_ms);
        const char *answer = get(f, "GET", "/readyz", "localhost");
        assert_answer(answer, cases[i].status, NULL);
        const char *body = strstr(answer, "\r\n\r\n") + 4;
        assert_int_equal(strncmp(body, cases[i].body, strlen(cases[i].body)), 0);
    }
}

static void json_says_what_metrics_say_and_what_is_wrong(void **state)
{
    struct fixture *f = *state;
    metrics_use_slot(f->page, 1);
    recent_use(f->recent, 1);
    METRIC_ADD(PUSHES_SENT, 42);
    HISTOGRAM_ADD(REDIS, 700);
    PORTAL_METRIC_ADD(APPROVED, "shop");
    recent_add(RECENT_WARNING, "push_locked");
    recent_add(RECENT_ERROR, "redis-silent");
    recent_use(NULL, 0);
    metrics_use_slot(NULL, 0);
    probe(f, 1, 100, 100, 9000);
    json_t *root = json_loads(strstr(get(f, "GET", "/stats.json", "localhost"), "\r\n\r\n") + 4, 0, NULL);
    assert_non_null(root);
    assert_true(json_is_false(json_object_get(root, "ready")));
    const json_t *fault = json_array_get(json_object_get(root, "faults"), 0);
    assert_string_equal(json_string_value(json_object_get(fault, "text")), "gets no hints");
    assert_int_equal(json_integer_value(json_object_get(fault, "worker")), 2);
    const json_t *newest = json_array_get(json_object_get(root, "recent"), 0);
    assert_string_equal(json_string_value(json_object_get(newest, "kind")), "redis-silent");
    assert_string_equal(json_string_value(json_object_get(newest, "process")), "worker 2");
    assert_int_equal(json_array_size(json_object_get(root, "recent")), 2);
    assert_int_equal(json_array_size(json_object_get(root, "workers")), WORKERS);
    const json_t *metrics = json_object_get(root, "metrics");
    const json_t *sent = json_object_get(json_object_get(metrics, "nanopush_pushes_sent_total"), "samples");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(sent, 0), "value")), 42);
    const json_t *redis = json_object_get(metrics, "nanopush_redis_seconds");
    const json_t *took = json_array_get(json_object_get(redis, "samples"), 0);
    assert_int_equal(json_integer_value(json_object_get(took, "count")), 1);
    assert_int_equal(json_array_size(json_object_get(took, "buckets")),
                     json_array_size(json_object_get(redis, "bounds")) + 1);
    assert_int_equal(json_array_size(json_object_get(json_object_get(root, "history"), "phones")), 1);
    json_decref(root);
}

static void the_readiness_of_ops_itself_is_no_matter(void **state)
{
    struct fixture *f = *state;
    metrics_slot_started(f->page, WORKERS, 1, 1);
    assert_answer(get(f, "GET", "/readyz", "localhost"), "200", "ready\n");
}

static void the_dashboard_comes_with_its_policy(void **state)
{
    const char *answer = get(*state, "GET", "/", "localhost");
    assert_answer(answer, "200", NULL);
    assert_non_null(strstr(answer, "Content-Security-Policy: default-src 'none'; style-src 'sha256-"));
    assert_non_null(strstr(answer, "<title>nanopush</title>"));
    assert_non_null(strstr(answer, "</html>"));
}

static void metrics_are_in_prometheus_format(void **state)
{
    struct fixture *f = *state;
    metrics_use_slot(f->page, 0);
    METRIC_ADD(PUSHES_SENT, 42);
    const char *answer = get(f, "GET", "/metrics", "[::1]:7442");
    assert_answer(answer, "200", NULL);
    assert_non_null(strcasestr(answer, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert_non_null(strstr(answer, "\nnanopush_pushes_sent_total 42\n"));
    assert_non_null(strstr(answer, "# TYPE nanopush_build_info gauge\n"));
}

static void a_query_is_ignored(void **state)
{
    assert_answer(get(*state, "GET", "/healthz?x=1", "localhost"), "200", "ok\n");
}

static void head_is_get_without_the_body(void **state)
{
    const char *answer = get(*state, "HEAD", "/healthz", "localhost");
    assert_answer(answer, "200", "");
    assert_non_null(strcasestr(answer, "\r\nContent-Length: 3\r\n"));
}

static void other_paths_are_not_found(void **state)
{
    static const char *const paths[] = {"/x",        "/metrics/", "/metricsx", "/metric",
                                        "//metrics", "/Metrics",  "/%6detrics"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_answer(get(*state, "GET", paths[i], "localhost"), "404", NULL);
}

static void other_methods_are_refused(void **state)
{
    static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        const char *answer = get(*state, methods[i], "/metrics", "localhost");
        assert_answer(answer, "405", NULL);
        assert_non_null(strcasestr(answer, "\r\nAllow: GET, HEAD\r\n"));
    }
}

static void a_body_is_refused_unread(void **state)
{
    assert_answer(ask(*state, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"),
                  "413", NULL);
}

static void only_addresses_and_localhost_are_served(void **state)
{
    static const char *const served[] = {"localhost",
                                         "LOCALHOST:1",
                                         "127.0.0.1",
                                         "10.1.2.3:9",
                                         "[::1]",
                                         "[2001:db8::7]:7442",
                                         "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535"};
    static const char *const refused[] = {
        "evil.example",
        "localhost.evil.example:7442",
        "127.0.0.1.evil.example",
        "127.0.0.1evil",
        "[::1",
        "[::1]x",
        "[evil]",
        "::1",
        "localhost.",
        "127.1",
        "a-name-that-is-longer-than-any-address-with-a-port-can-ever-be.example"};
    for (size_t i = 0; i < sizeof served / sizeof served[0]; i++)
        assert_answer(get(*state, "GET", "/healthz", served[i]), "200", "ok\n");
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const char *answer = get(*state, "GET", "/metrics", refused[i]);
        if (!strstr(answer, " 400 ")) /* what is no Host at all may fail earlier */
            assert_answer(answer, "403", NULL);
        assert_null(strstr(answer, "nanopush_"));
    }
}

static void what_is_no_request_is_answered(void **state)
{
    assert_answer(ask(*state, "GET /healthz HTTP/1.1\r\n\r\n"), "400", NULL);
    assert_answer(ask(*state, "nonsense\r\n\r\n"), "400", NULL);
}

static void connections_are_kept_for_the_next_request(void **state)
{
    const char *answer = ask(*state, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
                                     "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_answer(answer, "200", NULL);
    assert_non_null(strstr(answer, "\r\n\r\nok\nHTTP/1.1 200 "));
    assert_non_null(strstr(answer, "\r\n\r\nready\n"));
}

/* The leak check sees what is left. */
static void stopping_cuts_who_is_connected(void **state)
{
    struct fixture *f = *state;
    struct timer pause;
    connect_client(f);
    timer_init(&pause, f->loop, stop_loop, f->loop);
    timer_start(&pause, 50); /* for the connection to be accepted */
    loop_run(f->loop);
    stats_port_stop(f->port);
    run_one_turn(f->loop);
    assert_int_equal(read(f->client, f->answer, 1), 0);
    close(f->client);
}

int main(void)
{
#define ON_LOOPBACK(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest stats_tests[] = {
        ON_LOOPBACK(healthz_says_that_the_process_answers),
        ON_LOOPBACK(readyz_is_ready_when_all_are),
        ON_LOOPBACK(readyz_gives_each_reason_a_line),
        ON_LOOPBACK(the_last_step_that_a_late_probe_missed_is_at_fault),
        ON_LOOPBACK(the_dashboard_comes_with_its_policy),
        ON_LOOPBACK(json_says_what_metrics_say_and_what_is_wrong),
        ON_LOOPBACK(the_readiness_of_ops_itself_is_no_matter),
        ON_LOOPBACK(metrics_are_in_prometheus_format),
        ON_LOOPBACK(a_query_is_ignored),
        ON_LOOPBACK(head_is_get_without_the_body),
        ON_LOOPBACK(other_paths_are_not_found),
        ON_LOOPBACK(other_methods_are_refused),
        ON_LOOPBACK(a_body_is_refused_unread),
        ON_LOOPBACK(only_addresses_and_localhost_are_served),
        ON_LOOPBACK(what_is_no_request_is_answered),
        ON_LOOPBACK(connections_are_kept_for_the_next_request),
        ON_LOOPBACK(stopping_cuts_who_is_connected),
    };
    return cmocka_run_group_tests_name("stats", stats_tests, NULL, NULL);
}
