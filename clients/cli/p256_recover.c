#include "cli/p256_recover.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>
#include <string.h>

#include "crypto/digest.h"

#define NUMBER_BYTES 32

/** The names of SEC 1, 4.1.6; n is the group's order. */
struct recovery {
    EC_GROUP *group;
    BN_CTX *ctx;                       /* owns the numbers */
    BIGNUM *r, *s, *e, *x, *r_inverse; /* x: of R, r or r + n */
    BIGNUM *of_g, *of_R;               /* Q = of_g G + of_R R */
    EC_POINT *R, *Q;
};

static enum err set_up(struct recovery *it)
{
    it->group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    it->ctx = BN_CTX_new();
    if (!it->group || !it->ctx)
        return ERR_NOMEM;
    BN_CTX_start(it->ctx);
    BIGNUM **const numbers[] = {&it->r, &it->s, &it->e, &it->x, &it->r_inverse, &it->of_g, &it->of_R};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        *numbers[i] = BN_CTX_get(it->ctx);
        if (!*numbers[i])
            return ERR_NOMEM;
    }
    it->R = EC_POINT_new(it->group);
    it->Q = EC_POINT_new(it->group);
    return it->R && it->Q ? ERR_OK : ERR_NOMEM;
}

static void tear_down(struct recovery *it)
{
    EC_POINT_free(it->R);
    EC_POINT_free(it->Q);
    EC_GROUP_free(it->group);
    BN_CTX_free(it->ctx);
    ERR_clear_error(); /* of candidates that were none */
}

static bool in_range(const BIGNUM *number, const BIGNUM *order)
{
    return !BN_is_zero(number) && BN_cmp(number, order) < 0;
}

/* From R follows Q = (s R - e G) / r. */
static enum err read_signature(struct recovery *it, struct bytes message,
                               const uint8_t signature[P256_SIGNATURE_BYTES])
{
    const BIGNUM *n = EC_GROUP_get0_order(it->group);
    uint8_t digest[SHA256_BYTES];
    TRY(sha256(message, digest));
    if (!BN_bin2bn(signature, NUMBER_BYTES, it->r) ||
        !BN_bin2bn(signature + NUMBER_BYTES, NUMBER_BYTES, it->s) || !BN_bin2bn(digest, sizeof digest, it->e))
        return ERR_NOMEM;
    if (!in_range(it->r, n) || !in_range(it->s, n))
        return ERR_BAD_SIGNATURE;
    bool made = BN_mod_inverse(it->r_inverse, it->r, n, it->ctx) &&
                BN_mod_mul(it->of_R, it->s, it->r_inverse, n, it->ctx) &&
                BN_mod_mul(it->of_g, it->e, it->r_inverse, n, it->ctx) && BN_sub(it->of_g, n, it->of_g) &&
                BN_copy(it->x, it->r);
    return made ? ERR_OK : ERR_CRYPTO;
}

/* @return ERR_BAD_SIGNATURE if the candidate is none. */
static enum err try_candidate(struct recovery *it, int odd, const char *thumbprint,
                              uint8_t out[P256_PUBLIC_BYTES])
{
    uint8_t key[P256_PUBLIC_BYTES];
    char its[P256_THUMBPRINT_SIZE];
    if (EC_POINT_set_compressed_coordinates(it->group, it->R, it->x, odd, it->ctx) != 1)
        return ERR_BAD_SIGNATURE; /* no point of the curve has this x */
    if (EC_POINT_mul(it->group, it->Q, it->of_g, it->R, it->of_R, it->ctx) != 1)
        return ERR_CRYPTO;
    if (EC_POINT_point2oct(it->group, it->Q, POINT_CONVERSION_UNCOMPRESSED, key, sizeof key, it->ctx) !=
        sizeof key)
        return ERR_BAD_SIGNATURE; /* the point at infinity */
    TRY(p256_thumbprint(key, its));
    if (strcmp(its, thumbprint) != 0)
        return ERR_BAD_SIGNATURE;
    memcpy(out, key, sizeof key);
    return ERR_OK;
}

static enum err try_all(struct recovery *it, const char *thumbprint, uint8_t out[P256_PUBLIC_BYTES])
{
    const BIGNUM *n = EC_GROUP_get0_order(it->group), *p = EC_GROUP_get0_field(it->group);
    while (BN_cmp(it->x, p) < 0) { /* n < p < 2 n: at most twice, and once but for one r in 2^32 */
        for (int odd = 0; odd < 2; odd++) {
            enum err e = try_candidate(it, odd, thumbprint, out);
            if (e != ERR_BAD_SIGNATURE)
                return e;
        }
        if (!BN_add(it->x, it->x, n))
            return ERR_NOMEM;
    }
    return ERR_BAD_SIGNATURE;
}

enum err p256_recover(const char *thumbprint, struct bytes message,
                      const uint8_t signature[P256_SIGNATURE_BYTES], uint8_t out[P256_PUBLIC_BYTES])
{
    struct recovery it = {0};
    enum err e = set_up(&it);
    if (e == ERR_OK)
        e = read_signature(&it, message, signature);
    if (e == ERR_OK)
        e = try_all(&it, thumbprint, out);
    tear_down(&it);
    return e;
}
