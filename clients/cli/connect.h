/**
 * A client of the Connect protocol (https://connectrpc.com/docs/protocol) over HTTP/1.1, with binary
 * messages: unary calls and server streams, over TLS 1.3 or a unix socket. Blocking, one call at a time. HTTP
 * itself is libcurl's; no proxy, no redirect, no compression.
 */
#ifndef NANOPUSH_CLI_CONNECT_H
#define NANOPUSH_CLI_CONNECT_H

#include "cli/connect_problem.h"
#include "wire/message.h"

#define CONNECT_RESPONSE_MAX_BYTES (1024 * 1024)     /* one message, of a call or a stream */
#define CONNECT_MEMORY_MAX_BYTES   (4 * 1024 * 1024) /* the same, unpacked */
#define CONNECT_UNARY_TIMEOUT_S    30L
#define CONNECT_STREAM_TIMEOUT_S   900L /* longer than a challenge or an enrolment lives */

/** Whom to call. Copied. */
struct connect_target {
    const char *url;       /* "https://127.0.0.1:7441"; with unix_path: "http://localhost" */
    const char *unix_path; /* at most 107 bytes; NULL: TCP */
    const char *bearer;    /* credential; NULL: none */
    const char *ca_path;   /* PEM of the only CA to trust; NULL only with unix_path */
};

struct connect_client;

/** @param[out] ret  freed with connect_free(). @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err connect_new(const struct connect_target *target, struct connect_client **ret);

/** Close, cleanse and free; NULL is allowed. */
void connect_free(struct connect_client *client);

/**
 * Call and wait for the answer.
 *
 * @param      procedure   "nanopush.v1.UserService/GetUser".
 * @param      descriptor  of the response.
 * @param      arena       owns the response; made by the caller with CONNECT_MEMORY_MAX_BYTES.
 * @param[out] problem     set unless ERR_OK.
 * @return ERR_OK; ERR_DENIED if the broker answered with an error; ERR_UNAVAILABLE if it could not be reached
 * or did not answer in time; ERR_MALFORMED if the answer is not of this protocol; ERR_NOMEM.
 */
MUST_CHECK enum err connect_call(struct connect_client *client, const char *procedure,
                                 const ProtobufCMessage *request,
                                 const ProtobufCMessageDescriptor *descriptor, struct arena *arena,
                                 ProtobufCMessage **ret, struct connect_problem *problem);

/** One message of a stream, valid during the call. @return false to end the stream here. */
typedef bool (*connect_message_fn)(const ProtobufCMessage *message, void *arg);

/**
 * Call, and hand over each message of the stream as it arrives, until the stream ends.
 *
 * @param[out] problem  set unless ERR_OK.
 * @return ERR_OK if it ended well or @p on_message ended it; else as connect_call(), with ERR_UNAVAILABLE
 * also for a stream that broke off.
 */
MUST_CHECK enum err connect_stream(struct connect_client *client, const char *procedure,
                                   const ProtobufCMessage *request,
                                   const ProtobufCMessageDescriptor *descriptor,
                                   connect_message_fn on_message, void *arg, struct connect_problem *problem);

#endif
