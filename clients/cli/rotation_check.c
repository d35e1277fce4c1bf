#include "cli/rotation_check.h"

#include <string.h>

#include "crypto/act.h"
#include "crypto/jws.h"

/** How far the chain was followed. */
struct chain {
    struct pinned_device
        at; /* what the last rotation named; its possession_key is the pinned one to the end */
    const char *user;
    uint32_t generation; /* 0: none was followed yet */
};

static bool is_next(const struct act *act, const struct chain *chain)
{
    return strcmp(act->iss, chain->at.device_id) == 0 && strcmp(act->org, chain->at.org) == 0 &&
           strcmp(act->sub, chain->user) == 0 && strcmp(act->tp1, act->tp2) != 0 && act->gen > 1 &&
           (chain->generation == 0 || act->gen == chain->generation + 1);
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

static enum err follow_one(const struct jws *jws, const ProtobufCBinaryData *next_key, struct chain *chain)
{
    struct act act;
    if (strcmp(jws->typ, JWS_TYP_ROTATION) != 0)
        return ERR_INVALID;
    if (strcmp(jws->kid, chain->at.user_verification) != 0)
        return ERR_BAD_SIGNATURE;
    TRY(jws_verify(jws, chain->at.user_verification_key));
    TRY(act_parse(buf_view(&jws->payload), true, &act));
    if (!is_next(&act, chain))
        return ERR_INVALID;
    TRY(take_key(next_key, act.tp2, chain->at.user_verification_key));
    memcpy(chain->at.possession, act.tp1, sizeof act.tp1);
    memcpy(chain->at.user_verification, act.tp2, sizeof act.tp2);
    chain->generation = act.gen;
    return ERR_OK;
}

static enum err follow_all(const Nanopush__V1__Device *device, struct chain *chain)
{
    if (device->n_rotations > ROTATIONS_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; i < device->n_rotations; i++) {
        const Nanopush__V1__Rotation *rotation = device->rotations[i];
        struct jws jws;
        TRY(jws_parse(bytes_of(rotation->jws), ROTATION_JWS_MAX_BYTES, &jws));
        bool before_ours = !chain->generation && strcmp(jws.kid, chain->at.user_verification) != 0;
        enum err e = before_ours ? ERR_OK : follow_one(&jws, &rotation->user_verification_key, chain);
        jws_done(&jws);
        if (e != ERR_OK)
            return e;
    }
    return chain->generation ? ERR_OK : ERR_NOT_FOUND;
}

enum err rotation_check(const struct pinned_device *pinned, const char *user,
                        const Nanopush__V1__Device *device, struct pinned_device *ret)
{
    struct chain chain = {.at = *pinned, .user = user};
    struct pinned_device *last = &chain.at;
    TRY(follow_all(device, &chain));
    TRY(take_key(&device->possession_key, last->possession, last->possession_key));
    TRY(take_key(&device->user_verification_key, last->user_verification, last->user_verification_key));
    *ret = *last;
    return ERR_OK;
}
