/**
 * What differs between the protocols that a call may come in: one table row each, chosen by rpc_in.c. Internal to
 * portal/.
 */
#ifndef NANOPUSH_PORTAL_RPC_PROTOCOL_H
#define NANOPUSH_PORTAL_RPC_PROTOCOL_H

#include "portal/rpc.h"

enum rpc_codec { RPC_JSON, RPC_PROTO };

/** Where an answer goes. */
struct rpc_answer {
    struct http_exchange *ex;
    const char *content_type; /* of messages; NULL where it is not known yet */
    char retry_after[12];     /* seconds, for that header; empty: none */
    const char *worker;       /* for the header nanopush-worker; empty: none */
    bool safe;                /* what is called can be called by GET too */
};

/** One detail of an error: a message of the type named, in both forms. */
struct rpc_detail {
    struct list node;
    const char *type;        /* full name, static */
    struct buf packed, json; /* json may be empty */
};

/** What a call ends with where it does not end well. */
struct rpc_error {
    enum rpc_code code;
    const char *text;
    const struct list *details; /* struct rpc_detail; NULL for none */
};

struct rpc_protocol {
    const char *verb;   /* HTTP method */
    bool unary, stream; /* kinds of methods that it can call */
    const char *encoding_header, *timeout_header;
    const char *timeout_form; /* what parse_timeout takes, for the caller */

    /** @return false if it is not a time-out. */
    bool (*parse_timeout)(struct bytes text, uint64_t *ms);

    /**
     * Find the one message of a request.
     * @param      scratch  what is decoded is appended here; @p message may be a view of it, or of the exchange.
     * @return ERR_OK; ERR_UNSUPPORTED: compressed; ERR_BAD_STATE: not exactly one; ERR_MALFORMED; ERR_NOMEM.
     */
    enum err (*open)(const struct http_exchange *ex, struct buf *scratch, struct bytes *message);

    /** Append a message as it is sent. @return ERR_OK; ERR_NOMEM; ERR_INVALID. */
    enum err (*append)(struct buf *out, enum rpc_codec codec, const ProtobufCMessage *message);

    /** Answer a unary call with what append() made; ends the exchange. NULL where unary is false. */
    void (*reply)(const struct rpc_answer *to, struct bytes message);

    /** End a call, begun to be answered or not, and the exchange. @p error NULL: a stream ended well. */
    void (*end)(const struct rpc_answer *to, const struct rpc_error *error);

    /** Refuse what is no call; ends the exchange. @p status is for protocols that use HTTP's. */
    void (*refuse)(const struct rpc_answer *to, unsigned status, const struct rpc_error *error);
};

/** Free what hangs on a list of struct rpc_detail. */
void rpc_details_free(struct list *details);

#define RPC_ENVELOPE_BYTES 5

/** Append @p in in unpadded base64. @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err rpc_append_base64(struct buf *out, struct bytes in);

/** Append flags, length and @p message. @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err rpc_append_envelope(struct buf *out, uint8_t flags, struct bytes message);

/**
 * Take the one envelope out of a body.
 * @return ERR_OK; ERR_UNSUPPORTED: compressed; ERR_BAD_STATE: none, or more than one; ERR_MALFORMED.
 */
MUST_CHECK enum err rpc_open_envelope(struct bytes body, struct bytes *message);

/** Append @p message in a codec's form. @return ERR_OK; ERR_NOMEM; ERR_INVALID. */
MUST_CHECK enum err rpc_append_bare(struct buf *out, enum rpc_codec codec, const ProtobufCMessage *message);

/** Append @p message in a codec's form, in an envelope. @return as rpc_append_bare(). */
MUST_CHECK enum err rpc_append_enveloped(struct buf *out, enum rpc_codec codec,
                                         const ProtobufCMessage *message);

#define RPC_HEADERS_MAX 8

/** The headers of every answer. @return how many; at least 3 of RPC_HEADERS_MAX are left. */
size_t rpc_headers(const struct rpc_answer *to, const char *content_type,
                   struct http_header headers[RPC_HEADERS_MAX]);

/** Start the answer with status 200, unless it is started. */
void rpc_start(const struct rpc_answer *to);

/** The code's name, "not_found", and HTTP status. */
const char *rpc_code_name(enum rpc_code code);
unsigned rpc_code_status(enum rpc_code code);

/** The number that the header @p text says, at most 10 digits. @return false if it is not that. */
bool rpc_parse_number(struct bytes text, size_t digits_max, uint64_t *ret);

#endif
