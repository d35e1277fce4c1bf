/**
 * Requests that must be refused, most of them because two servers might read them differently, and the status
 * that each gets. Shared by the tests of the scan alone and of the whole connection.
 */
#ifndef NANOPUSH_TESTS_UNIT_HTTP_BAD_REQUESTS_H
#define NANOPUSH_TESTS_UNIT_HTTP_BAD_REQUESTS_H

struct bad_request_row {
    unsigned status;
    const char *request;
};

static const struct bad_request_row bad_requests[] = {
    /* line ends and control bytes */
    {400, "GET / HTTP/1.1\nHost: a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\n\n"},
    {400, "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\x01z\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fz\r\n\r\n"},
    /* request line */
    {400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"},
    {400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET /\r\nHost: a\r\n\r\n"},
    {400, "GET / http/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET / HTTP/11\r\nHost: a\r\n\r\n"},
    {400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET /#f HTTP/1.1\r\nHost: a\r\n\r\n"},
    {501, "FETCH / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {505, "GET / HTTP/1.0\r\nHost: a\r\n\r\n"},
    {505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
    {505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
    /* header lines */
    {400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\nX(y): x\r\n\r\n"},
    /* Host */
    {400, "GET / HTTP/1.1\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
    /* framing */
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\ncontent-length: 3\r\n\r\nhi"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 2\r\n\r\nhi"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\nhi"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nhi"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -2\r\n\r\nhi"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2\r\n\r\nhi"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhi"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551618\r\n\r\nhi"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
          "chunked\r\n\r\n0\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0b"
          "chunked\r\n\r\n0\r\n\r\n"},
    {417, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\nhi"},
#define CHUNKED "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    {400, CHUNKED "2;x=y\r\nhi\r\n0\r\n\r\n"},
    {400, CHUNKED "2 \r\nhi\r\n0\r\n\r\n"},
    {400, CHUNKED " 2\r\nhi\r\n0\r\n\r\n"},
    {400, CHUNKED "0x2\r\nhi\r\n0\r\n\r\n"},
    {400, CHUNKED "+2\r\nhi\r\n0\r\n\r\n"},
    {400, CHUNKED "\r\nhi\r\n0\r\n\r\n"},
    {400, CHUNKED "2\nhi\r\n0\r\n\r\n"},
    {400, CHUNKED "2\r\r\nhi\r\n0\r\n\r\n"},
    {400, CHUNKED "2\r\nhi\n0\r\n\r\n"},
    {400, CHUNKED "2\r\nhiX\r\n0\r\n\r\n"},
    {400, CHUNKED "000000002\r\nhi\r\n0\r\n\r\n"},
    {400, CHUNKED "0\r\nX-Trailer: x\r\n\r\n"},
    {400, CHUNKED "0\r\n\n"},
};

#endif
