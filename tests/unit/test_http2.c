/** HTTP/2 over a socket pair: requests cut anywhere, held and streamed answers, flow control, trailers, deadlines, the end. */
#include "http2_fixture.h"

static void settings_are_announced(void **state)
{
    (void)state;
    static const uint8_t wanted[] = {0, 3, 0, 0, 3, 0xe8, 0, 6, 0, 0, 0x40, 0, 0, 9, 0, 0, 0, 1};
    start();
    const struct frame *f = find(SETTINGS, 0);
    assert_non_null(f);
    assert_int_equal(f->len, sizeof wanted);
    assert_memory_equal(f->payload, wanted, sizeof wanted);
}

static void request_is_answered(void **state)
{
    (void)state;
    start();
    say_get(1);
    say_head(3, 0, "POST", "content-length", "5");
    say_frame(DATA, 0, 3, "he", 2);
    say_frame(DATA, END_STREAM, 3, "llo", 3);
    hear();
    expect_answer(1, "200", "GET /p?q ");
    expect_answer(3, "200", "POST /p?q hello");
    assert_non_null(strstr(find(HEADERS, 1)->text, "x-test: yes\n"));
    assert_non_null(strstr(find(HEADERS, 1)->text, "content-length: 9\n"));
    assert_non_null(strstr(find(HEADERS, 1)->text, " GMT\n"));
    assert_true(find(DATA, 1)->flags & END_STREAM);
    assert_null(find(RST_STREAM, 1));
    assert_int_equal(seen.closed, 0);
}

/* Preface, settings, a head in three frames with a body, its trailers, and a second request behind it. */
static void append_session(struct buf *out)
{
    struct buf block = {0};
    append_request(&block, "POST", "/p?q");
    struct bytes all = buf_view(&block);
    assert_int_equal(buf_append(out, bytes_of(PREFACE)), ERR_OK);
    append_frame(out, SETTINGS, 0, 0, (struct bytes){0});
    append_frame(out, HEADERS, 0, 1, bytes_make(all.p, 10));
    append_frame(out, CONTINUATION, 0, 1, bytes_make(all.p + 10, 1));
    append_frame(out, CONTINUATION, END_HEADERS, 1, bytes_make(all.p + 11, all.len - 11));
    append_frame(out, DATA, 0, 1, bytes_of("hel"));
    append_frame(out, DATA, 0, 1, bytes_of("lo"));
    buf_done(&block);
    append_header(&block, "checksum", "x");
    append_frame(out, HEADERS, END_STREAM | END_HEADERS, 1, buf_view(&block));
    buf_done(&block);
    append_request(&block, "GET", "/p?q");
    append_frame(out, HEADERS, END_STREAM | END_HEADERS, 3, buf_view(&block));
    buf_done(&block);
}

static void session_is_cut_at_each_byte(void **state)
{
    (void)state;
    struct buf session = {0};
    append_session(&session);
    struct bytes all = buf_view(&session);
    for (size_t cut = 0; cut <= all.len; cut++) {
        open_connection();
        say(all.p, cut);
        say(all.p + cut, all.len - cut);
        hear();
        expect_answer(1, "200", "POST /p?q hello");
        expect_answer(3, "200", "GET /p?q ");
    }
    open_connection();
    for (size_t i = 0; i < all.len; i++)
        say(all.p + i, 1);
    hear();
    expect_answer(1, "200", "POST /p?q hello");
    expect_answer(3, "200", "GET /p?q ");
    buf_done(&session);
}

static void peer_that_leaves_amid_a_session_leaves_nothing(void **state)
{
    (void)state;
    struct buf session = {0};
    append_session(&session);
    seen.reply = HOLD;
    for (size_t cut = 0; cut < buf_len(&session); cut++) {
        open_connection();
        say(buf_view(&session).p, cut);
        hang_up();
        assert_int_equal(seen.closed, cut + 1);
        assert_int_equal(seen.gone, seen.requests);
    }
    buf_done(&session);
}

static void headers_are_found_and_the_authority_is_the_host(void **state)
{
    (void)state;
    seen.reply = HOLD;
    start();
    say_head(1, END_STREAM, "GET", "x-one", "two words");
    const struct http_exchange *ex = seen.held[0];
    assert_int_equal(ex->header_count, 2);
    assert_true(bytes_equal(*http_find_header(ex, "Host"), bytes_of("a")));
    assert_true(bytes_equal(*http_find_header(ex, "X-One"), bytes_of("two words")));
    assert_null(http_find_header(ex, ":path"));
    assert_true(http_has_trailers(ex));
    say_head(3, END_STREAM, "GET", "host", "a");
    assert_int_equal(seen.held[1]->header_count, 1);
}

static void forgotten_request_is_empty_and_can_be_answered(void **state)
{
    (void)state;
    seen.reply = HOLD;
    start();
    say_head(1, 0, "POST", "x-one", "1");
    say_frame(DATA, END_STREAM, 1, "hello", 5);
    struct http_exchange *ex = take_held();
    http_forget_request(ex);
    assert_int_equal(ex->body.len + ex->path.len + ex->method.len + ex->header_count, 0);
    assert_null(http_find_header(ex, "x-one"));
    http_respond(ex, 404, NULL, 0, bytes_of("no"));
    turns();
    hear();
    expect_answer(1, "404", "no");
}

static void answers_come_in_any_order(void **state)
{
    (void)state;
    seen.reply = HOLD;
    start();
    for (uint32_t id = 1; id < 9; id += 2)
        say_get(id);
    assert_int_equal(seen.held_count, 4);
    for (size_t i = 4; i-- > 0; turns()) {
        http_respond(seen.held[i], 200 + (unsigned)i, NULL, 0, bytes_of("x"));
        seen.held_count--;
        turns();
        hear();
        expect_answer(1 + 2 * (uint32_t)i, ((const char *[]){"200", "201", "202", "203"})[i], "x");
        assert_int_equal(heard_count, 2);
    }
}

static void answer_without_a_body_is_one_frame(void **state)
{
    (void)state;
    const struct http_header status = {bytes_of("grpc-status"), bytes_of("12")};
    seen.reply = HOLD;
    start();
    say_get(1);
    http_respond(take_held(), 200, &status, 1, (struct bytes){0});
    turns();
    say_head(3, END_STREAM, "HEAD", NULL, NULL);
    http_respond(take_held(), 200, NULL, 0, bytes_of("unseen"));
    turns();
    say_get(5);
    http_respond(take_held(), 204, NULL, 0, bytes_of("x"));
    turns();
    hear();
    assert_int_equal(heard_count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(heard[i].flags, END_STREAM | END_HEADERS);
    assert_non_null(strstr(heard[0].text, "grpc-status: 12\n"));
    assert_non_null(strstr(heard[1].text, "content-length: 6\n"));
    assert_null(strstr(heard[2].text, "content-length"));
}

static void stream_is_sent_part_by_part_and_ended_by_trailers(void **state)
{
    (void)state;
    const struct http_header trailers[] = {{bytes_of("Grpc-Status"), bytes_of("0")},
                                           {bytes_of("grpc-message"), bytes_of("")}};
    seen.reply = STREAM;
    start();
    say_get(1);
    hear();
    expect_answer(1, "200", NULL);
    assert_null(strstr(find(HEADERS, 1)->text, "content-length"));
    struct http_exchange *ex = take_held();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(http_send(ex, bytes_of("")), ERR_OK);
        assert_int_equal(http_send(ex, bytes_of("hello")), ERR_OK);
        turns();
        hear();
        assert_int_equal(heard_count, 1);
        assert_int_equal(heard[0].flags, 0);
        assert_int_equal(heard[0].len, 5);
    }
    http_finish_with_trailers(ex, trailers, 2);
    turns();
    hear();
    const struct frame *end = find(HEADERS, 1);
    assert_string_equal(end->text, "grpc-status: 0\ngrpc-message: \n");
    assert_int_equal(end->flags, END_STREAM | END_HEADERS);
    assert_int_equal(error_of(1), -1);
}

static void stream_without_trailers_ends_in_data(void **state)
{
    (void)state;
    seen.reply = STREAM;
    start();
    say_get(1);
    struct http_exchange *ex = take_held();
    assert_int_equal(http_send(ex, bytes_of("hello")), ERR_OK);
    http_finish(ex);
    turns();
    hear();
    expect_answer(1, "200", "hello");
    assert_true(heard[heard_count - 1].type == DATA && heard[heard_count - 1].flags & END_STREAM);
}

static void cut_answer_is_reset(void **state)
{
    (void)state;
    static const struct {
        enum close_reason reason;
        int code;
    } rows[] = {{CLOSE_QUEUE_FULL, NGHTTP2_ENHANCE_YOUR_CALM}, {CLOSE_INTERNAL, NGHTTP2_INTERNAL_ERROR}};
    seen.reply = STREAM;
    start();
    for (uint32_t i = 0; i < 2; i++) {
        say_get(1 + 2 * i);
        http_abort(take_held(), rows[i].reason);
        turns();
        hear();
        assert_int_equal(error_of(1 + 2 * i), rows[i].code);
    }
    assert_int_equal(seen.gone, 0);
}

static void header_that_would_split_the_answer_resets_the_stream(void **state)
{
    (void)state;
    const struct http_header header = {bytes_of("x"), bytes_of("a\r\ny: b")};
    seen.reply = HOLD;
    start();
    say_get(1);
    http_respond(take_held(), 200, &header, 1, bytes_of("x"));
    turns();
    hear();
    assert_null(find(HEADERS, 1));
    assert_int_equal(error_of(1), NGHTTP2_INTERNAL_ERROR);
    assert_int_equal(seen.gone, 0);
}

static void peer_that_resets_is_noticed(void **state)
{
    (void)state;
    const uint8_t cancel[4] = {0, 0, 0, NGHTTP2_CANCEL};
    seen.reply = HOLD;
    start();
    say_get(1);
    say_get(3);
    say_frame(RST_STREAM, 0, 1, cancel, 4);
    assert_int_equal(seen.gone, 1);
    assert_int_equal(seen.held_count, 1);
    http_respond(take_held(), 200, NULL, 0, bytes_of("x"));
    turns();
    hear();
    assert_null(find(HEADERS, 1));
    expect_answer(3, "200", "x");
}

static void answering_a_peer_that_left_is_harmless(void **state)
{
    (void)state;
    seen.reply = STREAM;
    start();
    say_get(1);
    struct http_exchange *ex = take_held();
    stream_abort(broker_end, CLOSE_PEER_RESET);
    assert_int_equal(http_send(ex, bytes_of("x")), ERR_OK);
    http_finish_with_trailers(ex, NULL, 0);
    turns();
    assert_int_equal(seen.gone, 0);
    assert_int_equal(seen.closed, 1);
}

static void answer_waits_for_the_peers_windows(void **state)
{
    (void)state;
    static const char block[100];
    seen.reply = STREAM;
    start();
    say_setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
    say_get(1);
    struct http_exchange *ex = take_held();
    assert_int_equal(http_send(ex, bytes_make(block, sizeof block)), ERR_OK);
    http_finish_with_trailers(ex, &(struct http_header){bytes_of("a"), bytes_of("b")}, 1);
    turns();
    hear();
    assert_null(find(DATA, 1));
    say_window(1, 60);
    hear();
    assert_int_equal(find(DATA, 1)->len, 60);
    assert_null(find(HEADERS, 1));
    say_window(1, 60);
    hear();
    assert_int_equal(find(DATA, 1)->len, 40);
    assert_string_equal(find(HEADERS, 1)->text, "a: b\n");
}

static void slow_reader_meets_the_limit_and_drains(void **state)
{
    (void)state;
    static const char block[10000];
    size_t sent = 0;
    seen.reply = STREAM;
    start();
    say_get(1);
    struct http_exchange *ex = seen.held[0];
    enum err e = ERR_OK;
    for (; sent < 1000 && (e = http_send(ex, bytes_make(block, sizeof block))) == ERR_OK; sent++)
        turns();
    assert_int_equal(e, ERR_LIMIT);
    assert_in_range(sent, 26, 33); /* 256 KiB here, 64 KiB in the peer's window */
    assert_int_equal(seen.drained, 0);
    hear();
    say_window(0, 1000000);
    say_window(1, 1000000);
    turns();
    hear();
    assert_int_equal(seen.drained, 1);
    assert_int_equal(http_send(ex, bytes_make(block, sizeof block)), ERR_OK);
}

static void answers_of_all_streams_together_have_a_limit(void **state)
{
    (void)state;
    static const char block[200000];
    enum err e = ERR_OK;
    size_t sent = 0;
    seen.reply = STREAM;
    start();
    say_setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
    for (; sent < 100 && e == ERR_OK; sent++) {
        say_get(1 + 2 * (uint32_t)sent);
        e = http_send(seen.held[sent], bytes_make(block, sizeof block));
    }
    assert_int_equal(e, ERR_LIMIT);
    assert_int_equal(sent, 4 * 1024 * 1024 / sizeof block + 1);
    say_frame(RST_STREAM, 0, 1, "\0\0\0\x08", 4); /* its part is free again */
    assert_int_equal(seen.gone, 1);
    assert_int_equal(http_send(seen.held[0], bytes_make(block, sizeof block)), ERR_OK);
}

static void answer_larger_than_all_buffers_arrives_whole(void **state)
{
    (void)state;
    static char block[700000];
    size_t len = 0;
    memset(block, 'x', sizeof block);
    seen.reply = HOLD;
    start();
    say_get(1);
    http_respond(take_held(), 200, NULL, 0, bytes_make(block, sizeof block));
    turns();
    for (int i = 0; i < 100 && len < sizeof block; i++) {
        hear();
        for (size_t j = 0; j < heard_count; j++)
            if (heard[j].type == DATA) {
                len += heard[j].len;
                say_window(0, heard[j].len ? heard[j].len : 1);
                say_window(1, heard[j].len ? heard[j].len : 1);
            }
    }
    assert_int_equal(len, sizeof block);
}

static void a_thousand_streams_are_held_on_one_connection(void **state)
{
    (void)state;
    seen.reply = STREAM;
    start();
    for (uint32_t i = 0; i < 1000; i++)
        say_get(1 + 2 * i);
    assert_int_equal(seen.held_count, 1000);
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(http_send(seen.held[i], bytes_of("approved")), ERR_OK);
        http_finish(seen.held[i]);
    }
    seen.held_count = 0;
    turns();
    hear();
    for (uint32_t i = 0; i < 1000; i++)
        expect_answer(1 + 2 * i, "200", "approved");
}

static void expect_told_to_continue(void **state)
{
    (void)state;
    start();
    say_head(1, 0, "POST", "expect", "100-continue");
    hear();
    assert_string_equal(find(HEADERS, 1)->text, ":status: 100\n");
    say_frame(DATA, END_STREAM, 1, "hi", 2);
    hear();
    expect_answer(1, "200", "POST /p?q hi");
}

static void slow_body_is_answered_and_a_slow_head_ends_the_connection(void **state)
{
    (void)state;
    limits.head_ms = limits.body_ms = 30;
    limits.rest_ms = 1;
    start();
    say_head(1, 0, "POST", NULL, NULL);
    say_frame(DATA, 0, 1, "h", 1);
    run_for(20);
    say_frame(DATA, 0, 1, "h", 1); /* trickling does not help */
    run_for(20);
    turns();
    run_for(10);
    hear();
    expect_answer(1, "408", NULL);
    assert_int_equal(error_of(1), NGHTTP2_NO_ERROR);
    assert_int_equal(seen.bad, 1);
    say_frame(HEADERS, 0, 3, "\0", 1);
    run_for(50);
    turns();
    hear();
    assert_int_equal(error_of(0), NGHTTP2_ENHANCE_YOUR_CALM);
    expect_closed(CLOSE_REQUEST_TIMEOUT);
    assert_int_equal(seen.requests, 0);
}

static void silent_connection_is_closed(void **state)
{
    (void)state;
    limits.head_ms = 20;
    open_connection();
    say(PREFACE, 10);
    run_for(40);
    turns();
    hear();
    expect_closed(CLOSE_IDLE);
}

static void idle_connection_is_told_to_go(void **state)
{
    (void)state;
    limits.idle_ms = 30;
    start();
    run_for(20);
    say_get(1);
    run_for(20);
    say_frame(PING, 0, 0, "12345678", 8); /* is no request */
    run_for(20);
    turns();
    hear();
    assert_non_null(find(PING, 0));
    assert_int_equal(error_of(0), NGHTTP2_NO_ERROR);
    expect_closed(CLOSE_IDLE);
}

static void held_exchange_has_no_deadline_here(void **state)
{
    (void)state;
    limits.head_ms = limits.body_ms = limits.idle_ms = limits.stall_ms = 10;
    seen.reply = STREAM;
    start();
    say_get(1);
    run_for(40);
    assert_int_equal(seen.held_count, 1);
    assert_int_equal(seen.closed, 0);
}

static void draining_takes_no_more_and_ends_after_the_last_answer(void **state)
{
    (void)state;
    seen.reply = HOLD;
    start();
    say_get(1);
    http2_drain(connection);
    turns();
    hear();
    assert_int_equal(error_of(0), NGHTTP2_NO_ERROR);
    assert_int_equal(find(GOAWAY, 0)->payload[3], 1); /* the last stream that is served */
    say_get(3);
    assert_int_equal(seen.requests, 1);
    http_respond(take_held(), 200, NULL, 0, bytes_of("x"));
    turns();
    hear();
    expect_answer(1, "200", "x");
    expect_closed(CLOSE_DRAINED);
}

static void draining_closes_an_idle_connection(void **state)
{
    (void)state;
    start();
    http2_drain(connection);
    turns();
    hear();
    assert_int_equal(error_of(0), NGHTTP2_NO_ERROR);
    expect_closed(CLOSE_DRAINED);
}

static void peer_that_goes_away_gets_the_last_answer(void **state)
{
    (void)state;
    seen.reply = HOLD;
    start();
    say_get(1);
    say_frame(GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0", 8);
    assert_int_equal(seen.held_count, 1);
    http_respond(take_held(), 200, NULL, 0, bytes_of("x"));
    turns();
    hear();
    expect_answer(1, "200", "x");
    expect_closed(CLOSE_PEER_CLOSED);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(settings_are_announced),
        TEST(request_is_answered),
        TEST(session_is_cut_at_each_byte),
        TEST(peer_that_leaves_amid_a_session_leaves_nothing),
        TEST(headers_are_found_and_the_authority_is_the_host),
        TEST(forgotten_request_is_empty_and_can_be_answered),
        TEST(answers_come_in_any_order),
        TEST(answer_without_a_body_is_one_frame),
        TEST(stream_is_sent_part_by_part_and_ended_by_trailers),
        TEST(stream_without_trailers_ends_in_data),
        TEST(cut_answer_is_reset),
        TEST(header_that_would_split_the_answer_resets_the_stream),
        TEST(peer_that_resets_is_noticed),
        TEST(answering_a_peer_that_left_is_harmless),
        TEST(answer_waits_for_the_peers_windows),
        TEST(slow_reader_meets_the_limit_and_drains),
        TEST(answers_of_all_streams_together_have_a_limit),
        TEST(answer_larger_than_all_buffers_arrives_whole),
        TEST(a_thousand_streams_are_held_on_one_connection),
        TEST(expect_told_to_continue),
        TEST(slow_body_is_answered_and_a_slow_head_ends_the_connection),
        TEST(silent_connection_is_closed),
        TEST(idle_connection_is_told_to_go),
        TEST(held_exchange_has_no_deadline_here),
        TEST(draining_takes_no_more_and_ends_after_the_last_answer),
        TEST(draining_closes_an_idle_connection),
        TEST(peer_that_goes_away_gets_the_last_answer),
    };
    return cmocka_run_group_tests_name("http2", tests, NULL, NULL);
}
