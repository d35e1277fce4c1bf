/**
 * No key seals two records with one nonce: every call of traffic_seal() that parked connections make, in a random walk of
 * thousands of them, is checked against all calls before. This program is linked with --wrap=traffic_seal.
 *
 *     NANOPUSH_RECORDS=100000000 build/tests/unit/test_nonce      the long run; 3 million records without
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/table.h"
#include "net/parking.h"
#include "net/record.h"

#define CONNECTIONS 500
#define FAILURES    200000 /* one seal in so many fails */

enum err __wrap_traffic_seal(struct traffic_ciphers *ciphers, const struct traffic_suite *suite,
                             struct traffic_key key, uint64_t sequence, const uint8_t *header, uint8_t *text,
                             size_t len);
enum err __real_traffic_seal(struct traffic_ciphers *ciphers, const struct traffic_suite *suite,
                             struct traffic_key key, uint64_t sequence, const uint8_t *header, uint8_t *text,
                             size_t len);

/* A key that was ever used. Kept for ever. */
struct used {
    struct table_node node;
    uint8_t key[TRAFFIC_KEY_MAX_BYTES], iv[TRAFFIC_IV_BYTES];
    uint64_t last; /* sequence number */
    bool failed;   /* nothing may be sealed after that */
};

struct phone {
    struct parked *parked;
    uint8_t secret[TRAFFIC_SECRET_MAX_BYTES];
    uint64_t sealed;
};

static struct table keys;
static uint64_t records, key_count, failures;
static struct parking *parking;
static struct traffic_ciphers *ciphers; /* the phones' */

static struct used *find(const uint8_t *key, size_t len, uint64_t hash)
{
    for (struct table_node *n = table_first(&keys, hash); n; n = table_next(n, hash))
        if (memcmp(CONTAINER_OF(n, struct used, node)->key, key, len) == 0)
            return CONTAINER_OF(n, struct used, node);
    return NULL;
}

enum err __wrap_traffic_seal(struct traffic_ciphers *with, const struct traffic_suite *suite,
                             struct traffic_key key, uint64_t sequence, const uint8_t *header, uint8_t *text,
                             size_t len)
{
    if (with == ciphers)
        return __real_traffic_seal(with, suite, key, sequence, header, text, len);
    uint64_t hash = table_hash(bytes_make(key.key, suite->key_bytes));
    struct used *used = find(key.key, suite->key_bytes, hash);
    if (!used) {
        used = mem_new(sizeof *used);
        memcpy(used->key, key.key, suite->key_bytes);
        memcpy(used->iv, key.iv, sizeof used->iv);
        assert_int_equal(table_add(&keys, &used->node, hash), ERR_OK);
        key_count++;
    } else {
        assert_true(sequence > used->last); /* so no number comes twice */
        assert_memory_equal(used->iv, key.iv, sizeof used->iv);
    }
    assert_false(used->failed);
    used->last = sequence;
    records++;
    memset(text + len, 0, TRAFFIC_TAG_BYTES);
    used->failed = rand() % FAILURES == 0;
    failures += used->failed;
    return used->failed ? ERR_CRYPTO : ERR_OK;
}

static void open_phone(struct phone *phone)
{
    static uint64_t serial;
    struct traffic_state read = {.records = (uint64_t)rand() % 5}, write = {.records = (uint64_t)rand() % 5};
    serial++;
    memcpy(read.secret, &serial, sizeof serial);
    memcpy(write.secret + 8, &serial, sizeof serial);
    memcpy(phone->secret, read.secret, sizeof phone->secret);
    phone->sealed = read.records;
    phone->parked = parked_new(parking, &traffic_suites[serial % TRAFFIC_SUITE_COUNT], &read, &write,
                               serial % 2 ? 128 : 1);
    assert_non_null(phone->parked);
}

static void close_phone(struct phone *phone)
{
    parked_free(phone->parked);
    phone->parked = NULL;
}

/* What the phone says: now and then a key update that wants an answer, damage, or the end. */
static bool hear(struct phone *phone, const struct traffic_suite *suite, struct buf *output)
{
    static const uint8_t update[] = {24, 0, 0, 1, 1, RECORD_HANDSHAKE},
                         text[] = {'x', RECORD_APPLICATION_DATA};
    uint8_t key[TRAFFIC_KEY_MAX_BYTES], iv[TRAFFIC_IV_BYTES], record[64];
    bool updates = rand() % 4 == 0;
    struct bytes inner = updates ? bytes_make(update, sizeof update) : bytes_make(text, sizeof text);
    struct buf input = {0};
    assert_int_equal(traffic_expand(suite, phone->secret, "key", key, suite->key_bytes), ERR_OK);
    assert_int_equal(traffic_expand(suite, phone->secret, "iv", iv, sizeof iv), ERR_OK);
    record_header(RECORD_APPLICATION_DATA, inner.len + TRAFFIC_TAG_BYTES, record);
    memcpy(record + RECORD_HEADER_BYTES, inner.p, inner.len);
    assert_int_equal(__real_traffic_seal(ciphers, suite, (struct traffic_key){key, iv}, phone->sealed++,
                                         record, record + RECORD_HEADER_BYTES, inner.len),
                     ERR_OK);
    if (rand() % 50 == 0)
        record[RECORD_HEADER_BYTES] ^= 1;
    struct bytes whole = bytes_make(record, RECORD_HEADER_BYTES + inner.len + TRAFFIC_TAG_BYTES);
    enum tls_event event = parked_step(phone->parked, whole, &input, output);
    buf_done(&input);
    if (updates) {
        assert_int_equal(
            traffic_expand(suite, phone->secret, "traffic upd", phone->secret, suite->secret_bytes), ERR_OK);
        phone->sealed = 0;
    }
    return event != TLS_FAILED && event != TLS_PEER_DONE;
}

static const struct traffic_suite *suite_of(const struct parked *parked)
{
    return CONTAINER_OF(slab_of(parked), struct parking_shelf, slab)->suite;
}

static void no_key_seals_two_records_with_one_nonce(void **state)
{
    (void)state;
    static struct phone phones[CONNECTIONS];
    static const uint8_t text[40000];
    const char *wanted = getenv("NANOPUSH_RECORDS");
    uint64_t until = wanted ? strtoull(wanted, NULL, 10) : 3000000;
    struct parking_options options = {.records_per_key = 4000, .records_max = 1u << 24, .update_s = 3600};
    parking = parking_new(&options, NULL, NULL);
    ciphers = traffic_ciphers_new();
    srand(11);
    while (records < until) {
        struct phone *phone = &phones[rand() % CONNECTIONS];
        struct buf output = {0};
        bool going = true;
        if (!phone->parked)
            open_phone(phone);
        if (rand() % 300 == 0)
            going = hear(phone, suite_of(phone->parked), &output);
        for (int i = rand() % 200; going && i > 0; i--) {
            size_t len = rand() % 500 == 0 ? 1 + (size_t)rand() % sizeof text : 1 + (size_t)rand() % 50;
            going = parked_write(phone->parked, bytes_make(text, len), &output) == ERR_OK;
            buf_consume(&output, buf_len(&output));
        }
        if (!going || rand() % 3000 == 0) {
            parked_shutdown(phone->parked, &output);
            parked_shutdown(phone->parked, &output); /* whoever calls it twice */
            if (parked_write(phone->parked, bytes_make(text, 1), &output) == ERR_OK)
                fail_msg("written after the end");
            close_phone(phone);
        }
        buf_done(&output);
    }
    for (int i = 0; i < CONNECTIONS; i++)
        close_phone(&phones[i]);
    print_message("%llu records, %llu keys, %llu failures\n", (unsigned long long)records,
                  (unsigned long long)key_count, (unsigned long long)failures);
    assert_true(key_count > CONNECTIONS && failures > 0);
    traffic_ciphers_free(ciphers);
    parking_free(parking);
}

static void free_used(struct table_node *node, void *arg)
{
    (void)arg;
    free(CONTAINER_OF(node, struct used, node));
}

static int tear_down(void **state)
{
    (void)state;
    table_each(&keys, free_used, NULL);
    table_done(&keys);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_key_seals_two_records_with_one_nonce)};
    return cmocka_run_group_tests_name("nonce", tests, NULL, tear_down);
}
