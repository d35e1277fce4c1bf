/* A portal of nchan: publishes by POST, a connection for each login that is under way, and gets all answers on one
 * WebSocket. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http.h"
#include "mqtt.h"
#include "portals.h"
#include "websocket.h"

struct publisher {
    struct link link; /* first: the loop casts */
    struct buf in, body;
    struct http_response response;
    bool answered, published; /* both: another may be asked */
};

static struct publisher *publishers;
static struct link replies;
static struct buf received;
static bool subscribed;

static void settle(unsigned i)
{
    if (publishers[i].answered && publishers[i].published)
        portals_free(i);
}

/* ---- answers ---- */

static void on_answer(struct bytes answer)
{
    uint32_t number[2]; /* login, phone */
    if (answer.len < sizeof number)
        return;
    memcpy(number, answer.p, sizeof number);
    if (number[0] >= portals.login_count || portals.logins[number[0]].phone != number[1])
        return;
    portals_verdict(number[0], NULL);
    publishers[number[0]].answered = true;
    settle(number[0]);
}

static void on_replies_open(struct link *link)
{
    struct buf out = {0};
    link_park(link);
    websocket_add_upgrade(&out, "/replies");
    link_write(link, buf_view(&out));
    buf_done(&out);
}

static void on_replies_bytes(struct link *link, struct bytes in)
{
    enum websocket_opcode opcode;
    struct bytes payload;
    size_t len;
    (void)link;
    if (buf_append(&received, in) != ERR_OK)
        abort();
    if (!subscribed) {
        struct bytes view = buf_view(&received);
        const uint8_t *end = memmem(view.p, view.len, "\r\n\r\n", 4);
        if (!end)
            return;
        subscribed = memcmp(view.p, "HTTP/1.1 101", 12) == 0;
        buf_consume(&received, (size_t)(end - view.p) + 4);
    }
    while ((len = websocket_next(buf_view(&received), &opcode, &payload)) > 0) {
        if (opcode < WEBSOCKET_CLOSE)
            on_answer(payload);
        buf_consume(&received, len);
    }
}

static void on_replies_closed(struct link *link, const char *why)
{
    (void)link;
    subscribed = false;
    buf_done(&received);
    for (unsigned i = 0; i < portals.login_count; i++) {
        portals_verdict(i, why);
        portals_free(i);
    }
}

/* ---- questions ---- */

static void on_open(struct link *link)
{
    link_park(link);
}

static void on_bytes(struct link *link, struct bytes in)
{
    struct publisher *publisher = (struct publisher *)link;
    if (buf_append(&publisher->in, in) != ERR_OK ||
        http_response_take(&publisher->response, &publisher->in, &publisher->body) != ERR_OK)
        abort();
    if (publisher->response.phase != HTTP_DONE)
        return;
    buf_consume(&publisher->body, buf_len(&publisher->body));
    publisher->published = true;
    if (publisher->response.status >= 300) {
        portals_verdict((unsigned)(publisher - publishers), "not published");
        publisher->answered = true;
    }
    settle((unsigned)(publisher - publishers));
}

static void on_closed(struct link *link, const char *why)
{
    struct publisher *publisher = (struct publisher *)link;
    buf_done(&publisher->in);
    buf_done(&publisher->body);
    portals_verdict((unsigned)(publisher - publishers), why);
    portals_free((unsigned)(publisher - publishers));
}

static void open_all(void)
{
    static const struct link_handlers handlers = {on_open, on_bytes, on_closed};
    static const struct link_handlers replies_handlers = {on_replies_open, on_replies_bytes,
                                                          on_replies_closed};
    if (!publishers)
        publishers = mem_new(portals.login_count * sizeof *publishers);
    replies.on = &replies_handlers;
    if (replies.state == LINK_CLOSED && link_open(&replies, &portals.target, 0, NULL) != ERR_OK)
        abort();
    for (unsigned i = 0; i < portals.login_count; i++) {
        publishers[i].link.on = &handlers;
        if (publishers[i].link.state == LINK_CLOSED &&
            link_open(&publishers[i].link, &portals.target, 0, NULL) != ERR_OK)
            abort();
    }
}

static bool is_open(void)
{
    for (unsigned i = 0; i < portals.login_count; i++)
        if (publishers[i].link.state != LINK_PARKED)
            return false;
    return subscribed;
}

static void ask(unsigned i)
{
    struct publisher *publisher = &publishers[i];
    uint8_t question[MQTT_ASK_BYTES] = {0};
    const uint32_t number[2] = {i, portals.logins[i].phone};
    struct buf out = {0};
    if (publisher->link.state != LINK_PARKED) {
        portals_verdict(i, "no connection");
        portals_free(i);
        return;
    }
    memcpy(question, number, sizeof number);
    publisher->answered = publisher->published = false;
    publisher->response = (struct http_response){0};
    if (buf_printf(
            &out,
            "POST /publish/%u HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
            "Content-Length: %zu\r\n\r\n",
            portals.logins[i].phone, sizeof question) != ERR_OK ||
        buf_append(&out, bytes_make(question, sizeof question)) != ERR_OK)
        abort();
    link_write(&publisher->link, buf_view(&out));
    buf_done(&out);
}

const struct portal_protocol portal_nchan = {"nchan", NULL, open_all, is_open, ask};
