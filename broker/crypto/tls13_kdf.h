/**
 * TLS 1.3's key schedule as a provider of OpenSSL inside this program: the algorithm TLS13-KDF, which libssl asks for
 * each secret and key of a handshake. Everything else stays with OpenSSL's own providers.
 *
 *     libssl --TLS13-KDF--> tls13_kdf (crypto/hkdf) --each expansion--> whoever observes
 *
 * It is there for two reasons: who observes learns a connection's traffic secrets, keys and IVs as they are made, without
 * the hex of the keylog callback; and it takes less than OpenSSL's own (tests/bench/tls_bench.c).
 *
 * The algorithm does not know for which connection it works. Who observes does so only around calls of OpenSSL for that
 * one connection, and lets the keys prove themselves before they are used (net/parking.h).
 */
#ifndef NANOPUSH_CRYPTO_TLS13_KDF_H
#define NANOPUSH_CRYPTO_TLS13_KDF_H

#include "base/bytes.h"

#define TLS13_KDF_PROVIDER "nanopush"

/** For SSL_CTX_new_ex(): a context whose connections use it where it is loaded, and else OpenSSL's own. */
#define TLS13_KDF_PREFERRED "?provider=" TLS13_KDF_PROVIDER

/**
 * Use it from now on, for every connection of contexts that prefer it. Loading it twice is loading it once.
 * @return ERR_OK; ERR_CRYPTO if OpenSSL does not take it, and then nothing has changed.
 */
MUST_CHECK enum err tls13_kdf_load(void);

/** Use OpenSSL's own again; when it is not loaded, nothing happens. Between two calls of OpenSSL. */
void tls13_kdf_unload(void);

/**
 * HKDF-Expand-Label(@p secret, @p label, ...) has made @p out. All three are valid within the call only, which must not
 * call OpenSSL.
 * @param label  without "tls13 ".
 */
typedef void (*tls13_kdf_fn)(struct bytes secret, struct bytes label, struct bytes out, void *arg);

/** Tell @p fn of every expansion until the next call; NULL: nobody. There is one observer. */
void tls13_kdf_observe(tls13_kdf_fn fn, void *arg);

#endif
