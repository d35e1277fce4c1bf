/**
 * X.509 certificates in memory, for authority.c, which keeps the files. OpenSSL's objects are used as they
 * are.
 */
#ifndef NANOPUSH_CRYPTO_CERTIFICATE_H
#define NANOPUSH_CRYPTO_CERTIFICATE_H

#include <openssl/x509.h>
#include <time.h>

#include "base/bytes.h"

#define CERTIFICATE_SANS_MAX      32
#define CERTIFICATE_CA_DAYS       7305 /* 20 years */
#define CERTIFICATE_LEAF_DAYS     397  /* what Apple's platforms accept of a server, with a day to spare */
#define CERTIFICATE_BACKDATE_S    3600 /* a phone's clock may be behind */
#define CERTIFICATE_SERIAL_BITS   128
#define CERTIFICATE_NAME_MAX      64 /* characters of a common name (RFC 5280, A.1, ub-common-name) */
#define CERTIFICATE_DNS_NAME_MAX  253
#define CERTIFICATE_DNS_LABEL_MAX 63

/** Whom a leaf is for, and by whom. Nothing is kept. */
struct certificate_leaf {
    EVP_PKEY *key; /* its public half goes in */
    const char *common_name;
    const char *const *sans; /* DNS names or addresses, san_count of them */
    size_t san_count;
    X509 *ca;
    EVP_PKEY *ca_key;
};

/** True if @p san can stand in a certificate: an IPv4 or IPv6 address, or a DNS name, "*." at its front
 * allowed. */
bool certificate_san_valid(const char *san);

/**
 * Make a self-signed CA: CA:TRUE, pathlen 0, keyCertSign and cRLSign, valid for CERTIFICATE_CA_DAYS.
 * @param[out] ret  freed with X509_free().
 * @return ERR_OK; ERR_TOO_BIG if the common name is above CERTIFICATE_NAME_MAX; ERR_CRYPTO.
 */
MUST_CHECK enum err certificate_new_ca(EVP_PKEY *key, const char *common_name, time_t now, X509 **ret);

/**
 * Issue a server's certificate: serverAuth, digitalSignature, valid for CERTIFICATE_LEAF_DAYS.
 * @param[out] ret  freed with X509_free().
 * @return ERR_OK; ERR_INVALID if there is no SAN, more than CERTIFICATE_SANS_MAX, or one that is not valid;
 *         ERR_TOO_BIG as certificate_new_ca(); ERR_CRYPTO.
 */
MUST_CHECK enum err certificate_new_leaf(const struct certificate_leaf *leaf, time_t now, X509 **ret);

/** True if @p cert was issued by @p ca, its signature included. */
bool certificate_issued_by(X509 *cert, X509 *ca);

/** True if @p cert names @p san among its SANs; a wildcard counts only for itself. */
bool certificate_has_san(X509 *cert, const char *san);

#endif
