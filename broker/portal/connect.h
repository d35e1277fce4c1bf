/**
 * Connect's forms of what the RPC layer says. Internal to portal/.
 */
#ifndef NANOPUSH_PORTAL_CONNECT_H
#define NANOPUSH_PORTAL_CONNECT_H

#include "portal/rpc.h"

enum connect_codec { CONNECT_JSON, CONNECT_PROTO };

/** What a content type says. @return false for one that is none of the four. */
bool connect_content_type(struct bytes content_type, enum connect_codec *codec, bool *stream);

/** The content type of a response. Static. */
const char *connect_response_type(enum connect_codec codec, bool stream);

/** The code's name and HTTP status. */
const char *connect_code_name(enum rpc_code code);
unsigned connect_code_status(enum rpc_code code);

/** Append {"code":...,"message":...}. @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err connect_append_error(struct buf *out, enum rpc_code code, const char *text);

/** Append @p message in a codec's form, behind an envelope for a stream. @return ERR_OK; ERR_NOMEM; ERR_INVALID. */
MUST_CHECK enum err connect_append_message(struct buf *out, enum connect_codec codec, bool stream,
                                           const ProtobufCMessage *message);

/** Append the envelope that ends a stream; @p text NULL: it ended well. @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err connect_append_end(struct buf *out, enum rpc_code code, const char *text);

/**
 * The one message of a server stream's request body.
 * @return ERR_OK; ERR_UNSUPPORTED: compressed; ERR_MALFORMED: not exactly one envelope.
 */
MUST_CHECK enum err connect_open_envelope(struct bytes body, struct bytes *message);

/** Parse Connect-Timeout-Ms: 1 to 10 digits. @return false if it is not that. */
bool connect_parse_timeout(struct bytes text, uint64_t *ms);

#endif
