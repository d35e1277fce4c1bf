/** HTTP/1.1 over a socket pair: what is refused, framing both ways, held exchanges, limits and deadlines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_bad_requests.h"
#include "net/http.h"

#define HOST "Host: a\r\n"

static struct loop *loop;
static struct http_server *server;
static struct http_server_options options;
static int peer_fd;

enum reply {
    ECHO,  /* "METHOD path?query body" */
    HOLD,  /* answer nothing */
    STREAM /* start, and leave the rest to the test */
};

static struct {
    enum reply reply;
    unsigned requests, gone, drained, bad, closed;
    unsigned bad_status;
    enum close_reason reason;
    struct http_exchange *held;
    bool too_large;
} seen;

static void append_echo(const struct http_exchange *ex, struct buf *out)
{
    assert_int_equal(buf_append(out, ex->method), ERR_OK);
    assert_int_equal(buf_append_byte(out, ' '), ERR_OK);
    assert_int_equal(buf_append(out, ex->path), ERR_OK);
    assert_int_equal(buf_append_byte(out, '?'), ERR_OK);
    assert_int_equal(buf_append(out, ex->query), ERR_OK);
    assert_int_equal(buf_append_byte(out, ' '), ERR_OK);
    assert_int_equal(buf_append(out, ex->body), ERR_OK);
}

static void on_request(struct http_exchange *ex, void *arg)
{
    assert_ptr_equal(arg, &seen);
    struct buf out = {0};
    struct http_header header = {bytes_of("X-Test"), bytes_of("yes")};
    seen.requests++;
    seen.too_large = ex->too_large;
    if (seen.reply == ECHO) {
        append_echo(ex, &out);
        http_respond(ex, 200, &header, 1, buf_view(&out));
    } else if (seen.reply == STREAM) {
        http_start(ex, 200, &header, 1);
    }
    seen.held = seen.reply == ECHO ? NULL : ex;
    buf_done(&out);
}

static void on_gone(struct http_exchange *ex, void *arg)
{
    (void)arg;
    assert_ptr_equal(ex, seen.held);
    seen.held = NULL;
    seen.gone++;
}

static void on_drain(struct http_exchange *ex, void *arg)
{
    (void)arg;
    assert_ptr_equal(ex, seen.held);
    seen.drained++;
}

static void on_bad_request(struct http_exchange *ex, enum bad_request why, void *arg)
{
    struct buf body = {0};
    const struct http_header header = {bytes_of("Content-Type"), bytes_of("application/json")};
    (void)arg;
    seen.bad++;
    seen.bad_status = bad_request_status(why);
    assert_int_equal(buf_printf(&body, "{\"message\":\"%s\"}", bad_request_text(why)), ERR_OK);
    http_respond(ex, bad_request_status(why), &header, 1, buf_view(&body));
    buf_done(&body);
}

static void on_connection_closed(enum close_reason reason, void *arg)
{
    (void)arg;
    seen.closed++;
    seen.reason = reason;
}

static const struct http_handlers handlers = {
    .on_request = on_request, .on_gone = on_gone, .on_drain = on_drain, .on_bad_request = on_bad_request};

static void stop(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static void turns(void)
{
    for (int i = 0; i < 6; i++) {
        struct deferral end;
        deferral_init(&end, stop, NULL);
        loop_defer(loop, &end);
        loop_run(loop);
    }
}

static void run_for(unsigned ms)
{
    struct timer end;
    timer_init(&end, loop, stop, NULL);
    timer_start(&end, ms);
    loop_run(loop);
}

static int set_up(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    options = (struct http_server_options){.stream = stream_limits_default,
                                           .http = http_limits_default,
                                           .on_connection_closed = on_connection_closed};
    server = NULL;
    peer_fd = -1;
    loop = loop_new();
    return loop ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    http_server_abort(server, CLOSE_LOCAL);
    turns();
    assert_int_equal(http_server_connections(server), 0);
    assert_null(seen.held);
    http_server_free(server);
    if (peer_fd >= 0)
        close(peer_fd);
    loop_free(loop);
    return 0;
}

static void start(void)
{
    int fds[2];
    if (!server)
        server = http_server_new(loop, &options, &handlers, &seen);
    if (peer_fd >= 0)
        close(peer_fd);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    peer_fd = fds[1];
    assert_int_equal(http_server_accept(server, fds[0], &(struct address){0}), ERR_OK);
    turns();
}

static void say_bytes(const void *p, size_t len)
{
    assert_int_equal(send(peer_fd, p, len, MSG_NOSIGNAL), len);
    turns();
}

static void say(const char *text)
{
    say_bytes(text, strlen(text));
}

/* All that the server has sent by now. Static: valid until the next call. */
static const char *hear(void)
{
    static char heard[200000];
    size_t len = 0;
    ssize_t n = 0;
    while ((n = recv(peer_fd, heard + len, sizeof(heard) - 1 - len, MSG_DONTWAIT)) > 0) {
        len += (size_t)n;
        turns();
    }
    heard[len] = '\0';
    return heard;
}

static void expect(const char *heard, const char *part)
{
    if (!strstr(heard, part))
        fail_msg("%s is not in: %s", part, heard);
}

static bool ends_with(const char *heard, const char *end)
{
    size_t len = strlen(heard), end_len = strlen(end);
    return len >= end_len && strcmp(heard + len - end_len, end) == 0;
}

static void expect_answer(const char *status_line, const char *body)
{
    const char *heard = hear();
    assert_int_equal(strncmp(heard, status_line, strlen(status_line)), 0);
    if (!ends_with(heard, body))
        fail_msg("%s does not end: %s", body, heard);
}

/* The peer reads the refusal to its end, then sees the connection close. */
static void expect_refused(unsigned status)
{
    char line[32], c = 0;
    snprintf(line, sizeof(line), "HTTP/1.1 %u ", status);
    const char *heard = hear();
    expect(heard, line);
    expect(heard, "Content-Type: application/json\r\n");
    expect(heard, "Connection: close\r\n");
    assert_true(ends_with(heard, "\"}"));
    assert_int_equal(seen.bad_status, status);
    assert_int_equal(recv(peer_fd, &c, 1, MSG_DONTWAIT), 0);
}

static void request_is_answered_and_the_connection_kept(void **state)
{
    (void)state;
    start();
    for (int i = 0; i < 3; i++) {
        say("GET /a/b?c=d HTTP/1.1\r\n" HOST "\r\n");
        const char *heard = hear();
        assert_int_equal(strncmp(heard, "HTTP/1.1 200 OK\r\nDate: ", 23), 0);
        expect(heard, " GMT\r\nX-Test: yes\r\nContent-Length: 13\r\n\r\nGET /a/b?c=d ");
        assert_null(strstr(heard, "Connection"));
    }
    assert_int_equal(seen.requests, 3);
    assert_int_equal(seen.closed, 0);
}

static void headers_are_found_in_any_case(void **state)
{
    (void)state;
    seen.reply = HOLD;
    start();
    say("GET / HTTP/1.1\r\nhOST:a:1\r\nX-One: \t two words \t\r\nX-Empty:\r\nx-one: 2\r\n\r\n");
    assert_non_null(seen.held);
    assert_int_equal(seen.held->header_count, 4);
    assert_true(bytes_equal(*http_find_header(seen.held, "Host"), bytes_of("a:1")));
    assert_true(bytes_equal(*http_find_header(seen.held, "x-ONE"), bytes_of("two words")));
    assert_int_equal(http_find_header(seen.held, "X-Empty")->len, 0);
    assert_null(http_find_header(seen.held, "X-On"));
}

static void request_with_a_length_is_cut_at_each_byte(void **state)
{
    (void)state;
    const char *request = "POST /p HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello";
    for (size_t cut = 0; cut <= strlen(request); cut++) {
        start();
        unsigned before = seen.requests;
        say_bytes(request, cut);
        assert_int_equal(seen.requests, before + (cut == strlen(request)));
        if (cut < strlen(request))
            say(request + cut);
        expect_answer("HTTP/1.1 200 ", "POST /p? hello");
    }
    start();
    for (size_t i = 0; i < strlen(request); i++)
        say_bytes(request + i, 1);
    expect_answer("HTTP/1.1 200 ", "POST /p? hello");
}

static void chunked_request_is_cut_at_each_byte(void **state)
{
    (void)state;
    const char *request = "POST /p HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n"
                          "3\r\nhel\r\n0A\r\nlo, world!\r\n000\r\n\r\n";
    for (size_t cut = 0; cut <= strlen(request); cut++) {
        start();
        say_bytes(request, cut);
        if (cut < strlen(request))
            say(request + cut);
        expect_answer("HTTP/1.1 200 ", "POST /p? hello, world!");
    }
    start();
    for (size_t i = 0; i < strlen(request); i++)
        say_bytes(request + i, 1);
    expect_answer("HTTP/1.1 200 ", "POST /p? hello, world!");
}

static void peer_that_leaves_amid_a_request_is_no_request(void **state)
{
    (void)state;
    const char *request = "POST /p HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello";
    for (size_t cut = 0; cut < strlen(request); cut++) {
        start();
        say_bytes(request, cut);
        close(peer_fd);
        peer_fd = -1;
        turns();
        assert_int_equal(seen.closed, cut + 1);
    }
    assert_int_equal(seen.requests, 0);
    assert_int_equal(seen.gone, 0);
}

static void requests_sent_ahead_are_answered_one_after_the_other(void **state)
{
    (void)state;
    start();
    say("GET /1 HTTP/1.1\r\n" HOST "\r\nPOST /2 HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi"
        "POST /3 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        "GET /4 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\nGET /5 HTTP/1.1\r\n" HOST "\r\n");
    const char *heard = hear();
    const char *one = strstr(heard, "GET /1? "), *two = strstr(heard, "POST /2? hi");
    const char *three = strstr(heard, "POST /3? x"), *four = strstr(heard, "GET /4? ");
    assert_true(one && one < two && two < three && three < four);
    assert_null(strstr(heard, "/5"));
    expect(heard, "Connection: close\r\n");
    assert_int_equal(seen.requests, 4);
}

static void request_sent_ahead_waits_for_the_held_one(void **state)
{
    (void)state;
    seen.reply = HOLD;
    start();
    say("GET /1 HTTP/1.1\r\n" HOST "\r\nGET /2 HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(seen.requests, 1);
    seen.reply = ECHO;
    struct http_exchange *held = seen.held;
    seen.held = NULL;
    http_respond(held, 404, NULL, 0, bytes_of("first"));
    assert_int_equal(seen.requests, 1); /* never inside the call */
    turns();
    assert_int_equal(seen.requests, 2);
    expect_answer("HTTP/1.1 404 Not Found\r\n", "GET /2? ");
}

static void endless_requests_sent_ahead_stay_in_the_kernel(void **state)
{
    (void)state;
    static char block[4096];
    size_t taken = 0;
    memset(block, 'x', sizeof(block));
    seen.reply = HOLD;
    start();
    say("GET /1 HTTP/1.1\r\n" HOST "\r\n");
    for (ssize_t n = 0; (n = send(peer_fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT)) > 0; turns())
        taken += (size_t)n;
    assert_true(taken < 2 * 1024 * 1024);
    assert_true(stream_input(seen.held->stream).len < options.stream.input_max + 16384);
    assert_int_equal(seen.gone, 0);
}

static void expect_all_refused(size_t piece)
{
    for (size_t i = 0; i < sizeof(bad_requests) / sizeof(*bad_requests); i++) {
        const struct bad_request_row *b = &bad_requests[i];
        start();
        for (size_t at = 0; at < strlen(b->request); at += piece) {
            size_t left = strlen(b->request) - at;
            assert_true(send(peer_fd, b->request + at, left < piece ? left : piece, MSG_NOSIGNAL) > 0);
            turns();
        }
        expect_refused(b->status);
    }
    assert_int_equal(seen.requests, 0);
    assert_int_equal(seen.bad, sizeof(bad_requests) / sizeof(*bad_requests));
}

static void ambiguous_requests_are_refused(void **state)
{
    (void)state;
    expect_all_refused(4096);
}

static void ambiguous_requests_are_refused_byte_by_byte(void **state)
{
    (void)state;
    expect_all_refused(1);
}

static void nul_in_a_header_is_refused(void **state)
{
    (void)state;
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n";
    start();
    say_bytes(request, sizeof(request) - 1);
    expect_refused(400);
}

/* "GET /xxx HTTP/1.1" of @p len bytes, its CR LF included. */
static void say_request_line(size_t len)
{
    static char line[20000];
    size_t fixed = strlen("GET / HTTP/1.1\r\n");
    memset(line, 'x', len);
    memcpy(line, "GET /", 5);
    memcpy(line + len - (fixed - 5), " HTTP/1.1\r\n", fixed - 5);
    say_bytes(line, len);
}

static void request_line_has_its_limit(void **state)
{
    (void)state;
    start();
    say_request_line(options.http.request_line_max);
    say(HOST "\r\n");
    expect(hear(), "HTTP/1.1 200 ");
    start();
    say_request_line(options.http.request_line_max + 1);
    expect_refused(414);
}

static void endless_request_line_is_refused_before_its_end(void **state)
{
    (void)state;
    static char line[8193];
    memset(line, 'x', sizeof(line));
    start();
    say_bytes(line, sizeof(line) - 1);
    assert_int_equal(seen.bad, 0);
    say("x");
    expect_refused(414);
}

static void head_has_its_limit(void **state)
{
    (void)state;
    static char value[16384];
    const char *first = "GET / HTTP/1.1\r\n" HOST "X: ";
    size_t room = options.http.head_max - strlen(first) - 4;
    memset(value, 'x', sizeof(value));
    for (size_t over = 0; over < 2; over++) {
        start();
        say(first);
        say_bytes(value, room + over);
        say("\r\n\r\n");
        if (over)
            expect_refused(431);
        else
            expect(hear(), "HTTP/1.1 200 ");
    }
}

static void number_of_headers_has_its_limit(void **state)
{
    (void)state;
    for (size_t over = 0; over < 2; over++) {
        start();
        say("GET / HTTP/1.1\r\n" HOST);
        for (size_t i = 1; i < options.http.header_count_max + over; i++)
            say("X: x\r\n");
        say("\r\n");
        if (over)
            expect_refused(431);
        else
            expect(hear(), "HTTP/1.1 200 ");
    }
}

static void body_has_its_limit(void **state)
{
    (void)state;
    options.http.body_max = 5;
    start();
    say("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello");
    assert_false(seen.too_large);
    expect_answer("HTTP/1.1 200 ", "POST /? hello");
    say("POST / HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\n");
    assert_true(seen.too_large);
    const char *heard = hear();
    expect(heard, "Connection: close\r\n");
    assert_true(ends_with(heard, "POST /? "));
    say("hello!"); /* read and thrown away, so that the answer is not lost in a reset */
    assert_int_equal(seen.requests, 2);
}

static void chunked_body_has_the_same_limit(void **state)
{
    (void)state;
    options.http.body_max = 5;
    start();
    say(CHUNKED "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
    assert_false(seen.too_large);
    expect_answer("HTTP/1.1 200 ", "POST /? hello");
    say(CHUNKED "3\r\nhel\r\n3\r\n");
    assert_true(seen.too_large);
    const char *heard = hear();
    expect(heard, "Connection: close\r\n");
    assert_true(ends_with(heard, "POST /? "));
}

static void client_that_expects_it_is_told_to_continue(void **state)
{
    (void)state;
    start();
    say("POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_string_equal(hear(), "HTTP/1.1 100 Continue\r\n\r\n");
    say("hi");
    expect_answer("HTTP/1.1 200 ", "POST /? hi");
    say("POST / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nhi"); /* does not wait */
    assert_null(strstr(hear(), "100"));
    say("POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 99999\r\n\r\n");
    assert_true(seen.too_large);
    assert_null(strstr(hear(), "HTTP/1.1 100"));
}

static void head_request_gets_no_body(void **state)
{
    (void)state;
    start();
    say("HEAD /a HTTP/1.1\r\n" HOST "\r\n");
    const char *heard = hear();
    expect(heard, "Content-Length: 9\r\n");
    assert_true(ends_with(heard, "\r\n\r\n"));
}

static void answers_without_content_have_no_length(void **state)
{
    (void)state;
    seen.reply = HOLD;
    start();
    say("GET / HTTP/1.1\r\n" HOST "\r\n");
    struct http_exchange *held = seen.held;
    seen.held = NULL;
    http_respond(held, 204, NULL, 0, bytes_of("x"));
    turns();
    const char *heard = hear();
    expect(heard, "HTTP/1.1 204 No Content\r\n");
    assert_null(strstr(heard, "Content-Length"));
    assert_true(ends_with(heard, "\r\n\r\n"));
}

static void status_without_a_phrase_is_sent(void **state)
{
    (void)state;
    seen.reply = HOLD;
    start();
    say("GET / HTTP/1.1\r\n" HOST "\r\n");
    struct http_exchange *held = seen.held;
    seen.held = NULL;
    http_respond(held, 499, NULL, 0, bytes_of(""));
    turns();
    expect(hear(), "HTTP/1.1 499 \r\n");
}

static void header_that_would_split_the_answer_cuts_the_connection(void **state)
{
    (void)state;
    seen.reply = HOLD;
    start();
    say("GET / HTTP/1.1\r\n" HOST "\r\n");
    struct http_exchange *held = seen.held;
    struct http_header header = {bytes_of("X"), bytes_of("a\r\nY: b")};
    seen.held = NULL;
    http_respond(held, 200, &header, 1, bytes_of(""));
    turns();
    assert_string_equal(hear(), "");
    assert_int_equal(seen.closed, 1);
    assert_int_equal(seen.reason, CLOSE_INTERNAL);
    assert_int_equal(seen.gone, 0);
}

static void streamed_answer_is_chunked_and_the_connection_kept(void **state)
{
    (void)state;
    seen.reply = STREAM;
    start();
    say("GET / HTTP/1.1\r\n" HOST "\r\n");
    const char *heard = hear();
    expect(heard, "Transfer-Encoding: chunked\r\n\r\n");
    assert_null(strstr(heard, "Content-Length"));
    struct http_exchange *held = seen.held;
    assert_int_equal(http_send(held, bytes_of("")), ERR_OK);
    assert_int_equal(http_send(held, bytes_of("hello, world")), ERR_OK);
    turns();
    assert_string_equal(hear(), "c\r\nhello, world\r\n");
    seen.held = NULL;
    http_finish(held);
    turns();
    assert_string_equal(hear(), "0\r\n\r\n");
    seen.reply = ECHO;
    say("GET /next HTTP/1.1\r\n" HOST "\r\n");
    expect_answer("HTTP/1.1 200 ", "GET /next? ");
}

static void cut_stream_is_not_ended(void **state)
{
    (void)state;
    seen.reply = STREAM;
    start();
    say("GET / HTTP/1.1\r\n" HOST "\r\n");
    struct http_exchange *held = seen.held;
    seen.held = NULL;
    http_abort(held, CLOSE_QUEUE_FULL);
    turns();
    assert_null(strstr(hear(), "0\r\n\r\n"));
    assert_int_equal(seen.reason, CLOSE_QUEUE_FULL);
    assert_int_equal(seen.gone, 0);
}

static void slow_reader_of_a_stream_meets_the_limit_and_drains(void **state)
{
    (void)state;
    static const char block[10000];
    options.stream.write_max = 100000;
    options.stream.write_low = 20000;
    seen.reply = STREAM;
    start();
    say("GET / HTTP/1.1\r\n" HOST "\r\n");
    enum err e = ERR_OK;
    for (int i = 0; i < 1000 && e == ERR_OK; i++, turns())
        e = http_send(seen.held, bytes_make(block, sizeof(block)));
    assert_int_equal(e, ERR_LIMIT);
    assert_non_null(seen.held);
    assert_int_equal(seen.drained, 0);
    char part[65536];
    while (recv(peer_fd, part, sizeof(part), MSG_DONTWAIT) > 0)
        turns();
    assert_int_equal(seen.drained, 1);
    assert_int_equal(http_send(seen.held, bytes_make(block, sizeof(block))), ERR_OK);
}

static void peer_that_leaves_a_held_exchange_is_noticed(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        seen.reply = how == 2 ? STREAM : HOLD;
        start();
        say("GET / HTTP/1.1\r\n" HOST "\r\n");
        assert_non_null(seen.held);
        if (how == 0)
            shutdown(peer_fd, SHUT_WR);
        turns();
        if (how > 0) {
            close(peer_fd);
            peer_fd = -1;
            turns();
        }
        assert_null(seen.held);
        assert_int_equal(seen.gone, how + 1);
    }
}

static void sending_to_a_peer_that_left_is_told(void **state)
{
    (void)state;
    seen.reply = STREAM;
    start();
    say("GET / HTTP/1.1\r\n" HOST "\r\n");
    stream_abort(seen.held->stream, CLOSE_PEER_RESET); /* on_gone is under way, not there yet */
    assert_int_equal(http_send(seen.held, bytes_of("x")), ERR_CLOSED);
    assert_int_equal(seen.gone, 0);
    turns();
    assert_int_equal(seen.gone, 1);
}

static void answering_a_peer_that_left_is_harmless(void **state)
{
    (void)state;
    seen.reply = HOLD;
    start();
    say("GET / HTTP/1.1\r\n" HOST "\r\n");
    struct http_exchange *held = seen.held;
    seen.held = NULL;
    stream_abort(held->stream, CLOSE_PEER_RESET);
    http_respond(held, 200, NULL, 0, bytes_of("x"));
    turns();
    assert_int_equal(seen.gone, 0);
    assert_int_equal(seen.closed, 1);
}

static void slow_head_and_body_time_out_with_an_answer(void **state)
{
    (void)state;
    options.http.head_ms = options.http.body_ms = 30;
    start();
    say("GET / HTTP/1.1\r\n");
    run_for(20);
    say("X: x\r\n"); /* trickling does not help */
    run_for(20);
    expect_refused(408);
    start();
    say("POST / HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nh");
    run_for(40);
    turns();
    expect_refused(408);
    assert_int_equal(seen.requests, 0);
}

static void silent_connection_is_closed_without_a_word(void **state)
{
    (void)state;
    options.http.head_ms = options.http.idle_ms = 20;
    start();
    run_for(40);
    assert_string_equal(hear(), "");
    shutdown(peer_fd, SHUT_WR);
    turns();
    assert_int_equal(seen.reason, CLOSE_IDLE);
    start();
    say("GET / HTTP/1.1\r\n" HOST "\r\n");
    run_for(40);
    assert_true(ends_with(hear(), "GET /? "));
    shutdown(peer_fd, SHUT_WR);
    turns();
    assert_int_equal(seen.closed, 2);
    assert_int_equal(seen.reason, CLOSE_IDLE);
}

static void held_exchange_has_no_deadline_here(void **state)
{
    (void)state;
    options.http.head_ms = options.http.body_ms = options.http.idle_ms = 10;
    seen.reply = HOLD;
    start();
    say("GET / HTTP/1.1\r\n" HOST "\r\n");
    run_for(40);
    assert_non_null(seen.held);
}

static void draining_closes_idle_connections_and_others_after_their_answer(void **state)
{
    (void)state;
    char c = 0;
    start();
    http_server_drain(server);
    turns();
    assert_int_equal(recv(peer_fd, &c, 1, MSG_DONTWAIT), 0);
    start(); /* one that comes too late */
    assert_int_equal(recv(peer_fd, &c, 1, MSG_DONTWAIT), 0);
    tear_down(state);
    set_up(state);
    seen.reply = HOLD;
    start();
    say("GET / HTTP/1.1\r\n" HOST "\r\n");
    http_server_drain(server);
    turns();
    assert_non_null(seen.held);
    struct http_exchange *held = seen.held;
    seen.held = NULL;
    http_respond(held, 200, NULL, 0, bytes_of("x"));
    turns();
    expect(hear(), "Connection: close\r\n");
    shutdown(peer_fd, SHUT_WR);
    turns();
    assert_int_equal(seen.reason, CLOSE_DRAINED);
}

static void without_a_callback_a_refusal_has_no_body(void **state)
{
    (void)state;
    static const struct http_handlers silent = {.on_request = on_request, .on_gone = on_gone};
    server = http_server_new(loop, &options, &silent, &seen);
    start();
    say("\r\n");
    const char *heard = hear();
    expect(heard, "HTTP/1.1 400 Bad Request\r\n");
    expect(heard, "Content-Length: 0\r\n\r\n");
}

static void upgrade_is_ignored(void **state)
{
    (void)state;
    start();
    say("GET /u HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    expect_answer("HTTP/1.1 200 ", "GET /u? ");
    say("POST /u HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi");
    expect_answer("HTTP/1.1 200 ", "POST /u? hi");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(request_is_answered_and_the_connection_kept),
        TEST(headers_are_found_in_any_case),
        TEST(request_with_a_length_is_cut_at_each_byte),
        TEST(chunked_request_is_cut_at_each_byte),
        TEST(peer_that_leaves_amid_a_request_is_no_request),
        TEST(requests_sent_ahead_are_answered_one_after_the_other),
        TEST(request_sent_ahead_waits_for_the_held_one),
        TEST(endless_requests_sent_ahead_stay_in_the_kernel),
        TEST(ambiguous_requests_are_refused),
        TEST(ambiguous_requests_are_refused_byte_by_byte),
        TEST(nul_in_a_header_is_refused),
        TEST(request_line_has_its_limit),
        TEST(endless_request_line_is_refused_before_its_end),
        TEST(head_has_its_limit),
        TEST(number_of_headers_has_its_limit),
        TEST(body_has_its_limit),
        TEST(chunked_body_has_the_same_limit),
        TEST(client_that_expects_it_is_told_to_continue),
        TEST(head_request_gets_no_body),
        TEST(answers_without_content_have_no_length),
        TEST(status_without_a_phrase_is_sent),
        TEST(header_that_would_split_the_answer_cuts_the_connection),
        TEST(streamed_answer_is_chunked_and_the_connection_kept),
        TEST(cut_stream_is_not_ended),
        TEST(slow_reader_of_a_stream_meets_the_limit_and_drains),
        TEST(peer_that_leaves_a_held_exchange_is_noticed),
        TEST(sending_to_a_peer_that_left_is_told),
        TEST(answering_a_peer_that_left_is_harmless),
        TEST(slow_head_and_body_time_out_with_an_answer),
        TEST(silent_connection_is_closed_without_a_word),
        TEST(held_exchange_has_no_deadline_here),
        TEST(draining_closes_idle_connections_and_others_after_their_answer),
        TEST(without_a_callback_a_refusal_has_no_body),
        TEST(upgrade_is_ignored),
    };
    return cmocka_run_group_tests_name("http1", tests, NULL, NULL);
}
