/* cli/rotation_check.h: a pin moves along what the keys before signed, and along nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/rotation_check.h"
#include "crypto/jws.h"

#define GENERATIONS 4 /* pairs of keys; the first one is pinned */

struct pair {
    struct p256_key *possession, *user_verification;
    struct pinned_device keys; /* its public ones */
};

/** One rotation: a test changes one thing of a good one. */
struct rotation {
    const struct p256_key *key; /* that signs */
    const char *typ, *kid, *iss, *org, *sub, *tp1, *tp2;
    const char *more; /* further claims */
    int v;
    long long gen;
};

struct fixture {
    struct pair pairs[GENERATIONS];
    struct rotation rotations[GENERATIONS - 1];
    Nanopush__V1__Rotation rows[GENERATIONS - 1], *shown[GENERATIONS - 1]; /* signed, with the key after it */
    Nanopush__V1__Device device;                                           /* of the last pair */
    struct pinned_device moved;
};

static void make_pair(struct pair *pair)
{
    assert_int_equal(p256_key_new(&pair->possession), ERR_OK);
    assert_int_equal(p256_key_new(&pair->user_verification), ERR_OK);
    pair->keys = (struct pinned_device){.device_id = "d1", .org = "nano"};
    assert_int_equal(p256_key_public(pair->possession, pair->keys.possession_key), ERR_OK);
    assert_int_equal(p256_key_public(pair->user_verification, pair->keys.user_verification_key), ERR_OK);
    assert_int_equal(p256_thumbprint(pair->keys.possession_key, pair->keys.possession), ERR_OK);
    assert_int_equal(p256_thumbprint(pair->keys.user_verification_key, pair->keys.user_verification), ERR_OK);
}

static ProtobufCBinaryData view(uint8_t key[P256_PUBLIC_BYTES])
{
    return (ProtobufCBinaryData){P256_PUBLIC_BYTES, key};
}

/* What the broker shows: the keys of that pair. */
static void show_pair(struct fixture *f, size_t at)
{
    struct pinned_device *keys = &f->pairs[at].keys;
    f->device.possession_key = view(keys->possession_key);
    f->device.user_verification_key = view(keys->user_verification_key);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    for (size_t i = 0; i < GENERATIONS; i++)
        make_pair(&f->pairs[i]);
    for (size_t i = 0; i < GENERATIONS - 1; i++) {
        f->rotations[i] = (struct rotation){.key = f->pairs[i].user_verification,
                                            .typ = JWS_TYP_ROTATION,
                                            .kid = f->pairs[i].keys.user_verification,
                                            .iss = "d1",
                                            .org = "nano",
                                            .sub = "ada",
                                            .tp1 = f->pairs[i + 1].keys.possession,
                                            .tp2 = f->pairs[i + 1].keys.user_verification,
                                            .more = "",
                                            .v = 1,
                                            .gen = (long long)i + 2};
        f->rows[i] = (Nanopush__V1__Rotation)NANOPUSH__V1__ROTATION__INIT;
        f->rows[i].jws = NULL; /* until it is signed */
        f->rows[i].user_verification_key = view(f->pairs[i + 1].keys.user_verification_key);
        f->shown[i] = &f->rows[i];
    }
    f->device = (Nanopush__V1__Device)NANOPUSH__V1__DEVICE__INIT;
    f->device.id = (char *)"d1";
    f->device.rotations = f->shown;
    f->device.n_rotations = GENERATIONS - 1;
    show_pair(f, GENERATIONS - 1);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < GENERATIONS; i++) {
        p256_key_free(f->pairs[i].possession);
        p256_key_free(f->pairs[i].user_verification);
    }
    for (size_t i = 0; i < GENERATIONS - 1; i++)
        free(f->rows[i].jws);
    free(f);
    return 0;
}

static void append_part(struct buf *to, struct bytes part)
{
    char text[2048];
    assert_true(BASE64URL_SIZE(part.len) <= sizeof text);
    base64url_encode(part, text);
    assert_int_equal(buf_append(to, bytes_of(text)), ERR_OK);
}

static void sign(struct fixture *f, size_t at)
{
    const struct rotation *r = &f->rotations[at];
    char header[256], claims[1024];
    uint8_t signature[P256_SIGNATURE_BYTES];
    struct buf jws = {0};
    snprintf(header, sizeof header, "{\"alg\":\"ES256\",\"typ\":\"%s\",\"kid\":\"%s\"}", r->typ, r->kid);
    snprintf(claims, sizeof claims,
             "{\"v\":%d,\"iss\":\"%s\",\"org\":\"%s\",\"sub\":\"%s\",\"gen\":%lld,\"tp1\":\"%s\","
             "\"tp2\":\"%s\",\"iat\":1790000000%s}",
             r->v, r->iss, r->org, r->sub, r->gen, r->tp1, r->tp2, r->more);
    append_part(&jws, bytes_of(header));
    assert_int_equal(buf_append_byte(&jws, '.'), ERR_OK);
    append_part(&jws, bytes_of(claims));
    assert_int_equal(p256_sign(r->key, buf_view(&jws), signature), ERR_OK);
    assert_int_equal(buf_append_byte(&jws, '.'), ERR_OK);
    append_part(&jws, bytes_make(signature, sizeof signature));
    free(f->rows[at].jws);
    f->rows[at].jws = strndup((const char *)buf_view(&jws).p, buf_len(&jws));
    buf_done(&jws);
}

static enum err check_from(struct fixture *f, size_t pinned)
{
    for (size_t i = 0; i < GENERATIONS - 1; i++)
        sign(f, i);
    return rotation_check(&f->pairs[pinned].keys, "ada", &f->device, &f->moved);
}

static enum err check(struct fixture *f)
{
    return check_from(f, 0);
}

static void assert_pins(const struct pinned_device *pinned, const struct pinned_device *expected)
{
    assert_memory_equal(pinned->possession_key, expected->possession_key, P256_PUBLIC_BYTES);
    assert_memory_equal(pinned->user_verification_key, expected->user_verification_key, P256_PUBLIC_BYTES);
    assert_string_equal(pinned->possession, expected->possession);
    assert_string_equal(pinned->user_verification, expected->user_verification);
    assert_string_equal(pinned->device_id, "d1");
    assert_string_equal(pinned->org, "nano");
}

static void pin_moves_to_the_keys_of_now(void **state)
{
    struct fixture *f = *state;
    for (size_t pinned = 0; pinned < GENERATIONS - 1; pinned++) { /* it may have been moved before */
        memset(&f->moved, 0, sizeof f->moved);
        assert_int_equal(check_from(f, pinned), ERR_OK);
        assert_pins(&f->moved, &f->pairs[GENERATIONS - 1].keys);
    }
}

static void without_a_rotation_of_the_pinned_key_nothing_is_followed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(check_from(f, GENERATIONS - 1), ERR_NOT_FOUND);
    f->device.n_rotations = 0;
    assert_int_equal(check(f), ERR_NOT_FOUND);
    f->device.n_rotations = GENERATIONS - 1;
    f->device.rotations = f->shown + 1; /* the first one is withheld */
    f->device.n_rotations = GENERATIONS - 2;
    assert_int_equal(check(f), ERR_NOT_FOUND);
}

static void chain_must_be_whole_and_in_order(void **state)
{
    struct fixture *f = *state;
    Nanopush__V1__Rotation *first = f->shown[0], *middle = f->shown[1], *last = f->shown[2];
    struct {
        Nanopush__V1__Rotation *rotations[GENERATIONS];
        size_t count;
    } rows[] = {
        {{first, last}, 2},
        {{first, last, middle}, 3},
        {{first, first, middle, last}, 4},
        {{first, middle}, 2},
        {{first}, 1},
    };
    assert_int_equal(check(f), ERR_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        f->device.rotations = rows[i].rotations;
        f->device.n_rotations = rows[i].count;
        assert_int_equal(rotation_check(&f->pairs[0].keys, "ada", &f->device, &f->moved), ERR_BAD_SIGNATURE);
    }
}

static void each_must_be_signed_by_the_key_before(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < GENERATIONS - 1; i++) {
        struct rotation good = f->rotations[i];
        f->rotations[i].key = f->pairs[i].possession; /* under the name of the right one */
        assert_int_equal(check(f), ERR_BAD_SIGNATURE);
        f->rotations[i].kid = f->pairs[i].keys.possession;
        assert_int_equal(check(f), i ? ERR_BAD_SIGNATURE : ERR_NOT_FOUND);
        f->rotations[i].key = good.key; /* the right one, under another name */
        assert_int_equal(check(f), i ? ERR_BAD_SIGNATURE : ERR_NOT_FOUND);
        f->rotations[i] = good;
        f->rotations[i].key = f->pairs[i + 1].user_verification;
        f->rotations[i].kid = f->pairs[i + 1].keys.user_verification;
        assert_int_equal(check(f), i ? ERR_BAD_SIGNATURE : ERR_NOT_FOUND);
        f->rotations[i] = good;
    }
    assert_int_equal(check(f), ERR_OK);
}

static void key_shown_must_be_the_one_that_is_named(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < GENERATIONS - 1; i++) {
        struct pinned_device *before = &f->pairs[i].keys, *named = &f->pairs[i + 1].keys;
        uint8_t changed[P256_PUBLIC_BYTES + 1] = {0};
        ProtobufCBinaryData *shown = &f->rows[i].user_verification_key;
        *shown = view(before->user_verification_key);
        assert_int_equal(check(f), ERR_BAD_SIGNATURE);
        *shown = view(named->possession_key);
        assert_int_equal(check(f), ERR_BAD_SIGNATURE);
        memcpy(changed, named->user_verification_key, P256_PUBLIC_BYTES);
        *shown = (ProtobufCBinaryData){sizeof changed, changed};
        assert_int_equal(check(f), ERR_MALFORMED);
        changed[40] ^= 1;
        *shown = view(changed);
        assert_int_equal(check(f), ERR_INVALID); /* not on the curve */
        for (size_t len = 0; len < P256_PUBLIC_BYTES; len++) {
            *shown = (ProtobufCBinaryData){len, len ? named->user_verification_key : NULL};
            assert_int_equal(check(f), ERR_MALFORMED);
        }
        *shown = view(named->user_verification_key);
        assert_int_equal(check(f), ERR_OK);
    }
}

/* The broker's own key takes the place of one in the middle, and signs on. */
static void key_of_a_stranger_is_not_followed(void **state)
{
    struct fixture *f = *state;
    struct pair stranger;
    make_pair(&stranger);
    f->rows[0].user_verification_key = view(stranger.keys.user_verification_key);
    f->rotations[1].key = stranger.user_verification;
    assert_int_equal(check(f), ERR_BAD_SIGNATURE);
    f->rotations[1].kid = stranger.keys.user_verification;
    assert_int_equal(check(f), ERR_BAD_SIGNATURE);
    f->rows[0].user_verification_key = view(f->pairs[1].keys.user_verification_key);
    assert_int_equal(check(f), ERR_BAD_SIGNATURE);
    p256_key_free(stranger.possession);
    p256_key_free(stranger.user_verification);
}

static void failure_leaves_the_pin_untouched(void **state)
{
    struct fixture *f = *state;
    struct pinned_device pinned = f->pairs[0].keys;
    assert_int_equal(check(f), ERR_OK);
    f->device.possession_key = view(f->pairs[0].keys.possession_key);
    assert_int_equal(rotation_check(&pinned, "ada", &f->device, &pinned), ERR_BAD_SIGNATURE);
    assert_pins(&pinned, &f->pairs[0].keys);
    show_pair(f, GENERATIONS - 1);
    assert_int_equal(rotation_check(&pinned, "ada", &f->device, &pinned), ERR_OK);
    assert_pins(&pinned, &f->pairs[GENERATIONS - 1].keys);
}

static void last_must_name_the_keys_of_now(void **state)
{
    struct fixture *f = *state;
    show_pair(f, 1);
    assert_int_equal(check(f), ERR_BAD_SIGNATURE);
    show_pair(f, GENERATIONS - 1);
    f->device.possession_key.data = f->pairs[0].keys.possession_key;
    assert_int_equal(check(f), ERR_BAD_SIGNATURE);
    show_pair(f, GENERATIONS - 1);
    f->device.user_verification_key.data = f->pairs[GENERATIONS - 1].keys.possession_key;
    assert_int_equal(check(f), ERR_BAD_SIGNATURE);
    show_pair(f, GENERATIONS - 1);
    f->device.user_verification_key.len--;
    assert_int_equal(check(f), ERR_MALFORMED);
    f->device.user_verification_key = (ProtobufCBinaryData){0};
    assert_int_equal(check(f), ERR_MALFORMED);
}

static void type_and_claims_must_be_those_of_a_rotation(void **state)
{
    struct fixture *f = *state;
    const struct rotation good = f->rotations[1];
    const char *const types[] = {JWS_TYP_APPROVAL, JWS_TYP_REFUSAL, JWS_TYP_UNLOCK, JWS_TYP_REMOVE};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        f->rotations[1].typ = types[i];
        assert_int_equal(check(f), ERR_INVALID);
    }
    struct rotation bad[8];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        bad[i] = good;
    bad[0].v = 2;
    bad[1].iss = "d2";
    bad[2].org = "other";
    bad[3].sub = "Ada";
    bad[4].tp1 = good.tp2;
    bad[5].tp1 = "";
    bad[6].tp2 = "";
    bad[7].more = ",\"exp\":1";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        f->rotations[1] = bad[i];
        assert_int_equal(check(f), ERR_INVALID);
    }
    f->rotations[1] = good;
    f->rotations[1].more = ",\"v\":1"; /* twice */
    assert_int_equal(check(f), ERR_MALFORMED);
    f->rotations[1] = good;
    f->rotations[1].tp2 = "A";
    assert_int_equal(check(f), ERR_BAD_SIGNATURE);
    f->rotations[1] = good;
    assert_int_equal(check(f), ERR_OK);
}

static void generation_must_be_one_more_than_before(void **state)
{
    struct fixture *f = *state;
    const long long bad[][GENERATIONS - 1] = {
        {1, 2, 3}, /* 1 is that of the enrolment */
        {0, 1, 2},  {2, 2, 3}, {2, 4, 5}, {2, 3, 3}, {UINT32_MAX, 0, 1}, {(long long)UINT32_MAX + 1, 3, 4},
        {-1, 0, 1},
    };
    for (size_t row = 0; row < sizeof bad / sizeof *bad; row++) {
        for (size_t i = 0; i < GENERATIONS - 1; i++)
            f->rotations[i].gen = bad[row][i];
        assert_int_equal(check(f), ERR_INVALID);
    }
    for (size_t i = 0; i < GENERATIONS - 1; i++)
        f->rotations[i].gen = (long long)i + 7; /* the pin was moved there before */
    assert_int_equal(check(f), ERR_OK);
}

static void rotation_of_another_user_is_not_followed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(check(f), ERR_OK);
    assert_int_equal(rotation_check(&f->pairs[0].keys, "eve", &f->device, &f->moved), ERR_INVALID);
}

static void truncated_or_changed_at_each_byte_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(check(f), ERR_OK);
    char *whole = f->rows[1].jws;
    size_t len = strlen(whole);
    for (size_t cut = 0; cut < len; cut++) {
        f->rows[1].jws = strndup(whole, cut);
        assert_int_not_equal(rotation_check(&f->pairs[0].keys, "ada", &f->device, &f->moved), ERR_OK);
        free(f->rows[1].jws);
    }
    for (size_t i = 0; i < len; i++) {
        f->rows[1].jws = strdup(whole);
        f->rows[1].jws[i] = f->rows[1].jws[i] == 'A' ? 'B' : 'A';
        assert_int_not_equal(rotation_check(&f->pairs[0].keys, "ada", &f->device, &f->moved), ERR_OK);
        free(f->rows[1].jws);
    }
    f->rows[1].jws = whole;
}

static void too_many_or_too_long_are_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(check(f), ERR_OK);
    f->device.n_rotations = ROTATIONS_MAX + 1;
    assert_int_equal(rotation_check(&f->pairs[0].keys, "ada", &f->device, &f->moved), ERR_LIMIT);
    f->device.n_rotations = GENERATIONS - 1;
    free(f->rows[0].jws);
    f->rows[0].jws = calloc(1, ROTATION_JWS_MAX_BYTES + 2);
    memset(f->rows[0].jws, 'A', ROTATION_JWS_MAX_BYTES + 1);
    assert_int_equal(rotation_check(&f->pairs[0].keys, "ada", &f->device, &f->moved), ERR_TOO_BIG);
}

#define ROTATION_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROTATION_TEST(pin_moves_to_the_keys_of_now),
        ROTATION_TEST(without_a_rotation_of_the_pinned_key_nothing_is_followed),
        ROTATION_TEST(chain_must_be_whole_and_in_order),
        ROTATION_TEST(each_must_be_signed_by_the_key_before),
        ROTATION_TEST(key_shown_must_be_the_one_that_is_named),
        ROTATION_TEST(key_of_a_stranger_is_not_followed),
        ROTATION_TEST(failure_leaves_the_pin_untouched),
        ROTATION_TEST(last_must_name_the_keys_of_now),
        ROTATION_TEST(type_and_claims_must_be_those_of_a_rotation),
        ROTATION_TEST(generation_must_be_one_more_than_before),
        ROTATION_TEST(rotation_of_another_user_is_not_followed),
        ROTATION_TEST(truncated_or_changed_at_each_byte_is_refused),
        ROTATION_TEST(too_many_or_too_long_are_refused),
    };
    return cmocka_run_group_tests_name("cli_rotation_check", tests, NULL, NULL);
}
