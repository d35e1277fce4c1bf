#include "portals.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

#define GIVE_UP_MS INT64_C(70000) /* the broker's own challenges live 60 s */
#define LOOK_MS    1000

struct portals portals;

void portals_init(unsigned count, uint32_t phone_count)
{
    portals.logins = mem_new(count * sizeof *portals.logins);
    portals.login_count = count;
    portals.asked = mem_new(phone_count / 8 + 1);
    portals.target.ctx = link_context(portals.protocol->alpn);
}

void portals_run(uint32_t from, uint32_t count, uint64_t total, unsigned rate, bool verify)
{
    portals.from = from;
    portals.phones = count;
    portals.total = total;
    portals.rate = rate;
    portals.verify = verify;
    portals.run_us = clock_mono_us();
    portals.started = portals.approved = portals.verified = portals.failed = 0;
    portals.last_failure = NULL;
    samples_done(&portals.latency);
}

static void set_asked(uint32_t phone, bool asked)
{
    uint8_t bit = (uint8_t)(1U << phone % 8);
    portals.asked[phone / 8] =
        (uint8_t)(asked ? portals.asked[phone / 8] | bit : portals.asked[phone / 8] & ~bit);
}

/* One that has no question yet: a user is asked one thing at a time. */
static bool pick(uint32_t *phone)
{
    for (int tries = 0; tries < 100; tries++) {
        *phone = portals.from + (uint32_t)((uint64_t)random() % portals.phones);
        if (!(portals.asked[*phone / 8] >> *phone % 8 & 1))
            return true;
    }
    return false;
}

/* How many may have been started by now. */
static uint64_t allowed(void)
{
    if (portals.rate == 0)
        return portals.total;
    uint64_t due = (uint64_t)(clock_mono_us() - portals.run_us) * portals.rate / 1000000 + 1;
    return due < portals.total ? due : portals.total;
}

static bool ask_one(void)
{
    static unsigned at;
    uint32_t phone;
    for (unsigned seen = 0; seen < portals.login_count; seen++, at++) {
        struct login *login = &portals.logins[at % portals.login_count];
        if (login->busy)
            continue;
        if (!pick(&phone))
            return false;
        *login = (struct login){.phone = phone, .start_us = clock_mono_us(), .active = true, .busy = true};
        set_asked(phone, true);
        portals.started++;
        portals.protocol->ask(at++ % portals.login_count);
        return true;
    }
    return false;
}

/* What has no verdict by now gets none: a server may have lost it. */
static void give_up(void)
{
    static int64_t next_us;
    int64_t now_us = clock_mono_us();
    if (now_us < next_us)
        return;
    next_us = now_us + LOOK_MS * 1000;
    for (unsigned i = 0; i < portals.login_count; i++)
        if (portals.logins[i].active && now_us - portals.logins[i].start_us > GIVE_UP_MS * 1000) {
            portals_verdict(i, "no verdict in time");
            portals_free(i);
        }
}

int portals_tick(void)
{
    uint64_t until = allowed();
    give_up();
    while (portals.started < until)
        if (!ask_one())
            return 1;
    return portals.started < portals.total ? 1 : LOOK_MS;
}

bool portals_idle(void)
{
    return portals.approved + portals.failed >= portals.total;
}

void portals_verdict(unsigned i, const char *why)
{
    struct login *login = &portals.logins[i];
    if (!login->active)
        return;
    login->active = false;
    set_asked(login->phone, false);
    if (why) {
        portals.failed++;
        portals.last_failure = why;
        return;
    }
    portals.approved++;
    samples_add(&portals.latency, clock_mono_us() - login->start_us);
}

void portals_free(unsigned i)
{
    portals.logins[i].busy = false;
}
