/**
 * Errors of the Connect protocol (https://connectrpc.com/docs/protocol, "Error codes"): as JSON in the body
 * of an HTTP response that is not 200, or in the last envelope of a stream; inferred from the HTTP status
 * where there is none.
 */
#ifndef NANOPUSH_CLI_CONNECT_PROBLEM_H
#define NANOPUSH_CLI_CONNECT_PROBLEM_H

#include "base/bytes.h"

#define CONNECT_CODE_SIZE    24   /* NUL included; "failed_precondition" is the longest */
#define CONNECT_MESSAGE_SIZE 512  /* NUL included; longer ones are cut */
#define CONNECT_SUPPORT_SIZE 1025 /* NUL included */

/** What went wrong with a call. All of it comes from the peer: not to be printed without say_text(). */
struct connect_problem {
    char code[CONNECT_CODE_SIZE];
    char message[CONNECT_MESSAGE_SIZE];
    char support[CONNECT_SUPPORT_SIZE]; /* of the detail google.rpc.LocalizedMessage; empty: none */
};

/** Set a problem of this side's own. */
void connect_problem_set(struct connect_problem *problem, const char *code, const char *format, ...)
    PRINTF(3, 4);

/**
 * Read the body of an HTTP response that is not 200.
 * @param[out] ret  always set: what the body says, or what the status implies where the body is no Connect
 * error.
 */
void connect_problem_of_status(long status, struct bytes body, struct connect_problem *ret);

/**
 * Read the last envelope of a stream.
 * @param[out] ret  set unless ERR_OK.
 * @return ERR_OK if the stream ended well; ERR_DENIED if it ended with an error; ERR_MALFORMED if it is
 * neither.
 */
MUST_CHECK enum err connect_problem_of_end(struct bytes payload, struct connect_problem *ret);

/** True if the same call may succeed later, without a change: unavailable, aborted, resource_exhausted, ...
 */
bool connect_problem_passes(const struct connect_problem *problem);

#endif
