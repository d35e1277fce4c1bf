/*
 * crypto/secret: values computed by other code from a known file, what a file may not be, and rotation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "crypto/secret.h"

#define TAG      "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define CURRENT  "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
#define PREVIOUS "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"

static char dir[] = "/tmp/test_secret.XXXXXX", path[sizeof dir + 16];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof path, "%s/secret", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void write_file(struct bytes text, mode_t mode)
{
    unlink(path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text.p, 1, text.len, file), text.len);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static enum err load_text(struct bytes text)
{
    struct secret *s;
    write_file(text, 0600);
    enum err e = secret_load(path, &s);
    if (e == ERR_OK)
        secret_free(s);
    return e;
}

static struct secret *load(const char *text)
{
    struct secret *s;
    write_file(bytes_of(text), 0600);
    assert_int_equal(secret_load(path, &s), ERR_OK);
    return s;
}

static void assert_hex(const uint8_t *got, const char *expected)
{
    char hex[HEX_SIZE(64)];
    hex_encode(bytes_make(got, strlen(expected) / 2), hex);
    assert_string_equal(hex, expected);
}

static void test_known_values(void **state)
{
    (void)state;
    struct secret *s = load("tag " TAG "\ncurrent " CURRENT "\n");
    char tag[USER_TAG_SIZE], code[CODE_MAX_DIGITS + 1];
    uint8_t mac[SHA256_BYTES], anchor[SHA256_BYTES], ticket[48];
    for (size_t i = 0; i < sizeof anchor; i++)
        anchor[i] = (uint8_t)i;

    assert_int_equal(secret_user_tag(s, bytes_of("acme"), bytes_of("alice"), tag), ERR_OK);
    assert_string_equal(tag, "ac4d56fe82234f38dac1");
    assert_int_equal(secret_seal(s, bytes_of("key"), bytes_of("value"), mac), ERR_OK);
    assert_hex(mac, "c4a34d1a6482a3364511988dd2ec97e9465338f0fbac26e2c49c0e4d1d357ab6");
    assert_int_equal(secret_challenge_code(s, bytes_of("challenge"), 3, code), ERR_OK);
    assert_string_equal(code, "940");
    assert_int_equal(secret_challenge_code(s, bytes_of("challenge"), 8, code), ERR_OK);
    assert_string_equal(code, "63184940");
    assert_int_equal(secret_ticket_key(s, 41234, anchor, ticket, sizeof ticket), ERR_OK);
    assert_hex(ticket, "69749a76d7b7a651dbd03531072b3e7f3f7e28958693347cb14aac5e7404a66d"
                       "67ccb4f3b84874af797741228b4ecd7a");
    secret_free(s);
}

static void test_created_file_loads_and_stays(void **state)
{
    (void)state;
    struct secret *first, *again;
    struct stat st;
    char tag[USER_TAG_SIZE], tag_again[USER_TAG_SIZE];
    unlink(path);
    mode_t mask = umask(0);
    assert_int_equal(secret_create(path), ERR_OK);
    umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(secret_load(path, &first), ERR_OK);

    assert_int_equal(secret_create(path), ERR_EXISTS);
    assert_int_equal(secret_load(path, &again), ERR_OK);
    assert_int_equal(secret_user_tag(first, bytes_of("o"), bytes_of("u"), tag), ERR_OK);
    assert_int_equal(secret_user_tag(again, bytes_of("o"), bytes_of("u"), tag_again), ERR_OK);
    assert_string_equal(tag, tag_again);
    secret_free(first);
    secret_free(again);
    unlink(path);
    assert_int_equal(rmdir(dir), 0); /* and no temporary file is left */
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(secret_create("/nonexistent/secret"), ERR_NOT_FOUND);
}

static void test_access(void **state)
{
    (void)state;
    struct secret *s;
    const struct bytes text = bytes_of("tag " TAG "\ncurrent " CURRENT "\n");
    const mode_t refused[] = {0604, 0640, 0660, 0602, 0610, 0601, 0644, 0777};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        write_file(text, refused[i]);
        assert_int_equal(secret_load(path, &s), ERR_DENIED);
    }
    write_file(text, 0400);
    assert_int_equal(secret_load(path, &s), ERR_OK);
    secret_free(s);
    unlink(path);
    assert_int_equal(secret_load(path, &s), ERR_NOT_FOUND);
    assert_int_equal(secret_load(dir, &s), ERR_INVALID);
    assert_int_equal(mkfifo(path, 0600), 0); /* and does not wait for a writer */
    assert_int_equal(secret_load(path, &s), ERR_INVALID);
}

static void test_forms_of_file(void **state)
{
    (void)state;
    const struct {
        const char *text;
        enum err expected;
    } rows[] = {
        {"tag " TAG "\ncurrent " CURRENT, ERR_OK},
        {"# c\n\ncurrent " CURRENT "\ntag " TAG "\nprevious " PREVIOUS "\n#", ERR_OK},
        {"", ERR_MALFORMED},
        {"tag " TAG "\n", ERR_MALFORMED},
        {"current " CURRENT "\n", ERR_MALFORMED},
        {"tag " TAG "\nprevious " PREVIOUS "\n", ERR_MALFORMED},
        {"tag " TAG "\ncurrent " CURRENT "\ncurrent " PREVIOUS "\n", ERR_MALFORMED},
        {"tag " TAG "\ncurrent " CURRENT "\nnext " PREVIOUS "\n", ERR_MALFORMED},
        {"tag " TAG "\ncurrent " CURRENT "00\n", ERR_MALFORMED},
        {"tag " TAG "\ncurrent " CURRENT "\nprevious \n", ERR_MALFORMED},
        {"tag " TAG "\ncurrent " CURRENT "\nprevious\n", ERR_MALFORMED},
        {"tag  " TAG "\ncurrent " CURRENT "\n", ERR_MALFORMED},
        {"tag " TAG " \ncurrent " CURRENT "\n", ERR_MALFORMED},
        {"tag " TAG "\r\ncurrent " CURRENT "\r\n", ERR_MALFORMED},
        {"Tag " TAG "\ncurrent " CURRENT "\n", ERR_MALFORMED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(load_text(bytes_of(rows[i].text)), rows[i].expected);
}

static void test_truncation_and_length(void **state)
{
    (void)state;
    const char *text = "tag " TAG "\ncurrent " CURRENT;
    char longest[SECRET_FILE_MAX_BYTES + 1];
    for (size_t len = 0; len < strlen(text); len++)
        assert_int_equal(load_text(bytes_make(text, len)), ERR_MALFORMED);
    memset(longest, '#', sizeof longest);
    memcpy(longest, text, strlen(text));
    longest[strlen(text)] = '\n';
    assert_int_equal(load_text(bytes_make(longest, SECRET_FILE_MAX_BYTES)), ERR_OK);
    assert_int_equal(load_text(bytes_make(longest, SECRET_FILE_MAX_BYTES + 1)), ERR_TOO_BIG);
}

static void test_seal(void **state)
{
    (void)state;
    struct secret *s = load("tag " TAG "\ncurrent " CURRENT "\n");
    uint8_t mac[SHA256_BYTES];
    const struct bytes name = bytes_of("key"), value = bytes_of("value");
    assert_int_equal(secret_seal(s, name, value, mac), ERR_OK);
    assert_int_equal(secret_check_seal(s, name, value, mac), ERR_OK);
    assert_int_equal(secret_check_seal(s, name, bytes_of("valuf"), mac), ERR_BAD_SIGNATURE);
    assert_int_equal(secret_check_seal(s, bytes_of("kez"), value, mac), ERR_BAD_SIGNATURE);
    assert_int_equal(secret_check_seal(s, bytes_of("keyv"), bytes_of("alue"), mac), ERR_BAD_SIGNATURE);
    for (unsigned bit = 0; bit < 8 * sizeof mac; bit++) {
        mac[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(secret_check_seal(s, name, value, mac), ERR_BAD_SIGNATURE);
        mac[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    secret_free(s);
}

static void test_rotation(void **state)
{
    (void)state;
    struct secret *before = load("tag " TAG "\ncurrent " PREVIOUS "\n");
    struct secret *after = load("tag " TAG "\ncurrent " CURRENT "\nprevious " PREVIOUS "\n");
    struct secret *later = load("tag " TAG "\ncurrent " CURRENT "\n");
    const struct bytes name = bytes_of("key"), value = bytes_of("value");
    uint8_t old[SHA256_BYTES], new[SHA256_BYTES];
    char tag_before[USER_TAG_SIZE], tag_after[USER_TAG_SIZE];
    assert_int_equal(secret_seal(before, name, value, old), ERR_OK);
    assert_hex(old, "ca5946e043b81bc01a455e0641b91f7c2e815e6bab67f4daa792d3984855cd0d");
    assert_int_equal(secret_check_seal(after, name, value, old), ERR_OK);
    assert_int_equal(secret_check_seal(later, name, value, old), ERR_BAD_SIGNATURE);
    assert_int_equal(secret_seal(after, name, value, new), ERR_OK);
    assert_int_equal(secret_check_seal(before, name, value, new), ERR_BAD_SIGNATURE);
    assert_int_equal(secret_check_seal(later, name, value, new), ERR_OK);

    assert_int_equal(secret_user_tag(before, bytes_of("o"), bytes_of("u"), tag_before), ERR_OK);
    assert_int_equal(secret_user_tag(after, bytes_of("o"), bytes_of("u"), tag_after), ERR_OK);
    assert_string_equal(tag_before, tag_after);
    secret_free(before);
    secret_free(after);
    secret_free(later);
}

/* A file without previous leaves that key zero, which anybody can compute with. */
static void test_absent_previous_is_no_key(void **state)
{
    (void)state;
    struct secret *s = load("tag " TAG "\ncurrent " CURRENT "\n");
    const uint8_t zero[SHA256_BYTES] = {0};
    const struct bytes input[] = {bytes_make("\0\1k", 3), bytes_of("value")};
    uint8_t forged[SHA256_BYTES];
    assert_int_equal(hmac_sha256(bytes_make(zero, sizeof zero), input, 2, forged), ERR_OK);
    assert_int_equal(secret_check_seal(s, bytes_of("k"), bytes_of("value"), forged), ERR_BAD_SIGNATURE);
    secret_free(s);
}

static void test_tag_keeps_names_apart(void **state)
{
    (void)state;
    static uint8_t too_long[LP_MAX_BYTES + 1];
    struct secret *s = load("tag " TAG "\ncurrent " CURRENT "\n");
    char one[USER_TAG_SIZE], other[USER_TAG_SIZE];
    assert_int_equal(secret_user_tag(s, bytes_of("ab"), bytes_of("c"), one), ERR_OK);
    assert_int_equal(secret_user_tag(s, bytes_of("a"), bytes_of("bc"), other), ERR_OK);
    assert_string_not_equal(one, other);
    assert_int_equal(secret_user_tag(s, bytes_make(too_long, sizeof too_long), bytes_of("c"), one),
                     ERR_TOO_BIG);
    secret_free(s);
}

static void test_code_bounds_and_spread(void **state)
{
    (void)state;
    struct secret *s = load("tag " TAG "\ncurrent " CURRENT "\n");
    char code[CODE_MAX_DIGITS + 1], id[16];
    unsigned seen[10] = {0};
    assert_int_equal(secret_challenge_code(s, bytes_of("c"), 0, code), ERR_INVALID);
    assert_int_equal(secret_challenge_code(s, bytes_of("c"), CODE_MAX_DIGITS + 1, code), ERR_INVALID);
    for (unsigned digits = 1; digits <= CODE_MAX_DIGITS; digits++) {
        assert_int_equal(secret_challenge_code(s, bytes_of("c"), digits, code), ERR_OK);
        assert_int_equal(strlen(code), digits);
        assert_int_equal(strspn(code, "0123456789"), digits);
    }
    for (int i = 0; i < 10000; i++) {
        snprintf(id, sizeof id, "%d", i);
        assert_int_equal(secret_challenge_code(s, bytes_of(id), 1, code), ERR_OK);
        seen[code[0] - '0']++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(seen[i], 850,
                        1150); /* five standard deviations; the keys are fixed, so it cannot flap */
    secret_free(s);
}

static void test_forgotten_root_leaves_the_rest(void **state)
{
    (void)state;
    struct secret *s = load("tag " TAG "\ncurrent " CURRENT "\n");
    uint8_t anchor[SHA256_BYTES] = {0}, key[32], mac[SHA256_BYTES];
    assert_int_equal(secret_ticket_key(s, 1, anchor, key, sizeof key), ERR_OK);
    secret_forget_root(s);
    assert_int_equal(secret_ticket_key(s, 1, anchor, key, sizeof key), ERR_BAD_STATE);
    assert_int_equal(secret_seal(s, bytes_of("key"), bytes_of("value"), mac), ERR_OK);
    assert_hex(mac, "c4a34d1a6482a3364511988dd2ec97e9465338f0fbac26e2c49c0e4d1d357ab6");
    secret_free(s);
    secret_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_created_file_loads_and_stays),
        cmocka_unit_test(test_access),
        cmocka_unit_test(test_forms_of_file),
        cmocka_unit_test(test_truncation_and_length),
        cmocka_unit_test(test_seal),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_absent_previous_is_no_key),
        cmocka_unit_test(test_tag_keeps_names_apart),
        cmocka_unit_test(test_code_bounds_and_spread),
        cmocka_unit_test(test_forgotten_root_leaves_the_rest),
    };
    return cmocka_run_group_tests_name("secret", tests, make_dir, remove_dir);
}
