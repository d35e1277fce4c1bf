#include "crypto/statement.h"

#include <jansson.h>
#include <string.h>

#define REQUIRED_CLAIMS 13

static const char *const decisions[DECISION_COUNT] = {
    [DECISION_APPROVE] = "approve",
    [DECISION_DENY] = "deny",
    [DECISION_NOT_ME] = "not_me",
};

static const char *const modes[MODE_COUNT] = {
    [MODE_TAP] = "tap",
    [MODE_CHOOSE] = "choose",
    [MODE_CODE] = "code",
};

const char *statement_decision_text(enum statement_decision decision)
{
    return decisions[decision];
}

const char *statement_mode_text(enum statement_mode mode)
{
    return modes[mode];
}

/* The parser refuses NUL inside strings, so that length and C string agree. */
static enum err read_string(const json_t *claims, const char *name, char *out, size_t size)
{
    const json_t *claim = json_object_get(claims, name);
    if (!json_is_string(claim))
        return ERR_INVALID;
    size_t len = json_string_length(claim);
    if (len == 0 || len >= size)
        return ERR_INVALID;
    memcpy(out, json_string_value(claim), len + 1);
    return ERR_OK;
}

static enum err read_bytes(const json_t *claims, const char *name, uint8_t *out, size_t min, size_t max,
                           size_t *len)
{
    const json_t *claim = json_object_get(claims, name);
    size_t decoded;
    if (!json_is_string(claim))
        return ERR_INVALID;
    struct bytes text = bytes_make(json_string_value(claim), json_string_length(claim));
    if (base64url_decode(text, out, max, &decoded) != ERR_OK || decoded < min)
        return ERR_INVALID;
    *len = decoded;
    return ERR_OK;
}

static enum err read_integer(const json_t *claims, const char *name, int64_t max, int64_t *out)
{
    const json_t *claim = json_object_get(claims, name);
    if (!json_is_integer(claim))
        return ERR_INVALID;
    json_int_t n = json_integer_value(claim);
    if (n < 0 || n > max)
        return ERR_INVALID;
    *out = n;
    return ERR_OK;
}

static enum err read_choice(const json_t *claims, const char *name, const char *const *texts, unsigned count,
                            unsigned *out)
{
    const json_t *claim = json_object_get(claims, name);
    if (!json_is_string(claim))
        return ERR_INVALID;
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(json_string_value(claim), texts[i]) == 0) {
            *out = i;
            return ERR_OK;
        }
    }
    return ERR_INVALID;
}

static enum err read_version(const json_t *claims)
{
    const json_t *version = json_object_get(claims, "v");
    if (!json_is_integer(version))
        return ERR_INVALID;
    return json_integer_value(version) == STATEMENT_VERSION ? ERR_OK : ERR_UNSUPPORTED;
}

static enum err read_names(const json_t *claims, struct statement *ret)
{
    TRY(read_string(claims, "iss", ret->iss, sizeof ret->iss));
    TRY(read_string(claims, "org", ret->org, sizeof ret->org));
    TRY(read_string(claims, "sub", ret->sub, sizeof ret->sub));
    TRY(read_string(claims, "aud", ret->aud, sizeof ret->aud));
    return read_string(claims, "jti", ret->jti, sizeof ret->jti);
}

static enum err read_decision(const json_t *claims, struct statement *ret)
{
    unsigned decision, mode;
    TRY(read_choice(claims, "decision", decisions, DECISION_COUNT, &decision));
    TRY(read_choice(claims, "mode", modes, MODE_COUNT, &mode));
    ret->decision = decision;
    ret->mode = mode;
    return ERR_OK;
}

static enum err read_numbers(const json_t *claims, struct statement *ret)
{
    int64_t gen;
    TRY(read_integer(claims, "gen", UINT32_MAX, &gen));
    TRY(read_integer(claims, "iat", STATEMENT_TIME_MAX_S, &ret->iat_s));
    TRY(read_integer(claims, "exp", STATEMENT_TIME_MAX_S, &ret->exp_s));
    ret->gen = (uint32_t)gen;
    return ERR_OK;
}

static bool has_code(const struct statement *s)
{
    return s->decision == DECISION_APPROVE && s->mode != MODE_TAP;
}

static enum err read_code(const json_t *claims, struct statement *ret)
{
    TRY(read_string(claims, "code", ret->code, sizeof ret->code));
    return ret->code[strspn(ret->code, "0123456789")] == '\0' ? ERR_OK : ERR_INVALID;
}

static enum err read_claims(const json_t *claims, struct statement *ret)
{
    size_t display_len;
    TRY(read_version(claims));
    TRY(read_names(claims, ret));
    TRY(read_bytes(claims, "nonce", ret->nonce, STATEMENT_NONCE_MIN_BYTES, sizeof ret->nonce,
                   &ret->nonce_len));
    TRY(read_decision(claims, ret));
    TRY(read_bytes(claims, "display", ret->display, sizeof ret->display, sizeof ret->display, &display_len));
    TRY(read_numbers(claims, ret));
    if (has_code(ret))
        TRY(read_code(claims, ret));
    /* All that is known has been found, and the parser refuses duplicates: any other claim shows in the
     * count. */
    size_t known = REQUIRED_CLAIMS + (has_code(ret) ? 1 : 0);
    return json_object_size(claims) == known ? ERR_OK : ERR_INVALID;
}

enum err statement_parse(struct bytes payload, struct statement *ret)
{
    if (payload.len > STATEMENT_MAX_BYTES)
        return ERR_TOO_BIG;
    if (payload.len == 0)
        return ERR_MALFORMED;
    struct statement statement = {0};
    json_t *claims = json_loadb((const char *)payload.p, payload.len, JSON_REJECT_DUPLICATES, NULL);
    enum err e = json_is_object(claims) ? read_claims(claims, &statement) : ERR_MALFORMED;
    json_decref(claims);
    if (e == ERR_OK)
        *ret = statement;
    return e;
}
