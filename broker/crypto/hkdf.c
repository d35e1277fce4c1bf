#include "crypto/hkdf.h"

#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

#include "crypto/openssl_calls.h"

#define BLOCK_MAX_BYTES   128 /* of what the digests take in at once */
#define CONTEXT_MAX_BYTES 255
#define LABEL_PREFIX      "tls13 "
#define INNER_PAD         0x36 /* RFC 2104 */
#define OUTER_PAD         0x5c

struct hkdf {
    const char *name, *other_name;
    size_t bytes, block_bytes;
    EVP_MD *md;
    EVP_MD_CTX *ctx; /* between two calls it knows nothing */
    uint8_t empty[HKDF_BLOCK_MAX_BYTES];
};

static bool prepare(struct hkdf *h)
{
    unsigned made = 0;
    h->md = EVP_MD_fetch(NULL, h->name, NULL);
    h->ctx = EVP_MD_CTX_new();
    if (h->md && h->ctx && EVP_DigestInit_ex2(h->ctx, h->md, NULL) == 1 &&
        EVP_DigestFinal_ex(h->ctx, h->empty, &made) == 1 && made == h->bytes)
        return true;
    EVP_MD_free(h->md);
    EVP_MD_CTX_free(h->ctx);
    h->md = NULL;
    h->ctx = NULL;
    ERR_clear_error();
    return false;
}

const struct hkdf *hkdf_find(const char *digest)
{
    static struct hkdf digests[] = {
        {.name = "SHA2-256", .other_name = "SHA256", .bytes = 32, .block_bytes = 64},
        {.name = "SHA2-384", .other_name = "SHA384", .bytes = 48, .block_bytes = 128},
    };
    for (size_t i = 0; i < sizeof digests / sizeof *digests; i++)
        if (strcasecmp(digest, digests[i].name) == 0 || strcasecmp(digest, digests[i].other_name) == 0)
            return digests[i].md || prepare(&digests[i]) ? &digests[i] : NULL;
    return NULL;
}

size_t hkdf_bytes(const struct hkdf *h)
{
    return h->bytes;
}

const uint8_t *hkdf_empty_digest(const struct hkdf *h)
{
    return h->empty;
}

static bool digest_padded(const struct hkdf *h, struct bytes key, uint8_t pad, struct bytes text,
                          uint8_t *out)
{
    uint8_t block[BLOCK_MAX_BYTES];
    memset(block, pad, h->block_bytes);
    for (size_t i = 0; i < key.len; i++)
        block[i] ^= key.p[i];
    bool done = EVP_DigestInit_ex2(h->ctx, h->md, NULL) == 1 &&
                EVP_DigestUpdate(h->ctx, block, h->block_bytes) == 1 &&
                EVP_DigestUpdate(h->ctx, text.p, text.len) == 1 && EVP_DigestFinal_ex(h->ctx, out, NULL) == 1;
    bytes_cleanse(block, sizeof block);
    return done;
}

/* RFC 2104, for keys that are not longer than a block. What the context holds afterwards is the result itself, so it
 * begins anew. */
static enum err hmac(const struct hkdf *h, struct bytes key, struct bytes text, uint8_t *out)
{
    uint8_t inner[HKDF_BLOCK_MAX_BYTES];
    if (key.len > h->block_bytes)
        return ERR_INVALID;
    bool done = digest_padded(h, key, INNER_PAD, text, inner) &&
                digest_padded(h, key, OUTER_PAD, bytes_make(inner, h->bytes), out) &&
                EVP_DigestInit_ex2(h->ctx, h->md, NULL) == 1;
    bytes_cleanse(inner, sizeof inner);
    return done ? ERR_OK : openssl_failed(ERR_CRYPTO);
}

enum err hkdf_extract(const struct hkdf *h, struct bytes salt, struct bytes input, uint8_t *out)
{
    return hmac(h, salt, input, out);
}

enum err hkdf_expand_label(const struct hkdf *h, struct bytes secret, struct bytes label,
                           struct bytes context, uint8_t *out, size_t len)
{
    uint8_t info[2 + 1 + 255 + 1 + CONTEXT_MAX_BYTES + 1], block[HKDF_BLOCK_MAX_BYTES];
    size_t prefix_len = sizeof LABEL_PREFIX - 1, n = 0;
    if (secret.len != h->bytes || label.len > HKDF_LABEL_MAX_BYTES || context.len > CONTEXT_MAX_BYTES ||
        len == 0 || len > h->bytes)
        return ERR_INVALID;
    info[n++] = 0;
    info[n++] = (uint8_t)len;
    info[n++] = (uint8_t)(prefix_len + label.len);
    memcpy(info + n, LABEL_PREFIX, prefix_len);
    n += prefix_len;
    memcpy(info + n, label.p, label.len);
    n += label.len;
    info[n++] = (uint8_t)context.len;
    if (context.len > 0)
        memcpy(info + n, context.p, context.len);
    n += context.len;
    info[n++] = 1; /* HKDF-Expand's first and only block */
    enum err e = hmac(h, secret, bytes_make(info, n), block);
    if (e == ERR_OK)
        memcpy(out, block, len);
    bytes_cleanse(block, sizeof block);
    return e;
}
