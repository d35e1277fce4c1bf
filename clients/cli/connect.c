#include "cli/connect.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/envelope.h"

#define CONNECT_TIMEOUT_S    10L
#define KEEPALIVE_IDLE_S     20L /* a stream is silent for minutes; a broker that is gone shows within one */
#define KEEPALIVE_INTERVAL_S 10L
#define TYPE_UNARY           "application/proto"
#define TYPE_STREAM          "application/connect+proto"
#define HEADERS_PER_CALL     5

struct connect_client {
    CURL *curl;
    char *url;
    char *authorization; /* header line; NULL: none */
    bool unix_socket;
    char trouble[CURL_ERROR_SIZE];
};

/** One call under way. */
struct call {
    struct connect_client *client;
    struct connect_problem *problem;
    struct buf body; /* what arrived and was not handed over */
    enum err result; /* why on_body() gave up; ERR_OK: it did not */
    bool over;       /* a stream: its end has been seen, or on_message wants no more */
    const ProtobufCMessageDescriptor *descriptor;
    connect_message_fn on_message; /* NULL: unary */
    void *arg;
};

static enum err set_options(CURL *curl, const struct connect_target *target, char *trouble)
{
    CURLcode bad = CURLE_OK;
    bad |= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    bad |= curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, trouble);
    bad |= curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    bad |= curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, target->unix_path ? "http" : "https");
    bad |= curl_easy_setopt(curl, CURLOPT_PROXY, "");
    bad |= curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
    bad |= curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    bad |= curl_easy_setopt(curl, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    bad |= curl_easy_setopt(curl, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    if (target->unix_path) {
        bad |= curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, target->unix_path);
    } else {
        bad |= curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
        bad |= curl_easy_setopt(curl, CURLOPT_CAINFO, target->ca_path);
        bad |= curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* else the system's CAs count as well */
    }
    return bad ? ERR_NOMEM : ERR_OK;
}

enum err connect_new(const struct connect_target *target, struct connect_client **ret)
{
    struct connect_client *client = calloc(1, sizeof *client);
    if (!client)
        return ERR_NOMEM;
    client->curl = curl_easy_init();
    client->unix_socket = target->unix_path;
    client->url = strdup(target->url);
    if (target->bearer && asprintf(&client->authorization, "Authorization: Bearer %s", target->bearer) < 0)
        client->authorization = NULL;
    enum err e =
        client->curl && client->url && (!target->bearer || client->authorization) ? ERR_OK : ERR_NOMEM;
    if (e == ERR_OK)
        e = set_options(client->curl, target, client->trouble);
    if (e != ERR_OK) {
        connect_free(client);
        return e;
    }
    *ret = client;
    return ERR_OK;
}

void connect_free(struct connect_client *client)
{
    if (!client)
        return;
    if (client->curl)
        curl_easy_cleanup(client->curl);
    if (client->authorization)
        bytes_cleanse(client->authorization, strlen(client->authorization));
    free(client->authorization);
    free(client->url);
    free(client);
}

static enum err give_up(struct call *call, enum err e, const char *message)
{
    connect_problem_set(call->problem, "internal", "%s: %s", message, err_text(e));
    return call->result = e;
}

static enum err take_message(struct call *call, struct bytes payload)
{
    struct arena arena;
    ProtobufCMessage *message;
    arena_init(&arena, CONNECT_MEMORY_MAX_BYTES);
    enum err e = message_parse(call->descriptor, payload, 0, &arena, &message);
    if (e == ERR_OK)
        call->over = !call->on_message(message, call->arg);
    arena_done(&arena);
    return e == ERR_OK ? ERR_OK : give_up(call, ERR_MALFORMED, "the broker's message cannot be read");
}

static enum err take_envelopes(struct call *call)
{
    while (!call->over) {
        struct bytes payload;
        size_t consumed;
        bool end;
        enum err e =
            envelope_next(buf_view(&call->body), CONNECT_RESPONSE_MAX_BYTES, &end, &payload, &consumed);
        if (e != ERR_OK)
            return give_up(call, ERR_MALFORMED, "the broker's stream cannot be read");
        if (consumed == 0)
            return ERR_OK;
        if (end) {
            call->over = true;
            return call->result = connect_problem_of_end(payload, call->problem);
        }
        TRY(take_message(call, payload));
        buf_consume(&call->body, consumed);
    }
    return ERR_OK;
}

static long status_of(const struct call *call)
{
    long status = 0;
    curl_easy_getinfo(call->client->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static bool type_is(const struct call *call, const char *wanted)
{
    char *type = NULL;
    curl_easy_getinfo(call->client->curl, CURLINFO_CONTENT_TYPE, &type);
    size_t len = type ? strcspn(type, "; ") : 0;
    return len == strlen(wanted) && strncasecmp(type, wanted, len) == 0;
}

/* curl's write callback: anything but @p len ends the transfer. */
static size_t on_body(char *p, size_t size, size_t len, void *arg)
{
    (void)size; /* always 1 */
    struct call *call = arg;
    bool streams = call->on_message && status_of(call) == 200 && type_is(call, TYPE_STREAM);
    /* A stream's envelope is checked as soon as its length is there, so what waits is at most one and one
     * chunk. */
    if (!streams && buf_len(&call->body) + len > CONNECT_RESPONSE_MAX_BYTES)
        give_up(call, ERR_MALFORMED, "the broker's answer is too long");
    else if (buf_append(&call->body, bytes_make(p, len)) != ERR_OK)
        give_up(call, ERR_NOMEM, "the broker's answer");
    else if (streams)
        call->result = take_envelopes(call);
    return call->result == ERR_OK && !call->over ? len : 0;
}

static enum err unreachable(const struct call *call, CURLcode code)
{
    const struct connect_client *client = call->client;
    const char *trouble = *client->trouble ? client->trouble : curl_easy_strerror(code);
    long number = 0;
    curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &number);
    if (client->unix_socket && code == CURLE_COULDNT_CONNECT && number) /* curl speaks of a host and a port */
        trouble = strerror((int)number);
    connect_problem_set(call->problem, "unavailable", "%s", trouble);
    return ERR_UNAVAILABLE;
}

/* What curl's result and the HTTP status make of the call. */
static enum err judge(struct call *call, CURLcode code)
{
    if (call->over || call->result != ERR_OK)
        return call->result;
    if (code != CURLE_OK)
        return unreachable(call, code);
    long status = status_of(call);
    if (status != 200) {
        connect_problem_of_status(status, buf_view(&call->body), call->problem);
        return ERR_DENIED;
    }
    if (!type_is(call, call->on_message ? TYPE_STREAM : TYPE_UNARY))
        return give_up(call, ERR_MALFORMED, "the broker's answer is of another type");
    if (call->on_message) {
        connect_problem_set(call->problem, "unavailable", "the stream broke off");
        return ERR_UNAVAILABLE;
    }
    return ERR_OK;
}

static struct curl_slist *headers_of(const struct call *call)
{
    const char *lines[HEADERS_PER_CALL] = {
        call->on_message ? "Content-Type: " TYPE_STREAM : "Content-Type: " TYPE_UNARY,
        "Connect-Protocol-Version: 1",
        "Expect:", /* the broker reads small bodies without being asked */
        "User-Agent: nanopush",
        call->client->authorization,
    };
    struct curl_slist *headers = NULL;
    for (size_t i = 0; i < HEADERS_PER_CALL && lines[i]; i++) {
        struct curl_slist *longer = curl_slist_append(headers, lines[i]);
        if (!longer) {
            curl_slist_free_all(headers);
            return NULL;
        }
        headers = longer;
    }
    return headers;
}

static enum err transfer(struct call *call, const char *url, struct bytes body)
{
    CURL *curl = call->client->curl;
    struct curl_slist *headers = headers_of(call);
    CURLcode bad = headers ? CURLE_OK : CURLE_OUT_OF_MEMORY;
    call->client->trouble[0] = '\0';
    bad |= curl_easy_setopt(curl, CURLOPT_URL, url);
    bad |= curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    bad |= curl_easy_setopt(curl, CURLOPT_POST, 1L);
    bad |= curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.len ? (const char *)body.p : "");
    bad |= curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    bad |= curl_easy_setopt(curl, CURLOPT_TIMEOUT,
                            call->on_message ? CONNECT_STREAM_TIMEOUT_S : CONNECT_UNARY_TIMEOUT_S);
    bad |= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    bad |= curl_easy_setopt(curl, CURLOPT_WRITEDATA, call);
    enum err e = bad ? give_up(call, ERR_NOMEM, "the call") : judge(call, curl_easy_perform(curl));
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    return e;
}

static enum err start(struct call *call, const char *procedure, const ProtobufCMessage *request)
{
    struct buf packed = {0}, enveloped = {0};
    char *url = NULL;
    enum err e = message_pack(request, &packed);
    if (e == ERR_OK && call->on_message)
        e = envelope_append(&enveloped, buf_view(&packed));
    if (e == ERR_OK && asprintf(&url, "%s/%s", call->client->url, procedure) < 0) {
        url = NULL; /* asprintf() leaves it undefined */
        e = ERR_NOMEM;
    }
    struct bytes body = buf_view(call->on_message ? &enveloped : &packed);
    e = e == ERR_OK ? transfer(call, url, body) : give_up(call, e, "the request");
    free(url);
    buf_done(&enveloped);
    buf_done(&packed);
    return e;
}

enum err connect_call(struct connect_client *client, const char *procedure, const ProtobufCMessage *request,
                      const ProtobufCMessageDescriptor *descriptor, struct arena *arena,
                      ProtobufCMessage **ret, struct connect_problem *problem)
{
    struct call call = {.client = client, .problem = problem};
    enum err e = start(&call, procedure, request);
    if (e == ERR_OK && message_parse(descriptor, buf_view(&call.body), 0, arena, ret) != ERR_OK)
        e = give_up(&call, ERR_MALFORMED, "the broker's answer cannot be read");
    buf_done(&call.body);
    return e;
}

enum err connect_stream(struct connect_client *client, const char *procedure, const ProtobufCMessage *request,
                        const ProtobufCMessageDescriptor *descriptor, connect_message_fn on_message,
                        void *arg, struct connect_problem *problem)
{
    struct call call = {
        .client = client, .problem = problem, .descriptor = descriptor, .on_message = on_message, .arg = arg};
    enum err e = start(&call, procedure, request);
    buf_done(&call.body);
    return e;
}
