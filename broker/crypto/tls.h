/**
 * TLS contexts for the broker's ports, and the channel binding. No sockets here: net/ drives the connections.
 */
#ifndef NANOPUSH_CRYPTO_TLS_H
#define NANOPUSH_CRYPTO_TLS_H

#include <openssl/ssl.h>

#include "base/buf.h"

#define TLS_EXPORT_BYTES   32
#define TLS_ALPN_NAME_MAX  255
#define TLS_ALPN_NAMES_MAX 8
#define TLS_ALPN_DEVICE    "nanopush/1"

/**
 * Make a server's context: TLS 1.3 only; X25519, then P-256; AES-128-GCM first, by the server's preference;
 * no early data, no tickets and no session cache (a port that resumes turns them on itself); no
 * renegotiation; buffers released while idle. Client certificates are not asked for; that, too, is the port's
 * own business.
 *
 * ALPN (RFC 7301): of what the client offers, the first of @p protocols is chosen; an offer without any of
 * them ends the handshake with the alert no_application_protocol. A client that offers nothing is let
 * through, without a protocol, unless @p alpn_required: then it meets the same alert.
 *
 * @param      chain_path     PEM: the server's certificate, then the CAs above it.
 * @param      key_path       PEM: its private key, without passphrase.
 * @param      protocols      @p count names (0 to TLS_ALPN_NAMES_MAX) by preference; copied. With none there
 * is no ALPN.
 * @param[out] ret            freed with SSL_CTX_free().
 * @param[out] why            on error, one line for the operator is appended, without newline; the caller
 * ends with buf_done().
 * @return ERR_OK; ERR_CONFIG if a file cannot be read or used, or the key is not the certificate's;
 * ERR_INVALID if
 *         @p protocols has too many or an empty or over-long name, or none with @p alpn_required; ERR_NOMEM;
 *         ERR_CRYPTO.
 */
MUST_CHECK enum err tls_server_new(const char *chain_path, const char *key_path, const char *const *protocols,
                                   size_t count, bool alpn_required, SSL_CTX **ret, struct buf *why);

/**
 * Make a client's context: TLS 1.3 only, the server's certificate checked up to @p ca_path and for @p name.
 *
 * @param      ca_path     PEM: the CAs that are trusted; no others are.
 * @param      name        a DNS name or an address that the server's certificate must bear.
 * @param      chain_path  PEM: the client's own certificate; "" for none, then @p key_path is not looked at.
 * @param[out] ret         freed with SSL_CTX_free().
 * @param[out] why         as tls_server_new().
 * @return ERR_OK; ERR_CONFIG if a file cannot be read or used, or the key is not the certificate's; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err tls_client_new(const char *ca_path, const char *name, const char *chain_path,
                                   const char *key_path, SSL_CTX **ret, struct buf *why);

/**
 * Keying material of this connection (RFC 8446, 7.5; RFC 9266 for the use), without context: the channel
 * binding.
 * @return ERR_OK; ERR_BAD_STATE before the handshake is done; ERR_CRYPTO.
 */
MUST_CHECK enum err tls_export(SSL *ssl, const char *label, uint8_t out[TLS_EXPORT_BYTES]);

#endif
