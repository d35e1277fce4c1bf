/**
 * What a client of HTTP does wrong, or too much of: the rows of net/bad_request.def, each counted under its own label
 * of nanopush_bad_requests_total.
 */
#ifndef NANOPUSH_NET_BAD_REQUEST_H
#define NANOPUSH_NET_BAD_REQUEST_H

#define BAD_REQUEST(name, label, status, text) BAD_REQUEST_##name,
enum bad_request {
    BAD_REQUEST_NONE,
#include "net/bad_request.def"
    BAD_REQUEST_COUNT
};
#undef BAD_REQUEST

/** The status of HTTP's that answers it; 0: there is none. */
unsigned bad_request_status(enum bad_request why);

/** One line for the peer, without a full stop. Static. */
const char *bad_request_text(enum bad_request why);

/** Count one; of BAD_REQUEST_NONE nothing. */
void bad_request_count(enum bad_request why);

#endif
