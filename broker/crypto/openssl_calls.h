/**
 * For the files of crypto/ only: what calls of OpenSSL want around them.
 */
#ifndef NANOPUSH_CRYPTO_OPENSSL_CALLS_H
#define NANOPUSH_CRYPTO_OPENSSL_CALLS_H

#include <openssl/err.h>

#include "base/err.h"

/**
 * Empty OpenSSL's error queue and return @p e. The queue belongs to the thread, not to an object: what a
 * failed call leaves there, SSL_get_error() on any connection would take for that connection's own failure.
 */
static inline enum err openssl_failed(enum err e)
{
    ERR_clear_error();
    return e;
}

/** Passphrase callback for PEM readers that has none; OpenSSL's own would stop and ask at the terminal. */
static inline int openssl_no_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out, (void)size, (void)writing, (void)arg;
    return -1;
}

#endif
