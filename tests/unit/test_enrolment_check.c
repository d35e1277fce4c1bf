/* cli/enrolment_check.h: which phone a portal pins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/enrolment_check.h"
#include "crypto/inputs.h"

#define ENROLMENT_ID "e1"

struct fixture {
    struct pending_enrolment pending;
    uint8_t possession[P256_PUBLIC_BYTES], user_verification[P256_PUBLIC_BYTES], proof[SHA256_BYTES];
    char tp1[P256_THUMBPRINT_SIZE], tp2[P256_THUMBPRINT_SIZE];
    Nanopush__V1__EnrolledDevice device;
};

static void make_public(uint8_t out[P256_PUBLIC_BYTES], char thumbprint[P256_THUMBPRINT_SIZE])
{
    struct p256_key *key;
    assert_int_equal(p256_key_new(&key), ERR_OK);
    assert_int_equal(p256_key_public(key, out), ERR_OK);
    assert_int_equal(p256_thumbprint(out, thumbprint), ERR_OK);
    p256_key_free(key);
}

static void prove(struct fixture *f, const uint8_t s[ENROLMENT_SECRET_BYTES], const char *user,
                  const char *org, const char *id)
{
    assert_int_equal(enrol_proof(bytes_make(s, ENROLMENT_SECRET_BYTES), bytes_of(org), bytes_of(user),
                                 bytes_of(id), f->tp1, f->tp2, f->proof),
                     ERR_OK);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->pending = (struct pending_enrolment){.user = "ada", .org = "nano", .s = "0123456789abcde"};
    make_public(f->possession, f->tp1);
    make_public(f->user_verification, f->tp2);
    f->device = (Nanopush__V1__EnrolledDevice)NANOPUSH__V1__ENROLLED_DEVICE__INIT;
    f->device.device_id = (char *)"d1";
    f->device.possession_thumbprint = f->tp1;
    f->device.user_verification_thumbprint = f->tp2;
    f->device.possession_key = (ProtobufCBinaryData){.data = f->possession, .len = P256_PUBLIC_BYTES};
    f->device.user_verification_key =
        (ProtobufCBinaryData){.data = f->user_verification, .len = P256_PUBLIC_BYTES};
    f->device.proof = (ProtobufCBinaryData){.data = f->proof, .len = SHA256_BYTES};
    prove(f, f->pending.s, "ada", "nano", ENROLMENT_ID);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static enum err check(const struct fixture *f, struct pinned_device *ret)
{
    return enrolment_check(&f->pending, ENROLMENT_ID, &f->device, ret);
}

static void proven_phone_is_to_be_pinned(void **state)
{
    const struct fixture *f = *state;
    struct pinned_device device;
    assert_int_equal(check(f, &device), ERR_OK);
    assert_string_equal(device.device_id, "d1");
    assert_string_equal(device.org, "nano");
    assert_memory_equal(device.possession_key, f->possession, P256_PUBLIC_BYTES);
    assert_memory_equal(device.user_verification_key, f->user_verification, P256_PUBLIC_BYTES);
    assert_string_equal(device.possession, f->tp1);
    assert_string_equal(device.user_verification, f->tp2);
}

static void proof_must_be_there_and_whole(void **state)
{
    struct fixture *f = *state;
    struct pinned_device device;
    for (size_t len = 0; len < SHA256_BYTES; len++) {
        f->device.proof.len = len;
        assert_int_equal(check(f, &device), ERR_BAD_SIGNATURE);
    }
    f->device.proof.len = SHA256_BYTES;
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        f->proof[i] ^= 1;
        assert_int_equal(check(f, &device), ERR_BAD_SIGNATURE);
        f->proof[i] ^= 1;
    }
}

static void proof_must_be_of_this_enrolment_and_secret(void **state)
{
    struct fixture *f = *state;
    struct pinned_device device;
    const uint8_t other[ENROLMENT_SECRET_BYTES] = "0123456789abcdX";
    prove(f, other, "ada", "nano", ENROLMENT_ID);
    assert_int_equal(check(f, &device), ERR_BAD_SIGNATURE);
    prove(f, f->pending.s, "eve", "nano", ENROLMENT_ID);
    assert_int_equal(check(f, &device), ERR_BAD_SIGNATURE);
    prove(f, f->pending.s, "ada", "other", ENROLMENT_ID);
    assert_int_equal(check(f, &device), ERR_BAD_SIGNATURE);
    prove(f, f->pending.s, "ada", "nano", "e2");
    assert_int_equal(check(f, &device), ERR_BAD_SIGNATURE);
}

static void keys_put_in_by_the_broker_are_refused(void **state)
{
    struct fixture *f = *state;
    struct pinned_device device;
    make_public(f->user_verification,
                f->tp2); /* with the thumbprint that belongs to it, under the old proof */
    assert_int_equal(check(f, &device), ERR_BAD_SIGNATURE);
}

static void thumbprint_must_be_of_its_key(void **state)
{
    struct fixture *f = *state;
    struct pinned_device device;
    f->device.possession_thumbprint = f->tp2;
    assert_int_equal(check(f, &device), ERR_BAD_SIGNATURE);
    f->device.possession_thumbprint = f->tp1;
    f->device.user_verification_thumbprint = (char *)"";
    assert_int_equal(check(f, &device), ERR_BAD_SIGNATURE);
}

static void keys_must_be_two_points(void **state)
{
    struct fixture *f = *state;
    struct pinned_device device;
    f->device.possession_key.len = P256_PUBLIC_BYTES - 1;
    assert_int_equal(check(f, &device), ERR_MALFORMED);
    f->device.possession_key.len = 0;
    assert_int_equal(check(f, &device), ERR_MALFORMED);
    f->device.possession_key.len = P256_PUBLIC_BYTES;
    f->user_verification[P256_PUBLIC_BYTES - 1] ^= 1;
    assert_int_equal(check(f, &device), ERR_INVALID);
}

static void keys_must_differ(void **state)
{
    struct fixture *f = *state;
    struct pinned_device device;
    f->device.user_verification_key = f->device.possession_key;
    f->device.user_verification_thumbprint = f->tp1;
    memcpy(f->tp2, f->tp1, sizeof f->tp2);
    prove(f, f->pending.s, "ada", "nano", ENROLMENT_ID);
    assert_int_equal(check(f, &device), ERR_INVALID);
}

#define CHECK_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(proven_phone_is_to_be_pinned),
        CHECK_TEST(proof_must_be_there_and_whole),
        CHECK_TEST(proof_must_be_of_this_enrolment_and_secret),
        CHECK_TEST(keys_put_in_by_the_broker_are_refused),
        CHECK_TEST(thumbprint_must_be_of_its_key),
        CHECK_TEST(keys_must_be_two_points),
        CHECK_TEST(keys_must_differ),
    };
    return cmocka_run_group_tests_name("enrolment_check", tests, NULL, NULL);
}
