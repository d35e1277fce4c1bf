/**
 * The keys of a TLS 1.3 connection after its handshake: traffic secrets and what is derived from them (RFC 8446, 7.1
 * to 7.3), and the protection of single records (5.2, 5.3). Knows no connection and counts nothing: that a sequence
 * number is used once with a key is the caller's business, and the worst mistake there is.
 */
#ifndef NANOPUSH_CRYPTO_TRAFFIC_H
#define NANOPUSH_CRYPTO_TRAFFIC_H

#include <stdint.h>

#include "base/bytes.h"

#define TRAFFIC_SECRET_MAX_BYTES 48
#define TRAFFIC_KEY_MAX_BYTES    32
#define TRAFFIC_IV_BYTES         12
#define TRAFFIC_TAG_BYTES        16
#define TRAFFIC_HEADER_BYTES     5 /* of a record: the additional data of its protection */

/** A row of traffic_suite.def. */
struct traffic_suite {
    uint16_t id; /* as in the handshake (RFC 8446, B.4) */
    uint8_t secret_bytes, key_bytes;
    const char *name, *cipher, *digest; /* as OpenSSL calls them */
};

#define SUITE(ident, id, name, cipher, digest, secret_bytes, key_bytes) TRAFFIC_##ident,
enum traffic_suite_index {
#include "crypto/traffic_suite.def"
    TRAFFIC_SUITE_COUNT
};
#undef SUITE

extern const struct traffic_suite traffic_suites[TRAFFIC_SUITE_COUNT];

/** The suite with this number; NULL if there is no row for it. */
const struct traffic_suite *traffic_suite_find(uint16_t id);

/**
 * HKDF-Expand-Label (RFC 8446, 7.1) with an empty context.
 * @param secret  suite->secret_bytes.
 * @param label   without "tls13 ", at most HKDF_LABEL_MAX_BYTES.
 * @param len     bytes wanted, 1 to suite->secret_bytes.
 * @return ERR_OK; ERR_INVALID; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err traffic_expand(const struct traffic_suite *suite, const uint8_t *secret,
                                   const char *label, uint8_t *out, size_t len);

/** A view of the record key of one direction. */
struct traffic_key {
    const uint8_t *key; /* suite's key_bytes */
    const uint8_t *iv;  /* TRAFFIC_IV_BYTES */
};

/**
 * The cipher contexts of one process: one a suite and direction, keyed anew for each record. Even so a message costs
 * fewer instructions than in OpenSSL's own record layer (tests/bench/tls_bench.c), and a context for each connection
 * would be larger than all else that a parked one needs.
 */
struct traffic_ciphers;

/** @return NULL when memory is out or OpenSSL lacks a cipher. */
struct traffic_ciphers *traffic_ciphers_new(void);

/** NULL is allowed. */
void traffic_ciphers_free(struct traffic_ciphers *ciphers);

/**
 * Overwrite the key that was used last with @p suite: for the end of a connection, whose keys nothing shall remember.
 */
void traffic_ciphers_forget(struct traffic_ciphers *ciphers, const struct traffic_suite *suite);

/**
 * Encrypt @p len bytes in place and write the tag behind them.
 * @param header  the record's, as it is sent.
 * @param text    len + TRAFFIC_TAG_BYTES of room.
 * @return ERR_OK; ERR_CRYPTO, and then nothing of @p text may be sent, nor anything else be sealed with this key.
 */
MUST_CHECK enum err traffic_seal(struct traffic_ciphers *ciphers, const struct traffic_suite *suite,
                                 struct traffic_key key, uint64_t sequence,
                                 const uint8_t header[TRAFFIC_HEADER_BYTES], uint8_t *text, size_t len);

/**
 * Check and decrypt @p sealed, whose last TRAFFIC_TAG_BYTES are the tag.
 * @param[out] text  sealed.len bytes of room, of which sealed.len - TRAFFIC_TAG_BYTES are written; cleansed on error.
 * @return ERR_OK; ERR_DENIED if it does not open, for whatever reason.
 */
MUST_CHECK enum err traffic_open(struct traffic_ciphers *ciphers, const struct traffic_suite *suite,
                                 struct traffic_key key, uint64_t sequence,
                                 const uint8_t header[TRAFFIC_HEADER_BYTES], struct bytes sealed,
                                 uint8_t *text);

#endif
