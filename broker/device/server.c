#include "device/server.h"

#include <stdlib.h>
#include <sys/random.h>

#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "device/session.h"

#define RENEW_TICK_MS       10
#define RENEW_AGAIN_MS      1000
#define RENEW_PER_TICK      100
#define DRAIN_TICK_MS       100
#define TAKEN_RETURN_MS     5000  /* so that two holders of one device do not chase each other */
#define DRAIN_RETURN_MS     10000 /* phones come back within so much, each at a time of its own */
#define SESSION_QUEUE_BYTES (256 * 1024)

size_t device_server_connections(const struct device_server *server)
{
    return server->session_count;
}

void device_server_accept(struct device_server *server, int fd)
{
    if (!session_new(server, fd) && server->on_closed)
        server->on_closed(server->arg);
}

void device_server_deliver(struct device_server *server, enum hint_kind kind, const char *device_id,
                           uint64_t connection, const char *challenge_id, struct bytes frame)
{
    struct account *account = account_find(server, device_id, connection);
    if (!account)
        return;
    if (!account->device) {
        account->again = true; /* attaching: what it reads may be from before this */
        return;
    }
    if (!session_write(account->session, frame) || kind != HINT_PUSH)
        return;
    METRIC_ADD(PUSHES_SENT, 1);
    challenge_progressed(server->domain, challenge_id, device_id, NANOPUSH__V1__PROGRESS__PROGRESS_SENT);
}

void device_server_taken(struct device_server *server, const char *device_id, uint64_t connection,
                         bool removed)
{
    struct account *account = account_find(server, device_id, connection);
    if (!account)
        return;
    struct session *session = account->session;
    account_free(account, false);
    if (removed) {
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_REMOVED, device_id, "the account is no more");
        session_end_without_account(session);
        return;
    }
    session_go_away(session, NANOPUSH__V1__GO_AWAY__REASON__REASON_TAKEN_OVER, TAKEN_RETURN_MS, CLOSE_LOCAL);
}

/* ---- attach everybody again ---- */

static void on_renew_tick(void *arg)
{
    struct device_server *server = arg;
    for (int i = 0; i < RENEW_PER_TICK && !list_empty(&server->renewing); i++) {
        struct account *account = CONTAINER_OF(server->renewing.next, struct account, renewing);
        list_remove(&account->renewing);
        account_attach(account);
    }
    if (!list_empty(&server->renewing))
        timer_start(&server->renew, RENEW_TICK_MS);
}

static void renew_later(struct table_node *node, void *arg)
{
    struct device_server *server = arg;
    struct account *account = CONTAINER_OF(node, struct account, by_id);
    list_remove(&account->renewing);
    list_append(&server->renewing, &account->renewing);
}

void device_server_renew_later(struct device_server *server, struct account *account)
{
    list_remove(&account->renewing);
    list_append(&server->renewing, &account->renewing);
    if (!timer_armed(&server->renew))
        timer_start(&server->renew, RENEW_AGAIN_MS);
}

void device_server_renew(struct device_server *server)
{
    table_each(&server->accounts, renew_later, server);
    timer_start(&server->renew, RENEW_TICK_MS);
}

/* ---- end ---- */

static void on_drain_tick(void *arg)
{
    struct device_server *server = arg;
    unsigned sent = 0;
    LIST_EACH_SAFE (node, &server->sessions) {
        struct session *session = CONTAINER_OF(node, struct session, node);
        uint32_t random = 0;
        if (session->state == SESSION_CLOSING)
            continue;
        if (sent++ >= server->drain_per_tick)
            break;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            random = 0;
        session_go_away(session, NANOPUSH__V1__GO_AWAY__REASON__REASON_DRAINING, random % DRAIN_RETURN_MS,
                        CLOSE_DRAINED);
    }
    if (server->session_count)
        timer_start(&server->drain, DRAIN_TICK_MS);
}

void device_server_drain(struct device_server *server, unsigned within_ms)
{
    unsigned ticks = within_ms / 2 / DRAIN_TICK_MS + 1; /* half of the time is for saying goodbye */
    server->drain_per_tick = (unsigned)(server->session_count / ticks + 1);
    LOG(INFO, DEVICE, "draining", "connections=%zu", server->session_count);
    on_drain_tick(server);
}

void device_server_abort(struct device_server *server)
{
    LIST_EACH_SAFE (node, &server->sessions) {
        struct session *session = CONTAINER_OF(node, struct session, node);
        session_set_state(session, SESSION_CLOSING);
        stream_abort(session->stream, CLOSE_DRAINED);
    }
}

struct device_server *device_server_new(struct domain *domain, SSL_CTX *tls,
                                        const struct device_options *options, void (*on_closed)(void *arg),
                                        void *arg)
{
    struct device_server *server = mem_new(sizeof *server);
    server->domain = domain;
    SSL_CTX_up_ref(tls);
    server->tls = tls;
    server->options = *options;
    server->limits = stream_limits_default;
    server->limits.handshake_ms = options->handshake_timeout_ms;
    server->limits.write_max = SESSION_QUEUE_BYTES;
    server->on_closed = on_closed;
    server->arg = arg;
    list_init(&server->sessions);
    list_init(&server->renewing);
    timer_init(&server->renew, domain->loop, on_renew_tick, server);
    timer_init(&server->drain, domain->loop, on_drain_tick, server);
    return server;
}

void device_server_free(struct device_server *server)
{
    if (!server)
        return;
    timer_cancel(&server->renew);
    timer_cancel(&server->drain);
    table_done(&server->accounts);
    SSL_CTX_free(server->tls);
    free(server);
}
