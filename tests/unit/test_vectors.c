/*
 * Holds crypto/ against proto/vectors/, which were made from the contract's words by other code
 * (tests/vectors). The Makefile defines VECTOR_DIR as the path of that directory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "crypto/inputs.h"
#include "crypto/jws.h"
#include "crypto/p256.h"
#include "crypto/statement.h"

#define JWS_MAX_BYTES 4096

static json_t *load(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.json", VECTOR_DIR, name);
    json_error_t why;
    json_t *file = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (file == NULL)
        fail_msg("%s:%d: %s", path, why.line, why.text);
    assert_true(json_array_size(json_object_get(file, "vectors")) > 0);
    return file;
}

static const char *text_of(const json_t *vector, const char *member)
{
    const char *text = json_string_value(json_object_get(vector, member));
    if (text == NULL)
        fail_msg("vector without %s", member);
    return text;
}

/* Bytes of a member in hex, freed by the caller; at least one byte is allocated. */
static struct bytes unhex(const json_t *vector, const char *member)
{
    const char *text = text_of(vector, member);
    size_t len = strlen(text) / 2;
    uint8_t *p = malloc(len + 1);
    assert_non_null(p);
    assert_int_equal(hex_decode(bytes_of(text), p, len), ERR_OK);
    return bytes_make(p, len);
}

/* As unhex(), into an array of a known size. */
static void unhex_into(const json_t *vector, const char *member, uint8_t *out, size_t len)
{
    assert_int_equal(hex_decode(bytes_of(text_of(vector, member)), out, len), ERR_OK);
}

static void free_bytes(struct bytes b)
{
    free((void *)(uintptr_t)b.p);
}

static void assert_bytes_equal(struct bytes got, struct bytes expected)
{
    assert_int_equal(got.len, expected.len);
    assert_memory_equal(got.p, expected.p, expected.len);
}

static void assert_built(struct buf *built, const json_t *vector, const char *member)
{
    struct bytes expected = unhex(vector, member);
    assert_bytes_equal(buf_view(built), expected);
    free_bytes(expected);
    buf_done(built);
}

static void assert_thumbprint(const json_t *vector, const char *point_member, const char *thumbprint_member,
                              char out[P256_THUMBPRINT_SIZE])
{
    struct bytes point = unhex(vector, point_member);
    assert_int_equal(p256_check_public(point), ERR_OK);
    assert_int_equal(p256_thumbprint(point.p, out), ERR_OK);
    assert_string_equal(out, text_of(vector, thumbprint_member));
    free_bytes(point);
}

/* The signature is right, and no longer once a bit of the message or of the signature is another. */
static void assert_signed(const json_t *vector, const char *point_member, const char *signature_member)
{
    uint8_t point[P256_PUBLIC_BYTES], signature[P256_SIGNATURE_BYTES];
    unhex_into(vector, point_member, point, sizeof point);
    unhex_into(vector, signature_member, signature, sizeof signature);
    struct bytes message = unhex(vector, "signed");
    assert_int_equal(p256_verify(point, message, signature), ERR_OK);

    signature[P256_SIGNATURE_BYTES - 1] ^= 1;
    assert_int_equal(p256_verify(point, message, signature), ERR_BAD_SIGNATURE);
    signature[P256_SIGNATURE_BYTES - 1] ^= 1;
    *(uint8_t *)(uintptr_t)message.p ^= 1;
    assert_int_equal(p256_verify(point, message, signature), ERR_BAD_SIGNATURE);
    free_bytes(message);
}

static void test_display(void **state)
{
    (void)state;
    json_t *file = load("display"), *vector;
    size_t at;
    json_array_foreach(json_object_get(file, "vectors"), at, vector)
    {
        struct bytes display = unhex(vector, "bytes");
        char hash[DISPLAY_HASH_SIZE];
        assert_int_equal(input_display_hash(display, hash), ERR_OK);
        assert_string_equal(hash, text_of(vector, "hash"));
        free_bytes(display);
    }
    json_decref(file);
}

static void test_hello(void **state)
{
    (void)state;
    json_t *file = load("hello"), *vector;
    size_t at;
    json_array_foreach(json_object_get(file, "vectors"), at, vector)
    {
        uint8_t cb[CHANNEL_BINDING_BYTES], anchor[SHA256_BYTES];
        char thumbprint[P256_THUMBPRINT_SIZE];
        struct buf built = {0};
        unhex_into(vector, "cb", cb, sizeof cb);
        unhex_into(vector, "trust_anchor", anchor, sizeof anchor);
        uint32_t generation = (uint32_t)json_integer_value(json_object_get(vector, "generation"));
        uint32_t capabilities = (uint32_t)json_integer_value(json_object_get(vector, "capabilities"));

        assert_int_equal(input_hello(cb, bytes_of(text_of(vector, "organisation")),
                                     bytes_of(text_of(vector, "device_id")), generation, anchor, capabilities,
                                     &built),
                         ERR_OK);
        assert_built(&built, vector, "signed");
        assert_thumbprint(vector, "possession_point", "possession_thumbprint", thumbprint);
        assert_signed(vector, "possession_point", "signature");
    }
    json_decref(file);
}

static void test_enrol(void **state)
{
    (void)state;
    json_t *file = load("enrol"), *vector;
    size_t at;
    json_array_foreach(json_object_get(file, "vectors"), at, vector)
    {
        uint8_t cb[CHANNEL_BINDING_BYTES];
        char tp1[P256_THUMBPRINT_SIZE], tp2[P256_THUMBPRINT_SIZE];
        struct buf built = {0};
        struct bytes org = bytes_of(text_of(vector, "organisation"));
        struct bytes enrolment_id = bytes_of(text_of(vector, "enrolment_id"));
        unhex_into(vector, "cb", cb, sizeof cb);
        assert_thumbprint(vector, "possession_point", "possession_thumbprint", tp1);
        assert_thumbprint(vector, "user_verification_point", "user_verification_thumbprint", tp2);

        assert_int_equal(input_enrol(cb, org, enrolment_id, tp1, tp2, &built), ERR_OK);
        assert_built(&built, vector, "signed");
        assert_signed(vector, "possession_point", "possession_signature");
        assert_signed(vector, "user_verification_point", "user_verification_signature");

        struct bytes secret = unhex(vector, "secret"), expected = unhex(vector, "proof");
        if (secret.len > 0) {
            uint8_t proof[SHA256_BYTES];
            struct bytes user = bytes_of(text_of(vector, "user"));
            assert_int_equal(enrol_proof(secret, org, user, enrolment_id, tp1, tp2, proof), ERR_OK);
            assert_bytes_equal(bytes_make(proof, sizeof proof), expected);
            assert_int_equal(enrol_proof(secret, org, user, enrolment_id, tp2, tp1, proof), ERR_OK);
            assert_memory_not_equal(proof, expected.p, sizeof proof);
        }
        free_bytes(secret);
        free_bytes(expected);
    }
    json_decref(file);
}

/* The strings and numbers of a statement against the claims as JSON; what is binary there, by encoding it
 * again. */
static void assert_claims(const struct statement *got, const char *claims_text)
{
    json_t *claims = json_loads(claims_text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(claims);
    char nonce[BASE64URL_SIZE(STATEMENT_NONCE_MAX_BYTES)], display[DISPLAY_HASH_SIZE];
    base64url_encode(bytes_make(got->nonce, got->nonce_len), nonce);
    base64url_encode(bytes_make(got->display, sizeof got->display), display);

    assert_string_equal(got->iss, text_of(claims, "iss"));
    assert_string_equal(got->org, text_of(claims, "org"));
    assert_string_equal(got->sub, text_of(claims, "sub"));
    assert_string_equal(got->aud, text_of(claims, "aud"));
    assert_string_equal(got->jti, text_of(claims, "jti"));
    assert_string_equal(nonce, text_of(claims, "nonce"));
    assert_string_equal(statement_decision_text(got->decision), text_of(claims, "decision"));
    assert_string_equal(statement_mode_text(got->mode), text_of(claims, "mode"));
    assert_string_equal(display, text_of(claims, "display"));
    assert_int_equal(got->gen, json_integer_value(json_object_get(claims, "gen")));
    assert_int_equal(got->iat_s, json_integer_value(json_object_get(claims, "iat")));
    assert_int_equal(got->exp_s, json_integer_value(json_object_get(claims, "exp")));
    const char *code = json_string_value(json_object_get(claims, "code"));
    assert_string_equal(got->code, code != NULL ? code : "");
    json_decref(claims);
}

static void check_accepted(const json_t *vector)
{
    char kid[P256_THUMBPRINT_SIZE];
    uint8_t point[P256_PUBLIC_BYTES], signature[P256_SIGNATURE_BYTES];
    struct jws jws;
    struct statement statement;
    unhex_into(vector, "signer_point", point, sizeof point);
    unhex_into(vector, "signature", signature, sizeof signature);
    assert_thumbprint(vector, "signer_point", "signer_thumbprint", kid);

    assert_int_equal(jws_parse(bytes_of(text_of(vector, "jws")), JWS_MAX_BYTES, &jws), ERR_OK);
    assert_int_equal(statement_parse(buf_view(&jws.payload), &statement), ERR_OK);
    assert_int_equal(jws_verify(&jws, point), ERR_OK);
    assert_string_equal(jws.kid, kid);
    assert_string_equal(jws.typ, statement.decision == DECISION_APPROVE ? JWS_TYP_APPROVAL : JWS_TYP_REFUSAL);
    assert_memory_equal(jws.signature, signature, sizeof signature);
    assert_bytes_equal(buf_view(&jws.payload), bytes_of(text_of(vector, "claims")));
    assert_claims(&statement, text_of(vector, "claims"));

    struct bytes expected = unhex(vector, "signed");
    assert_bytes_equal(jws.signing_input, expected);
    free_bytes(expected);
    jws_done(&jws);
}

/* Where the vector says that it is refused: "jws", "claims", "signature"; "" if it gets through. */
static const char *refused_by(const json_t *vector)
{
    uint8_t point[P256_PUBLIC_BYTES];
    struct jws jws;
    struct statement statement;
    const char *by = "";
    unhex_into(vector, "signer_point", point, sizeof point);

    if (jws_parse(bytes_of(text_of(vector, "jws")), JWS_MAX_BYTES, &jws) != ERR_OK)
        return "jws";
    if (jws_verify(&jws, point) != ERR_OK)
        by = "signature";
    else if (statement_parse(buf_view(&jws.payload), &statement) != ERR_OK)
        by = "claims";
    jws_done(&jws);
    return by;
}

static void test_answer(void **state)
{
    (void)state;
    json_t *file = load("answer"), *vector;
    size_t at, accepted = 0, refused = 0;
    json_array_foreach(json_object_get(file, "vectors"), at, vector)
    {
        const char *expected = json_string_value(json_object_get(vector, "refused"));
        if (expected == NULL) {
            check_accepted(vector);
            accepted++;
            continue;
        }
        const char *by = refused_by(vector);
        if (strcmp(by, expected) != 0)
            fail_msg("%s: refused by \"%s\", not by \"%s\"", text_of(vector, "name"), by, expected);
        refused++;
    }
    assert_true(accepted >= 5 && refused >= 30);
    json_decref(file);
}

/* The claims of an act against the vector's members: what they are is device.proto's to say. */
static void assert_act_claims(const json_t *vector, struct bytes payload)
{
    json_t *claims = json_loadb((const char *)payload.p, payload.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(claims);
    bool rotation = strcmp(text_of(vector, "typ"), JWS_TYP_ROTATION) == 0;
    assert_int_equal(json_object_size(claims), rotation ? 8 : 7);
    assert_string_equal(text_of(claims, "iss"), text_of(vector, "device_id"));
    assert_string_equal(text_of(claims, "org"), text_of(vector, "organisation"));
    assert_string_equal(text_of(claims, "sub"), text_of(vector, "user"));
    assert_int_equal(json_integer_value(json_object_get(claims, "gen")),
                     json_integer_value(json_object_get(vector, "generation")) + rotation);
    if (rotation) {
        char thumbprint[P256_THUMBPRINT_SIZE];
        assert_thumbprint(vector, "next_possession_point", "next_possession_thumbprint", thumbprint);
        assert_string_equal(text_of(claims, "tp1"), thumbprint);
        assert_thumbprint(vector, "next_user_verification_point", "next_user_verification_thumbprint",
                          thumbprint);
        assert_string_equal(text_of(claims, "tp2"), thumbprint);
    } else {
        uint8_t cb[CHANNEL_BINDING_BYTES];
        char text[BASE64URL_SIZE(CHANNEL_BINDING_BYTES)];
        unhex_into(vector, "cb", cb, sizeof cb);
        base64url_encode(bytes_make(cb, sizeof cb), text);
        assert_string_equal(text_of(claims, "cb"), text);
    }
    json_decref(claims);
}

static void test_acts(void **state)
{
    (void)state;
    json_t *file = load("acts"), *vector;
    size_t at;
    json_array_foreach(json_object_get(file, "vectors"), at, vector)
    {
        uint8_t point[P256_PUBLIC_BYTES];
        char kid[P256_THUMBPRINT_SIZE];
        struct jws jws;
        unhex_into(vector, "signer_point", point, sizeof point);
        assert_thumbprint(vector, "signer_point", "signer_thumbprint", kid);
        assert_signed(vector, "signer_point", "signature");
        assert_int_equal(jws_parse(bytes_of(text_of(vector, "jws")), JWS_MAX_BYTES, &jws), ERR_OK);
        assert_int_equal(jws_verify(&jws, point), ERR_OK);
        assert_string_equal(jws.kid, kid);
        assert_string_equal(jws.typ, text_of(vector, "typ"));
        assert_bytes_equal(buf_view(&jws.payload), bytes_of(text_of(vector, "claims")));
        assert_act_claims(vector, buf_view(&jws.payload));
        jws_done(&jws);
    }
    assert_int_equal(at, 4);
    json_decref(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_display), cmocka_unit_test(test_hello), cmocka_unit_test(test_enrol),
        cmocka_unit_test(test_answer),  cmocka_unit_test(test_acts),
    };
    return cmocka_run_group_tests_name("vectors", tests, NULL, NULL);
}
