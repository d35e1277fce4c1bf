/* What a TLS session is resumed by, as the app stores it: whose it is, and then OpenSSL's bytes.
 *
 *     1 || lp(server name) || lp(organisation) || lp(device id) || pin, 32 bytes || SSL_SESSION in DER
 *
 * The form is between this library and itself: what it does not know is a full handshake. */
#include "internal.h"

#include <string.h>

#define FORM 1

/* All in front of the pin. */
static void add_identity(struct np_buf *b, const struct np_connection *c, const struct np_account *account)
{
    static const uint8_t form = FORM;
    np_buf_add(b, &form, sizeof form);
    np_buf_add_lp(b, c->server_name);
    np_buf_add_lp(b, account->options.organisation);
    np_buf_add_lp(b, account->options.device_id);
}

static struct np_account *first_welcome(const struct np_connection *c)
{
    for (size_t i = 0; i < c->account_count; i++)
        if (c->accounts[i]->welcomed)
            return c->accounts[i];
    return NULL;
}

void np_session_offer(struct np_connection *c)
{
    struct np_account *account = first_welcome(c);
    struct np_buf *der = c->tls ? np_tls_session(c->tls) : NULL, b = {0};
    if (!account || !der || der->len == 0)
        return;
    add_identity(&b, c, account);
    np_buf_add(&b, c->pin, NP_PIN_BYTES);
    np_buf_add(&b, der->p, der->len);
    np_buf_done(der);
    if (b.error == NP_OK && b.len <= NP_SESSION_BYTES_MAX)
        c->callbacks.on_session(c, account, b.p, b.len, c->arg);
    np_buf_done(&b);
}

enum np_error np_connection_resume(struct np_connection *c, const struct np_account *account,
                                   const uint8_t *session, size_t len)
{
    struct np_buf identity = {0};
    add_identity(&identity, c, account);
    enum np_error error = identity.error;
    size_t head = identity.len + NP_PIN_BYTES;
    if (error == NP_OK && (len <= head || len > NP_SESSION_BYTES_MAX || session[0] != FORM))
        error = NP_MALFORMED;
    if (error == NP_OK && memcmp(session, identity.p, identity.len) != 0)
        error = NP_INVALID;
    np_buf_done(&identity);
    return error == NP_OK ? np_tls_resume(c->tls, session + head - NP_PIN_BYTES, session + head, len - head)
                          : error;
}
