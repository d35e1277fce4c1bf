/**
 * The phones of one swarm process: who is connected, who comes back when, who pings. What a phone says to a server is
 * its protocol's (phone_*.c).
 *
 *     IDLE -> WAITING (until due) -> CONNECTING -> READY -> WAITING, by full-jitter backoff
 */
#ifndef NANOPUSH_BENCH_PHONES_H
#define NANOPUSH_BENCH_PHONES_H

#include "fleet.h"
#include "link.h"
#include "samples.h"

enum phone_state { PHONE_IDLE, PHONE_WAITING, PHONE_CONNECTING, PHONE_READY };

struct phone {
    struct link link; /* first: the loop casts */
    struct buf in;    /* a part of a message */
    int64_t due_ms;   /* WAITING: connect; CONNECTING: give up; READY: ping, 0: never */
    uint8_t *ticket;  /* DER of a session, NULL: none */
    uint32_t ticket_len, index;
    uint8_t state, attempt;
    bool pinged;
};

struct phone_protocol {
    const char *name, *alpn;
    /** The link is open: say who this is. Then phone_ready() or phone_end(). */
    void (*greet)(struct phone *phone);
    /** @return how many bytes of @p in were used; the rest comes again with more. The phone may be closed by then. */
    size_t (*on_bytes)(struct phone *phone, struct bytes in);
    /** Ask for a sign of life; phone_pong() when it comes. */
    void (*ping)(struct phone *phone);
};

extern const struct phone_protocol phone_nanopush, phone_floor, phone_mqtt, phone_nchan;

struct phones {
    const struct phone_protocol *protocol;
    struct link_target target;
    struct fleet fleet; /* nanopush only */
    uint32_t first;     /* number in the whole fleet of phones[0] */
    uint32_t source;    /* their addresses are 127.source.0.0/16 */
    struct phone *phones;
    uint32_t count, wanted; /* there are; shall be connected */
    uint32_t ready, connecting, in_flight_max;
    bool resume;           /* take tickets, and use them */
    bool park;             /* give OpenSSL's object up when ready */
    unsigned heartbeat_ms; /* 0: as the server says */
    unsigned told_ms;      /* what it said */

    /* Since phones_mark(). */
    int64_t mark_us, back99_us; /* back99_us: when 99 % were ready, 0: not yet */
    uint64_t connected, resumed, failed, lost, pongs, pinged, pushed, answered, refused;
    const char *last_failure;
    struct samples connects; /* from connect() to ready */
};

extern struct phones phones;

/** Make @p count phones, all idle. */
void phones_init(uint32_t count);

/** Begin to count anew, from now. */
void phones_mark(void);

/** The first @p count phones shall be connected, the others not. */
void phones_want(uint32_t count);

/** Cut every link at once. */
void phones_cut(void);

/** Ping from each that is ready. */
void phones_ping_all(void);

/** Connect, ping and give up what is due. */
void phones_tick(void);

/* ---- for protocols ---- */

/** It is greeted. @param heartbeat_ms what the server wants, 0: none. */
void phone_ready(struct phone *phone, unsigned heartbeat_ms);

void phone_pong(struct phone *phone);

/** Close, and come back not before @p return_after_ms. */
void phone_end(struct phone *phone, unsigned return_after_ms, const char *why);

/** Its number in the whole fleet. */
uint32_t phone_number(const struct phone *phone);

#endif
