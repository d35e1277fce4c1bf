/**
 * The certificates that a broker makes for itself on first start: a CA, whose key phones pin, and server
 * certificates under it.
 *
 *     <dir>/<name>-ca.pem, <dir>/<name>-ca.key     the CA, P-256, 20 years
 *     <dir>/<leaf>.pem, <dir>/<leaf>.key           leaf followed by its CA (the file tls_server_new() takes),
 * 397 days
 *
 * Keys have mode 0600 and are refused when others may read them. Files appear whole or not at all, and the
 * key always before its certificate: a start that was cut short is finished by the next one, with the same
 * key. Blocking: for start and reload.
 */
#ifndef NANOPUSH_CRYPTO_AUTHORITY_H
#define NANOPUSH_CRYPTO_AUTHORITY_H

#include "base/bytes.h"
#include "crypto/digest.h"

#define AUTHORITY_FILE_MAX_BYTES 65536
#define AUTHORITY_RENEW_DAYS     30

/**
 * Make the CA unless it is there. One that is there is never changed: phones pin its key.
 * @param dir   directory, which must exist.
 * @param name  up to 48 characters.
 * @return ERR_OK; ERR_NOT_FOUND if the directory, or the key of a certificate that is there, is missing;
 *         ERR_DENIED if a file cannot be read or written, or others may read the key; ERR_MALFORMED if a file
 * is no PEM; ERR_CONFIG if key and certificate do not belong together; ERR_INVALID if a file is no regular
 * one; ERR_TOO_BIG; ERR_NOMEM; ERR_CRYPTO; ERR_IO.
 */
MUST_CHECK enum err authority_ensure(const char *dir, const char *name);

/**
 * Issue a server's certificate unless there is one that will do: by this CA, for the key beside it, with all
 * of the names, and valid for AUTHORITY_RENEW_DAYS more. A renewal keeps the key, so that a server that reads
 * both files at any moment gets a pair that fits; delete the key to have a new one.
 * @param ca_name  the @p name given to authority_ensure(), which must have run.
 * @param leaf     name of the files, up to 48 characters.
 * @param sans     @p count (1 to 32) DNS names or IP addresses.
 * @return as authority_ensure(); ERR_NOT_FOUND if there is no CA; ERR_INVALID also for a name that is
 * neither.
 */
MUST_CHECK enum err authority_ensure_leaf(const char *dir, const char *ca_name, const char *leaf,
                                          const char *const *sans, size_t count);

/**
 * The pin: SHA-256 of the SubjectPublicKeyInfo (RFC 7469, 2.4) of the first certificate in a PEM file.
 * @return ERR_OK; ERR_NOT_FOUND; ERR_DENIED; ERR_INVALID; ERR_TOO_BIG; ERR_MALFORMED; ERR_NOMEM; ERR_CRYPTO;
 * ERR_IO.
 */
MUST_CHECK enum err authority_spki_sha256(const char *pem_path, uint8_t out[SHA256_BYTES]);

#endif
