/* cli/connect.h and what it stands on, against a peer that says what the test tells it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/connect.h"
#include "cli/envelope.h"
#include "nanopush/v1/challenge.pb-c.h"

#define CALL "nanopush.v1.ChallengeService/WatchChallenge"

/** A peer in its own process: one connection, one request, one response, in pieces. */
struct fixture {
    char directory[64], path[96];
    pid_t peer;
    struct connect_client *client;
    struct connect_problem problem;
    unsigned revisions[8]; /* of the snapshots that came */
    size_t count, wanted;  /* wanted: end the stream after so many; 0: never */
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->directory, "/tmp/test_connect.XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->path, sizeof f->path, "%s/s", f->directory);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    unlink(f->path);
    assert_int_equal(rmdir(f->directory), 0);
    free(f);
    return 0;
}

static bool request_is_whole(const char *request, size_t len)
{
    const char *body = memmem(request, len, "\r\n\r\n", 4);
    const char *length = strstr(request, "Content-Length: ");
    return body && length && (size_t)(request + len - body - 4) >= strtoul(length + 16, NULL, 10);
}

static void serve(int listener, struct bytes response, size_t piece)
{
    char request[8192] = "";
    size_t len = 0;
    ssize_t got = 1;
    int fd = accept(listener, NULL, NULL);
    while (got > 0 && !request_is_whole(request, len)) {
        got = read(fd, request + len, sizeof request - len - 1);
        len += got > 0 ? (size_t)got : 0;
    }
    bool bearer = strstr(request, "Authorization: Bearer p.secret\r\n");
    bool version = strstr(request, "Connect-Protocol-Version: 1\r\n");
    for (size_t at = 0; at < response.len; at += piece) {
        size_t part = response.len - at < piece ? response.len - at : piece;
        if (send(fd, response.p + at, part, MSG_NOSIGNAL) < 0)
            break; /* the client had enough */
    }
    shutdown(fd, SHUT_WR);
    while (read(fd, request, sizeof request) > 0)
        continue;
    _exit(bearer && version ? 0 : 1);
}

static void start_peer(struct fixture *f, struct bytes response, size_t piece)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, f->path);
    unlink(f->path);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    f->peer = fork();
    assert_true(f->peer >= 0);
    if (f->peer == 0)
        serve(listener, response, piece);
    close(listener);
    struct connect_target target = {.url = "http://localhost", .unix_path = f->path, .bearer = "p.secret"};
    assert_int_equal(connect_new(&target, &f->client), ERR_OK);
    f->problem = (struct connect_problem){.code = ""};
}

static void end_peer(struct fixture *f)
{
    int status;
    connect_free(f->client);
    assert_int_equal(waitpid(f->peer, &status, 0), f->peer);
    assert_int_equal(status, 0);
}

static struct buf response_of(int status, const char *type, struct bytes body)
{
    struct buf response = {0};
    assert_int_equal(buf_printf(&response,
                                "HTTP/1.1 %d X\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                                "Connection: close\r\n\r\n",
                                status, type, body.len),
                     ERR_OK);
    assert_int_equal(buf_append(&response, body), ERR_OK);
    return response;
}

static struct buf snapshot(unsigned revision)
{
    Nanopush__V1__Challenge challenge = NANOPUSH__V1__CHALLENGE__INIT;
    Nanopush__V1__WatchChallengeResponse response = NANOPUSH__V1__WATCH_CHALLENGE_RESPONSE__INIT;
    struct buf packed = {0};
    challenge.id = (char *)"c1";
    challenge.revision = revision;
    response.challenge = &challenge;
    assert_int_equal(message_pack(&response.base, &packed), ERR_OK);
    return packed;
}

static void append_snapshot(struct buf *stream, unsigned revision)
{
    struct buf packed = snapshot(revision);
    assert_int_equal(envelope_append(stream, buf_view(&packed)), ERR_OK);
    buf_done(&packed);
}

static void append_end(struct buf *stream, const char *json)
{
    size_t at = buf_len(stream);
    assert_int_equal(envelope_append(stream, bytes_of(json)), ERR_OK);
    stream->p[stream->head + at] = ENVELOPE_END;
}

static bool on_message(const ProtobufCMessage *message, void *arg)
{
    struct fixture *f = arg;
    const Nanopush__V1__Challenge *challenge =
        ((const Nanopush__V1__WatchChallengeResponse *)message)->challenge;
    assert_string_equal(challenge->id, "c1");
    f->revisions[f->count++] = (unsigned)challenge->revision;
    return f->count != f->wanted;
}

static enum err watch(struct fixture *f, struct bytes response, size_t piece)
{
    Nanopush__V1__WatchChallengeRequest request = NANOPUSH__V1__WATCH_CHALLENGE_REQUEST__INIT;
    request.id = (char *)"c1";
    f->count = 0;
    start_peer(f, response, piece);
    enum err e =
        connect_stream(f->client, CALL, &request.base, &nanopush__v1__watch_challenge_response__descriptor,
                       on_message, f, &f->problem);
    end_peer(f);
    return e;
}

static enum err call(struct fixture *f, int status, const char *type, struct bytes body, unsigned *revision)
{
    Nanopush__V1__WatchChallengeRequest request = NANOPUSH__V1__WATCH_CHALLENGE_REQUEST__INIT;
    struct buf response = response_of(status, type, body);
    struct arena arena;
    ProtobufCMessage *message;
    arena_init(&arena, CONNECT_MEMORY_MAX_BYTES);
    start_peer(f, buf_view(&response), 7);
    enum err e =
        connect_call(f->client, CALL, &request.base, &nanopush__v1__watch_challenge_response__descriptor,
                     &arena, &message, &f->problem);
    end_peer(f);
    if (e == ERR_OK)
        *revision = (unsigned)((const Nanopush__V1__WatchChallengeResponse *)message)->challenge->revision;
    arena_done(&arena);
    buf_done(&response);
    return e;
}

static void call_returns_the_message(void **state)
{
    struct buf body = snapshot(7);
    unsigned revision = 0;
    assert_int_equal(call(*state, 200, "application/proto", buf_view(&body), &revision), ERR_OK);
    assert_int_equal(revision, 7);
    buf_done(&body);
}

static void call_returns_the_brokers_error(void **state)
{
    struct fixture *f = *state;
    struct bytes body = bytes_of("{\"code\":\"not_found\",\"message\":\"no user of that name\"}");
    assert_int_equal(call(f, 404, "application/json", body, NULL), ERR_DENIED);
    assert_string_equal(f->problem.code, "not_found");
    assert_string_equal(f->problem.message, "no user of that name");
}

static void call_refuses_what_is_not_of_the_protocol(void **state)
{
    struct fixture *f = *state;
    struct buf body = snapshot(7);
    assert_int_equal(call(f, 200, "application/json", buf_view(&body), NULL), ERR_MALFORMED);
    assert_int_equal(call(f, 200, "application/proto", bytes_of("\x0a\x05"), NULL), ERR_MALFORMED);
    assert_int_equal(call(f, 502, "text/html", bytes_of("<html>"), NULL), ERR_DENIED);
    assert_string_equal(f->problem.code, "unavailable");
    buf_done(&body);
}

static void call_refuses_an_over_long_answer(void **state)
{
    struct buf body = {0};
    uint8_t *at = buf_reserve(&body, CONNECT_RESPONSE_MAX_BYTES + 1);
    memset(at, 0, CONNECT_RESPONSE_MAX_BYTES + 1);
    buf_commit(&body, CONNECT_RESPONSE_MAX_BYTES + 1);
    struct buf response = response_of(200, "application/proto", buf_view(&body));
    struct fixture *f = *state;
    Nanopush__V1__WatchChallengeRequest request = NANOPUSH__V1__WATCH_CHALLENGE_REQUEST__INIT;
    struct arena arena;
    ProtobufCMessage *message;
    arena_init(&arena, CONNECT_MEMORY_MAX_BYTES);
    start_peer(f, buf_view(&response), 65536);
    assert_int_equal(connect_call(f->client, CALL, &request.base,
                                  &nanopush__v1__watch_challenge_response__descriptor, &arena, &message,
                                  &f->problem),
                     ERR_MALFORMED);
    end_peer(f);
    buf_done(&response);
    buf_done(&body);
}

static void nobody_there_is_unavailable(void **state)
{
    struct fixture *f = *state;
    Nanopush__V1__WatchChallengeRequest request = NANOPUSH__V1__WATCH_CHALLENGE_REQUEST__INIT;
    struct connect_target target = {.url = "http://localhost", .unix_path = f->path};
    assert_int_equal(connect_new(&target, &f->client), ERR_OK);
    assert_int_equal(connect_stream(f->client, CALL, &request.base,
                                    &nanopush__v1__watch_challenge_response__descriptor, on_message, f,
                                    &f->problem),
                     ERR_UNAVAILABLE);
    assert_string_equal(f->problem.code, "unavailable");
    assert_string_equal(f->problem.message, "No such file or directory");
    assert_true(connect_problem_passes(&f->problem));
    connect_free(f->client);
}

static void stream_hands_over_each_message_however_it_is_cut(void **state)
{
    struct fixture *f = *state;
    struct buf stream = {0};
    append_snapshot(&stream, 1);
    append_snapshot(&stream, 2);
    append_end(&stream, "{}");
    struct buf response = response_of(200, "application/connect+proto", buf_view(&stream));
    for (size_t piece = 1; piece < 40; piece += 3) {
        assert_int_equal(watch(f, buf_view(&response), piece), ERR_OK);
        assert_int_equal(f->count, 2);
        assert_int_equal(f->revisions[0], 1);
        assert_int_equal(f->revisions[1], 2);
    }
    buf_done(&response);
    buf_done(&stream);
}

static void stream_that_breaks_off_anywhere_is_unavailable(void **state)
{
    struct fixture *f = *state;
    struct buf stream = {0};
    append_snapshot(&stream, 1);
    append_end(&stream, "{}");
    struct bytes whole = buf_view(&stream);
    for (size_t len = 0; len < whole.len; len++) {
        struct buf response = response_of(200, "application/connect+proto", bytes_make(whole.p, len));
        assert_int_equal(watch(f, buf_view(&response), 1000), ERR_UNAVAILABLE);
        assert_string_equal(f->problem.code, "unavailable");
        buf_done(&response);
    }
    buf_done(&stream);
}

static void stream_ends_with_the_brokers_error(void **state)
{
    struct fixture *f = *state;
    struct buf stream = {0};
    append_snapshot(&stream, 1);
    append_end(&stream, "{\"error\":{\"code\":\"aborted\",\"message\":\"lost by fail-over\"}}");
    struct buf response = response_of(200, "application/connect+proto", buf_view(&stream));
    assert_int_equal(watch(f, buf_view(&response), 1000), ERR_DENIED);
    assert_int_equal(f->count, 1);
    assert_string_equal(f->problem.code, "aborted");
    assert_string_equal(f->problem.message, "lost by fail-over");
    buf_done(&response);
    buf_done(&stream);
}

static void stream_ends_where_the_caller_has_enough(void **state)
{
    struct fixture *f = *state;
    struct buf stream = {0};
    append_snapshot(&stream, 1);
    append_snapshot(&stream, 2);
    append_snapshot(&stream, 3);
    append_end(&stream, "{}");
    struct buf response = response_of(200, "application/connect+proto", buf_view(&stream));
    f->wanted = 2;
    assert_int_equal(watch(f, buf_view(&response), 1000), ERR_OK);
    assert_int_equal(f->count, 2);
    buf_done(&response);
    buf_done(&stream);
}

static void stream_refuses_what_is_not_of_the_protocol(void **state)
{
    struct fixture *f = *state;
    const struct {
        const char *type;
        struct bytes body;
    } rows[] = {
        {"application/proto", bytes_make("\0\0\0\0\0", 5)},
        {"application/connect+proto", bytes_make("\1\0\0\0\0", 5)},       /* compressed */
        {"application/connect+proto", bytes_make("\4", 1)},               /* unknown flag */
        {"application/connect+proto", bytes_make("\0\xff\0\0\0", 5)},     /* 4 GiB */
        {"application/connect+proto", bytes_make("\0\0\0\0\2\x0a\5", 7)}, /* no message */
        {"application/connect+proto", bytes_make("\2\0\0\0\2[]", 7)},
        {"application/connect+proto", bytes_make("\2\0\0\0\0", 5)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf response = response_of(200, rows[i].type, rows[i].body);
        assert_int_equal(watch(f, buf_view(&response), 1000), ERR_MALFORMED);
        assert_true(*f->problem.code);
        assert_int_equal(f->count, 0);
        buf_done(&response);
    }
}

static void stream_refused_at_http_level_says_why(void **state)
{
    struct fixture *f = *state;
    struct buf response = response_of(401, "application/json", bytes_of("{\"code\":\"unauthenticated\"}"));
    assert_int_equal(watch(f, buf_view(&response), 1000), ERR_DENIED);
    assert_string_equal(f->problem.code, "unauthenticated");
    assert_false(connect_problem_passes(&f->problem));
    buf_done(&response);
}

static void envelope_is_found_once_it_is_whole(void **state)
{
    (void)state;
    struct buf out = {0};
    struct bytes payload = {0};
    size_t consumed = 99;
    bool end = true;
    assert_int_equal(envelope_append(&out, bytes_of("hello")), ERR_OK);
    struct bytes whole = buf_view(&out);
    for (size_t len = 0; len < whole.len; len++) {
        assert_int_equal(envelope_next(bytes_make(whole.p, len), 5, &end, &payload, &consumed), ERR_OK);
        assert_int_equal(consumed, 0);
    }
    assert_int_equal(envelope_next(whole, 4, &end, &payload, &consumed), ERR_TOO_BIG);
    assert_int_equal(envelope_next(bytes_make(whole.p, ENVELOPE_HEADER_BYTES), 4, &end, &payload, &consumed),
                     ERR_TOO_BIG);
    assert_int_equal(envelope_next(whole, 5, &end, &payload, &consumed), ERR_OK);
    assert_int_equal(consumed, whole.len);
    assert_false(end);
    assert_true(bytes_equal(payload, bytes_of("hello")));
    buf_done(&out);
}

static void error_without_a_code_is_inferred(void **state)
{
    (void)state;
    const struct {
        long status;
        const char *body, *code;
    } rows[] = {
        {400, "", "internal"},
        {401, "{}", "unauthenticated"},
        {403, "[]", "permission_denied"},
        {404, "null", "unimplemented"},
        {429, "{\"code\":1}", "unavailable"},
        {503, "{\"code\":null}", "unavailable"},
        {500, "{\"code\":\"x\"}", "unknown"},
        {409, "{\"code\":\"aborted\"}", "aborted"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct connect_problem problem;
        connect_problem_of_status(rows[i].status, bytes_of(rows[i].body), &problem);
        assert_string_equal(problem.code, rows[i].code);
        assert_true(*problem.message);
    }
}

static void over_long_message_is_cut(void **state)
{
    (void)state;
    char body[2048];
    struct connect_problem problem;
    snprintf(body, sizeof body, "{\"code\":\"internal\",\"message\":\"%01900d\"}", 0);
    connect_problem_of_status(500, bytes_of(body), &problem);
    assert_string_equal(problem.code, "internal");
    assert_int_equal(strlen(problem.message), CONNECT_MESSAGE_SIZE - 1);
}

#define CONNECT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONNECT_TEST(call_returns_the_message),
        CONNECT_TEST(call_returns_the_brokers_error),
        CONNECT_TEST(call_refuses_what_is_not_of_the_protocol),
        CONNECT_TEST(call_refuses_an_over_long_answer),
        CONNECT_TEST(nobody_there_is_unavailable),
        CONNECT_TEST(stream_hands_over_each_message_however_it_is_cut),
        CONNECT_TEST(stream_that_breaks_off_anywhere_is_unavailable),
        CONNECT_TEST(stream_ends_with_the_brokers_error),
        CONNECT_TEST(stream_ends_where_the_caller_has_enough),
        CONNECT_TEST(stream_refuses_what_is_not_of_the_protocol),
        CONNECT_TEST(stream_refused_at_http_level_says_why),
        cmocka_unit_test(envelope_is_found_once_it_is_whole),
        cmocka_unit_test(error_without_a_code_is_inferred),
        cmocka_unit_test(over_long_message_is_cut),
    };
    return cmocka_run_group_tests_name("cli_connect", tests, NULL, NULL);
}
