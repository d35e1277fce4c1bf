/**
 * Responses of HTTP/1.1, as far as the swarm meets them: a body of a known length or in chunks, one after the other on
 * a connection that is kept. Trusts the server that it loads.
 */
#ifndef NANOPUSH_BENCH_HTTP_H
#define NANOPUSH_BENCH_HTTP_H

#include "base/buf.h"

enum http_phase { HTTP_HEAD, HTTP_LENGTH, HTTP_CHUNK_SIZE, HTTP_CHUNK, HTTP_CHUNK_END, HTTP_LAST, HTTP_DONE };

/** Zero-initialised awaits a response. */
struct http_response {
    enum http_phase phase;
    unsigned status;
    size_t left; /* LENGTH, CHUNK: bytes still to come */
};

/**
 * Move what is there of a response's body from @p in to @p body; phase is HTTP_DONE when it has ended. An upgraded
 * connection (101) has no body.
 * @return ERR_OK; ERR_MALFORMED; ERR_NOMEM.
 */
MUST_CHECK enum err http_response_take(struct http_response *response, struct buf *in, struct buf *body);

#endif
