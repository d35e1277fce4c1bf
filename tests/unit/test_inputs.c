/*
 * crypto/inputs: layout byte by byte, and values computed from the contract's words by other code. The signed
 * forms with their signatures are in test_vectors.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/inputs.h"

#define TP1 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define TP2 "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"

static uint8_t cb[CHANNEL_BINDING_BYTES], anchor[SHA256_BYTES];

static int fill(void **state)
{
    (void)state;
    memset(cb, 0xcb, sizeof cb);
    memset(anchor, 0xaa, sizeof anchor);
    return 0;
}

static void test_hello(void **state)
{
    (void)state;
    uint8_t expected[17 + 32 + 6 + 5 + 4 + 32 + 4], *at = expected;
    struct buf got = {0};
    at = mempcpy(at, "nanopush/1 hello\0", 17);
    at = mempcpy(at, cb, sizeof cb);
    at = mempcpy(at, "\0\4acme\0\3dev", 11);
    at = mempcpy(at, "\1\2\3\4", 4);
    at = mempcpy(at, anchor, sizeof anchor);
    at = mempcpy(at, "\xff\0\0\5", 4);
    assert_ptr_equal(at, expected + sizeof expected);

    assert_int_equal(input_hello(cb, bytes_of("acme"), bytes_of("dev"), 0x01020304, anchor, 0xff000005, &got),
                     ERR_OK);
    assert_int_equal(buf_len(&got), sizeof expected);
    assert_memory_equal(buf_view(&got).p, expected, sizeof expected);
    buf_done(&got);
}

static void test_enrol(void **state)
{
    (void)state;
    uint8_t expected[17 + 32 + 6 + 4 + 43 + 43], *at = expected;
    struct buf got = {0};
    at = mempcpy(at, "nanopush/1 enrol\0", 17);
    at = mempcpy(at, cb, sizeof cb);
    at = mempcpy(at, "\0\4acme\0\2id", 10);
    at = mempcpy(at, TP1 TP2, 86);
    assert_ptr_equal(at, expected + sizeof expected);

    assert_int_equal(input_enrol(cb, bytes_of("acme"), bytes_of("id"), TP1, TP2, &got), ERR_OK);
    assert_int_equal(buf_len(&got), sizeof expected);
    assert_memory_equal(buf_view(&got).p, expected, sizeof expected);
    buf_done(&got);
}

static void test_enrol_proof(void **state)
{
    (void)state;
    uint8_t s[16], got[SHA256_BYTES], expected[SHA256_BYTES];
    for (size_t i = 0; i < sizeof s; i++)
        s[i] = (uint8_t)i;
    assert_int_equal(hex_decode(bytes_of("cac5083a7fb5e53080761c96743a419c90c89dd808fa713eafe24d80e6a0ebbf"),
                                expected, sizeof expected),
                     ERR_OK);
    assert_int_equal(enrol_proof(bytes_make(s, sizeof s), bytes_of("acme"), bytes_of("alice"),
                                 bytes_of("enrolment"), TP1, TP2, got),
                     ERR_OK);
    assert_memory_equal(got, expected, sizeof got);
}

static void test_display(void **state)
{
    (void)state;
    char hash[DISPLAY_HASH_SIZE];
    assert_int_equal(input_display_hash(bytes_of("hello"), hash), ERR_OK);
    assert_string_equal(hash, "l1PPqYlxiYJdSF8shdFwYpEmUaEWpgBgjhpx4_5MjJ8");
    assert_int_equal(input_display_hash(bytes_of(NULL), hash), ERR_OK);
    assert_string_equal(hash, "uIcWE2XQTRWkdhT_TMW5GCJqI-4NhJuLjwOXsWT84Jc");
}

static void test_refused(void **state)
{
    (void)state;
    static uint8_t too_long[LP_MAX_BYTES + 1];
    const struct bytes name = bytes_of("name"), longest = bytes_make(too_long, sizeof too_long);
    struct buf got = {0};
    uint8_t proof[SHA256_BYTES];
    assert_int_equal(input_hello(cb, longest, name, 1, anchor, 0, &got), ERR_TOO_BIG);
    assert_int_equal(input_hello(cb, name, longest, 1, anchor, 0, &got), ERR_TOO_BIG);
    assert_int_equal(input_enrol(cb, name, longest, TP1, TP2, &got), ERR_TOO_BIG);
    assert_int_equal(input_enrol(cb, name, name, TP1 "A", TP2, &got), ERR_INVALID);
    assert_int_equal(input_enrol(cb, name, name, TP1, &TP2[1], &got), ERR_INVALID);
    assert_int_equal(enrol_proof(name, name, longest, name, TP1, TP2, proof), ERR_TOO_BIG);
    assert_int_equal(enrol_proof(name, name, name, name, "", TP2, proof), ERR_INVALID);
    assert_null(got.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),   cmocka_unit_test(test_enrol),   cmocka_unit_test(test_enrol_proof),
        cmocka_unit_test(test_display), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("inputs", tests, fill, NULL);
}
