/**
 * What SIGHUP brings: the configuration and the certificates, read again as a whole. The master does so first, and only
 * what holds goes on to the children, which read it themselves.
 */
#ifndef NANOPUSH_PROC_RELOAD_H
#define NANOPUSH_PROC_RELOAD_H

#include "proc/child.h"

struct reload {
    struct config *config;
    SSL_CTX *device_tls, *portal_tls;
};

/**
 * Make the TLS contexts of both ports from the data directory's files.
 * @param[out] why  one line, on error.
 * @return ERR_OK; what tls_server_new() and ticket_enable() return.
 */
MUST_CHECK enum err reload_tls(const struct child_setup *setup, SSL_CTX **device_tls, SSL_CTX **portal_tls,
                               struct buf *why);

/**
 * Read all of it. Nothing of @p setup is changed.
 * @param[out] ret  to be given to reload_adopt().
 * @param[out] why  one line, on error.
 * @return ERR_OK; ERR_CONFIG; ERR_DENIED where the CA that phones pin is another, which only a restart may bring; as
 * reload_tls().
 */
MUST_CHECK enum err reload_read(const struct child_setup *setup, struct reload *ret, struct buf *why);

/** Free what reload_read() made, instead of reload_adopt(). */
void reload_drop(struct reload *reload);

/** Put what can be changed in the place of what @p setup has, and free the rest. */
void reload_adopt(struct child_setup *setup, struct reload *reload);

#endif
