/* A phone of the floor (floor.c): the handshake is all there is; a sign of life is one byte and its echo. */
#include "phones.h"

static void ping(struct phone *phone)
{
    link_write(&phone->link, bytes_of("p"));
}

/* The ticket comes behind the handshake: who wants it waits for an echo behind that. */
static void greet(struct phone *phone)
{
    if (phones.resume)
        ping(phone);
    else
        phone_ready(phone, 0);
}

static size_t on_bytes(struct phone *phone, struct bytes in)
{
    if (phone->state == PHONE_CONNECTING)
        phone_ready(phone, 0);
    else
        phone_pong(phone);
    return in.len;
}

const struct phone_protocol phone_floor = {"floor", NULL, greet, on_bytes, ping};
