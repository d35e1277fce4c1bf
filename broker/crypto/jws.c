#include "crypto/jws.h"

#include <jansson.h>
#include <string.h>

#include "crypto/digest.h"

#define HEADER_MAX_CHARS (BASE64URL_SIZE(JWS_HEADER_MAX_BYTES) - 1)
#define HEADER_MEMBERS   3

enum { HEADER, PAYLOAD, SIGNATURE, PART_COUNT };

/* Exactly two dots; a third ends up in the signature, where base64url refuses it. */
static enum err split(struct bytes compact, struct bytes part[PART_COUNT])
{
    for (int i = HEADER; i < SIGNATURE; i++) {
        const uint8_t *dot = compact.len ? memchr(compact.p, '.', compact.len) : NULL;
        if (!dot)
            return ERR_MALFORMED;
        part[i] = bytes_make(compact.p, (size_t)(dot - compact.p));
        compact = bytes_make(dot + 1, compact.len - part[i].len - 1);
    }
    part[SIGNATURE] = compact;
    return ERR_OK;
}

static enum err copy_member(const json_t *header, const char *name, char *out, size_t size)
{
    const json_t *member = json_object_get(header, name);
    if (!json_is_string(member))
        return ERR_INVALID;
    size_t len = json_string_length(member);
    if (len == 0 || len >= size)
        return ERR_INVALID;
    memcpy(out, json_string_value(member), len + 1);
    return ERR_OK;
}

static enum err check_thumbprint(const char *kid)
{
    uint8_t digest[SHA256_BYTES];
    size_t len;
    if (base64url_decode(bytes_of(kid), digest, sizeof digest, &len) != ERR_OK || len != sizeof digest)
        return ERR_INVALID;
    return ERR_OK;
}

/* With duplicates refused by the parser, the three that are found and a count of three exclude any other. */
static enum err read_header(const json_t *header, struct jws *ret)
{
    const json_t *alg = json_object_get(header, "alg");
    if (!json_is_string(alg))
        return ERR_INVALID;
    if (strcmp(json_string_value(alg), "ES256") != 0)
        return ERR_UNSUPPORTED;
    TRY(copy_member(header, "typ", ret->typ, sizeof ret->typ));
    TRY(copy_member(header, "kid", ret->kid, sizeof ret->kid));
    if (json_object_size(header) != HEADER_MEMBERS)
        return ERR_INVALID;
    return check_thumbprint(ret->kid);
}

static enum err parse_header(struct bytes part, struct jws *ret)
{
    uint8_t text[JWS_HEADER_MAX_BYTES];
    size_t len;
    if (part.len > HEADER_MAX_CHARS)
        return ERR_TOO_BIG;
    TRY(base64url_decode(part, text, sizeof text, &len));
    json_t *header = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, NULL);
    enum err e = json_is_object(header) ? read_header(header, ret) : ERR_MALFORMED;
    json_decref(header);
    return e;
}

static enum err parse_payload(struct bytes part, struct buf *ret)
{
    size_t cap = part.len / 4 * 3 + 3, len;
    uint8_t *at = buf_reserve(ret, cap);
    if (!at)
        return ERR_NOMEM;
    enum err e = base64url_decode(part, at, cap, &len);
    if (e == ERR_OK)
        buf_commit(ret, len);
    else
        buf_done(ret);
    return e;
}

enum err jws_parse(struct bytes compact, size_t max, struct jws *ret)
{
    struct jws jws = {0};
    struct bytes part[PART_COUNT];
    size_t signature_len;
    if (compact.len > max)
        return ERR_TOO_BIG;
    TRY(split(compact, part));
    TRY(parse_header(part[HEADER], &jws));
    if (part[SIGNATURE].len != BASE64URL_SIZE(P256_SIGNATURE_BYTES) - 1)
        return ERR_MALFORMED;
    TRY(base64url_decode(part[SIGNATURE], jws.signature, sizeof jws.signature, &signature_len));
    jws.signing_input = bytes_make(compact.p, part[HEADER].len + 1 + part[PAYLOAD].len);
    TRY(parse_payload(part[PAYLOAD], &jws.payload));
    *ret = jws;
    return ERR_OK;
}

void jws_done(struct jws *jws)
{
    buf_done(&jws->payload);
}

enum err jws_verify(const struct jws *jws, const uint8_t pub[P256_PUBLIC_BYTES])
{
    return p256_verify(pub, jws->signing_input, jws->signature);
}
