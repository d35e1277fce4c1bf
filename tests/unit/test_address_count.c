/** Connections of an address: IPv4 whole, IPv6 by /64, and each given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/address_count.h"

static struct address_key key_of(const char *text)
{
    struct address address;
    assert_int_equal(address_parse(text, &address), ERR_OK);
    return address_key_of(&address);
}

static void an_address_has_so_many_and_gets_room_again(void **state)
{
    (void)state;
    struct address_counts counts = {0};
    struct address_key one = key_of("192.0.2.1:1000"), same = key_of("192.0.2.1:2000"),
                       other = key_of("192.0.2.2:1000");
    assert_true(address_counts_take(&counts, &one, 2));
    assert_true(address_counts_take(&counts, &same, 2));
    assert_false(address_counts_take(&counts, &one, 2));
    assert_true(address_counts_take(&counts, &other, 2));
    address_counts_give(&counts, &one);
    assert_true(address_counts_take(&counts, &same, 2));
    assert_false(address_counts_take(&counts, &same, 2));
    assert_true(address_counts_take(&counts, &same, 0)); /* no limit */
    for (int i = 0; i < 3; i++)
        address_counts_give(&counts, &one);
    address_counts_give(&counts, &other);
    assert_int_equal(counts.table.count, 0);
    address_counts_done(&counts);
}

static void ipv6_counts_by_its_network(void **state)
{
    (void)state;
    struct address_counts counts = {0};
    struct address_key one = key_of("[2001:db8:0:1::1]:1"), near = key_of("[2001:db8:0:1:ffff::2]:1"),
                       far = key_of("[2001:db8:0:2::1]:1");
    assert_true(address_counts_take(&counts, &one, 1));
    assert_false(address_counts_take(&counts, &near, 1));
    assert_true(address_counts_take(&counts, &far, 1));
    address_counts_give(&counts, &near);
    address_counts_give(&counts, &far);
    assert_int_equal(counts.table.count, 0);
    address_counts_done(&counts);
}

static void unix_sockets_are_not_counted(void **state)
{
    (void)state;
    struct address_counts counts = {0};
    struct address_key key = key_of("unix:/tmp/socket");
    for (int i = 0; i < 3; i++)
        assert_true(address_counts_take(&counts, &key, 1));
    assert_int_equal(counts.table.count, 0);
    address_counts_give(&counts, &key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_has_so_many_and_gets_room_again),
        cmocka_unit_test(ipv6_counts_by_its_network),
        cmocka_unit_test(unix_sockets_are_not_counted),
    };
    return cmocka_run_group_tests_name("address_count", tests, NULL, NULL);
}
