/** Addresses: text to socket address and back, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/address.h"

static void text_forms_are_read_back(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "127.0.0.1:7440",  "0.0.0.0:0",          "[::1]:7440",      "[::]:65535",
        "[2001:db8::5]:1", "unix:/run/nanopush", "unix:/tmp/a b:c",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct address a;
        char out[ADDRESS_TEXT_SIZE];
        assert_int_equal(address_parse(texts[i], &a), ERR_OK);
        address_print(&a, out);
        assert_string_equal(out, texts[i]);
        assert_int_equal(address_is_unix(&a), texts[i][0] == 'u');
    }
}

static void fields_are_in_network_order(void **state)
{
    (void)state;
    struct address a;
    struct sockaddr_in v4;
    assert_int_equal(address_parse("127.0.0.1:258", &a), ERR_OK);
    assert_int_equal(a.len, sizeof(v4));
    memcpy(&v4, &a.storage, sizeof(v4));
    assert_int_equal(v4.sin_family, AF_INET);
    assert_memory_equal(&v4.sin_port, "\x01\x02", 2);
    assert_memory_equal(&v4.sin_addr, "\x7f\x00\x00\x01", 4);
}

static void malformed_text_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        ":",
        ":7440",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "127.0.0.1: 1",
        "127.0.0.1:1 ",
        "127.0.0.1:01",
        "127.0.0.1:1:2",
        "127.0.0.1:999999",
        "127.1:80",
        "256.0.0.1:80",
        "::1:7440",
        "[::1]",
        "[::1]7440",
        "[::1]:",
        "[::1:7440",
        "[]:80",
        "[127.0.0.1]:80",
        "[fe80::1%lo]:80",
        "localhost:80",
        "unix:",
        "unix:rel",
        "unix",
        "1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1:80",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct address a = {.len = 77};
        assert_int_equal(address_parse(texts[i], &a), ERR_MALFORMED);
        assert_int_equal(a.len, 77);
    }
}

static void each_prefix_of_a_text_is_refused_or_complete(void **state)
{
    (void)state;
    const char *whole = "[2001:db8::5]:7440";
    for (size_t len = 0; len < strlen(whole); len++) {
        char part[32] = "";
        struct address a;
        memcpy(part, whole, len);
        bool has_port = len > strlen("[2001:db8::5]:");
        assert_int_equal(address_parse(part, &a), has_port ? ERR_OK : ERR_MALFORMED);
    }
}

static void unix_path_has_its_limit(void **state)
{
    (void)state;
    char text[5 + 109] = "unix:/";
    struct address a;
    char out[ADDRESS_TEXT_SIZE];
    memset(text + 6, 'p', 106);
    assert_int_equal(address_parse(text, &a), ERR_OK);
    address_print(&a, out);
    assert_string_equal(out, text);
    text[5 + 107] = 'p';
    assert_int_equal(address_parse(text, &a), ERR_TOO_BIG);
}

static void sockets_tell_their_addresses(void **state)
{
    (void)state;
    struct address any, bound, peer;
    char text[ADDRESS_TEXT_SIZE];
    int client = -1, listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(address_parse("127.0.0.1:0", &any), ERR_OK);
    assert_int_equal(bind(listening, (struct sockaddr *)&any.storage, any.len), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(address_of_socket(listening, &bound), ERR_OK);
    assert_int_equal(address_of_peer(listening, &peer), ERR_IO);
    assert_int_equal(address_connect(&bound, &client), ERR_OK);
    int accepted = accept(listening, NULL, NULL);
    assert_true(accepted >= 0);
    assert_int_equal(address_of_peer(client, &peer), ERR_OK);
    address_print(&peer, text);
    assert_memory_equal(text, "127.0.0.1:", 10);
    close(accepted), close(client), close(listening);
    assert_int_equal(address_of_socket(-1, &bound), ERR_IO);
}

static void nameless_unix_peer_is_printed(void **state)
{
    (void)state;
    int fds[2];
    struct address a;
    char text[ADDRESS_TEXT_SIZE];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(address_of_peer(fds[0], &a), ERR_OK);
    address_print(&a, text);
    assert_string_equal(text, "unix:");
    close(fds[0]), close(fds[1]);
}

static void connecting_to_nobody_is_unavailable(void **state)
{
    (void)state;
    struct address a;
    int fd = 77;
    assert_int_equal(address_parse("unix:/nonexistent/socket", &a), ERR_OK);
    assert_int_equal(address_connect(&a, &fd), ERR_UNAVAILABLE);
    assert_int_equal(fd, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_forms_are_read_back),
        cmocka_unit_test(fields_are_in_network_order),
        cmocka_unit_test(malformed_text_is_refused),
        cmocka_unit_test(each_prefix_of_a_text_is_refused_or_complete),
        cmocka_unit_test(unix_path_has_its_limit),
        cmocka_unit_test(sockets_tell_their_addresses),
        cmocka_unit_test(nameless_unix_peer_is_printed),
        cmocka_unit_test(connecting_to_nobody_is_unavailable),
    };
    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
