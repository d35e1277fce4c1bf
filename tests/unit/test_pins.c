/* cli/pins.h: what a portal remembers by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/pins.h"

#define WRITERS 8

struct fixture {
    char directory[64];
    char path[96];
    uint8_t possession[P256_PUBLIC_BYTES], user_verification[P256_PUBLIC_BYTES];
};

static void make_public(uint8_t out[P256_PUBLIC_BYTES])
{
    struct p256_key *key;
    assert_int_equal(p256_key_new(&key), ERR_OK);
    assert_int_equal(p256_key_public(key, out), ERR_OK);
    p256_key_free(key);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->directory, "/tmp/test_pins.XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->path, sizeof f->path, "%s/pins.json", f->directory);
    make_public(f->possession);
    make_public(f->user_verification);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    unlink(f->path);
    assert_int_equal(rmdir(f->directory), 0); /* so nothing else was left in it */
    free(f);
    return 0;
}

static struct pins *open_pins(const struct fixture *f)
{
    struct pins *pins;
    assert_int_equal(pins_open(f->path, &pins), ERR_OK);
    return pins;
}

static void save_and_close(struct pins *pins)
{
    assert_int_equal(pins_save(pins), ERR_OK);
    pins_close(pins);
}

static void write_file(const struct fixture *f, const char *text, mode_t mode)
{
    unlink(f->path);
    int fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void enrolment_is_remembered_once_and_forgotten(void **state)
{
    const struct fixture *f = *state;
    const uint8_t s[ENROLMENT_SECRET_BYTES] = "0123456789abcdef";
    struct pending_enrolment found;
    struct pins *pins = open_pins(f);
    assert_int_equal(pins_find_enrolment(pins, "e1", &found), ERR_NOT_FOUND);
    assert_int_equal(pins_add_enrolment(pins, "e1", "ada", "nano", s), ERR_OK);
    assert_int_equal(pins_add_enrolment(pins, "e1", "ada", "nano", s), ERR_EXISTS);
    save_and_close(pins);

    pins = open_pins(f);
    assert_int_equal(pins_find_enrolment(pins, "e1", &found), ERR_OK);
    assert_string_equal(found.user, "ada");
    assert_string_equal(found.org, "nano");
    assert_memory_equal(found.s, s, sizeof s);
    pins_drop_enrolment(pins, "e1");
    pins_drop_enrolment(pins, "e1");
    save_and_close(pins);

    pins = open_pins(f);
    assert_int_equal(pins_find_enrolment(pins, "e1", &found), ERR_NOT_FOUND);
    pins_close(pins);
}

static void device_comes_back_with_its_thumbprints(void **state)
{
    const struct fixture *f = *state;
    static struct pinned_device devices[PINS_DEVICES_MAX];
    char thumbprint[P256_THUMBPRINT_SIZE];
    size_t count = 99;
    struct pins *pins = open_pins(f);
    assert_int_equal(pins_devices(pins, "ada", devices, &count), ERR_OK);
    assert_int_equal(count, 0);
    assert_int_equal(pins_add_device(pins, "ada", "nano", "d1", f->possession, f->user_verification), ERR_OK);
    save_and_close(pins);

    pins = open_pins(f);
    assert_int_equal(pins_devices(pins, "ada", devices, &count), ERR_OK);
    assert_int_equal(count, 1);
    assert_string_equal(devices[0].device_id, "d1");
    assert_string_equal(devices[0].org, "nano");
    assert_memory_equal(devices[0].possession_key, f->possession, P256_PUBLIC_BYTES);
    assert_memory_equal(devices[0].user_verification_key, f->user_verification, P256_PUBLIC_BYTES);
    assert_int_equal(p256_thumbprint(f->user_verification, thumbprint), ERR_OK);
    assert_string_equal(devices[0].user_verification, thumbprint);
    assert_int_equal(pins_devices(pins, "bob", devices, &count), ERR_OK);
    assert_int_equal(count, 0);
    pins_close(pins);
}

static void pinned_keys_are_never_replaced(void **state)
{
    const struct fixture *f = *state;
    uint8_t other[P256_PUBLIC_BYTES];
    make_public(other);
    struct pins *pins = open_pins(f);
    assert_int_equal(pins_add_device(pins, "ada", "nano", "d1", f->possession, f->user_verification), ERR_OK);
    assert_int_equal(pins_add_device(pins, "ada", "nano", "d1", f->possession, f->user_verification), ERR_OK);
    assert_int_equal(pins_add_device(pins, "ada", "nano", "d1", f->possession, other), ERR_EXISTS);
    assert_int_equal(pins_add_device(pins, "ada", "other", "d2", f->possession, other), ERR_EXISTS);
    assert_int_equal(pins_add_device(pins, "ada", "nano", "d2", other, f->user_verification), ERR_OK);
    pins_close(pins);
}

static void rotated_keys_take_the_place_of_the_pinned_ones(void **state)
{
    const struct fixture *f = *state;
    static struct pinned_device devices[PINS_DEVICES_MAX];
    struct pinned_device rotated = {.device_id = "d1", .org = "nano"};
    size_t count;
    make_public(rotated.possession_key);
    make_public(rotated.user_verification_key);
    struct pins *pins = open_pins(f);
    assert_int_equal(pins_replace_device(pins, "ada", &rotated), ERR_NOT_FOUND);
    assert_int_equal(pins_add_device(pins, "ada", "nano", "d1", f->possession, f->user_verification), ERR_OK);
    assert_int_equal(pins_replace_device(pins, "bob", &rotated), ERR_NOT_FOUND);
    assert_int_equal(pins_devices(pins, "ada", devices, &count), ERR_OK);
    assert_int_equal(pins_replace_device(pins, "ada", &rotated), ERR_OK);
    assert_string_equal(devices[0].device_id, "d1"); /* still valid */
    save_and_close(pins);

    pins = open_pins(f);
    assert_int_equal(pins_devices(pins, "ada", devices, &count), ERR_OK);
    assert_int_equal(count, 1);
    assert_memory_equal(devices[0].possession_key, rotated.possession_key, P256_PUBLIC_BYTES);
    assert_memory_equal(devices[0].user_verification_key, rotated.user_verification_key, P256_PUBLIC_BYTES);
    memcpy(rotated.user_verification_key, rotated.possession_key, P256_PUBLIC_BYTES);
    assert_int_equal(pins_replace_device(pins, "ada", &rotated), ERR_INVALID);
    rotated.possession_key[P256_PUBLIC_BYTES - 1] ^= 1;
    assert_int_equal(pins_replace_device(pins, "ada", &rotated), ERR_INVALID);
    pins_close(pins);
}

static void bad_keys_are_not_pinned(void **state)
{
    const struct fixture *f = *state;
    uint8_t off_curve[P256_PUBLIC_BYTES];
    memcpy(off_curve, f->possession, sizeof off_curve);
    off_curve[P256_PUBLIC_BYTES - 1] ^= 1;
    struct pins *pins = open_pins(f);
    assert_int_equal(pins_add_device(pins, "ada", "nano", "d1", off_curve, f->user_verification),
                     ERR_INVALID);
    assert_int_equal(pins_add_device(pins, "ada", "nano", "d1", f->possession, off_curve), ERR_INVALID);
    assert_int_equal(pins_add_device(pins, "ada", "nano", "d1", f->possession, f->possession), ERR_INVALID);
    assert_int_equal(pins_add_device(pins, "\xff", "nano", "d1", f->possession, f->user_verification),
                     ERR_INVALID);
    pins_close(pins);
}

static void challenge_is_remembered_as_first_asked(void **state)
{
    const struct fixture *f = *state;
    char *request = NULL;
    const char *number = NULL;
    struct pins *pins = open_pins(f);
    assert_int_equal(pins_find_challenge(pins, "c1", &request, &number), ERR_NOT_FOUND);
    assert_int_equal(pins_add_challenge(pins, "c1", bytes_of("{\"user\":\"ada\"}"), "42"), ERR_OK);
    assert_int_equal(pins_add_challenge(pins, "c1", bytes_of("{\"user\":\"eve\"}"), "7"), ERR_OK);
    assert_int_equal(pins_add_challenge(pins, "c2", bytes_of("[]"), ""), ERR_MALFORMED);
    assert_int_equal(pins_add_challenge(pins, "c2", bytes_of("{"), ""), ERR_MALFORMED);
    assert_int_equal(pins_add_challenge(pins, "c2", bytes_of("{}"), "\xff"), ERR_INVALID);
    save_and_close(pins);

    pins = open_pins(f);
    assert_int_equal(pins_find_challenge(pins, "c1", &request, &number), ERR_OK);
    assert_string_equal(request, "{\"user\":\"ada\"}");
    assert_string_equal(number, "42");
    free(request);
    pins_drop_challenge(pins, "c1");
    assert_int_equal(pins_find_challenge(pins, "c1", &request, &number), ERR_NOT_FOUND);
    pins_close(pins);
}

static void file_is_for_its_owner_only(void **state)
{
    const struct fixture *f = *state;
    struct stat st;
    mode_t before = umask(0);
    save_and_close(open_pins(f));
    umask(before);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    const mode_t open_modes[] = {0640, 0604, 0620, 0601};
    for (size_t i = 0; i < sizeof open_modes / sizeof *open_modes; i++) {
        struct pins *pins;
        write_file(f, "{}", open_modes[i]);
        assert_int_equal(pins_open(f->path, &pins), ERR_DENIED);
    }
}

static void nothing_is_written_before_save(void **state)
{
    const struct fixture *f = *state;
    struct pins *pins = open_pins(f);
    assert_int_equal(pins_add_challenge(pins, "c1", bytes_of("{}"), ""), ERR_OK);
    pins_close(pins);
    assert_int_equal(access(f->path, F_OK), -1);
}

static void save_replaces_the_file_whole(void **state)
{
    const struct fixture *f = *state;
    char left_over[128];
    struct stat before, after;
    save_and_close(open_pins(f));
    int reader = open(f->path, O_RDONLY);
    assert_int_equal(fstat(reader, &before), 0);
    snprintf(left_over, sizeof left_over, "%s/.pins.json.new", f->directory);
    assert_int_equal(close(open(left_over, O_WRONLY | O_CREAT, 0644)), 0); /* as a crash leaves it */
    struct pins *pins = open_pins(f);
    assert_int_equal(pins_add_challenge(pins, "c1", bytes_of("{}"), ""), ERR_OK);
    save_and_close(pins);
    assert_int_equal(stat(f->path, &after), 0);
    assert_true(before.st_ino != after.st_ino);
    assert_int_equal(after.st_mode & 07777, 0600);
    assert_int_equal(lseek(reader, 0, SEEK_END), before.st_size); /* who reads the old one still does */
    close(reader);
}

static void damaged_files_are_refused(void **state)
{
    const struct fixture *f = *state;
    const char *const texts[] = {"[]",
                                 "{",
                                 "nonsense",
                                 "{\"users\":{},\"users\":{}}",
                                 "{\"users\":1}",
                                 "{\"pending\":[]}",
                                 "\"\"",
                                 "{\"challenges\":null}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct pins *pins;
        write_file(f, texts[i], 0600);
        assert_int_equal(pins_open(f->path, &pins), ERR_MALFORMED);
    }
}

static void truncated_file_is_refused_at_each_byte(void **state)
{
    const struct fixture *f = *state;
    char text[4096];
    struct pins *pins = open_pins(f);
    assert_int_equal(pins_add_device(pins, "ada", "nano", "d1", f->possession, f->user_verification), ERR_OK);
    save_and_close(pins);
    int fd = open(f->path, O_RDONLY);
    ssize_t len = read(fd, text, sizeof text);
    close(fd);
    assert_true(len > 0 && (size_t)len < sizeof text);
    while (len > 1) {
        text[--len] = '\0';
        write_file(f, text, 0600);
        assert_int_equal(pins_open(f->path, &pins), ERR_MALFORMED);
    }
}

static void damaged_entries_are_refused(void **state)
{
    const struct fixture *f = *state;
    static struct pinned_device devices[PINS_DEVICES_MAX];
    struct pending_enrolment pending;
    const char *number;
    char *request;
    size_t count;
    write_file(f,
               "{\"users\":{\"ada\":{\"org\":\"nano\",\"devices\":{\"d\":{}}},\"bob\":{}},"
               "\"pending\":{\"e\":{\"user\":\"ada\",\"org\":\"nano\",\"s\":\"AAAA\"}},"
               "\"challenges\":{\"c\":{\"number\":\"1\"}}}",
               0600);
    struct pins *pins = open_pins(f);
    assert_int_equal(pins_devices(pins, "ada", devices, &count), ERR_MALFORMED);
    assert_int_equal(pins_devices(pins, "bob", devices, &count), ERR_MALFORMED);
    assert_int_equal(pins_find_enrolment(pins, "e", &pending), ERR_MALFORMED);
    assert_int_equal(pins_find_challenge(pins, "c", &request, &number), ERR_MALFORMED);
    pins_close(pins);
}

static void thumbprint_of_another_key_is_refused(void **state)
{
    const struct fixture *f = *state;
    static struct pinned_device devices[PINS_DEVICES_MAX];
    char key[BASE64URL_SIZE(P256_PUBLIC_BYTES)], other[BASE64URL_SIZE(P256_PUBLIC_BYTES)], text[1024];
    char tp1[P256_THUMBPRINT_SIZE], tp2[P256_THUMBPRINT_SIZE];
    size_t count;
    base64url_encode(bytes_make(f->possession, P256_PUBLIC_BYTES), key);
    base64url_encode(bytes_make(f->user_verification, P256_PUBLIC_BYTES), other);
    assert_int_equal(p256_thumbprint(f->possession, tp1), ERR_OK);
    assert_int_equal(p256_thumbprint(f->user_verification, tp2), ERR_OK);
    for (int swapped = 0; swapped < 2; swapped++) {
        snprintf(
            text, sizeof text,
            "{\"users\":{\"ada\":{\"org\":\"nano\",\"devices\":{\"d\":{\"possession\":\"%s\","
            "\"possession_key\":\"%s\",\"user_verification\":\"%s\",\"user_verification_key\":\"%s\"}}}}}",
            swapped ? tp2 : tp1, key, tp2, other);
        write_file(f, text, 0600);
        struct pins *pins = open_pins(f);
        assert_int_equal(pins_devices(pins, "ada", devices, &count), swapped ? ERR_MALFORMED : ERR_OK);
        pins_close(pins);
    }
}

static void over_long_file_is_refused(void **state)
{
    const struct fixture *f = *state;
    struct pins *pins;
    write_file(f, "{}", 0600);
    assert_int_equal(truncate(f->path, PINS_MAX_BYTES + 1), 0);
    assert_int_equal(pins_open(f->path, &pins), ERR_TOO_BIG);
}

static void directory_that_is_missing_and_bad_paths_are_errors(void **state)
{
    const struct fixture *f = *state;
    struct pins *pins;
    char path[128];
    snprintf(path, sizeof path, "%s/none/pins", f->directory);
    assert_int_equal(pins_open(path, &pins), ERR_IO);
    assert_int_equal(pins_open("", &pins), ERR_INVALID);
    assert_int_equal(pins_open("/tmp/", &pins), ERR_INVALID);
}

static void writers_at_once_lose_nothing(void **state)
{
    const struct fixture *f = *state;
    char *request;
    const char *number;
    for (int i = 0; i < WRITERS; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct pins *pins;
            char id[16];
            snprintf(id, sizeof id, "c%d", i);
            bool ok = pins_open(f->path, &pins) == ERR_OK &&
                      pins_add_challenge(pins, id, bytes_of("{}"), "") == ERR_OK && pins_save(pins) == ERR_OK;
            _exit(ok ? 0 : 1);
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    struct pins *pins = open_pins(f);
    for (int i = 0; i < WRITERS; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%d", i);
        assert_int_equal(pins_find_challenge(pins, id, &request, &number), ERR_OK);
        free(request);
    }
    pins_close(pins);
}

#define PINS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PINS_TEST(enrolment_is_remembered_once_and_forgotten),
        PINS_TEST(device_comes_back_with_its_thumbprints),
        PINS_TEST(pinned_keys_are_never_replaced),
        PINS_TEST(rotated_keys_take_the_place_of_the_pinned_ones),
        PINS_TEST(bad_keys_are_not_pinned),
        PINS_TEST(challenge_is_remembered_as_first_asked),
        PINS_TEST(file_is_for_its_owner_only),
        PINS_TEST(nothing_is_written_before_save),
        PINS_TEST(save_replaces_the_file_whole),
        PINS_TEST(damaged_files_are_refused),
        PINS_TEST(truncated_file_is_refused_at_each_byte),
        PINS_TEST(damaged_entries_are_refused),
        PINS_TEST(thumbprint_of_another_key_is_refused),
        PINS_TEST(over_long_file_is_refused),
        PINS_TEST(directory_that_is_missing_and_bad_paths_are_errors),
        PINS_TEST(writers_at_once_lose_nothing),
    };
    return cmocka_run_group_tests_name("pins", tests, NULL, NULL);
}
