/**
 * P-256 keys of simulated phones, as bare numbers: tens of thousands lie in a file, and none costs memory until it
 * signs.
 */
#ifndef NANOPUSH_BENCH_KEYS_H
#define NANOPUSH_BENCH_KEYS_H

#include "crypto/p256.h"

#define KEYS_PRIVATE_BYTES 32

struct key_pair {
    uint8_t pub[P256_PUBLIC_BYTES]; /* uncompressed point */
    uint8_t scalar[KEYS_PRIVATE_BYTES];
};

/** Make a new pair. @return ERR_OK; ERR_CRYPTO. */
MUST_CHECK enum err keys_generate(struct key_pair *ret);

/** Sign SHA-256(@p message): raw r || s. @return ERR_OK; ERR_CRYPTO. */
MUST_CHECK enum err keys_sign(const struct key_pair *key, struct bytes message,
                              uint8_t sig[P256_SIGNATURE_BYTES]);

#endif
