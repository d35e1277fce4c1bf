/** Listening sockets, and accepting from them: limits, pauses, and running out of descriptors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/metrics.h"
#include "net/listener.h"

static struct loop *loop;
static struct metrics_page *page;
static int listening;
static struct address address; /* of listening */
static int accepted[64];
static size_t accepted_count;
static struct address accepted_peer; /* of the last one */
static enum err refused[8];
static size_t refused_count;
static unsigned pressure_count;
static size_t share; /* what is_over_share() leaves to others */

static void on_accept(int fd, const struct address *peer, void *arg)
{
    assert_ptr_equal(arg, accepted);
    assert_int_equal(peer->storage.ss_family, AF_INET);
    assert_true(accepted_count < sizeof(accepted) / sizeof(*accepted));
    accepted[accepted_count++] = fd;
    accepted_peer = *peer;
}

static void on_pressure(void *arg)
{
    (void)arg;
    pressure_count++;
}

static void on_refused(enum err why, const struct address *peer, void *arg)
{
    (void)peer;
    (void)arg;
    assert_true(refused_count < sizeof(refused) / sizeof(*refused));
    refused[refused_count++] = why;
}

static const struct listener_handlers handlers = {
    .on_accept = on_accept, .on_pressure = on_pressure, .on_refused = on_refused};
static const struct listener_options no_limit = {0};
static const struct listener_options with_proxy = {.connections_max = 2, .proxy_timeout_ms = 50};

static int set_up(void **state)
{
    (void)state;
    struct address any;
    struct buf why = {0};
    accepted_count = refused_count = pressure_count = 0;
    loop = loop_new();
    page = metrics_page_new(1);
    metrics_use_slot(page, 0);
    if (!loop || !page || address_parse("127.0.0.1:0", &any) != ERR_OK ||
        listener_open(&any, 64, &listening, &why) != ERR_OK)
        return -1;
    return address_of_socket(listening, &address) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < accepted_count; i++)
        close(accepted[i]);
    close(listening);
    loop_free(loop);
    metrics_page_free(page);
    return 0;
}

static void stop(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static void run_for(unsigned ms)
{
    struct timer end;
    timer_init(&end, loop, stop, NULL);
    timer_start(&end, ms);
    loop_run(loop);
}

static int connect_one(void)
{
    int fd = -1;
    assert_int_equal(address_connect(&address, &fd), ERR_OK);
    return fd;
}

static void accepted_sockets_are_nonblocking_closed_on_exec_and_without_delay(void **state)
{
    (void)state;
    int on = 0;
    socklen_t len = sizeof(on);
    struct listener *l = listener_new(loop, listening, &no_limit, &handlers, accepted);
    int client = connect_one();
    run_for(5);
    assert_int_equal(accepted_count, 1);
    assert_true(fcntl(accepted[0], F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(accepted[0], F_GETFD) & FD_CLOEXEC);
    assert_int_equal(getsockopt(accepted[0], IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_int_equal(on, 1);
    assert_int_equal(listener_connections(l), 1);
    close(client);
    listener_free(l);
}

static void more_than_one_wake_up_of_connections_is_accepted(void **state)
{
    (void)state;
    int clients[40];
    struct listener *l = listener_new(loop, listening, &no_limit, &handlers, accepted);
    for (size_t i = 0; i < 40; i++)
        clients[i] = connect_one();
    run_for(10);
    assert_int_equal(accepted_count, 40);
    for (size_t i = 0; i < 40; i++)
        close(clients[i]);
    listener_free(l);
}

static void accepting_stops_at_the_limit_and_goes_on_after_a_release(void **state)
{
    (void)state;
    int clients[3];
    struct listener *l =
        listener_new(loop, listening, &(struct listener_options){.connections_max = 2}, &handlers, accepted);
    for (size_t i = 0; i < 3; i++)
        clients[i] = connect_one();
    run_for(5);
    assert_int_equal(accepted_count, 2);
    listener_release(l);
    run_for(5);
    assert_int_equal(accepted_count, 3);
    assert_int_equal(listener_connections(l), 2);
    for (size_t i = 0; i < 3; i++)
        close(clients[i]);
    listener_free(l);
}

static void paused_listener_leaves_connections_waiting(void **state)
{
    (void)state;
    struct listener *l = listener_new(loop, listening, &no_limit, &handlers, accepted);
    listener_pause(l);
    int client = connect_one();
    run_for(5);
    assert_int_equal(accepted_count, 0);
    listener_resume(l);
    run_for(5);
    assert_int_equal(accepted_count, 1);
    close(client);
    listener_free(l);
}

static void running_out_of_descriptors_rests_and_recovers(void **state)
{
    (void)state;
    struct rlimit old, tight;
    struct listener *l = listener_new(loop, listening, &no_limit, &handlers, accepted);
    int client = connect_one();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    tight = (struct rlimit){.rlim_cur = (rlim_t)client + 1, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    run_for(50);
    assert_int_equal(accepted_count, 0);
    assert_int_equal(pressure_count, 1); /* not once a turn */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    run_for(100);
    assert_int_equal(accepted_count, 1);
    close(client);
    listener_free(l);
}

/* "192.0.2.7:4711" */
static const char proxied[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\7\xc0\0\2\1\x12\x67\1\xbb";
#define PROXIED_BYTES (sizeof proxied - 1)

static void proxy_header_is_taken_off_to_its_last_byte_and_no_further(void **state)
{
    (void)state;
    char text[ADDRESS_TEXT_SIZE], rest[8];
    struct listener *l = listener_new(loop, listening, &with_proxy, &handlers, accepted);
    int client = connect_one();
    for (size_t at = 0; at < PROXIED_BYTES; at++) { /* a byte at a time: it waits for the last one */
        assert_int_equal(accepted_count, 0);
        assert_int_equal(send(client, proxied + at, 1, 0), 1);
        if (at == PROXIED_BYTES - 1)
            assert_int_equal(send(client, "hello", 5, 0), 5);
        run_for(1);
    }
    run_for(5);
    assert_int_equal(accepted_count, 1);
    address_print(&accepted_peer, text);
    assert_string_equal(text, "192.0.2.7:4711");
    assert_int_equal(recv(accepted[0], rest, sizeof rest, 0), 5);
    assert_memory_equal(rest, "hello", 5);
    assert_int_equal(listener_connections(l), 1);
    close(client);
    listener_free(l);
}

static void without_its_proxy_header_a_connection_is_refused_and_gives_its_room_back(void **state)
{
    (void)state;
    struct listener *l = listener_new(loop, listening, &with_proxy, &handlers, accepted);
    int silent = connect_one(), other = connect_one();
    assert_int_equal(send(other, "\x16\x03\x01", 3, 0), 3);
    run_for(10);
    assert_int_equal(refused_count, 1);
    assert_int_equal(refused[0], ERR_MALFORMED);
    run_for(80);
    assert_int_equal(refused_count, 2);
    assert_int_equal(refused[1], ERR_TIMEOUT);
    int gone = connect_one();
    assert_int_equal(send(gone, proxied, PROXIED_BYTES - 1, 0), PROXIED_BYTES - 1);
    close(gone);
    run_for(10);
    assert_int_equal(refused_count, 3);
    assert_int_equal(refused[2], ERR_CLOSED);
    assert_int_equal(listener_connections(l), 0);
    assert_int_equal(accepted_count, 0);
    close(silent);
    close(other);
    listener_free(l);
}

static void those_that_wait_for_their_proxy_header_count_and_end_with_the_listener(void **state)
{
    (void)state;
    char byte;
    struct listener *l = listener_new(loop, listening, &with_proxy, &handlers, accepted);
    int clients[3];
    for (size_t i = 0; i < 3; i++)
        clients[i] = connect_one();
    run_for(5);
    assert_int_equal(listener_connections(l), 2);
    listener_free(l);
    assert_int_equal(recv(clients[0], &byte, 1, 0), 0);
    assert_int_equal(accepted_count + refused_count, 0);
    for (size_t i = 0; i < 3; i++)
        close(clients[i]);
}

static void connect_all(int *clients, size_t count)
{
    for (size_t i = 0; i < count; i++)
        clients[i] = connect_one();
}

static void close_all(const int *clients, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(clients[i]);
}

static void handshakes_in_progress_have_a_limit_of_their_own(void **state)
{
    (void)state;
    int clients[4];
    struct listener *l =
        listener_new(loop, listening, &(struct listener_options){.handshakes_max = 2}, &handlers, accepted);
    connect_all(clients, 4);
    run_for(5);
    assert_int_equal(accepted_count, 2);
    listener_settled(l); /* open from now on, and held no less */
    run_for(5);
    assert_int_equal(accepted_count, 3);
    listener_settled(l); /* failed */
    listener_release(l);
    run_for(5);
    assert_int_equal(accepted_count, 4);
    assert_int_equal(listener_connections(l), 3);
    close_all(clients, 4);
    listener_free(l);
}

static void what_comes_too_fast_waits_and_is_accepted_later(void **state)
{
    (void)state;
    int clients[6];
    /* one each 100 ms, and the first two at once */
    struct listener *l =
        listener_new(loop, listening, &(struct listener_options){.accepts_per_s = 10}, &handlers, accepted);
    connect_all(clients, 6);
    run_for(1);
    assert_in_range(accepted_count, 2, 5);
    int64_t turns = metrics_value(page, 0, METRIC_LOOP_TURNS);
    while (accepted_count < 6)
        run_for(20);
    assert_in_range(metrics_value(page, 0, METRIC_LOOP_TURNS) - turns, 1, 100); /* it does not spin */
    assert_true(metrics_value(page, 0, METRIC_ACCEPT_PAUSES_RATE) > 0);
    close_all(clients, 6);
    listener_free(l);
}

static void descriptors_are_kept_for_others(void **state)
{
    (void)state;
    struct rlimit old, tight;
    int clients[8];
    struct listener *l = listener_new(loop, listening, &(struct listener_options){.descriptors_kept = 10},
                                      &handlers, accepted);
    connect_all(clients, 8);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    tight = (struct rlimit){.rlim_cur = (rlim_t)clients[7] + 1 + 3 + 10, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    run_for(150); /* also after it has rested and looked again */
    assert_int_equal(accepted_count, 3);
    assert_in_range(pressure_count, 1, 2);
    close(accepted[--accepted_count]);
    run_for(150);
    assert_int_equal(accepted_count, 3);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    run_for(150);
    assert_int_equal(accepted_count, 7); /* and the one that was closed */
    close_all(clients, 8);
    listener_free(l);
}

static void a_limit_that_is_met_is_counted_once_while_it_holds(void **state)
{
    (void)state;
    int clients[3];
    struct listener *l =
        listener_new(loop, listening, &(struct listener_options){.connections_max = 1}, &handlers, accepted);
    connect_all(clients, 3);
    run_for(5);
    run_for(5);
    assert_int_equal(metrics_value(page, 0, METRIC_ACCEPT_PAUSES_CONNECTIONS), 1);
    listener_release(l);
    run_for(5);
    assert_int_equal(accepted_count, 2);
    close_all(clients, 3);
    listener_free(l);
}

static bool is_over_share(void *arg)
{
    (void)arg;
    return accepted_count >= share;
}

static void more_than_its_share_is_left_to_others(void **state)
{
    (void)state;
    static const struct listener_handlers sharing = {
        .on_accept = on_accept, .on_pressure = on_pressure, .is_over_share = is_over_share};
    int clients[5];
    share = 2;
    struct listener *mine = listener_new(loop, listening, &no_limit, &sharing, accepted);
    connect_all(clients, 3);
    run_for(5);
    assert_int_equal(accepted_count, 2);
    assert_int_equal(metrics_value(page, 0, METRIC_ACCEPT_PAUSES_SHARE), 1);
    struct listener *others = listener_new(loop, listening, &no_limit, &handlers, accepted);
    run_for(5);
    assert_int_equal(accepted_count, 3);
    listener_free(others);
    share = 4;
    connect_all(clients + 3, 2);
    run_for(5);
    assert_int_equal(accepted_count, 3); /* it rests, */
    run_for(150);
    assert_int_equal(accepted_count, 4); /* and looks again */
    close_all(clients, 5);
    listener_free(mine);
}

static void taken_address_is_told(void **state)
{
    (void)state;
    struct buf why = {0};
    int fd = 77;
    assert_int_equal(listener_open(&address, 1, &fd, &why), ERR_EXISTS);
    assert_int_equal(fd, 77);
    assert_memory_equal(buf_view(&why).p, "cannot listen on 127.0.0.1:", 27);
    buf_done(&why);
}

static void unix_socket_is_private_and_a_stale_one_is_replaced(void **state)
{
    (void)state;
    char directory[] = "/tmp/nanopush-test-XXXXXX", text[96], path[64];
    struct address a;
    struct stat st;
    struct buf why = {0};
    int first = -1, second = -1;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/socket", directory);
    snprintf(text, sizeof(text), "unix:%s", path);
    assert_int_equal(address_parse(text, &a), ERR_OK);
    mode_t mask = umask(0);
    assert_int_equal(listener_open(&a, 1, &first, &why), ERR_OK);
    umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(listener_open(&a, 1, &second, &why), ERR_EXISTS); /* somebody listens */
    close(first);
    assert_int_equal(listener_open(&a, 1, &second, &why), ERR_OK);
    close(second);
    unlink(path);
    int file = open(path, O_CREAT | O_WRONLY, 0600); /* not a socket: it is not ours to remove */
    close(file);
    assert_int_equal(listener_open(&a, 1, &second, &why), ERR_EXISTS);
    assert_int_equal(stat(path, &st), 0);
    unlink(path);
    rmdir(directory);
    assert_int_equal(listener_open(&a, 1, &second, &why), ERR_IO);
    buf_done(&why);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(accepted_sockets_are_nonblocking_closed_on_exec_and_without_delay),
        TEST(more_than_one_wake_up_of_connections_is_accepted),
        TEST(accepting_stops_at_the_limit_and_goes_on_after_a_release),
        TEST(paused_listener_leaves_connections_waiting),
        TEST(running_out_of_descriptors_rests_and_recovers),
        TEST(proxy_header_is_taken_off_to_its_last_byte_and_no_further),
        TEST(without_its_proxy_header_a_connection_is_refused_and_gives_its_room_back),
        TEST(those_that_wait_for_their_proxy_header_count_and_end_with_the_listener),
        TEST(handshakes_in_progress_have_a_limit_of_their_own),
        TEST(what_comes_too_fast_waits_and_is_accepted_later),
        TEST(descriptors_are_kept_for_others),
        TEST(a_limit_that_is_met_is_counted_once_while_it_holds),
        TEST(more_than_its_share_is_left_to_others),
        TEST(taken_address_is_told),
        TEST(unix_socket_is_private_and_a_stale_one_is_replaced),
    };
    return cmocka_run_group_tests_name("listener", tests, NULL, NULL);
}
