/** PROXY headers: each kind of address, each byte cut off, each field that does not count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "net/proxy_header.h"

#define START "\r\n\r\n\0\r\nQUIT\n"

static const uint8_t ipv4[] = START "\x21\x11\0\x0c\xc0\0\2\7\xc0\0\2\1\x12\x67\1\xbb";
static const uint8_t ipv6[] = START "\x21\x21\0\x24"
                                    "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7"
                                    "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
                                    "\x12\x67\1\xbb";
static const uint8_t mapped[] = START "\x21\x21\0\x24"
                                      "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\7"
                                      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
                                      "\x12\x67\1\xbb";
static const uint8_t local[] = START "\x20\0\0\0";

#define HEADER(array) bytes_make(array, sizeof array - 1)

static void reads_as(struct bytes header, const char *expected)
{
    struct address source;
    size_t length;
    char text[ADDRESS_TEXT_SIZE];
    assert_int_equal(proxy_header_length(header, &length), ERR_OK);
    assert_int_equal(length, header.len);
    assert_int_equal(proxy_header_source(header, &source), ERR_OK);
    if (!expected) {
        assert_int_equal(source.len, 0);
        return;
    }
    address_print(&source, text);
    assert_string_equal(text, expected);
}

static void every_family_names_its_source(void **state)
{
    (void)state;
    uint8_t unix_peer[PROXY_HEADER_START_BYTES + 216] = START "\x21\x31\0\xd8/tmp/a";
    static const uint8_t with_tlv[] = START "\x21\x11\0\x11\xc0\0\2\7\xc0\0\2\1\x12\x67\1\xbb\2\0\2ab";
    reads_as(HEADER(ipv4), "192.0.2.7:4711");
    reads_as(HEADER(ipv6), "[2001:db8::7]:4711");
    reads_as(HEADER(mapped), "192.0.2.7:4711");
    reads_as(bytes_make(unix_peer, sizeof unix_peer), "unix:");
    reads_as(HEADER(with_tlv), "192.0.2.7:4711");
}

static void local_and_unspecified_name_nobody(void **state)
{
    (void)state;
    static const uint8_t unspecified[] = START "\x21\0\0\0";
    static const uint8_t local_with_address[] = START "\x20\x11\0\x0c\xc0\0\2\7\xc0\0\2\1\x12\x67\1\xbb";
    reads_as(HEADER(local), NULL);
    reads_as(HEADER(unspecified), NULL);
    reads_as(HEADER(local_with_address), NULL);
}

static void a_header_cut_anywhere_wants_more_and_is_no_source(void **state)
{
    (void)state;
    struct address source = {.len = 77};
    for (size_t len = 0; len < sizeof ipv6 - 1; len++) {
        size_t length = 0;
        assert_int_equal(proxy_header_length(bytes_make(ipv6, len), &length), ERR_OK);
        assert_int_equal(length, len < PROXY_HEADER_START_BYTES ? PROXY_HEADER_START_BYTES : sizeof ipv6 - 1);
        assert_int_equal(proxy_header_source(bytes_make(ipv6, len), &source), ERR_MALFORMED);
    }
    assert_int_equal(source.len, 77);
}

static void a_wrong_byte_of_the_start_shows_at_once(void **state)
{
    (void)state;
    for (size_t at = 0; at < 13; at++) {
        uint8_t wrong[sizeof ipv4];
        size_t length = 77;
        memcpy(wrong, ipv4, sizeof ipv4);
        wrong[at] ^= 0x10;
        assert_int_equal(proxy_header_length(bytes_make(wrong, at), &length), ERR_OK);
        assert_int_equal(proxy_header_length(bytes_make(wrong, at + 1), &length), ERR_MALFORMED);
    }
    size_t length;
    assert_int_equal(proxy_header_length(bytes_of("PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n"), &length),
                     ERR_MALFORMED);
    assert_int_equal(proxy_header_length(bytes_of("\x16\x03\x01"), &length), ERR_MALFORMED);
}

static enum err source_with(uint8_t command, uint8_t family, uint8_t length)
{
    uint8_t header[PROXY_HEADER_START_BYTES + 255] = START;
    struct address source;
    header[12] = command;
    header[13] = family;
    header[15] = length;
    return proxy_header_source(bytes_make(header, PROXY_HEADER_START_BYTES + length), &source);
}

static void what_does_not_count_is_refused(void **state)
{
    (void)state;
    assert_int_equal(source_with(0x21, 0x11, 12), ERR_OK);
    assert_int_equal(source_with(0x21, 0x11, 11), ERR_MALFORMED);
    assert_int_equal(source_with(0x21, 0x21, 35), ERR_MALFORMED);
    assert_int_equal(source_with(0x21, 0x31, 215), ERR_MALFORMED);
    assert_int_equal(source_with(0x21, 0x41, 255), ERR_MALFORMED);
    assert_int_equal(source_with(0x22, 0x11, 12), ERR_MALFORMED);
    assert_int_equal(source_with(0x21, 0x12, 12), ERR_UNSUPPORTED); /* UDP */
    assert_int_equal(source_with(0x21, 0x10, 12), ERR_UNSUPPORTED);
    assert_int_equal(source_with(0x21, 0x01, 12), ERR_UNSUPPORTED);
}

static void the_largest_is_taken_and_one_more_is_not(void **state)
{
    (void)state;
    uint8_t header[PROXY_HEADER_MAX_BYTES] = START "\x21\x11";
    size_t rest = PROXY_HEADER_MAX_BYTES - PROXY_HEADER_START_BYTES, length = 77;
    header[14] = (uint8_t)(rest >> 8);
    header[15] = (uint8_t)rest;
    assert_int_equal(proxy_header_length(bytes_make(header, PROXY_HEADER_START_BYTES), &length), ERR_OK);
    assert_int_equal(length, PROXY_HEADER_MAX_BYTES);
    header[15]++;
    assert_int_equal(proxy_header_length(bytes_make(header, PROXY_HEADER_START_BYTES), &length), ERR_TOO_BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_names_its_source),
        cmocka_unit_test(local_and_unspecified_name_nobody),
        cmocka_unit_test(a_header_cut_anywhere_wants_more_and_is_no_source),
        cmocka_unit_test(a_wrong_byte_of_the_start_shows_at_once),
        cmocka_unit_test(what_does_not_count_is_refused),
        cmocka_unit_test(the_largest_is_taken_and_one_more_is_not),
    };
    return cmocka_run_group_tests_name("proxy_header", tests, NULL, NULL);
}
