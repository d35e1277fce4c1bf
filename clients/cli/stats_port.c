#include "cli/stats_port.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/say.h"
#include "cli/session.h"

#define ANSWER_MAX_BYTES (4 * 1024 * 1024)
#define WAITED_FOR_MAX   4

_Static_assert(STATS_PORT_PROBLEM_SIZE >= CURL_ERROR_SIZE, "libcurl writes so much");

struct stats_port {
    CURLM *multi;
    CURL *easy;
    char *url;
    bool asked;
    struct buf body;
    char problem[STATS_PORT_PROBLEM_SIZE];
};

static size_t on_body(char *p, size_t size, size_t len, void *arg)
{
    (void)size; /* always 1 */
    struct buf *body = arg;
    bool kept = buf_len(body) + len <= ANSWER_MAX_BYTES && buf_append(body, bytes_make(p, len)) == ERR_OK;
    return kept ? len : 0;
}

static bool set_up(struct stats_port *port)
{
    port->multi = curl_multi_init();
    port->easy = curl_easy_init();
    if (!port->multi || !port->easy)
        return false;
    CURLcode bad = curl_easy_setopt(port->easy, CURLOPT_URL, port->url);
    bad |= curl_easy_setopt(port->easy, CURLOPT_NOSIGNAL, 1L);
    bad |= curl_easy_setopt(port->easy, CURLOPT_ERRORBUFFER, port->problem);
    bad |= curl_easy_setopt(port->easy, CURLOPT_PROTOCOLS_STR, "http");
    bad |= curl_easy_setopt(port->easy, CURLOPT_PROXY, "");
    bad |= curl_easy_setopt(port->easy, CURLOPT_FAILONERROR, 1L);
    bad |= curl_easy_setopt(port->easy, CURLOPT_WRITEFUNCTION, on_body);
    bad |= curl_easy_setopt(port->easy, CURLOPT_WRITEDATA, &port->body);
    return bad == CURLE_OK;
}

enum exit_status stats_port_open(const struct args *args, struct stats_port **ret)
{
    char *address;
    enum exit_status status = session_address(args, "stats", &address);
    if (status != EXIT_STATUS_OK)
        return status;
    struct stats_port *port = mem_new(sizeof *port);
    int len = asprintf(&port->url, "http://%s/stats.json", address);
    free(address);
    if (len < 0)
        port->url = NULL;
    if (!port->url || !set_up(port)) {
        stats_port_close(port);
        return say_failure("the stats port", ERR_NOMEM);
    }
    *ret = port;
    return EXIT_STATUS_OK;
}

static void give_up(struct stats_port *port)
{
    if (port->asked)
        curl_multi_remove_handle(port->multi, port->easy);
    port->asked = false;
}

void stats_port_close(struct stats_port *port)
{
    if (!port)
        return;
    give_up(port);
    curl_easy_cleanup(port->easy);
    curl_multi_cleanup(port->multi);
    buf_done(&port->body);
    free(port->url);
    free(port);
}

enum err stats_port_ask(struct stats_port *port, long timeout_ms)
{
    give_up(port);
    buf_done(&port->body);
    port->problem[0] = '\0';
    if (curl_easy_setopt(port->easy, CURLOPT_TIMEOUT_MS, timeout_ms) != CURLE_OK ||
        curl_multi_add_handle(port->multi, port->easy) != CURLM_OK)
        return ERR_NOMEM;
    port->asked = true;
    return ERR_OK;
}

static enum stats_port_state finish(struct stats_port *port, CURLcode result)
{
    give_up(port);
    if (result == CURLE_OK)
        return STATS_PORT_ANSWERED;
    if (!port->problem[0])
        snprintf(port->problem, sizeof port->problem, "%s", curl_easy_strerror(result));
    return STATS_PORT_FAILED;
}

enum stats_port_state stats_port_turn(struct stats_port *port, const int *fds, size_t count, int wait_ms)
{
    struct curl_waitfd waited_for[WAITED_FOR_MAX];
    int running, left;
    count = count < WAITED_FOR_MAX ? count : WAITED_FOR_MAX;
    for (size_t i = 0; i < count; i++)
        waited_for[i] = (struct curl_waitfd){.fd = fds[i], .events = CURL_WAIT_POLLIN};
    curl_multi_perform(port->multi, &running);
    if (running || !port->asked)
        curl_multi_poll(port->multi, waited_for, (unsigned)count, wait_ms, NULL);
    if (!port->asked)
        return STATS_PORT_IDLE;
    curl_multi_perform(port->multi, &running);
    const CURLMsg *message = curl_multi_info_read(port->multi, &left);
    return message && message->msg == CURLMSG_DONE ? finish(port, message->data.result) : STATS_PORT_ASKED;
}

struct bytes stats_port_answer(const struct stats_port *port)
{
    return buf_view(&port->body);
}

const char *stats_port_problem(const struct stats_port *port)
{
    return port->problem;
}
