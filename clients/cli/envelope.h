/**
 * Envelopes, the frames of Connect's streams (https://connectrpc.com/docs/protocol, "Streaming"):
 *
 *     | flags, 1 byte | length, 4 bytes big-endian | payload |
 *
 * The last envelope of a stream has ENVELOPE_END and says in JSON how the stream ended.
 */
#ifndef NANOPUSH_CLI_ENVELOPE_H
#define NANOPUSH_CLI_ENVELOPE_H

#include "base/buf.h"

#define ENVELOPE_HEADER_BYTES 5
#define ENVELOPE_END          2u /* the one flag that is accepted */

/**
 * Find the envelope at the front of @p in. Allocates and copies nothing.
 *
 * @param      in        bytes received and not consumed yet.
 * @param      max       largest payload accepted, in bytes.
 * @param[out] end       whether it is the last; untouched, as @p payload, while more bytes are needed.
 * @param[out] payload   view into @p in.
 * @param[out] consumed  bytes of the whole envelope; 0: more bytes are needed.
 * @return ERR_OK; ERR_TOO_BIG as soon as the length exceeds @p max; ERR_UNSUPPORTED for any other flag (a
 * payload is compressed only for who asked for it).
 */
MUST_CHECK enum err envelope_next(struct bytes in, size_t max, bool *end, struct bytes *payload,
                                  size_t *consumed);

/** Append @p payload in an envelope without flags. @return ERR_OK; ERR_TOO_BIG above 4 GiB; ERR_NOMEM. */
MUST_CHECK enum err envelope_append(struct buf *out, struct bytes payload);

#endif
