#include "crypto/act.h"

#include <jansson.h>
#include <string.h>

#define ROTATION_CLAIMS 8
#define OTHER_CLAIMS    7

static bool take_text(const json_t *claims, const char *name, char *out, size_t size)
{
    const json_t *value = json_object_get(claims, name);
    size_t len = value && json_is_string(value) ? json_string_length(value) : 0;
    if (len == 0 || len >= size || strlen(json_string_value(value)) != len)
        return false;
    memcpy(out, json_string_value(value), len + 1);
    return true;
}

static bool take_number(const json_t *claims, const char *name, int64_t max, int64_t *out)
{
    const json_t *value = json_object_get(claims, name);
    if (!value || !json_is_integer(value))
        return false;
    *out = json_integer_value(value);
    return *out >= 0 && *out <= max;
}

static bool take_binding(const json_t *claims, uint8_t out[CHANNEL_BINDING_BYTES])
{
    char text[BASE64URL_SIZE(CHANNEL_BINDING_BYTES)];
    size_t len = 0;
    return take_text(claims, "cb", text, sizeof text) &&
           base64url_decode(bytes_of(text), out, CHANNEL_BINDING_BYTES, &len) == ERR_OK &&
           len == CHANNEL_BINDING_BYTES;
}

static enum err read_claims(const json_t *claims, bool rotation, struct act *act)
{
    int64_t version = 0, generation = 0;
    if (json_object_size(claims) != (rotation ? ROTATION_CLAIMS : OTHER_CLAIMS) ||
        !take_number(claims, "v", STATEMENT_VERSION, &version) || version != STATEMENT_VERSION ||
        !take_text(claims, "iss", act->iss, sizeof act->iss) ||
        !take_text(claims, "org", act->org, sizeof act->org) ||
        !take_text(claims, "sub", act->sub, sizeof act->sub) ||
        !take_number(claims, "gen", UINT32_MAX, &generation) ||
        !take_number(claims, "iat", STATEMENT_TIME_MAX_S, &act->iat_s))
        return ERR_INVALID;
    act->gen = (uint32_t)generation;
    bool rest = rotation ? take_text(claims, "tp1", act->tp1, sizeof act->tp1) &&
                               take_text(claims, "tp2", act->tp2, sizeof act->tp2)
                         : take_binding(claims, act->cb);
    return rest ? ERR_OK : ERR_INVALID;
}

enum err act_parse(struct bytes payload, bool rotation, struct act *ret)
{
    struct act act = {0};
    if (payload.len > STATEMENT_MAX_BYTES)
        return ERR_TOO_BIG;
    json_t *claims = json_loadb((const char *)payload.p, payload.len, JSON_REJECT_DUPLICATES, NULL);
    enum err e = json_is_object(claims) ? read_claims(claims, rotation, &act) : ERR_MALFORMED;
    json_decref(claims);
    if (e == ERR_OK)
        *ret = act;
    return e;
}
