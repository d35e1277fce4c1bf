/**
 * Frames of the device protocol (proto/nanopush/v1/device.proto): a length in bytes, then one message.
 *
 *     | varint, shortest form, 1 to 3 bytes | payload, 0 to FRAME_MAX_BYTES |
 *
 * Framing only: what the payload says is wire/message.h's.
 */
#ifndef NANOPUSH_WIRE_FRAME_H
#define NANOPUSH_WIRE_FRAME_H

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"

#define FRAME_MAX_BYTES 16384 /* of payload; the prefix comes on top */

/**
 * Find the frame at the front of @p in. Allocates and copies nothing.
 *
 * @param      in        bytes received and not consumed yet.
 * @param[out] payload   view into @p in; untouched while more bytes are needed.
 * @param[out] consumed  bytes of the whole frame; 0: more bytes are needed.
 * @return ERR_OK; ERR_TOO_BIG as soon as the prefix exceeds FRAME_MAX_BYTES or goes on after its third byte;
 *         ERR_MALFORMED for a prefix that is not in its shortest form.
 */
MUST_CHECK enum err frame_next(struct bytes in, struct bytes *payload, size_t *consumed);

/**
 * Append @p message as one frame.
 * @return ERR_OK; ERR_TOO_BIG if it would exceed FRAME_MAX_BYTES; ERR_NOMEM (@p out is unchanged by either).
 */
MUST_CHECK enum err frame_append(struct buf *out, const ProtobufCMessage *message);

#endif
