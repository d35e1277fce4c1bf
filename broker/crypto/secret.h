/**
 * The cluster secret: one small file, the same on every machine, never in Redis, from which all symmetric
 * keys come.
 *
 *     # comment
 *     tag <64 hex>         key of the user tags; never rotated, since the names of all keys in Redis depend
 * on it current <64 hex>     root of what follows; to rotate, move it to previous and write a new one
 *     previous <64 hex>    optional: seals made under it are still accepted
 *
 *     tag -----------------------------------------> user tag key
 *     current --HKDF "nanopush/1 seal"-------------> seal key          previous --same--> second seal key
 *             --HKDF "nanopush/1 code"-------------> code key
 *             --HKDF "nanopush/1 ticket root"------> ticket root --HKDF, per period and anchor--> ticket keys
 *
 * The file's own values for current and previous do not outlive secret_load(). The ticket root outlives it
 * until secret_forget_root(): a worker that has forgotten it holds the ticket keys that it was given and no
 * others.
 */
#ifndef NANOPUSH_CRYPTO_SECRET_H
#define NANOPUSH_CRYPTO_SECRET_H

#include "base/bytes.h"
#include "crypto/digest.h"

#define SECRET_FILE_MAX_BYTES 4096
#define USER_TAG_BYTES        10
#define USER_TAG_SIZE         HEX_SIZE(USER_TAG_BYTES) /* 20 hex digits and NUL */
#define CODE_MAX_DIGITS       8

struct secret;

/**
 * Write a new secret file of mode 0600 with random values, atomically and durably, never over one that is
 * there.
 * @return ERR_OK; ERR_EXISTS; ERR_NOT_FOUND if the directory does not exist; ERR_DENIED; ERR_TOO_BIG if the
 * path is too long; ERR_NOMEM; ERR_CRYPTO; ERR_IO.
 */
MUST_CHECK enum err secret_create(const char *path);

/**
 * Read a secret file and derive the keys.
 * @param[out] ret  freed with secret_free().
 * @return ERR_OK; ERR_NOT_FOUND; ERR_DENIED if it cannot be read, or if its group or others have any access
 * to it; ERR_INVALID if it is no regular file; ERR_TOO_BIG above SECRET_FILE_MAX_BYTES; ERR_MALFORMED if a
 * line is none of the above, a name occurs twice, or tag or current is missing; ERR_NOMEM; ERR_CRYPTO;
 * ERR_IO.
 */
MUST_CHECK enum err secret_load(const char *path, struct secret **ret);

/** Cleanse and free; NULL is allowed. */
void secret_free(struct secret *s);

/** Cleanse the ticket root, the one key left that others are derived from. For workers, once they are forked.
 */
void secret_forget_root(struct secret *s);

/**
 * The hash tag of a user's keys in Redis: the first 10 bytes of HMAC(user tag key, lp(org) || lp(user)), in
 * hex.
 * @return ERR_OK; ERR_TOO_BIG if a name is above LP_MAX_BYTES; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err secret_user_tag(const struct secret *s, struct bytes org, struct bytes user,
                                    char out[USER_TAG_SIZE]);

/**
 * Seal a value that goes to Redis: HMAC(current seal key, lp(key name) || value). The name is in it, so that
 * a sealed value cannot be moved to another key.
 * @return as secret_user_tag().
 */
MUST_CHECK enum err secret_seal(const struct secret *s, struct bytes key_name, struct bytes value,
                                uint8_t mac[SHA256_BYTES]);

/**
 * Check a seal, under the current key and then the previous, in constant time.
 * @return ERR_OK; ERR_BAD_SIGNATURE; and as secret_user_tag().
 */
MUST_CHECK enum err secret_check_seal(const struct secret *s, struct bytes key_name, struct bytes value,
                                      const uint8_t mac[SHA256_BYTES]);

/**
 * The code of a challenge: the same for the same challenge until the secret is rotated (a rotation fails the
 * codes of challenges that are pending at that moment). Without bias: HMAC(code key, lp(challenge id)) is
 * read as four big-endian 64-bit numbers; the first one below the largest multiple of 10^digits that fits is
 * taken modulo 10^digits. That all four are refused happens with a probability below 2^-140 and is
 * ERR_CRYPTO.
 *
 * @param      digits  1 to CODE_MAX_DIGITS.
 * @param[out] out     @p digits decimal digits with leading zeros, and NUL.
 * @return ERR_OK; ERR_INVALID if @p digits is out of range; and as secret_user_tag().
 */
MUST_CHECK enum err secret_challenge_code(const struct secret *s, struct bytes challenge_id, unsigned digits,
                                          char *out);

/**
 * Key for the session tickets of one period, for phones that trust one anchor:
 * HKDF(ticket root, "nanopush/1 ticket <period> <anchor in hex>").
 * @param period  number of the 12-hour period since 1970.
 * @param anchor  SHA-256 of the trust anchor's SPKI.
 * @param len     bytes wanted, 1 to 255 * SHA256_BYTES.
 * @return ERR_OK; ERR_BAD_STATE after secret_forget_root(); ERR_INVALID; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err secret_ticket_key(const struct secret *s, uint64_t period,
                                      const uint8_t anchor[SHA256_BYTES], uint8_t *out, size_t len);

#endif
