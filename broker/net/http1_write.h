/**
 * Answers in the form of HTTP/1.1 (RFC 9112), written into a buffer.
 */
#ifndef NANOPUSH_NET_HTTP1_WRITE_H
#define NANOPUSH_NET_HTTP1_WRITE_H

#include "net/http.h"

enum http1_framing {
    HTTP1_LENGTH,  /* Content-Length: body.len */
    HTTP1_CHUNKED, /* Transfer-Encoding: chunked; no body yet */
};

struct http1_answer {
    unsigned status;
    const struct http_header *headers;
    size_t header_count;
    enum http1_framing framing;
    struct bytes body;
    bool without_body; /* HEAD: the framing headers, but nothing after them */
    bool close;        /* announce that the connection closes */
};

/**
 * @return ERR_OK; ERR_INVALID if a header is no token or has control bytes; ERR_NOMEM. @p out is partly
 * written then.
 */
MUST_CHECK enum err http1_write_answer(const struct http1_answer *answer, struct buf *out);

/** One chunk; of an empty @p part it is the last one. @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err http1_write_chunk(struct bytes part, struct buf *out);

#endif
