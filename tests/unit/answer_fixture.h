/**
 * A phone's word for the tests of domain/: real keys, and compact JWS made here, right or wrong in any part.
 */
#ifndef NANOPUSH_TESTS_ANSWER_FIXTURE_H
#define NANOPUSH_TESTS_ANSWER_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/inputs.h"
#include "crypto/jws.h"
#include "store/record.pb-c.h"

enum { POSSESSION, USER_VERIFICATION, STRANGER, KEY_COUNT };

static struct p256_key *keys[KEY_COUNT];
static uint8_t points[KEY_COUNT][P256_PUBLIC_BYTES];
static char kids[KEY_COUNT][P256_THUMBPRINT_SIZE];

static inline int make_keys(void)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (p256_key_new(&keys[i]) != ERR_OK || p256_key_public(keys[i], points[i]) != ERR_OK ||
            p256_thumbprint(points[i], kids[i]) != ERR_OK)
            return -1;
    return 0;
}

static inline void free_keys(void)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        p256_key_free(keys[i]);
}

/* A claim of the payload, its value as JSON; one with an empty value is left out. */
struct claim {
    const char *name;
    char json[300];
};

#define CLAIMS_MAX 15

/** The claims of a good answer by TAP. @return their number. */
static inline size_t good_claims(struct claim claims[CLAIMS_MAX], const char *decision,
                                 const Record__Device *device, const Record__Challenge *challenge,
                                 int64_t exp_s)
{
    char nonce[BASE64URL_SIZE(64)], display[DISPLAY_HASH_SIZE];
    size_t count = 0;
    base64url_encode(bytes_make(challenge->nonce.data, challenge->nonce.len), nonce);
    assert_int_equal(input_display_hash(bytes_make(challenge->display.data, challenge->display.len), display),
                     ERR_OK);
    const struct {
        const char *name, *text;
    } texts[] = {{"iss", device->id},        {"org", challenge->organisation}, {"sub", challenge->user},
                 {"aud", challenge->portal}, {"jti", challenge->id},           {"nonce", nonce},
                 {"display", display},       {"decision", decision},           {"mode", "tap"}};
    const struct {
        const char *name;
        int64_t number;
    } numbers[] = {{"v", 1}, {"gen", device->generation}, {"iat", exp_s - 59}, {"exp", exp_s}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++, count++) {
        claims[count].name = texts[i].name;
        snprintf(claims[count].json, sizeof claims->json, "\"%s\"", texts[i].text);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++, count++) {
        claims[count].name = numbers[i].name;
        snprintf(claims[count].json, sizeof claims->json, "%lld", (long long)numbers[i].number);
    }
    return count;
}

static inline void append_part(struct buf *jws, struct bytes part)
{
    char *text = malloc(BASE64URL_SIZE(part.len));
    assert_non_null(text);
    base64url_encode(part, text);
    assert_int_equal(buf_append(jws, bytes_of(text)), ERR_OK);
    free(text);
}

/** A compact JWS, signed by key @p by in the name of key @p kid; ended with buf_done(). */
static inline struct buf sign(const struct claim *claims, size_t count, const char *typ, int kid, int by)
{
    struct buf jws = {0}, header = {0}, payload = {0};
    uint8_t signature[P256_SIGNATURE_BYTES];
    assert_int_equal(buf_printf(&header, "{\"alg\":\"ES256\",\"typ\":\"%s\",\"kid\":\"%s\"}", typ, kids[kid]),
                     ERR_OK);
    for (size_t i = 0; i < count; i++)
        if (claims[i].json[0])
            assert_int_equal(buf_printf(&payload, "%c\"%s\":%s", buf_len(&payload) ? ',' : '{',
                                        claims[i].name, claims[i].json),
                             ERR_OK);
    assert_int_equal(buf_append_byte(&payload, '}'), ERR_OK);
    append_part(&jws, buf_view(&header));
    assert_int_equal(buf_append_byte(&jws, '.'), ERR_OK);
    append_part(&jws, buf_view(&payload));
    assert_int_equal(p256_sign(keys[by], buf_view(&jws), signature), ERR_OK);
    assert_int_equal(buf_append_byte(&jws, '.'), ERR_OK);
    append_part(&jws, bytes_make(signature, sizeof signature));
    buf_done(&header);
    buf_done(&payload);
    return jws;
}

#endif
