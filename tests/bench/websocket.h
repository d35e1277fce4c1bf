/**
 * As much of WebSocket (RFC 6455) as the swarm says to nchan: whole messages of less than 64 KiB.
 */
#ifndef NANOPUSH_BENCH_WEBSOCKET_H
#define NANOPUSH_BENCH_WEBSOCKET_H

#include "base/buf.h"

enum websocket_opcode { WEBSOCKET_BINARY = 2, WEBSOCKET_CLOSE = 8, WEBSOCKET_PING, WEBSOCKET_PONG };

/** Append a client's request to upgrade. Ends the process when memory is out. */
void websocket_add_upgrade(struct buf *out, const char *path);

/** Append a masked frame (with a mask of zeros: nothing is hidden here). */
void websocket_add_frame(struct buf *out, enum websocket_opcode opcode, struct bytes payload);

/** The frame at the front of @p in, from a server. @return its length, 0: not all there. */
size_t websocket_next(struct bytes in, enum websocket_opcode *opcode, struct bytes *payload);

#endif
