#include "crypto/inputs.h"

#include <string.h>

#define THUMBPRINT_CHARS (P256_THUMBPRINT_SIZE - 1)

/* With the NUL, which ends the name inside the input. */
#define DOMAIN(literal) bytes_make(literal, sizeof literal)

static enum err append_u32(struct buf *b, uint32_t n)
{
    const uint8_t big_endian[] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    return buf_append(b, bytes_make(big_endian, sizeof big_endian));
}

/* They go in without a length prefix: any other length would let characters move from one to the other. */
static enum err append_thumbprints(struct buf *b, const char *tp1, const char *tp2)
{
    if (strlen(tp1) != THUMBPRINT_CHARS || strlen(tp2) != THUMBPRINT_CHARS)
        return ERR_INVALID;
    TRY(buf_append(b, bytes_of(tp1)));
    return buf_append(b, bytes_of(tp2));
}

static enum err finish(enum err e, struct buf *built, struct buf *ret)
{
    if (e == ERR_OK)
        *ret = *built;
    else
        buf_done(built);
    return e;
}

static enum err append_hello(struct buf *b, const uint8_t *cb, struct bytes org, struct bytes device_id,
                             uint32_t generation, const uint8_t *anchor, uint32_t capabilities)
{
    TRY(buf_append(b, DOMAIN("nanopush/1 hello")));
    TRY(buf_append(b, bytes_make(cb, CHANNEL_BINDING_BYTES)));
    TRY(lp_append(b, org));
    TRY(lp_append(b, device_id));
    TRY(append_u32(b, generation));
    TRY(buf_append(b, bytes_make(anchor, SHA256_BYTES)));
    return append_u32(b, capabilities);
}

enum err input_hello(const uint8_t cb[CHANNEL_BINDING_BYTES], struct bytes org, struct bytes device_id,
                     uint32_t generation, const uint8_t anchor[SHA256_BYTES], uint32_t capabilities,
                     struct buf *ret)
{
    struct buf b = {0};
    return finish(append_hello(&b, cb, org, device_id, generation, anchor, capabilities), &b, ret);
}

static enum err append_enrol(struct buf *b, const uint8_t *cb, struct bytes org, struct bytes enrolment_id,
                             const char *tp1, const char *tp2)
{
    TRY(buf_append(b, DOMAIN("nanopush/1 enrol")));
    TRY(buf_append(b, bytes_make(cb, CHANNEL_BINDING_BYTES)));
    TRY(lp_append(b, org));
    TRY(lp_append(b, enrolment_id));
    return append_thumbprints(b, tp1, tp2);
}

enum err input_enrol(const uint8_t cb[CHANNEL_BINDING_BYTES], struct bytes org, struct bytes enrolment_id,
                     const char *tp1, const char *tp2, struct buf *ret)
{
    struct buf b = {0};
    return finish(append_enrol(&b, cb, org, enrolment_id, tp1, tp2), &b, ret);
}

static enum err append_keys(struct buf *b, struct bytes org, struct bytes user, struct bytes enrolment_id,
                            const char *tp1, const char *tp2)
{
    TRY(buf_append(b, DOMAIN("nanopush/1 keys")));
    TRY(lp_append(b, org));
    TRY(lp_append(b, user));
    TRY(lp_append(b, enrolment_id));
    return append_thumbprints(b, tp1, tp2);
}

enum err enrol_proof(struct bytes s, struct bytes org, struct bytes user, struct bytes enrolment_id,
                     const char *tp1, const char *tp2, uint8_t out[SHA256_BYTES])
{
    struct buf b = {0};
    enum err e = append_keys(&b, org, user, enrolment_id, tp1, tp2);
    if (e == ERR_OK) {
        struct bytes input = buf_view(&b);
        e = hmac_sha256(s, &input, 1, out);
    }
    buf_done(&b);
    return e;
}

enum err input_display_digest(struct bytes display, uint8_t out[SHA256_BYTES])
{
    struct buf b = {0};
    enum err e = buf_append(&b, DOMAIN("nanopush-display-v1"));
    if (e == ERR_OK)
        e = buf_append(&b, display);
    if (e == ERR_OK)
        e = sha256(buf_view(&b), out);
    buf_done(&b);
    return e;
}

enum err input_display_hash(struct bytes display, char out[DISPLAY_HASH_SIZE])
{
    uint8_t digest[SHA256_BYTES];
    TRY(input_display_digest(display, digest));
    base64url_encode(bytes_make(digest, sizeof digest), out);
    return ERR_OK;
}
