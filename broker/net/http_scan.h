/**
 * A strict look at an HTTP/1.1 request (RFC 9112) before http-parser sees it, which lets bare LFs, folded
 * lines, spaces before a colon, chunk extensions and a missing Host pass: whatever another server in front of
 * this one might read differently is refused here. Knows no connection; allocates nothing. All that it
 * refuses is BAD_REQUEST_*, and BAD_REQUEST_NONE what it lets pass.
 */
#ifndef NANOPUSH_NET_HTTP_SCAN_H
#define NANOPUSH_NET_HTTP_SCAN_H

#include "net/http.h"

/** How far the search for a head's end is; zero-initialised at its start. */
struct http_head_search {
    size_t seen;  /* bytes looked at */
    size_t lines; /* complete ones among them */
};

/**
 * Look for the empty line that ends a head at the front of @p in.
 * @param      in      all that has come so far, from the same start in each call.
 * @param      search  kept between the calls.
 * @param[out] len     length of the head with its empty line; 0: more bytes are needed.
 * @return LINE_END, REQUEST_LINE; TARGET_TOO_LONG, HEADERS_TOO_LARGE or HEADERS_TOO_MANY as soon as a limit is passed.
 */
enum bad_request http_scan_find_head(struct bytes in, const struct http_limits *limits,
                                     struct http_head_search *search, size_t *len);

/** What a head says; views into it. */
struct http_head {
    struct bytes method, path, query;
    size_t header_count;
    uint64_t length; /* Content-Length, 0 without */
    bool has_length, chunked, expects_continue;
};

/**
 * Scan a complete head.
 * @param      block    as http_scan_find_head() measured it.
 * @param      headers  room for as many as the head has lines.
 * @param[out] ret      valid unless refused.
 * @return why it is refused: a row of net/bad_request.def for a head of HTTP/1.1.
 */
enum bad_request http_scan_head(struct bytes block, struct http_header *headers, struct http_head *ret);

/** Scan a request target: a path, and perhaps a query. @return TARGET. */
enum bad_request http_scan_target(struct bytes target, struct bytes *path, struct bytes *query);

/** True if @p value can stand in Host and :authority. */
bool http_is_host(struct bytes value);

/** Scan a Content-Length: 1 to 18 digits. @return false if it is not that. */
bool http_scan_length(struct bytes value, uint64_t *ret);

enum chunk_state {
    CHUNK_SIZE,
    CHUNK_SIZE_LF,
    CHUNK_BYTES,
    CHUNK_BYTES_CR,
    CHUNK_BYTES_LF,
    CHUNK_LAST_CR,
    CHUNK_LAST_LF,
    CHUNK_DONE,
};

/** Where in a chunked body the scan is; zero-initialised at its start. */
struct http_chunk_scan {
    enum chunk_state state;
    unsigned digits;
    uint64_t size;  /* of this chunk, then what is left of it */
    uint64_t total; /* announced by all chunks so far */
};

/**
 * Scan a part of a chunked body: sizes of 1 to 8 digits, no extensions, no trailers. Stops after the size
 * line with which total passes @p max, and at the body's end.
 * @param[out] len  bytes of @p in that are good and belong to the body; valid unless refused.
 * @return CHUNK.
 */
enum bad_request http_scan_chunks(struct bytes in, uint64_t max, struct http_chunk_scan *scan, size_t *len);

#endif
