/* A portal of nanopush: CreateChallenge, then WatchChallenge until the verdict, in Connect's binary form over HTTP/1.1, a
 * connection for each login that is under way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/jws.h"
#include "crypto/statement.h"
#include "http.h"
#include "nanopush/v1/challenge.pb-c.h"
#include "portals.h"

#define ENVELOPE_BYTES 5 /* flags, 32-bit length */
#define ENVELOPE_END   2 /* flag of the last one */

enum call { CALL_NONE, CALL_CREATE, CALL_WATCH };

struct connection {
    struct link link; /* first: the loop casts */
    struct buf in, body;
    struct http_response response;
    enum call call;
    char id[ID_SIZE]; /* of the challenge */
};

static struct connection *connections;

static unsigned number_of(const struct connection *connection)
{
    return (unsigned)(connection - connections);
}

static void fail(struct connection *connection, const char *why)
{
    link_close(&connection->link);
    buf_done(&connection->in);
    buf_done(&connection->body);
    connection->call = CALL_NONE;
    portals_verdict(number_of(connection), why);
    portals_free(number_of(connection));
}

/* ---- out ---- */

static void send_request(struct connection *connection, enum call call, const char *method, const char *type,
                         struct bytes body)
{
    struct buf out = {0};
    if (buf_printf(&out,
                   "POST /nanopush.v1.ChallengeService/%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: "
                   "Bearer %s\r\n"
                   "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                   method, portals.fleet.head->credential, type, body.len) != ERR_OK ||
        buf_append(&out, body) != ERR_OK)
        abort();
    connection->call = call;
    connection->response = (struct http_response){0};
    link_write(&connection->link, buf_view(&out));
    buf_done(&out);
}

static void create(struct connection *connection)
{
    char user[FLEET_USER_SIZE];
    uint8_t packed[256];
    Nanopush__V1__ChallengeContext context = NANOPUSH__V1__CHALLENGE_CONTEXT__INIT;
    Nanopush__V1__CreateChallengeRequest request = NANOPUSH__V1__CREATE_CHALLENGE_REQUEST__INIT;
    fleet_user(portals.logins[number_of(connection)].phone, user);
    context.application = (char *)"Mail";
    context.address = (char *)"192.0.2.7";
    context.place = (char *)"Bolzano";
    context.browser = (char *)"Firefox";
    request.user = user;
    request.context = &context;
    request.mode = NANOPUSH__V1__MODE__MODE_TAP;
    size_t len = nanopush__v1__create_challenge_request__pack(&request, packed);
    send_request(connection, CALL_CREATE, "CreateChallenge", "application/proto", bytes_make(packed, len));
}

static void watch(struct connection *connection)
{
    uint8_t packed[ENVELOPE_BYTES + ID_SIZE + 8] = {0};
    Nanopush__V1__WatchChallengeRequest request = NANOPUSH__V1__WATCH_CHALLENGE_REQUEST__INIT;
    request.id = connection->id;
    size_t len = nanopush__v1__watch_challenge_request__pack(&request, packed + ENVELOPE_BYTES);
    packed[4] = (uint8_t)len;
    send_request(connection, CALL_WATCH, "WatchChallenge", "application/connect+proto",
                 bytes_make(packed, ENVELOPE_BYTES + len));
}

/* ---- in ---- */

static void on_created(struct connection *connection)
{
    struct bytes body = buf_view(&connection->body);
    Nanopush__V1__CreateChallengeResponse *response =
        connection->response.status == 200
            ? nanopush__v1__create_challenge_response__unpack(NULL, body.len, body.p)
            : NULL;
    if (!response) {
        fail(connection, "CreateChallenge was refused");
        return;
    }
    snprintf(connection->id, sizeof connection->id, "%s", response->id);
    nanopush__v1__create_challenge_response__free_unpacked(response, NULL);
    buf_consume(&connection->body, body.len);
    watch(connection);
}

/* What a portal must not leave out: the signature by the key that it knows, over this challenge. */
static bool verified(const struct connection *connection, const Nanopush__V1__Challenge *challenge)
{
    const struct fleet_phone *phone = &portals.fleet.phones[portals.logins[number_of(connection)].phone];
    struct jws jws;
    struct statement statement;
    if (!challenge->answer ||
        jws_parse(bytes_of(challenge->answer->jws), STATEMENT_MAX_BYTES, &jws) != ERR_OK)
        return false;
    bool right = jws_verify(&jws, phone->user_verification.pub) == ERR_OK &&
                 strcmp(jws.typ, JWS_TYP_APPROVAL) == 0 &&
                 statement_parse(buf_view(&jws.payload), &statement) == ERR_OK &&
                 strcmp(statement.jti, connection->id) == 0 && strcmp(statement.iss, phone->device_id) == 0 &&
                 statement.decision == DECISION_APPROVE;
    jws_done(&jws);
    return right;
}

static void on_snapshot(struct connection *connection, const Nanopush__V1__Challenge *challenge)
{
    const char *why = NULL;
    if (!challenge || challenge->state == NANOPUSH__V1__CHALLENGE_STATE__CHALLENGE_STATE_PENDING)
        return;
    if (challenge->state != NANOPUSH__V1__CHALLENGE_STATE__CHALLENGE_STATE_APPROVED)
        why = "not approved";
    else if (portals.verify && !verified(connection, challenge))
        why = "the approval does not verify";
    else
        portals.verified += portals.verify;
    portals_verdict(number_of(connection), why);
}

static void take_envelopes(struct connection *connection)
{
    for (;;) {
        struct bytes body = buf_view(&connection->body);
        if (body.len < ENVELOPE_BYTES)
            return;
        size_t len = (size_t)body.p[1] << 24 | (size_t)body.p[2] << 16 | (size_t)body.p[3] << 8 | body.p[4];
        if (body.len - ENVELOPE_BYTES < len)
            return;
        if (!(body.p[0] & ENVELOPE_END)) {
            Nanopush__V1__WatchChallengeResponse *response =
                nanopush__v1__watch_challenge_response__unpack(NULL, len, body.p + ENVELOPE_BYTES);
            if (response)
                on_snapshot(connection, response->challenge);
            nanopush__v1__watch_challenge_response__free_unpacked(response, NULL);
        }
        buf_consume(&connection->body, ENVELOPE_BYTES + len);
    }
}

static void on_bytes(struct link *link, struct bytes in)
{
    struct connection *connection = (struct connection *)link;
    if (buf_append(&connection->in, in) != ERR_OK)
        abort();
    if (connection->call == CALL_NONE ||
        http_response_take(&connection->response, &connection->in, &connection->body) != ERR_OK) {
        fail(connection, "malformed response");
        return;
    }
    if (connection->call == CALL_WATCH)
        take_envelopes(connection);
    if (connection->response.phase != HTTP_DONE)
        return;
    if (connection->call == CALL_CREATE) {
        on_created(connection);
        return;
    }
    connection->call = CALL_NONE;
    buf_done(&connection->body);
    portals_verdict(number_of(connection), "the watch ended without a verdict");
    portals_free(number_of(connection));
}

/* ---- connections ---- */

static void on_open(struct link *link)
{
    struct connection *connection = (struct connection *)link;
    link_park(link);
    if (portals.logins[number_of(connection)].busy)
        create(connection);
}

static void on_closed(struct link *link, const char *why)
{
    fail((struct connection *)link, why);
}

static void open_one(struct connection *connection)
{
    if (link_open(&connection->link, &portals.target, 0, NULL) != ERR_OK)
        fail(connection, "no connection");
}

static void open_all(void)
{
    static const struct link_handlers handlers = {on_open, on_bytes, on_closed};
    if (!connections)
        connections = mem_new(portals.login_count * sizeof *connections);
    for (unsigned i = 0; i < portals.login_count; i++) {
        connections[i].link.on = &handlers;
        if (connections[i].link.state == LINK_CLOSED)
            open_one(&connections[i]);
    }
}

static bool is_open(void)
{
    for (unsigned i = 0; i < portals.login_count; i++)
        if (connections[i].link.state != LINK_PARKED)
            return false;
    return true;
}

static void ask(unsigned i)
{
    if (connections[i].link.state == LINK_PARKED)
        create(&connections[i]);
    else if (connections[i].link.state == LINK_CLOSED)
        open_one(&connections[i]); /* on_open() asks */
}

const struct portal_protocol portal_nanopush = {"nanopush", "http/1.1", open_all, is_open, ask};
