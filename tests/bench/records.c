#include "records.h"

#include <openssl/evp.h>
#include <string.h>

#include "crypto/digest.h"

#define HEADER_BYTES    5
#define TAG_BYTES       16
#define TYPE_OUTER      23 /* application_data, whatever is inside */
#define LABEL_MAX_BYTES 64

/* HKDF-Expand-Label with an empty context, for what fits one block of SHA-256. */
static enum err expand(const uint8_t secret[RECORDS_SECRET_BYTES], const char *label, uint8_t *out,
                       size_t len)
{
    static const char prefix[] = "tls13 ";
    uint8_t input[LABEL_MAX_BYTES], block[SHA256_BYTES];
    size_t label_len = sizeof prefix - 1 + strlen(label), n = 0;
    input[n++] = 0;
    input[n++] = (uint8_t)len;
    input[n++] = (uint8_t)label_len;
    memcpy(input + n, prefix, sizeof prefix - 1);
    memcpy(input + n + sizeof prefix - 1, label, strlen(label));
    n += label_len;
    input[n++] = 0; /* context */
    input[n++] = 1; /* first block */
    struct bytes part = bytes_make(input, n);
    TRY(hmac_sha256(bytes_make(secret, RECORDS_SECRET_BYTES), &part, 1, block));
    memcpy(out, block, len);
    return ERR_OK;
}

enum err records_derive(struct records_half *half)
{
    TRY(expand(half->secret, "key", half->key, sizeof half->key));
    return expand(half->secret, "iv", half->iv, sizeof half->iv);
}

enum err records_update(struct records_half *half)
{
    TRY(expand(half->secret, "traffic upd", half->secret, sizeof half->secret));
    half->count = 0;
    return records_derive(half);
}

/* One context for all connections: they are many, and at work one at a time. */
static EVP_CIPHER_CTX *keyed(struct records_half *half, enum records_direction direction)
{
    static EVP_CIPHER_CTX *contexts[2];
    static EVP_CIPHER *cipher;
    uint8_t nonce[sizeof half->iv];
    EVP_CIPHER_CTX *ctx = contexts[direction];
    if (!ctx) {
        if (!cipher)
            cipher = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
        ctx = contexts[direction] = EVP_CIPHER_CTX_new();
        if (!cipher || !ctx ||
            EVP_CipherInit_ex2(ctx, cipher, NULL, NULL, direction == RECORDS_WRITE, NULL) != 1)
            return NULL;
    }
    memcpy(nonce, half->iv, sizeof nonce);
    for (size_t i = 0; i < 8; i++)
        nonce[sizeof nonce - 1 - i] ^= (uint8_t)(half->count >> (8 * i));
    if (EVP_CipherInit_ex2(ctx, NULL, half->key, nonce, direction == RECORDS_WRITE, NULL) != 1)
        return NULL;
    half->count++;
    return ctx;
}

enum err records_seal(struct records_half *half, uint8_t type, struct bytes in, struct buf *out)
{
    size_t body = in.len + 1 + TAG_BYTES;
    int n, rest;
    if (in.len > RECORDS_PLAIN_MAX)
        return ERR_TOO_BIG;
    uint8_t *p = buf_reserve(out, HEADER_BYTES + body);
    if (!p)
        return ERR_NOMEM;
    const uint8_t header[HEADER_BYTES] = {TYPE_OUTER, 3, 3, (uint8_t)(body >> 8), (uint8_t)body};
    memcpy(p, header, sizeof header);
    EVP_CIPHER_CTX *ctx = keyed(half, RECORDS_WRITE);
    uint8_t *at = p + HEADER_BYTES;
    bool done = ctx && EVP_CipherUpdate(ctx, NULL, &n, header, sizeof header) == 1 &&
                (in.len == 0 || EVP_CipherUpdate(ctx, at, &n, in.p, (int)in.len) == 1) &&
                EVP_CipherUpdate(ctx, at + in.len, &n, &type, 1) == 1 &&
                EVP_CipherFinal_ex(ctx, at + in.len + 1, &rest) == 1 &&
                EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, at + in.len + 1) == 1;
    if (!done)
        return ERR_CRYPTO;
    buf_commit(out, HEADER_BYTES + body);
    return ERR_OK;
}

enum err records_open(struct records_half *half, struct bytes record, uint8_t *out, size_t *len,
                      uint8_t *type)
{
    int n, rest;
    if (record.len < HEADER_BYTES + 1 + TAG_BYTES || record.p[0] != TYPE_OUTER)
        return ERR_MALFORMED;
    size_t body = record.len - HEADER_BYTES - TAG_BYTES;
    const uint8_t *at = record.p + HEADER_BYTES;
    EVP_CIPHER_CTX *ctx = keyed(half, RECORDS_READ);
    if (!ctx)
        return ERR_CRYPTO;
    if (EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, (void *)(at + body)) != 1 ||
        EVP_CipherUpdate(ctx, NULL, &n, record.p, HEADER_BYTES) != 1 ||
        EVP_CipherUpdate(ctx, out, &n, at, (int)body) != 1 || EVP_CipherFinal_ex(ctx, out + n, &rest) != 1)
        return ERR_MALFORMED;
    while (body > 0 && out[body - 1] == 0)
        body--;
    if (body == 0)
        return ERR_MALFORMED;
    *type = out[body - 1];
    *len = body - 1;
    return ERR_OK;
}
