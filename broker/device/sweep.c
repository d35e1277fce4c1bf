/* The sweep: looks at every session in turn, a few at a time, for what happens by time alone. A phone is heard every few
 * minutes, so a round of seconds is as good as a timer for each, and costs an idle phone nothing. */
#include "device/session.h"

#define SWEEP_TICK_MS       100
#define SWEEP_ROUND_MAX_MS  4000
#define SWEEP_ROUND_DIVISOR 8 /* of a heartbeat, so much at most is a round */

static bool is_silent(const struct session *session, uint32_t now_ds)
{
    return now_ds - session->heard_ds >= session->heartbeat_s * 15u; /* tenths: one and a half heartbeats */
}

static void look_at(struct session *session, uint32_t now_ds)
{
    if (session->state != SESSION_ATTACHED)
        return; /* before: its greeting's timer; after: its stream's */
    if (is_silent(session, now_ds)) {
        session_go_away(session, NANOPUSH__V1__GO_AWAY__REASON__REASON_IDLE, 0, CLOSE_IDLE);
        return;
    }
    if (now_ds >= session->end_ds) {
        session_go_away(session, NANOPUSH__V1__GO_AWAY__REASON__REASON_RENEW, 0, CLOSE_LOCAL);
        return;
    }
    for (struct account *account = session->accounts; account; account = account->next)
        account_rest(account);
}

static unsigned places_a_tick(const struct device_server *server)
{
    unsigned round_ms = server->options.heartbeat_ms / SWEEP_ROUND_DIVISOR;
    if (round_ms > SWEEP_ROUND_MAX_MS)
        round_ms = SWEEP_ROUND_MAX_MS;
    unsigned ticks = round_ms / SWEEP_TICK_MS;
    return ticks ? server->place_count / ticks + 1 : server->place_count;
}

static void on_tick(void *arg)
{
    struct device_server *server = arg;
    uint32_t now_ds = device_server_now(server);
    for (unsigned left = places_a_tick(server); left; left--) {
        if (++server->sweep_at >= server->place_count)
            server->sweep_at = 0;
        struct session *session = server->sessions[server->sweep_at];
        if (session)
            look_at(session, now_ds);
    }
    sweep_start(server);
}

void sweep_init(struct device_server *server)
{
    timer_init(&server->sweep, server->domain->loop, on_tick, server);
}

void sweep_start(struct device_server *server)
{
    if (server->session_count && !timer_armed(&server->sweep))
        timer_start(&server->sweep, SWEEP_TICK_MS);
}
