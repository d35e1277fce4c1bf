#include "cli/rotation_check.h"

#include <jansson.h>
#include <string.h>

#include "cli/p256_recover.h"
#include "crypto/digest.h"
#include "crypto/jws.h"

#define CLAIMS 8 /* v, iss, org, sub, gen, tp1, tp2, iat */

/** How far the chain was followed: the keys that the last rotation named. */
struct chain {
    const struct pinned_device *pinned;
    const char *user;
    uint32_t generation; /* 0: none was followed yet */
    char possession[P256_THUMBPRINT_SIZE], user_verification[P256_THUMBPRINT_SIZE];
};

static bool claim_is(const json_t *claims, const char *name, const char *expected)
{
    const char *text = json_string_value(json_object_get(claims, name));
    return text && strcmp(text, expected) == 0;
}

static bool take_thumbprint(const json_t *claims, const char *name, char out[P256_THUMBPRINT_SIZE])
{
    const char *text = json_string_value(json_object_get(claims, name));
    uint8_t digest[SHA256_BYTES];
    size_t len;
    if (!text || base64url_decode(bytes_of(text), digest, sizeof digest, &len) != ERR_OK ||
        len != sizeof digest)
        return false;
    memcpy(out, text, P256_THUMBPRINT_SIZE);
    return true;
}

/* Moves the chain on. */
static enum err take_claims(const json_t *claims, struct chain *chain)
{
    struct chain next = *chain;
    const json_t *version = json_object_get(claims, "v");
    const json_t *generation = json_object_get(claims, "gen"), *issued = json_object_get(claims, "iat");
    bool ours = claim_is(claims, "iss", chain->pinned->device_id) &&
                claim_is(claims, "org", chain->pinned->org) && claim_is(claims, "sub", chain->user);
    bool whole = json_object_size(claims) == CLAIMS && json_is_integer(version) &&
                 json_integer_value(version) == 1 && json_is_integer(generation) &&
                 json_integer_value(generation) > 1 && json_integer_value(generation) <= UINT32_MAX &&
                 json_is_integer(issued) && json_integer_value(issued) >= 0;
    if (!ours || !whole || !take_thumbprint(claims, "tp1", next.possession) ||
        !take_thumbprint(claims, "tp2", next.user_verification) ||
        strcmp(next.possession, next.user_verification) == 0)
        return ERR_INVALID;
    next.generation = (uint32_t)json_integer_value(generation);
    if (chain->generation && next.generation != chain->generation + 1)
        return ERR_INVALID;
    *chain = next;
    return ERR_OK;
}

static enum err follow_one(const struct jws *jws, struct chain *chain)
{
    uint8_t key[P256_PUBLIC_BYTES];
    struct bytes payload = buf_view(&jws->payload);
    if (strcmp(jws->typ, JWS_TYP_ROTATION) != 0)
        return ERR_INVALID;
    if (strcmp(jws->kid, chain->user_verification) != 0)
        return ERR_BAD_SIGNATURE;
    TRY(p256_recover(chain->user_verification, jws->signing_input, jws->signature, key));
    TRY(jws_verify(jws, key));
    json_t *claims = json_loadb((const char *)payload.p, payload.len, JSON_REJECT_DUPLICATES, NULL);
    enum err e = take_claims(claims, chain);
    json_decref(claims);
    return e;
}

static enum err follow_all(const Nanopush__V1__Device *device, struct chain *chain)
{
    if (device->n_rotations > ROTATIONS_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; i < device->n_rotations; i++) {
        struct jws jws;
        TRY(jws_parse(bytes_of(device->rotations[i]), ROTATION_JWS_MAX_BYTES, &jws));
        bool before_ours = !chain->generation && strcmp(jws.kid, chain->user_verification) != 0;
        enum err e = before_ours ? ERR_OK : follow_one(&jws, chain);
        jws_done(&jws);
        if (e != ERR_OK)
            return e;
    }
    return chain->generation ? ERR_OK : ERR_NOT_FOUND;
}

static enum err take_key(const ProtobufCBinaryData *shown, const char *thumbprint,
                         uint8_t out[P256_PUBLIC_BYTES])
{
    char its[P256_THUMBPRINT_SIZE];
    TRY(p256_check_public(bytes_make(shown->data, shown->len)));
    TRY(p256_thumbprint(shown->data, its));
    if (strcmp(its, thumbprint) != 0)
        return ERR_BAD_SIGNATURE;
    memcpy(out, shown->data, P256_PUBLIC_BYTES);
    return ERR_OK;
}

enum err rotation_check(const struct pinned_device *pinned, const char *user,
                        const Nanopush__V1__Device *device, struct pinned_device *ret)
{
    struct chain chain = {.pinned = pinned, .user = user};
    struct pinned_device moved = {.device_id = pinned->device_id, .org = pinned->org};
    memcpy(chain.user_verification, pinned->user_verification, sizeof chain.user_verification);
    TRY(follow_all(device, &chain));
    TRY(take_key(&device->possession_key, chain.possession, moved.possession_key));
    TRY(take_key(&device->user_verification_key, chain.user_verification, moved.user_verification_key));
    memcpy(moved.possession, chain.possession, sizeof moved.possession);
    memcpy(moved.user_verification, chain.user_verification, sizeof moved.user_verification);
    *ret = moved;
    return ERR_OK;
}
