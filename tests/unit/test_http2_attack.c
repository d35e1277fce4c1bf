/** HTTP/2 as it should not be spoken: malformed requests, limits, floods, starvation; and that others go on meanwhile. */
#include "http2_fixture.h"

static const uint8_t cancel[4] = {0, 0, 0, NGHTTP2_CANCEL};

/* The connection still serves. */
static void expect_alive(uint32_t id)
{
    enum reply before = seen.reply;
    seen.reply = ECHO;
    say_get(id);
    seen.reply = before;
    hear();
    expect_answer(id, "200", "GET /p?q ");
    assert_int_equal(seen.closed, 0);
}

static void malformed_requests_are_reset(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"connection", "close"},
        {"transfer-encoding", "chunked"},
        {"upgrade", "h2c"},
        {"keep-alive", "5"},
        {"proxy-connection", "keep-alive"},
        {"te", "gzip"},
        {"X-Upper", "1"},
        {"", "1"},
        {"x y", "1"},
        {"x:y", "1"},
        {"x", "a\nb"},
        {"x", "a\rb"},
        {"x", "a\x01z"},
        {"x", " a"},
        {"x", "a\t"},
        {":path", "/again"},
        {":protocol", "websocket"},
        {":unknown", "x"},
        {"content-length", "1"},
        {"content-length", "+0"},
        {"content-length", "0, 0"},
        {"content-length", "99999999999999999999"},
    };
    start();
    uint32_t id = 1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++, id += 2) {
        say_head(id, END_STREAM, "GET", rows[i][0], rows[i][1]);
        hear();
        if (error_of(id) != NGHTTP2_PROTOCOL_ERROR)
            fail_msg("%s: %s: %d", rows[i][0], rows[i][1], error_of(id));
    }
    assert_int_equal(seen.requests, 0);
    expect_alive(id);
}

static void say_block(uint32_t id, const char *const (*headers)[2])
{
    struct buf block = {0};
    for (; (*headers)[0]; headers++)
        append_header(&block, (*headers)[0], (*headers)[1]);
    say_frame(HEADERS, END_STREAM | END_HEADERS, id, buf_view(&block).p, buf_len(&block));
    buf_done(&block);
}

#define METHOD                                                                                               \
    {                                                                                                        \
        ":method", "GET"                                                                                     \
    }
#define SCHEME                                                                                               \
    {                                                                                                        \
        ":scheme", "https"                                                                                   \
    }
#define AUTHORITY                                                                                            \
    {                                                                                                        \
        ":authority", "a"                                                                                    \
    }
#define PATH                                                                                                 \
    {                                                                                                        \
        ":path", "/"                                                                                         \
    }
#define END                                                                                                  \
    {                                                                                                        \
        NULL, NULL                                                                                           \
    }

static void requests_without_a_part_are_reset(void **state)
{
    (void)state;
    static const char *const rows[][7][2] = {
        {SCHEME, AUTHORITY, PATH, END},
        {METHOD, AUTHORITY, PATH, END},
        {METHOD, SCHEME, AUTHORITY, END},
        {METHOD, SCHEME, PATH, END},
        {METHOD, SCHEME, AUTHORITY, {":path", ""}, END},
        {METHOD, SCHEME, AUTHORITY, {":path", "a"}, END},
        {METHOD, METHOD, SCHEME, AUTHORITY, PATH, END},
        {{"x", "1"}, METHOD, SCHEME, AUTHORITY, PATH, END},
        {METHOD, SCHEME, PATH, {"host", "a"}, {"host", "a"}, END},
        {{":status", "200"}, END},
    };
    start();
    uint32_t id = 1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++, id += 2) {
        say_block(id, rows[i]);
        hear();
        if (error_of(id) != NGHTTP2_PROTOCOL_ERROR)
            fail_msg("row %zu: %d", i, error_of(id));
    }
    assert_int_equal(seen.requests, 0);
    expect_alive(id);
}

static void requests_that_can_be_answered_are(void **state)
{
    (void)state;
    static const struct {
        const char *status, *headers[7][2];
    } rows[] = {
        {"400", {METHOD, SCHEME, {":authority", "a"}, PATH, {"host", "b"}, END}},
        {"400", {METHOD, SCHEME, {":authority", "a,b"}, PATH, END}},
        {"400", {METHOD, SCHEME, {":authority", "u@a"}, PATH, END}},
        {"400", {METHOD, SCHEME, AUTHORITY, {":path", "/#f"}, END}},
        {"400", {METHOD, SCHEME, AUTHORITY, {":path", "/\xc3\xa9"}, END}},
        {"400", {{":method", "OPTIONS"}, SCHEME, AUTHORITY, {":path", "*"}, END}},
        {"400", {{":method", "CONNECT"}, AUTHORITY, END}},
        {"417", {METHOD, SCHEME, AUTHORITY, PATH, {"expect", "200-ok"}, END}},
    };
    start();
    uint32_t id = 1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++, id += 2) {
        say_block(id, rows[i].headers);
        hear();
        expect_answer(id, rows[i].status, NULL);
        assert_non_null(strstr(find(HEADERS, id)->text, "content-type: application/json\n"));
    }
    assert_int_equal(seen.bad, sizeof rows / sizeof *rows);
    assert_int_equal(seen.requests, 0);
    expect_alive(id);
}

/* A head whose list size (RFC 9113, 6.5.2) is exactly that. */
static void say_head_of_size(uint32_t id, size_t size)
{
    struct buf block = {0};
    size_t used = 4 * 32 + sizeof ":methodGET:schemehttps:authoritya:path/" - 1 + 32 + 1;
    char *value = mem_new(size - used + 1);
    memset(value, 'v', size - used);
    append_request(&block, "GET", "/");
    append_header(&block, "x", value);
    struct bytes all = buf_view(&block);
    say_frame(HEADERS, END_STREAM, id, all.p, 8000);
    say_frame(CONTINUATION, END_HEADERS, id, all.p + 8000, all.len - 8000);
    buf_done(&block);
    free(value);
}

static void heads_have_their_limits(void **state)
{
    (void)state;
    static char path[9000];
    start();
    say_head_of_size(1, limits.head_max);
    say_head_of_size(3, limits.head_max + 1);
    for (uint32_t over = 0; over < 2; over++) {
        struct buf block = {0};
        append_request(&block, "GET", "/p");
        for (size_t i = 4; i < limits.header_count_max + over; i++)
            append_header(&block, "x", "x");
        say_frame(HEADERS, END_STREAM | END_HEADERS, 5 + 4 * over, buf_view(&block).p, buf_len(&block));
        buf_done(&block);
        memset(path, '/', limits.request_line_max + over);
        append_request(&block, "GET", path);
        say_frame(HEADERS, END_STREAM | END_HEADERS, 7 + 4 * over, buf_view(&block).p, buf_len(&block));
        buf_done(&block);
    }
    hear();
    expect_answer(1, "200", NULL);
    expect_answer(3, "431", NULL);
    expect_answer(5, "200", NULL);
    expect_answer(7, "200", NULL);
    expect_answer(9, "431", NULL);
    expect_answer(11, "414", NULL);
    expect_alive(13);
}

/* One header of 3,800 bytes, named again by one byte each time: 40 MB out of 10 KB. */
static void header_bomb_is_decoded_and_refused(void **state)
{
    (void)state;
    static char value[3800];
    static uint8_t again[10000];
    struct buf block = {0};
    memset(value, 'v', sizeof value - 1);
    memset(again, 0x80 | 62, sizeof again);
    append_request(&block, "GET", "/");
    assert_int_equal(buf_append(&block, bytes_of("\x40\x01x")), ERR_OK);
    append_length(&block, strlen(value));
    assert_int_equal(buf_append(&block, bytes_of(value)), ERR_OK);
    assert_int_equal(buf_append(&block, bytes_make(again, sizeof again)), ERR_OK);
    start();
    say_frame(HEADERS, END_STREAM | END_HEADERS, 1, buf_view(&block).p, buf_len(&block));
    hear();
    expect_answer(1, "431", NULL);
    expect_alive(3);
    buf_done(&block);
}

static void body_has_its_limit_announced_or_not(void **state)
{
    (void)state;
    limits.rest_ms = 1;
    limits.body_max = 5;
    start();
    say_head(1, 0, "POST", NULL, NULL);
    say_frame(DATA, END_STREAM, 1, "hello", 5);
    assert_false(seen.too_large);
    say_head(3, 0, "POST", "content-length", "6");
    assert_true(seen.too_large);
    say_frame(DATA, END_STREAM, 3, "hello!", 6);
    say_head(5, 0, "POST", NULL, NULL);
    say_frame(DATA, 0, 5, "hello", 5);
    assert_int_equal(seen.requests, 2);
    say_frame(DATA, 0, 5, "!", 1);
    assert_int_equal(seen.requests, 3);
    run_for(20);
    hear();
    expect_answer(1, "200", "POST /p?q hello");
    expect_answer(3, "200", "POST /p?q ");
    expect_answer(5, "200", "POST /p?q ");
    assert_int_equal(error_of(5), NGHTTP2_NO_ERROR); /* the rest is not wanted */
    expect_alive(7);
}

static void requests_of_all_streams_together_have_a_limit(void **state)
{
    (void)state;
    static const uint8_t part[16384];
    uint32_t id = 1, refused = 0;
    start();
    for (; id < 200 && !refused; id += 2) {
        say_head(id, 0, "POST", NULL, NULL);
        for (size_t len = 0; len + sizeof part <= limits.body_max; len += sizeof part)
            say_frame(DATA, 0, id, part, sizeof part);
        hear();
        refused = error_of(id) == NGHTTP2_REFUSED_STREAM ? id : 0;
    }
    assert_in_range(refused, 2 * 55, 2 * 64);
    say_frame(RST_STREAM, 0, 3, cancel, 4); /* its part is free again */
    say_head(id, 0, "POST", NULL, NULL);
    for (size_t len = 0; len + sizeof part <= limits.body_max - sizeof part; len += sizeof part)
        say_frame(DATA, 0, id, part, sizeof part);
    hear();
    assert_int_equal(error_of(id), -1);
    id += 2;
    say_frame(DATA, END_STREAM, 1, NULL, 0); /* those that are held go on */
    hear();
    expect_answer(1, "200", NULL);
    say_window(0, 1 << 20);
    expect_alive(id);
}

static void streams_have_their_limit(void **state)
{
    (void)state;
    limits.streams_max = 2;
    seen.reply = HOLD;
    open_connection();
    say(PREFACE, strlen(PREFACE));
    say_frame(SETTINGS, 0, 0, NULL, 0);
    for (uint32_t id = 1; id < 7; id += 2)
        say_get(id);
    hear();
    assert_int_equal(error_of(5), NGHTTP2_REFUSED_STREAM); /* it may not know the limit yet */
    assert_int_equal(seen.held_count, 2);
    say_frame(SETTINGS, ACK, 0, NULL, 0);
    say_get(7);
    hear();
    assert_int_equal(error_of(0), NGHTTP2_PROTOCOL_ERROR);
    expect_closed(CLOSE_PROTOCOL);
    assert_int_equal(seen.gone, 2);
}

static void rapid_reset_is_calmed(void **state)
{
    (void)state;
    uint32_t id = 1;
    limits.streams_max = 100;
    seen.reply = HOLD;
    start();
    for (; id < 4000 && seen.gone + 1 >= (id + 1) / 2 && connection; id += 2) {
        say_get(id);
        say_frame(RST_STREAM, 0, id, cancel, 4);
        assert_true(seen.held_count <= 1);
    }
    assert_in_range(seen.requests, 200, 250);
    hear();
    assert_int_equal(error_of(0), NGHTTP2_ENHANCE_YOUR_CALM);
    expect_closed(CLOSE_PROTOCOL);
}

/* The same, but the peer makes the broker reset: a window that grows too far is a stream's error. */
static void provoked_resets_are_calmed_alike(void **state)
{
    (void)state;
    limits.streams_max = 100;
    seen.reply = HOLD;
    start();
    for (uint32_t id = 1; id < 4000 && seen.requests == (id - 1) / 2; id += 2) {
        say_get(id);
        say_window(id, 0x7fffffff);
    }
    assert_in_range(seen.requests, 200, 250);
    hear();
    assert_int_equal(error_of(0), NGHTTP2_ENHANCE_YOUR_CALM);
    expect_closed(CLOSE_PROTOCOL);
    assert_int_equal(seen.gone, seen.requests);
}

static void everybody_may_go_away_at_once(void **state)
{
    (void)state;
    seen.reply = HOLD;
    start();
    for (uint32_t id = 1; id < 2000; id += 2)
        say_get(id);
    for (uint32_t id = 1; id < 2000; id += 2)
        say_frame(RST_STREAM, 0, id, cancel, 4);
    assert_int_equal(seen.gone, 1000);
    expect_alive(2001);
}

static void frames_that_do_nothing_are_calmed(void **state)
{
    (void)state;
    static const struct {
        uint8_t type, flags, id, len;
    } rows[] = {{PING, 0, 0, 8},     {PING, ACK, 0, 8}, {SETTINGS, 0, 0, 0},     {SETTINGS, 0, 0, 6},
                {PRIORITY, 0, 3, 5}, {DATA, 0, 1, 0},   {WINDOW_UPDATE, 0, 1, 4}};
    static const uint8_t payload[8] = {0, 0, 0, 1};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t count = 0;
        start();
        say_head(1, 0, "POST", NULL, NULL);
        for (; count < 3000 && !find(GOAWAY, 0); count++) {
            say_frame(rows[i].type, rows[i].flags, rows[i].id, payload, rows[i].len);
            hear();
        }
        if (error_of(0) != NGHTTP2_ENHANCE_YOUR_CALM)
            fail_msg("row %zu: %d after %zu", i, error_of(0), count);
        assert_in_range(count, 900, 1200);
        expect_closed(CLOSE_PROTOCOL);
        seen.closed = 0;
    }
}

/* As gRPC's clients do to measure the connection. */
static void ping_for_each_answer_is_no_flood(void **state)
{
    (void)state;
    start();
    for (uint32_t id = 1; id < 8000; id += 2) {
        say_get(id);
        say_frame(PING, 0, 0, "12345678", 8);
        say_window(0, 9);
        if (id % 1000 == 1)
            hear();
    }
    expect_alive(8001);
}

/* What waits for it is bounded, since it is not read from. */
static void requests_by_a_peer_that_does_not_read_are_bounded(void **state)
{
    (void)state;
    static const char block[20000];
    seen.reply = HOLD;
    start();
    say_setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20);
    say_window(0, 1 << 30);
    uint32_t id = 1;
    for (; id < 2000 && stream_queued(broker_end) <= stream_limits.write_low; id += 2) {
        say_get(id);
        http_respond(take_held(), 200, NULL, 0, bytes_make(block, sizeof block));
        turns();
    }
    assert_true(id < 100);
    unsigned before = seen.requests;
    say_get(id);
    assert_int_equal(seen.requests, before);
    seen.reply = ECHO;
    for (int i = 0; i < 10 && !find(HEADERS, id); i++)
        hear();
    expect_answer(id, "200", "GET /p?q ");
}

static void endless_headers_are_calmed(void **state)
{
    (void)state;
    start();
    say_frame(HEADERS, END_STREAM, 1, "\0", 1);
    size_t count = 0;
    for (; count < 100 && !find(GOAWAY, 0); count++) {
        say_frame(CONTINUATION, 0, 1, NULL, 0);
        hear();
    }
    assert_true(count < 50);
    assert_int_equal(error_of(0), NGHTTP2_ENHANCE_YOUR_CALM);
    expect_closed(CLOSE_PROTOCOL);
    assert_int_equal(seen.requests, 0);
}

static void starved_streams_are_cut_and_others_go_on(void **state)
{
    (void)state;
    limits.stall_ms = 40;
    seen.reply = STREAM;
    start();
    say_setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
    say_get(1);
    say_get(3);
    say_get(5);
    assert_int_equal(http_send(seen.held[0], bytes_of("waits")), ERR_OK);
    http_finish(seen.held[0]);
    assert_int_equal(http_send(seen.held[1], bytes_of("waits")), ERR_OK);
    seen.held[0] = seen.held[--seen.held_count]; /* 3 and 5 are held */
    run_for(30);
    say_setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0); /* is no progress */
    run_for(30);
    turns();
    hear();
    assert_int_equal(error_of(1), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(error_of(3), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(error_of(5), -1);
    assert_int_equal(seen.gone, 1);
    assert_int_equal(seen.held_count, 1);
    struct http_exchange *ex = take_held();
    say_window(5, 100);
    assert_int_equal(http_send(ex, bytes_of("arrives")), ERR_OK);
    http_finish(ex);
    turns();
    hear();
    assert_memory_equal(find(DATA, 5)->payload, "arrives", 7);
}

static void broken_connections_are_told_why(void **state)
{
    (void)state;
    static const uint8_t large[20000];
    static const struct {
        int code;
        uint8_t type, flags, id;
        uint32_t len;
    } rows[] = {
        {NGHTTP2_PROTOCOL_ERROR, DATA, 0, 0, 1},
        {NGHTTP2_PROTOCOL_ERROR, DATA, 0, 1, 1},
        {NGHTTP2_PROTOCOL_ERROR, HEADERS, END_HEADERS | END_STREAM, 2, 0},
        {NGHTTP2_PROTOCOL_ERROR, PUSH_PROMISE, END_HEADERS, 1, 4},
        {NGHTTP2_PROTOCOL_ERROR, CONTINUATION, END_HEADERS, 1, 1},
        {NGHTTP2_PROTOCOL_ERROR, RST_STREAM, 0, 1, 4},
        {NGHTTP2_PROTOCOL_ERROR, WINDOW_UPDATE, 0, 0, 4},
        {NGHTTP2_FRAME_SIZE_ERROR, PING, 0, 0, 7},
        {NGHTTP2_FRAME_SIZE_ERROR, SETTINGS, 0, 0, 5},
        {NGHTTP2_FRAME_SIZE_ERROR, SETTINGS, ACK, 0, 6},
        {NGHTTP2_FRAME_SIZE_ERROR, HEADERS, END_HEADERS, 1, 16385},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        start();
        say_frame(rows[i].type, rows[i].flags, rows[i].id, large, rows[i].len);
        hear();
        if (error_of(0) != rows[i].code)
            fail_msg("row %zu: %d", i, error_of(0));
        expect_closed(CLOSE_PROTOCOL);
        seen.closed = 0;
    }
    assert_int_equal(seen.requests, 0);
}

static void what_is_not_http2_is_closed(void **state)
{
    (void)state;
    open_connection();
    say("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
    hear();
    expect_closed(CLOSE_PROTOCOL);
}

static void undecodable_headers_end_the_connection(void **state)
{
    (void)state;
    start();
    say_frame(HEADERS, END_HEADERS | END_STREAM, 1, "\xff\xff\xff\xff\xff\xff", 6);
    hear();
    assert_int_equal(error_of(0), NGHTTP2_COMPRESSION_ERROR);
    expect_closed(CLOSE_PROTOCOL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(malformed_requests_are_reset),
        TEST(requests_without_a_part_are_reset),
        TEST(requests_that_can_be_answered_are),
        TEST(heads_have_their_limits),
        TEST(header_bomb_is_decoded_and_refused),
        TEST(body_has_its_limit_announced_or_not),
        TEST(requests_of_all_streams_together_have_a_limit),
        TEST(streams_have_their_limit),
        TEST(rapid_reset_is_calmed),
        TEST(provoked_resets_are_calmed_alike),
        TEST(everybody_may_go_away_at_once),
        TEST(frames_that_do_nothing_are_calmed),
        TEST(ping_for_each_answer_is_no_flood),
        TEST(requests_by_a_peer_that_does_not_read_are_bounded),
        TEST(endless_headers_are_calmed),
        TEST(starved_streams_are_cut_and_others_go_on),
        TEST(broken_connections_are_told_why),
        TEST(what_is_not_http2_is_closed),
        TEST(undecodable_headers_end_the_connection),
    };
    return cmocka_run_group_tests_name("http2 attack", tests, NULL, NULL);
}
