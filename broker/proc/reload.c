#include "proc/reload.h"

#include <string.h>

#include "base/clock.h"
#include "crypto/authority.h"
#include "crypto/client_certificate.h"
#include "crypto/tls.h"

static int64_t now_unix_s(void)
{
    return clock_unix_ms() / 1000;
}

enum err reload_tls(const struct child_setup *setup, SSL_CTX **device_tls, SSL_CTX **portal_tls,
                    struct buf *why)
{
    static const char *const device_protocols[] = {TLS_ALPN_DEVICE};
    static const char *const portal_protocols[] = {"h2", "http/1.1"};
    char chain[DATADIR_PATH_SIZE], key[DATADIR_PATH_SIZE];
    SSL_CTX *device = NULL, *portal = NULL;
    datadir_file(setup->dir, "server.pem", chain);
    datadir_file(setup->dir, "server.key", key);
    enum err e = tls_server_new(chain, key, device_protocols, 1, true, &device, why);
    if (e == ERR_OK)
        e = ticket_enable(device, setup->tickets, now_unix_s);
    if (e == ERR_OK && SSL_CTX_set_block_padding(device, DEVICE_RECORD_BYTES) != 1)
        e = ERR_CRYPTO;
    if (e == ERR_OK)
        e = tls_server_new(chain, key, portal_protocols, 2, false, &portal, why);
    const char *portals_ca = setup->config->portal_client_ca;
    if (e == ERR_OK)
        e = tls_ask_client_certificate(portal, portals_ca[0] ? portals_ca : NULL, why);
    if (e != ERR_OK) {
        SSL_CTX_free(device);
        SSL_CTX_free(portal);
        return e;
    }
    *device_tls = device;
    *portal_tls = portal;
    return ERR_OK;
}

static enum err check_authority(const struct child_setup *setup, struct buf *why)
{
    char ca[DATADIR_PATH_SIZE];
    uint8_t trust_anchor[SHA256_BYTES];
    datadir_file(setup->dir, "device-ca.pem", ca);
    enum err e = authority_spki_sha256(ca, trust_anchor);
    if (e != ERR_OK)
        return buf_printf(why, "%s: %s", ca, err_text(e)) == ERR_OK ? e : ERR_NOMEM;
    if (memcmp(trust_anchor, setup->trust_anchor, sizeof trust_anchor) == 0)
        return ERR_OK;
    return buf_printf(why, "%s: another CA than phones pin; restart to change it", ca) == ERR_OK ? ERR_DENIED
                                                                                                 : ERR_NOMEM;
}

enum err reload_read(const struct child_setup *setup, struct reload *ret, struct buf *why)
{
    struct reload reload = {0};
    TRY(config_load(setup->config_file, &reload.config, why));
    config_set_data_dir(reload.config, setup->config->data_dir); /* that it was started with */
    enum err e = check_authority(setup, why);
    if (e == ERR_OK)
        e = reload_tls(setup, &reload.device_tls, &reload.portal_tls, why);
    if (e == ERR_OK)
        *ret = reload;
    else
        config_free(reload.config);
    return e;
}

void reload_drop(struct reload *reload)
{
    SSL_CTX_free(reload->device_tls);
    SSL_CTX_free(reload->portal_tls);
    config_free(reload->config);
    *reload = (struct reload){0};
}

void reload_adopt(struct child_setup *setup, struct reload *reload)
{
    SSL_CTX_free(setup->device_tls);
    SSL_CTX_free(setup->portal_tls);
    config_take_reloadable(setup->config, reload->config);
    config_free(reload->config);
    setup->device_tls = reload->device_tls;
    setup->portal_tls = reload->portal_tls;
    *reload = (struct reload){0};
}
