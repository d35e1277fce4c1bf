/** Slots: the specification's own values, and what nodes say of them, whole, cut short and wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "store/key.h"
#include "store/slot.h"

static struct slot_map map;
static struct address asked;

static int set_up(void **state)
{
    (void)state;
    return address_parse("192.0.2.9:7000", &asked) == ERR_OK ? 0 : -1;
}

static enum err parse(const char *resp)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    assert_int_equal(redisReaderFeed(reader, resp, strlen(resp)), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    enum err e = slot_map_parse(reply, &asked, &map);
    freeReplyObject(reply);
    redisReaderFree(reader);
    return e;
}

static void assert_served(unsigned slot, const char *by)
{
    char text[ADDRESS_TEXT_SIZE];
    assert_int_not_equal(map.at[slot], SLOT_NOBODY);
    address_print(&map.masters[map.at[slot]], text);
    assert_string_equal(text, by);
}

/* Values of CLUSTER KEYSLOT. */
static void slots_are_redis_own(void **state)
{
    static const struct {
        const char *key;
        unsigned slot;
    } cases[] = {
        {"", 0},
        {"123456789", 12739},
        {"foo", 12182},
        {"{foo}", 12182},
        {"a{foo}b", 12182},
        {"foo{}{bar}", 8363},
        {"foo{{bar}}zap", 4015},
        {"foo{bar}{zap}", 5061},
        {"bar", 5061},
        {"{bar", 4015},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(slot_of(bytes_of(cases[i].key)), cases[i].slot);
}

/* All keys that one script may get have one tag, so one slot: users', events', and those that stand alone. */
static void keys_of_a_script_are_in_one_slot(void **state)
{
    static const char *const parts[] = {"user", "devices", "presence", "pending", "enrolments", "limits"};
    char tag[TAG_SIZE], id[ID_SIZE];
    uint8_t bits[ID_RANDOM_BYTES] = {0};
    (void)state;
    for (unsigned k = 0; k < 64; k++) {
        snprintf(tag, sizeof tag, "%020x", k * 2654435761u);
        bits[0] = (uint8_t)k;
        id_make(bits, tag, id);
        unsigned slot = slot_of(bytes_of(tag));
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
            assert_int_equal(slot_of(bytes_of(key_user(tag, parts[i]).text)), slot);
        assert_int_equal(slot_of(bytes_of(key_challenge(id).text)), slot);
        assert_int_equal(slot_of(bytes_of(key_enrolment(id).text)), slot);
        assert_int_equal(slot_of(bytes_of(key_idempotency(tag, "none").text)), slot);
    }
    unsigned events = slot_of(bytes_of("acme"));
    assert_int_equal(slot_of(bytes_of(key_events("acme").text)), events);
    assert_int_equal(slot_of(bytes_of(key_events_state("acme").text)), events);
    assert_int_equal(slot_of(bytes_of(key_event("acme", "0123").text)), events);
    const struct key alone[] = {key_organisation("x"), key_portal("x"),     key_permits("x"),
                                key_index("portals"),  key_inbox("x"),      key_users("acme", 'a'),
                                key_public("x"),       key_certificate("x")};
    for (size_t i = 0; i < sizeof alone / sizeof *alone; i++) {
        const char *open = strchr(alone[i].text, '{'), *close = strchr(alone[i].text, '}');
        assert_true(open && close && close > open + 1);
    }
}

#define A "*3\r\n$9\r\n127.0.0.1\r\n:7001\r\n$2\r\naa\r\n"
#define B "*3\r\n$3\r\n::1\r\n:7002\r\n$2\r\nbb\r\n"

static void map_is_read(void **state)
{
    unsigned first, last;
    (void)state;
    assert_int_equal(parse("*2\r\n*4\r\n:0\r\n:5460\r\n" A B "*3\r\n:5462\r\n:16383\r\n" B), ERR_OK);
    assert_int_equal(map.master_count, 2); /* a replica is none */
    assert_served(0, "127.0.0.1:7001");
    assert_served(5460, "127.0.0.1:7001");
    assert_served(5462, "[::1]:7002");
    assert_served(16383, "[::1]:7002");
    assert_int_equal(map.at[5461], SLOT_NOBODY);
    assert_true(slot_map_gap(&map, 0, &first, &last));
    assert_int_equal(first, 5461);
    assert_int_equal(last, 5461);
    assert_false(slot_map_gap(&map, 5462, &first, &last));
}

static void node_without_an_address_is_who_was_asked(void **state)
{
    (void)state;
    assert_int_equal(parse("*1\r\n*3\r\n:0\r\n:1\r\n*3\r\n$0\r\n\r\n:7003\r\n$2\r\naa\r\n"), ERR_OK);
    assert_served(0, "192.0.2.9:7003");
    assert_int_equal(parse("*1\r\n*3\r\n:0\r\n:1\r\n*3\r\n$-1\r\n:7004\r\n$2\r\naa\r\n"), ERR_OK);
    assert_served(1, "192.0.2.9:7004");
}

static void name_of_a_host_counts_with_its_address_only(void **state)
{
    (void)state;
    assert_int_equal(parse("*1\r\n*3\r\n:0\r\n:1\r\n*4\r\n$5\r\nredis\r\n:7003\r\n$2\r\naa\r\n"
                           "*2\r\n$2\r\nip\r\n$9\r\n192.0.2.1\r\n"),
                     ERR_OK);
    assert_served(0, "192.0.2.1:7003");
    assert_int_equal(parse("*1\r\n*3\r\n:0\r\n:1\r\n*3\r\n$5\r\nredis\r\n:7003\r\n$2\r\naa\r\n"),
                     ERR_MALFORMED);
}

static void wrong_maps_are_refused(void **state)
{
    static const char *const wrong[] = {
        "+OK\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*2\r\n:0\r\n:1\r\n",
        "*1\r\n*3\r\n:-1\r\n:1\r\n" A,
        "*1\r\n*3\r\n:2\r\n:1\r\n" A,
        "*1\r\n*3\r\n:0\r\n:16384\r\n" A,
        "*1\r\n*3\r\n$1\r\n0\r\n:1\r\n" A,
        "*1\r\n*3\r\n:0\r\n:1\r\n*0\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$9\r\n127.0.0.1\r\n:65536\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$9\r\n127.0.0.1\r\n:0\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n:1\r\n:7001\r\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(parse(wrong[i]), ERR_MALFORMED);
}

static void masters_have_a_limit(void **state)
{
    char resp[SLOT_MASTERS_MAX * 64 + 128];
    (void)state;
    for (unsigned count = SLOT_MASTERS_MAX; count <= SLOT_MASTERS_MAX + 1; count++) {
        size_t len = (size_t)snprintf(resp, sizeof resp, "*%u\r\n", count);
        for (unsigned i = 0; i < count; i++)
            len += (size_t)snprintf(resp + len, sizeof resp - len,
                                    "*3\r\n:%u\r\n:%u\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n", i, i, 7001 + i);
        assert_int_equal(parse(resp), count <= SLOT_MASTERS_MAX ? ERR_OK : ERR_TOO_BIG);
    }
}

static void redirects_are_read(void **state)
{
    static const struct {
        const char *error;
        enum redirect_kind kind;
        unsigned slot;
        const char *address;
    } cases[] = {
        {"MOVED 3999 127.0.0.1:6381", REDIRECT_MOVED, 3999, "127.0.0.1:6381"},
        {"MOVED 16383 ::1:6381", REDIRECT_MOVED, 16383, "[::1]:6381"},
        {"ASK 0 192.0.2.7:1", REDIRECT_ASK, 0, "192.0.2.7:1"},
        {"MOVED 3999 redis.internal:6381", REDIRECT_LATER, 0, NULL},
        {"MOVED 3999 :6381", REDIRECT_LATER, 0, NULL},
        {"MOVED 16384 127.0.0.1:6381", REDIRECT_LATER, 0, NULL},
        {"MOVED 3999 127.0.0.1:65536", REDIRECT_LATER, 0, NULL},
        {"MOVED 3999 127.0.0.1:6381x", REDIRECT_LATER, 0, NULL},
        {"MOVED 99999999999999999999999 127.0.0.1:1", REDIRECT_LATER, 0, NULL},
        {"MOVED ", REDIRECT_LATER, 0, NULL},
        {"TRYAGAIN Multiple keys request during rehashing of slot", REDIRECT_LATER, 0, NULL},
        {"CLUSTERDOWN The cluster is down", REDIRECT_LATER, 0, NULL},
        {"MOVED", REDIRECT_NONE, 0, NULL},
        {"CROSSSLOT Keys in request don't hash to the same slot", REDIRECT_NONE, 0, NULL},
        {"ERR", REDIRECT_NONE, 0, NULL},
        {"", REDIRECT_NONE, 0, NULL},
    };
    char text[ADDRESS_TEXT_SIZE];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct redirect to = redirect_parse(bytes_of(cases[i].error));
        assert_int_equal(to.kind, cases[i].kind);
        assert_int_equal(to.slot, cases[i].slot);
        assert_int_equal(to.down, strncmp(cases[i].error, "CLUSTERDOWN", 11) == 0);
        if (cases[i].address) {
            address_print(&to.address, text);
            assert_string_equal(text, cases[i].address);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_redis_own),
        cmocka_unit_test(keys_of_a_script_are_in_one_slot),
        cmocka_unit_test(map_is_read),
        cmocka_unit_test(node_without_an_address_is_who_was_asked),
        cmocka_unit_test(name_of_a_host_counts_with_its_address_only),
        cmocka_unit_test(wrong_maps_are_refused),
        cmocka_unit_test(masters_have_a_limit),
        cmocka_unit_test(redirects_are_read),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
