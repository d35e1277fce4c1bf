/**
 * Portals' client certificates (SECURITY, "TLS"): what one says of its owner. Never its common name: who may have a CA
 * sign a name of their choice there may be anybody.
 *
 * TLS itself asks for a certificate and lets every caller through who has the key of the one that they show, also where
 * it is out of date or from nowhere: whose it is is decided with each call, where it can be answered in words.
 */
#ifndef NANOPUSH_CRYPTO_CLIENT_CERTIFICATE_H
#define NANOPUSH_CRYPTO_CLIENT_CERTIFICATE_H

#include <openssl/ssl.h>

#include "base/buf.h"
#include "crypto/digest.h"

#define CLIENT_CERTIFICATE_NAME_SIZE 65 /* of an organisation's or portal's id, NUL included */

struct client_certificate {
    uint8_t fingerprint[SHA256_BYTES]; /* SHA-256 of the whole, DER */
    int64_t from_unix_s, until_unix_s; /* valid: both included */
    bool trusted; /* issued, for clients, by a CA that tls_ask_client_certificate() was given */
    /* Of its one URI among the subject alternative names, "nanopush://<organisation>/<portal>"; both "" where there is
     * none, another, or more than one URI. */
    char organisation[CLIENT_CERTIFICATE_NAME_SIZE], portal[CLIENT_CERTIFICATE_NAME_SIZE];
};

/**
 * Ask clients for a certificate, and remember whether it came from one of the CAs.
 * @param      ca_path  PEM, one certificate or more; NULL: no CA, so that none is trusted.
 * @param[out] why      on error, one line for the operator is appended.
 * @return ERR_OK; ERR_CONFIG if the file cannot be used; ERR_NOMEM.
 */
MUST_CHECK enum err tls_ask_client_certificate(SSL_CTX *ctx, const char *ca_path, struct buf *why);

/** What the client of a finished handshake has shown. @return ERR_OK; ERR_NOT_FOUND: none; ERR_MALFORMED; ERR_CRYPTO. */
MUST_CHECK enum err client_certificate_of(SSL *ssl, struct client_certificate *ret);

/** The same of a certificate by itself; @p trusted is copied. @return ERR_OK; ERR_MALFORMED; ERR_CRYPTO. */
MUST_CHECK enum err client_certificate_read(X509 *cert, bool trusted, struct client_certificate *ret);

/** The fingerprint of the first certificate in a PEM file. @return ERR_OK; ERR_IO; ERR_MALFORMED; ERR_CRYPTO. */
MUST_CHECK enum err client_certificate_file_fingerprint(const char *path, uint8_t ret[SHA256_BYTES]);

#endif
