#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "enrol.h"
#include "misbehave.h"
#include "net/address.h"
#include "phones.h"
#include "portals.h"

#define TICK_BUSY_MS 5
#define TICK_MS      50

static const struct phone_protocol *const phone_protocols[] = {&phone_nanopush, &phone_floor, &phone_mqtt,
                                                               &phone_nchan};
static const struct portal_protocol *const portal_protocols[] = {&portal_nanopush, &portal_mqtt,
                                                                 &portal_nchan};

static const char *set_target(struct link_target *target, const char *text)
{
    struct address address;
    if (address_parse(text, &address) != ERR_OK || address.storage.ss_family != AF_INET)
        return "not an IPv4 address and port";
    memcpy(&target->address, &address.storage, sizeof target->address);
    return NULL;
}

static void print_failure(const char *why)
{
    printf(",\"last_failure\":\"%s\"", why ? why : "");
}

static int64_t ms_since(int64_t start_us, int64_t end_us)
{
    return end_us ? (end_us - start_us) / 1000 : 0;
}

/* ---- fleet ---- */

static const char *fleet_init(int argc, char **argv)
{
    uint8_t anchor[SHA256_BYTES];
    if (argc != 5 || hex_decode(bytes_of(argv[4]), anchor, sizeof anchor) != ERR_OK)
        return "usage: swarm fleet FILE COUNT ORGANISATION CREDENTIAL ANCHOR";
    uint32_t count = (uint32_t)strtoul(argv[1], NULL, 10);
    return fleet_make(argv[0], count, argv[2], argv[3], anchor) == ERR_OK ? NULL
                                                                          : "cannot make the fleet's file";
}

/* ---- enrol ---- */

static const char *enrol_init(int argc, char **argv)
{
    if (argc != 3)
        return "usage: swarm enrol FILE DEVICE-ADDRESS PORTAL-ADDRESS";
    if (fleet_open(argv[0], &enrol.fleet) != ERR_OK)
        return "cannot open the fleet's file";
    const char *why = set_target(&enrol.device, argv[1]);
    return why ? why : set_target(&enrol.portal, argv[2]);
}

static int enrol_tick(void)
{
    return TICK_MS;
}

static void enrol_report(void)
{
    printf("\"done\":%u,\"failed\":%u", enrol.done, enrol.failed);
    print_failure(enrol.last_failure);
}

/* enrol FROM COUNT AT-ONCE */
static void enrol_command(const unsigned long *numbers)
{
    uint32_t from = (uint32_t)numbers[0], count = (uint32_t)numbers[1], all = enrol.fleet.head->count;
    from = from < all ? from : all;
    enrol_start(from, count < all - from ? count : all - from, numbers[2] ? (unsigned)numbers[2] : 1);
}

static const struct command enrol_commands[] = {{"enrol", enrol_command, enrol_idle}, {NULL, NULL, NULL}};

/* ---- phones ---- */

static const char *phones_mode_init(int argc, char **argv)
{
    if (argc < 5)
        return "usage: swarm phones PROTOCOL ADDRESS SOURCE FIRST COUNT [FILE]";
    for (size_t i = 0; i < sizeof phone_protocols / sizeof *phone_protocols; i++)
        if (strcmp(phone_protocols[i]->name, argv[0]) == 0)
            phones.protocol = phone_protocols[i];
    if (!phones.protocol)
        return "no such protocol";
    phones.source = (uint32_t)strtoul(argv[2], NULL, 10) & 0xff;
    phones.first = (uint32_t)strtoul(argv[3], NULL, 10);
    uint32_t count = (uint32_t)strtoul(argv[4], NULL, 10);
    if (phones.protocol == &phone_nanopush &&
        (argc < 6 || fleet_open(argv[5], &phones.fleet) != ERR_OK ||
         phones.first > phones.fleet.head->count || count > phones.fleet.head->count - phones.first))
        return "cannot open the fleet's file, or it has not so many phones";
    const char *why = set_target(&phones.target, argv[1]);
    if (!why)
        phones_init(count);
    return why;
}

static int phones_mode_tick(void)
{
    static int64_t next_ms;
    int64_t now_ms = clock_mono_ms();
    bool busy = phones.ready < phones.wanted || misbehave.open > 0;
    if (now_ms >= next_ms) {
        phones_tick();
        misbehave_tick();
        next_ms = now_ms + (busy ? TICK_BUSY_MS : TICK_MS);
    }
    return (int)(next_ms - now_ms);
}

static void phones_report(void)
{
    int64_t now_us = clock_mono_us();
    printf("\"wanted\":%u,\"ready\":%u,\"connected\":%lu,\"resumed\":%lu,\"failed\":%lu,\"lost\":%lu,"
           "\"pinged\":%lu,"
           "\"pongs\":%lu,\"pushed\":%lu,\"answered\":%lu,\"refused\":%lu,\"ms\":%ld,\"back99_ms\":%ld,"
           "\"misbehaved\":%u,\"survived\":%u,",
           phones.wanted, phones.ready, phones.connected, phones.resumed, phones.failed, phones.lost,
           phones.pinged, phones.pongs, phones.pushed, phones.answered, phones.refused,
           ms_since(phones.mark_us, now_us), ms_since(phones.mark_us, phones.back99_us), misbehave.closed,
           misbehave.open);
    samples_print(&phones.connects, "connects");
    print_failure(phones.last_failure);
}

static uint64_t lost_expected;

static bool all_ready(void)
{
    return phones.ready == phones.wanted && phones.lost >= lost_expected;
}

static bool at_once(void)
{
    return true;
}

/* connect COUNT AT-ONCE */
static void connect_command(const unsigned long *numbers)
{
    phones_mark();
    lost_expected = 0;
    phones.in_flight_max = numbers[1] ? (uint32_t)numbers[1] : 64;
    phones_want((uint32_t)numbers[0] < phones.count ? (uint32_t)numbers[0] : phones.count);
}

/* cut: done when all are back */
static void cut_command(const unsigned long *numbers)
{
    (void)numbers;
    phones_mark();
    lost_expected = phones.ready;
    phones_cut();
}

/* mark: from now on is counted, and await LOST: done when so many lost their link and all are back */
static void mark_command(const unsigned long *numbers)
{
    (void)numbers;
    phones_mark();
}

static void await_command(const unsigned long *numbers)
{
    lost_expected = numbers[0];
}

static void ping_command(const unsigned long *numbers)
{
    (void)numbers;
    phones_mark();
    phones_ping_all();
}

static bool all_ponged(void)
{
    return phones.pongs + phones.lost >= phones.pinged;
}

/* heartbeat MS; 0: as the server says */
static void heartbeat_command(const unsigned long *numbers)
{
    phones.heartbeat_ms = (unsigned)numbers[0];
}

/* resume ON, park ON */
static void resume_command(const unsigned long *numbers)
{
    phones.resume = numbers[0] != 0;
}

static void park_command(const unsigned long *numbers)
{
    phones.park = numbers[0] != 0;
}

/* misbehave KIND COUNT: done when the server has closed them all, or 30 s later */
static void misbehave_command(const unsigned long *numbers)
{
    misbehave_start((enum misbehaviour)numbers[0], (uint32_t)numbers[1]);
}

static const struct command phones_commands[] = {
    {"connect", connect_command, all_ready},
    {"cut", cut_command, all_ready},
    {"mark", mark_command, at_once},
    {"await", await_command, all_ready},
    {"ping", ping_command, all_ponged},
    {"heartbeat", heartbeat_command, at_once},
    {"resume", resume_command, at_once},
    {"park", park_command, at_once},
    {"status", await_command, at_once},
    {"misbehave", misbehave_command, misbehave_is_done},
    {NULL, NULL, NULL},
};

/* ---- portals ---- */

static const char *portals_mode_init(int argc, char **argv)
{
    if (argc < 4)
        return "usage: swarm portals PROTOCOL ADDRESS AT-ONCE PHONES [FILE]";
    for (size_t i = 0; i < sizeof portal_protocols / sizeof *portal_protocols; i++)
        if (strcmp(portal_protocols[i]->name, argv[0]) == 0)
            portals.protocol = portal_protocols[i];
    if (!portals.protocol)
        return "no such protocol";
    if (portals.protocol == &portal_nanopush && (argc < 5 || fleet_open(argv[4], &portals.fleet) != ERR_OK))
        return "cannot open the fleet's file";
    const char *why = set_target(&portals.target, argv[1]);
    if (!why)
        portals_init((unsigned)strtoul(argv[2], NULL, 10), (uint32_t)strtoul(argv[3], NULL, 10));
    return why;
}

static void portals_report(void)
{
    printf("\"started\":%lu,\"approved\":%lu,\"verified\":%lu,\"failed\":%lu,\"ms\":%ld,", portals.started,
           portals.approved, portals.verified, portals.failed, ms_since(portals.run_us, clock_mono_us()));
    samples_print(&portals.latency, "latency");
    print_failure(portals.last_failure);
}

static void open_command(const unsigned long *numbers)
{
    (void)numbers;
    portals.protocol->open();
}

static bool portals_are_open(void)
{
    return portals.protocol->is_open();
}

/* logins FROM COUNT TOTAL RATE VERIFY */
static void logins_command(const unsigned long *numbers)
{
    portals_run((uint32_t)numbers[0], (uint32_t)numbers[1], numbers[2], (unsigned)numbers[3],
                numbers[4] != 0);
}

static const struct command portals_commands[] = {
    {"open", open_command, portals_are_open}, {"logins", logins_command, portals_idle}, {NULL, NULL, NULL}};

/* ---- all ---- */

static const struct mode modes[] = {
    {"fleet", fleet_init, NULL, NULL, NULL},
    {"enrol", enrol_init, enrol_tick, enrol_report, enrol_commands},
    {"phones", phones_mode_init, phones_mode_tick, phones_report, phones_commands},
    {"portals", portals_mode_init, portals_tick, portals_report, portals_commands},
};

const struct mode *mode_find(const char *name)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, name) == 0)
            return &modes[i];
    return NULL;
}
