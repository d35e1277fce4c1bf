#include "phones.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define GIVE_UP_MS       60000
#define BACKOFF_FIRST_MS 1000
#define BACKOFF_DOUBLES  8
#define ADDRESSES        200 /* of one third byte */
#define JITTER_PERCENT   10

struct phones phones = {.in_flight_max = 64, .park = true};

uint32_t phone_number(const struct phone *phone)
{
    return phones.first + phone->index;
}

/* ---- how a connection ends ---- */

static unsigned random_below(unsigned limit)
{
    return limit ? (unsigned)((uint64_t)random() % limit) : 0;
}

static void come_back(struct phone *phone, unsigned return_after_ms)
{
    unsigned doubles = phone->attempt < BACKOFF_DOUBLES ? phone->attempt : BACKOFF_DOUBLES;
    phone->state = phone->index < phones.wanted ? PHONE_WAITING : PHONE_IDLE;
    phone->due_ms = clock_mono_ms() + return_after_ms + random_below(BACKOFF_FIRST_MS << doubles);
    if (phone->attempt < UINT8_MAX)
        phone->attempt++;
}

static void leave(struct phone *phone)
{
    if (phone->state == PHONE_READY) {
        phones.ready--;
        phones.lost++;
    } else if (phone->state == PHONE_CONNECTING) {
        phones.connecting--;
        phones.failed++;
    }
    phone->pinged = false;
    buf_done(&phone->in);
}

void phone_end(struct phone *phone, unsigned return_after_ms, const char *why)
{
    phones.last_failure = why;
    link_close(&phone->link);
    leave(phone);
    come_back(phone, return_after_ms);
}

static void on_closed(struct link *link, const char *why)
{
    phone_end((struct phone *)link, 0, why);
}

/* ---- and how it goes ---- */

static void on_open(struct link *link)
{
    phones.protocol->greet((struct phone *)link);
}

static void on_bytes(struct link *link, struct bytes in)
{
    struct phone *phone = (struct phone *)link;
    struct buf before = phone->in;
    phone->in = (struct buf){0};
    if (buf_len(&before) > 0) {
        if (buf_append(&before, in) != ERR_OK)
            abort();
        in = buf_view(&before);
    }
    size_t used = phones.protocol->on_bytes(phone, in);
    if (link->state != LINK_CLOSED && used < in.len &&
        buf_append(&phone->in, bytes_make(in.p + used, in.len - used)) != ERR_OK)
        abort();
    buf_done(&before);
}

static const struct link_handlers handlers = {on_open, on_bytes, on_closed};

static int64_t next_ping(void)
{
    unsigned heartbeat_ms = phones.heartbeat_ms ? phones.heartbeat_ms : phones.told_ms;
    unsigned jitter = heartbeat_ms / 100 * JITTER_PERCENT;
    return heartbeat_ms ? clock_mono_ms() + heartbeat_ms - random_below(jitter) : 0;
}

void phone_ready(struct phone *phone, unsigned heartbeat_ms)
{
    if (phone->state != PHONE_CONNECTING)
        return;
    int64_t now_us = clock_mono_us();
    phone->state = PHONE_READY;
    phone->attempt = 0;
    phones.connecting--;
    phones.ready++;
    phones.connected++;
    phones.resumed += phone->link.resumed;
    samples_add(&phones.connects, now_us - (phone->due_ms - GIVE_UP_MS) * 1000);
    phones.told_ms = heartbeat_ms;
    phone->due_ms = next_ping();
    if ((uint64_t)phones.ready * 100 >= (uint64_t)phones.wanted * 99 && phones.back99_us == 0)
        phones.back99_us = now_us;
    if (phones.park)
        link_park(&phone->link);
}

void phone_pong(struct phone *phone)
{
    phones.pongs += phone->pinged;
    phone->pinged = false;
}

static void ping(struct phone *phone)
{
    phone->pinged = true;
    phones.pinged++;
    phones.protocol->ping(phone);
}

/* ---- tickets ---- */

static void on_ticket(struct link *link, SSL_SESSION *session)
{
    struct phone *phone = (struct phone *)link;
    uint8_t *der = NULL;
    int len = phones.resume ? i2d_SSL_SESSION(session, &der) : 0;
    if (len <= 0)
        return;
    free(phone->ticket);
    phone->ticket = mem_new((size_t)len); /* OpenSSL's own allocation leaves slack */
    memcpy(phone->ticket, der, (size_t)len);
    phone->ticket_len = (uint32_t)len;
    OPENSSL_free(der);
}

/* A ticket is used once (RFC 8446, appendix C.4). */
static SSL_SESSION *take_ticket(struct phone *phone)
{
    const uint8_t *der = phone->ticket;
    if (!phones.resume || !der)
        return NULL;
    SSL_SESSION *session = d2i_SSL_SESSION(NULL, &der, phone->ticket_len);
    free(phone->ticket);
    phone->ticket = NULL;
    return session;
}

/* ---- what the loop and the commands ask for ---- */

void phones_init(uint32_t count)
{
    phones.count = count;
    phones.phones = mem_new(count * sizeof *phones.phones);
    for (uint32_t i = 0; i < count; i++) {
        phones.phones[i].index = i;
        phones.phones[i].link.on = &handlers;
    }
    phones.target.ctx = link_context(phones.protocol->alpn);
    link_on_ticket(phones.target.ctx, on_ticket);
    phones_mark();
}

void phones_mark(void)
{
    phones.mark_us = clock_mono_us();
    phones.back99_us = 0;
    phones.connected = phones.resumed = phones.failed = phones.lost = 0;
    phones.pongs = phones.pinged = phones.pushed = phones.answered = phones.refused = 0;
    phones.last_failure = NULL;
    samples_done(&phones.connects);
}

void phones_want(uint32_t count)
{
    phones.wanted = count;
    for (uint32_t i = 0; i < phones.count; i++) {
        struct phone *phone = &phones.phones[i];
        if (i < count && phone->state == PHONE_IDLE) {
            phone->state = PHONE_WAITING;
            phone->attempt = 0;
            phone->due_ms = 0;
        } else if (i >= count && phone->state != PHONE_IDLE) {
            phone_end(phone, 0, "not wanted");
        }
    }
}

void phones_cut(void)
{
    for (uint32_t i = 0; i < phones.count; i++)
        if (phones.phones[i].state == PHONE_READY)
            phone_end(&phones.phones[i], 0, "cut");
}

void phones_ping_all(void)
{
    for (uint32_t i = 0; i < phones.count; i++)
        if (phones.phones[i].state == PHONE_READY)
            ping(&phones.phones[i]);
}

static void connect_now(struct phone *phone)
{
    uint32_t source =
        127U << 24 | phones.source << 16 | (phone->index / ADDRESSES) << 8 | (1 + phone->index % ADDRESSES);
    SSL_SESSION *session = take_ticket(phone);
    if (link_open(&phone->link, &phones.target, phones.source ? source : 0, session) == ERR_OK) {
        phone->state = PHONE_CONNECTING;
        phone->due_ms = clock_mono_ms() + GIVE_UP_MS;
        phones.connecting++;
    } else {
        phones.last_failure = strerror(errno);
        phones.failed++;
        come_back(phone, 0);
    }
    SSL_SESSION_free(session);
}

/* Nobody is served twice before everybody was looked at: the walk goes on where it ended. */
void phones_tick(void)
{
    static uint32_t at;
    int64_t now_ms = clock_mono_ms();
    for (uint32_t seen = 0; seen < phones.count; seen++) {
        struct phone *phone = &phones.phones[at];
        bool due = phone->state != PHONE_IDLE && phone->due_ms <= now_ms;
        if (due && phone->state == PHONE_WAITING) {
            if (phones.connecting >= phones.in_flight_max)
                return;
            connect_now(phone);
        } else if (due && phone->state == PHONE_CONNECTING) {
            phone_end(phone, 0, "no answer");
        } else if (due && phone->due_ms != 0) {
            ping(phone);
            phone->due_ms = next_ping();
        }
        at = (at + 1) % phones.count;
    }
}
