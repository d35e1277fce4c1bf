/* Hello: a device proves on this connection that it has its possession key (SECURITY, "Hello"). */
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/metrics.h"
#include "device/session.h"
#include "domain/text.h"

static struct bytes view_of(const ProtobufCBinaryData *field)
{
    return bytes_make(field->data, field->len);
}

/*
 * A device's id comes from its first possession key: nobody can say Hello for another's with a key of his own. Of one that
 * was rotated the store knows the key of now.
 */
static bool may_be_of_key(const Nanopush__V1__Hello *hello)
{
    return hello->generation != 1 || device_id_is_of_key(hello->device_id, view_of(&hello->possession_key));
}

static enum err verify(const struct session *session, const Nanopush__V1__Hello *hello)
{
    const struct device_options *options = &session->server->options;
    struct buf input = {0};
    if (!id_valid(bytes_of(hello->device_id)) || !text_is_name(bytes_of(hello->organisation)) ||
        hello->signature.len != P256_SIGNATURE_BYTES || hello->possession_key.len != P256_PUBLIC_BYTES ||
        !may_be_of_key(hello) ||
        !bytes_equal(view_of(&hello->trust_anchor), bytes_make(options->trust_anchor, SHA256_BYTES)))
        return ERR_INVALID;
    TRY(input_hello(session->channel_binding, bytes_of(hello->organisation), bytes_of(hello->device_id),
                    hello->generation, options->trust_anchor, hello->capabilities, &input));
    enum err e = p256_verify(hello->possession_key.data, buf_view(&input), hello->signature.data);
    buf_done(&input);
    return e;
}

/* Full jitter, so that those who are sent away together do not return together. It costs no call to Redis. */
static bool is_sent_away(struct session *session)
{
    const struct device_server *server = session->server;
    if (session->state != SESSION_GREETING || server->attached_count < server->options.attached_max)
        return false;
    METRIC_ADD(PHONES_SENT_AWAY, 1);
    session_go_away(session, NANOPUSH__V1__GO_AWAY__REASON__REASON_OVERLOADED,
                    device_server_random_below(OVERLOADED_RETURN_MS), CLOSE_LOCAL);
    return true;
}

void on_hello(struct session *session, const Nanopush__V1__Hello *hello)
{
    struct device_server *server = session->server;
    if (session->account_count >= ACCOUNTS_MAX) {
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_LIMIT, hello->device_id, "too many accounts");
        return;
    }
    /* Before verify(), which is what a Hello costs. It tells a connection only what it said itself. */
    if (account_find(server, hello->device_id, session->connection)) {
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_INVALID, hello->device_id,
                      "hello was said before");
        return;
    }
    enum err e = verify(session, hello);
    if (e != ERR_OK) {
        METRIC_ADD(HELLOS_DENIED, 1);
        LOG(INFO, DEVICE, "hello-refused", "conn=%llu error=%s", (unsigned long long)session->connection,
            err_name(e));
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_DENIED, hello->device_id, "hello refused");
        session_strike(session);
        return;
    }
    if (is_sent_away(session))
        return;
    struct account *account = account_new(session, hello);
    if (!account) {
        session_close(session, CLOSE_NOMEM);
        return;
    }
    account_attach(account);
}
