/* A phone of the floor (floor.c): the handshake is all there is; a sign of life is one byte and its echo. */
#include "phones.h"

static void greet(struct phone *phone)
{
    phone_ready(phone, 0);
}

static size_t on_bytes(struct phone *phone, struct bytes in)
{
    for (size_t i = 0; i < in.len; i++)
        phone_pong(phone);
    return in.len;
}

static void ping(struct phone *phone)
{
    link_write(&phone->link, bytes_of("p"));
}

const struct phone_protocol phone_floor = {"floor", NULL, greet, on_bytes, ping};
