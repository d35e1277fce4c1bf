/* clients/device/soft_phone_store.c: what survives a phone that is killed at any moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/internal.h"
#include "device/soft_phone_store.h"

#define PASSCODE "1234"

static char directory[64];

static struct soft_phone_store open_store(void)
{
    struct soft_phone_store s;
    assert_true(soft_phone_store_open(directory, true, &s));
    return s;
}

/* As after a start of the phone. */
static struct soft_phone_store load_store(const char *passcode)
{
    struct soft_phone_store s = open_store();
    if (!soft_phone_store_load(&s, passcode))
        fail_msg("%s", s.why);
    return s;
}

static int set_up(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/test_device_store.XXXXXX");
    assert_non_null(mkdtemp(directory));
    struct soft_phone_store s = open_store();
    strcpy(s.organisation, "o");
    strcpy(s.user, "u");
    strcpy(s.device_id, "d");
    strcpy(s.host, "h");
    strcpy(s.server_name, "n");
    s.port = 1;
    s.pin_count = 1;
    s.generation = 1;
    assert_true(soft_phone_store_make_keys(&s, PASSCODE));
    assert_true(soft_phone_store_save_account(&s));
    soft_phone_store_close(&s);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct soft_phone_store s = load_store(NULL);
    assert_true(soft_phone_store_wipe(&s));
    soft_phone_store_close(&s);
    assert_int_equal(rmdir(directory), 0); /* nothing else was left */
    return 0;
}

static struct np_signer signer_of(struct np_key *key)
{
    struct np_signer signer;
    assert_non_null(key);
    assert_int_equal(np_key_signer(key, &signer), NP_OK);
    return signer;
}

static bool same_key(struct np_key *key, const struct np_signer *signer)
{
    struct np_signer its = signer_of(key);
    return memcmp(its.public_key, signer->public_key, NP_KEY_BYTES) == 0;
}

static void next_keys_stand_beside_the_present_ones(void **state)
{
    (void)state;
    struct soft_phone_store s = load_store(PASSCODE);
    assert_null(s.next_possession);
    assert_true(soft_phone_store_make_next_keys(&s, PASSCODE));
    struct np_signer present = signer_of(s.possession), next = signer_of(s.next_possession);
    struct np_signer next_verification = signer_of(s.next_user_verification);
    assert_true(soft_phone_store_make_next_keys(&s, PASSCODE)); /* the same */
    assert_true(same_key(s.next_possession, &next));
    soft_phone_store_close(&s);

    s = load_store(PASSCODE);
    assert_true(same_key(s.possession, &present));
    assert_true(same_key(s.next_possession, &next));
    assert_true(same_key(s.next_user_verification, &next_verification));
    struct np_account *account = NULL;
    assert_true(soft_phone_store_account(&s, &account));
    assert_true(account->has_next);
    assert_memory_equal(account->next_possession.public_key, next.public_key, NP_KEY_BYTES);
    np_account_free(account);
    soft_phone_store_close(&s);
}

static void next_keys_are_known_without_the_passcode(void **state)
{
    (void)state;
    struct soft_phone_store s = load_store(PASSCODE);
    assert_true(soft_phone_store_make_next_keys(&s, PASSCODE));
    struct np_signer next = signer_of(s.next_possession);
    soft_phone_store_close(&s);
    s = load_store(NULL);
    struct np_account *account = NULL;
    assert_true(soft_phone_store_account(&s, &account));
    assert_true(account->has_next);
    assert_null(account->next_user_verification.sign);
    assert_true(soft_phone_store_adopt_next_keys(&s, 2));
    np_account_free(account);
    soft_phone_store_close(&s);
    s = load_store(PASSCODE);
    assert_true(same_key(s.possession, &next));
    assert_non_null(s.user_verification);
    soft_phone_store_close(&s);
}

static void adopted_keys_are_the_present_ones(void **state)
{
    (void)state;
    for (uint32_t generation = 2; generation < 5; generation++) {
        struct soft_phone_store s = load_store(PASSCODE);
        assert_true(soft_phone_store_make_next_keys(&s, PASSCODE));
        struct np_signer next = signer_of(s.next_possession);
        struct np_signer next_verification = signer_of(s.next_user_verification);
        assert_true(soft_phone_store_adopt_next_keys(&s, generation));
        assert_true(same_key(s.possession, &next));
        assert_null(s.next_possession);
        soft_phone_store_close(&s);
        s = load_store(PASSCODE);
        assert_int_equal(s.generation, generation);
        assert_true(same_key(s.possession, &next));
        assert_true(same_key(s.user_verification, &next_verification));
        assert_null(s.next_possession);
        soft_phone_store_close(&s);
    }
}

static void adoption_that_is_not_stored_is_tried_again(void **state)
{
    (void)state;
    struct soft_phone_store s = load_store(PASSCODE);
    assert_true(soft_phone_store_make_next_keys(&s, PASSCODE));
    struct np_signer present = signer_of(s.possession), next = signer_of(s.next_possession);
    assert_int_equal(mkdirat(s.dir_fd, "account.new", 0700), 0); /* the account cannot be written */
    assert_false(soft_phone_store_adopt_next_keys(&s, 2));
    assert_non_null(s.why);
    assert_int_equal(unlinkat(s.dir_fd, "account.new", AT_REMOVEDIR), 0);
    soft_phone_store_close(&s);
    s = load_store(PASSCODE);
    assert_int_equal(s.generation, 1);
    assert_true(same_key(s.possession, &present));
    assert_true(same_key(s.next_possession, &next));
    soft_phone_store_close(&s);
}

static void half_a_pair_is_none(void **state)
{
    (void)state;
    struct soft_phone_store s = load_store(PASSCODE);
    assert_true(soft_phone_store_make_next_keys(&s, PASSCODE));
    assert_int_equal(unlinkat(s.dir_fd, "user-verification-1.pem", 0), 0);
    soft_phone_store_close(&s);
    s = load_store(PASSCODE);
    assert_null(s.next_possession);
    soft_phone_store_close(&s);
}

static void account_of_an_older_version_has_its_first_keys(void **state)
{
    (void)state;
    char text[1024];
    struct soft_phone_store s = load_store(PASSCODE);
    struct np_signer present = signer_of(s.possession);
    int fd = openat(s.dir_fd, "account", O_RDWR);
    ssize_t len = read(fd, text, sizeof text - 1);
    assert_true(len > 0);
    text[len] = '\0';
    char *line = strstr(text, "rotations 0\n");
    assert_non_null(line);
    memmove(line, line + 12, strlen(line + 12) + 1);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, text, strlen(text), 0), strlen(text));
    close(fd);
    soft_phone_store_close(&s);
    s = load_store(PASSCODE);
    assert_true(same_key(s.possession, &present));
    soft_phone_store_close(&s);
}

static void wiped_directory_takes_another_account(void **state)
{
    (void)state;
    struct soft_phone_store s = load_store(PASSCODE);
    assert_true(soft_phone_store_make_next_keys(&s, PASSCODE));
    struct np_signer before = signer_of(s.possession);
    assert_true(soft_phone_store_wipe(&s));
    assert_false(soft_phone_store_wipe(&s));
    soft_phone_store_close(&s);
    s = load_store(PASSCODE);
    assert_string_equal(s.device_id, "");
    soft_phone_store_close(&s);
    s = open_store();
    assert_true(soft_phone_store_make_keys(&s, PASSCODE));
    assert_false(same_key(s.possession, &before));
    s.generation = 1;
    assert_true(soft_phone_store_save_account(&s));
    soft_phone_store_close(&s);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(next_keys_stand_beside_the_present_ones),
        STORE_TEST(next_keys_are_known_without_the_passcode),
        STORE_TEST(adopted_keys_are_the_present_ones),
        STORE_TEST(adoption_that_is_not_stored_is_tried_again),
        STORE_TEST(half_a_pair_is_none),
        STORE_TEST(account_of_an_older_version_has_its_first_keys),
        STORE_TEST(wiped_directory_takes_another_account),
    };
    return cmocka_run_group_tests_name("device_store", tests, NULL, NULL);
}
