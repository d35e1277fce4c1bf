/**
 * OpenSSL's memory, cleansed when it is freed. By itself OpenSSL leaves traffic secrets and the exporter's secret of a
 * connection that is gone in the heap, for as long as nothing else is put there.
 */
#ifndef NANOPUSH_CRYPTO_OPENSSL_MEMORY_H
#define NANOPUSH_CRYPTO_OPENSSL_MEMORY_H

#include "base/err.h"

/**
 * Cleanse from now on, in this process and its children. Before anything else of OpenSSL is called.
 * @return ERR_OK; ERR_BAD_STATE if OpenSSL has allocated already.
 */
MUST_CHECK enum err openssl_memory_cleanse(void);

#endif
