#include "device/server.h"

#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "device/session.h"
#include "domain/challenge_progress.h"

#define PLACES_STEP         512
#define PLACES_MAX          (1u << CONNECTION_PLACE_BITS)
#define RENEW_TICK_MS       10
#define RENEW_AGAIN_MS      1000
#define RENEW_PER_TICK      100
#define DRAIN_TICK_MS       100
#define TAKEN_RETURN_MS     5000  /* so that two holders of one device do not chase each other */
#define DRAIN_RETURN_MS     10000 /* phones come back within so much, each at a time of its own */
#define SESSION_QUEUE_BYTES (256 * 1024)

/* @return false when there are all that a number has room for, or memory is out. */
static bool add_places(struct device_server *server)
{
    unsigned more = server->place_count + PLACES_STEP;
    if (more > PLACES_MAX)
        return false;
    struct session **sessions = realloc(server->sessions, more * sizeof *sessions);
    if (!sessions)
        return false;
    server->sessions = sessions;
    uint16_t *free_places = realloc(server->free_places, more * sizeof *free_places);
    if (!free_places)
        return false;
    server->free_places = free_places;
    for (unsigned place = more; place-- > server->place_count;) {
        sessions[place] = NULL;
        free_places[server->free_count++] = (uint16_t)place; /* the lowest is taken first */
    }
    server->place_count = more;
    return true;
}

size_t device_server_connections(const struct device_server *server)
{
    return server->session_count;
}

void device_server_accept(struct device_server *server, int fd, const struct address *peer)
{
    if (session_new(server, fd, peer))
        return;
    device_server_settled(server);
    device_server_closed(server);
}

void device_server_deliver(struct device_server *server, enum hint_kind kind, const char *device_id,
                           uint64_t connection, const char *challenge_id, struct bytes frame)
{
    struct account *account = account_find(server, device_id, connection);
    if (!account)
        return;
    if (!account->attached) {
        account->awake->again = true; /* attaching: what it reads may be from before this */
        return;
    }
    if (!session_write(account_session(account), frame) || kind != HINT_PUSH)
        return;
    account_wake(account); /* an answer is to come */
    METRIC_ADD(PUSHES_SENT, 1);
    progress_note(server->domain->progress, challenge_id, device_id, NANOPUSH__V1__PROGRESS__PROGRESS_SENT,
                  NULL, NULL);
}

void device_server_taken(struct device_server *server, const char *device_id, uint64_t connection,
                         bool removed)
{
    struct account *account = account_find(server, device_id, connection);
    if (!account)
        return;
    struct session *session = account_session(account);
    account_free(account, false);
    if (removed) {
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_REMOVED, device_id, "the account is no more");
        session_end_without_account(session);
        return;
    }
    session_go_away(session, NANOPUSH__V1__GO_AWAY__REASON__REASON_TAKEN_OVER, TAKEN_RETURN_MS, CLOSE_LOCAL);
}

/* ---- places ---- */

bool device_server_enter(struct device_server *server, struct session *session)
{
    if (server->free_count == 0 && !add_places(server))
        return false;
    unsigned place = server->free_places[--server->free_count];
    session->connection = ++server->last_serial << CONNECTION_PLACE_BITS | place;
    server->sessions[place] = session;
    server->session_count++;
    sweep_start(server);
    return true;
}

void device_server_leave(struct device_server *server, struct session *session)
{
    unsigned place = session->connection & (PLACES_MAX - 1);
    server->sessions[place] = NULL;
    server->free_places[server->free_count++] = (uint16_t)place;
    server->session_count--;
}

struct session *device_server_session(const struct device_server *server, uint64_t connection)
{
    unsigned place = connection & (PLACES_MAX - 1);
    struct session *session = place < server->place_count ? server->sessions[place] : NULL;
    return session && session->connection == connection ? session : NULL;
}

uint32_t device_server_now(const struct device_server *server)
{
    return (uint32_t)((clock_mono_ms() - server->start_mono_ms) / 100);
}

void device_server_settled(struct device_server *server)
{
    if (server->handlers->on_settled)
        server->handlers->on_settled(server->arg);
}

void device_server_closed(struct device_server *server)
{
    if (server->handlers->on_closed)
        server->handlers->on_closed(server->arg);
}

unsigned device_server_random_below(unsigned limit)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = 0;
    return random % limit;
}

/* ---- attach everybody again ---- */

static unsigned attach_stale(struct session *session)
{
    unsigned count = 0;
    for (struct account *account = session->accounts; account; account = account->next)
        if (account->stale) {
            account_attach(account);
            count++;
        }
    return count;
}

static void on_renew_tick(void *arg)
{
    struct device_server *server = arg;
    unsigned attached = 0;
    for (; attached < RENEW_PER_TICK && server->renew_at < server->place_count; server->renew_at++)
        if (server->sessions[server->renew_at])
            attached += attach_stale(server->sessions[server->renew_at]);
    if (server->renew_at < server->place_count) {
        timer_start(&server->renew, RENEW_TICK_MS);
        return;
    }
    server->renew_at = 0;
    if (server->renew_again)
        timer_start(&server->renew, RENEW_AGAIN_MS);
    server->renew_again = false;
}

void device_server_renew_later(struct device_server *server, struct account *account)
{
    account->stale = true;
    if (timer_armed(&server->renew))
        server->renew_again = true; /* this round may have passed it */
    else
        timer_start(&server->renew, RENEW_AGAIN_MS);
}

void device_server_renew(struct device_server *server)
{
    for (unsigned place = 0; place < server->place_count; place++)
        if (server->sessions[place])
            for (struct account *each = server->sessions[place]->accounts; each; each = each->next)
                each->stale = true;
    server->renew_at = 0;
    timer_start(&server->renew, RENEW_TICK_MS);
}

/* ---- end ---- */

static void on_drain_tick(void *arg)
{
    struct device_server *server = arg;
    for (unsigned sent = 0; sent < server->drain_per_tick && server->drain_at < server->place_count;
         server->drain_at++) {
        struct session *session = server->sessions[server->drain_at];
        if (!session || session->state == SESSION_CLOSING)
            continue;
        session_go_away(session, NANOPUSH__V1__GO_AWAY__REASON__REASON_DRAINING,
                        device_server_random_below(DRAIN_RETURN_MS), CLOSE_DRAINED);
        sent++;
    }
    if (server->drain_at < server->place_count)
        timer_start(&server->drain, DRAIN_TICK_MS);
}

void device_server_drain(struct device_server *server, unsigned within_ms)
{
    unsigned ticks = within_ms / 2 / DRAIN_TICK_MS + 1; /* half of the time is for saying goodbye */
    server->drain_per_tick = (unsigned)(server->session_count / ticks + 1);
    server->drain_at = 0;
    LOG(INFO, DEVICE, "draining", "connections=%zu", server->session_count);
    on_drain_tick(server);
}

void device_server_drain_undo(struct device_server *server)
{
    timer_cancel(&server->drain);
}

void device_server_abort(struct device_server *server)
{
    for (unsigned place = 0; place < server->place_count; place++) {
        struct session *session = server->sessions[place];
        if (!session)
            continue;
        session_set_state(session, SESSION_CLOSING);
        stream_abort(session->stream, CLOSE_DRAINED);
    }
}

struct device_server *device_server_new(struct domain *domain, SSL_CTX *tls,
                                        const struct device_options *options,
                                        const struct accepted_handlers *handlers, void *arg)
{
    struct device_server *server = mem_new(sizeof *server);
    server->domain = domain;
    SSL_CTX_up_ref(tls);
    server->tls = tls;
    server->options = *options;
    server->limits = stream_limits_default;
    server->limits.handshake_ms = options->handshake_timeout_ms;
    server->limits.write_max = SESSION_QUEUE_BYTES;
    server->handlers = handlers;
    server->arg = arg;
    slab_init(&server->session_slab, sizeof(struct session), true); /* channel bindings are in it */
    slab_init(&server->account_slab, sizeof(struct account), false);
    server->start_mono_ms = clock_mono_ms();
    sweep_init(server);
    timer_init(&server->renew, domain->loop, on_renew_tick, server);
    timer_init(&server->drain, domain->loop, on_drain_tick, server);
    return server;
}

void device_server_set_tls(struct device_server *server, SSL_CTX *tls)
{
    SSL_CTX_up_ref(tls);
    SSL_CTX_free(server->tls);
    server->tls = tls;
}

void device_server_set_options(struct device_server *server, const struct device_options *options)
{
    const struct device_options before = server->options;
    server->options = *options;
    memcpy(server->options.trust_anchor, before.trust_anchor, sizeof before.trust_anchor);
    server->limits.handshake_ms = options->handshake_timeout_ms;
}

void device_server_free(struct device_server *server)
{
    if (!server)
        return;
    timer_cancel(&server->renew);
    timer_cancel(&server->drain);
    timer_cancel(&server->sweep);
    slab_done(&server->session_slab);
    slab_done(&server->account_slab);
    address_counts_done(&server->unauthenticated);
    free(server->sessions);
    free(server->free_places);
    SSL_CTX_free(server->tls);
    free(server);
}
