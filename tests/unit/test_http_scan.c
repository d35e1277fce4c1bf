/** The scan in front of http-parser: what it refuses by itself, and what it says about what it lets pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "http_bad_requests.h"
#include "net/http_scan.h"

#define HEADERS_MAX 64

static struct http_header headers[HEADERS_MAX];
static struct http_head head;

/* Scan a whole request as a connection does. The status that refuses it, or 0. */
static unsigned scan(struct bytes in)
{
    struct http_head_search search = {0};
    struct http_chunk_scan chunks = {0};
    size_t len = 0;
    enum bad_request no = http_scan_find_head(in, &http_limits_default, &search, &len);
    if (no)
        return bad_request_status(no);
    assert_true(len > 0 && search.lines <= HEADERS_MAX);
    no = http_scan_head(bytes_make(in.p, len), headers, &head);
    if (no || !head.chunked)
        return bad_request_status(no);
    return bad_request_status(
        http_scan_chunks(bytes_make(in.p + len, in.len - len), SIZE_MAX, &chunks, &len));
}

static void what_is_ambiguous_is_refused_by_the_scan_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_requests) / sizeof(*bad_requests); i++) {
        unsigned status = scan(bytes_of(bad_requests[i].request));
        if (bad_requests[i].status == 501)
            assert_int_equal(status, 0); /* the parser knows the methods */
        else if (status != bad_requests[i].status)
            fail_msg("%u for: %s", status, bad_requests[i].request);
    }
}

static void head_is_taken_apart(void **state)
{
    (void)state;
    const char *request = "POST /a/%20b?c=?d HTTP/1.1\r\nhost: [::1]:80\r\nContent-Length: 007\r\n"
                          "Expect: 100-continue\r\nX-Empty: \t \r\n\r\n";
    assert_int_equal(scan(bytes_of(request)), 0);
    assert_true(bytes_equal(head.method, bytes_of("POST")));
    assert_true(bytes_equal(head.path, bytes_of("/a/%20b")));
    assert_true(bytes_equal(head.query, bytes_of("c=?d")));
    assert_int_equal(head.header_count, 4);
    assert_int_equal(head.length, 7);
    assert_true(head.has_length && head.expects_continue && !head.chunked);
    assert_true(bytes_equal(headers[0].name, bytes_of("host")));
    assert_true(bytes_equal(headers[0].value, bytes_of("[::1]:80")));
    assert_int_equal(headers[3].value.len, 0);
}

static void head_without_a_query_or_length_says_so(void **state)
{
    (void)state;
    assert_int_equal(scan(bytes_of("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")), 0);
    assert_true(bytes_equal(head.path, bytes_of("/a")));
    assert_int_equal(head.query.len, 0);
    assert_false(head.has_length || head.chunked || head.expects_continue);
    assert_int_equal(head.length, 0);
}

static void heads_end_is_found_at_whatever_byte_the_search_stopped(void **state)
{
    (void)state;
    const char *request = "GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    size_t whole = strlen(request) - 4;
    for (size_t cut = 0; cut <= strlen(request); cut++) {
        struct http_head_search search = {0};
        size_t len = 99;
        struct bytes part = bytes_make(request, cut);
        assert_int_equal(http_scan_find_head(part, &http_limits_default, &search, &len), BAD_REQUEST_NONE);
        assert_int_equal(len, cut >= whole ? whole : 0);
        if (len)
            continue;
        struct bytes all = bytes_of(request);
        assert_int_equal(http_scan_find_head(all, &http_limits_default, &search, &len), BAD_REQUEST_NONE);
        assert_int_equal(len, whole);
        assert_int_equal(search.lines, 2);
    }
}

static void chunks_are_scanned_in_any_pieces(void **state)
{
    (void)state;
    const char *body = "3\r\nabc\r\n0a\r\n0123456789\r\n0\r\n\r\nnext";
    size_t whole = strlen(body) - 4;
    for (size_t piece = 1; piece <= strlen(body); piece++) {
        struct http_chunk_scan chunks = {0};
        size_t at = 0, len = 0;
        while (at < strlen(body) && chunks.state != CHUNK_DONE) {
            size_t n = strlen(body) - at < piece ? strlen(body) - at : piece;
            assert_int_equal(http_scan_chunks(bytes_make(body + at, n), 13, &chunks, &len), BAD_REQUEST_NONE);
            at += len;
        }
        assert_int_equal(at, whole);
        assert_int_equal(chunks.total, 13);
        assert_int_equal(http_scan_chunks(bytes_of("next"), 13, &chunks, &len), BAD_REQUEST_NONE);
        assert_int_equal(len, 0);
    }
}

static void chunk_that_passes_the_limit_stops_the_scan(void **state)
{
    (void)state;
    const char *body = "3\r\nabc\r\nFFFFFFFF\r\n";
    struct http_chunk_scan chunks = {0};
    size_t len = 0;
    assert_int_equal(http_scan_chunks(bytes_of(body), 100, &chunks, &len), BAD_REQUEST_NONE);
    assert_int_equal(len, strlen(body));
    assert_int_equal(chunks.total, 3 + UINT64_C(0xffffffff));
    assert_int_equal(http_scan_chunks(bytes_of("x"), 100, &chunks, &len), BAD_REQUEST_NONE);
    assert_int_equal(len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_ambiguous_is_refused_by_the_scan_alone),
        cmocka_unit_test(head_is_taken_apart),
        cmocka_unit_test(head_without_a_query_or_length_says_so),
        cmocka_unit_test(heads_end_is_found_at_whatever_byte_the_search_stopped),
        cmocka_unit_test(chunks_are_scanned_in_any_pieces),
        cmocka_unit_test(chunk_that_passes_the_limit_stops_the_scan),
    };
    return cmocka_run_group_tests_name("http_scan", tests, NULL, NULL);
}
