#include "misbehave.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "phones.h"

#define GIVE_UP_MS 30000

struct misbehave misbehave;

static enum misbehaviour kind_now;
static struct link *links;
static uint32_t link_count;
static int64_t give_up_ms;

static void on_open(struct link *link)
{
    static const uint8_t half[] = {22, 3, 1, 2, 0, 1, 0, 1};
    static const uint8_t frame[] = {0xff, 0xff, 0xff, 0xff};
    static const uint8_t record[] = {23, 3, 3, 0, 17, 0,  1,  2,  3,  4,  5,
                                     6,  7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    switch (kind_now) {
    case MISBEHAVE_GARBAGE:
        link_write_raw(link, bytes_of("GET / HTTP/1.0\r\n\r\n"));
        return;
    case MISBEHAVE_HALF_HELLO:
        link_write_raw(link, bytes_make(half, sizeof half));
        return;
    case MISBEHAVE_BAD_FRAME:
        link_write(link, bytes_make(frame, sizeof frame));
        return;
    case MISBEHAVE_BAD_RECORD:
        link_write_raw(link, bytes_make(record, sizeof record));
        return;
    case MISBEHAVE_SILENT:
    case MISBEHAVE_HANG_UP:
    case MISBEHAVE_COUNT:
        return;
    }
}

static void on_bytes(struct link *link, struct bytes in)
{
    (void)link, (void)in;
}

static void on_closed(struct link *link, const char *why)
{
    (void)link, (void)why;
    misbehave.open--;
    misbehave.closed++;
}

void misbehave_start(enum misbehaviour kind, uint32_t count)
{
    static const struct link_handlers handlers = {on_open, on_bytes, on_closed};
    for (uint32_t i = 0; i < link_count; i++)
        link_close(&links[i]);
    free(links);
    links = mem_new(count * sizeof *links);
    link_count = count;
    kind_now = kind;
    give_up_ms = clock_mono_ms() + GIVE_UP_MS;
    misbehave = (struct misbehave){0};
    bool raw = kind == MISBEHAVE_GARBAGE || kind == MISBEHAVE_HALF_HELLO;
    for (uint32_t i = 0; i < count; i++) {
        links[i].on = &handlers;
        enum err e =
            raw ? link_open_raw(&links[i], &phones.target, 0) : link_open(&links[i], &phones.target, 0, NULL);
        misbehave.open += e == ERR_OK;
    }
}

/* Wherever the handshake has come to. */
void misbehave_tick(void)
{
    for (uint32_t i = 0; kind_now == MISBEHAVE_HANG_UP && i < link_count; i++)
        if (links[i].state >= LINK_HANDSHAKE) {
            link_close(&links[i]);
            on_closed(&links[i], "hung up");
        }
}

bool misbehave_is_done(void)
{
    return misbehave.open == 0 || clock_mono_ms() > give_up_ms;
}
