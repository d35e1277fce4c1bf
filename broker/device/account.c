/* Accounts: devices that said Hello; presence and what is pending for them. */
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/metrics.h"
#include "device/session.h"
#include "domain/router.h"

struct account *account_find(struct device_server *server, const char *device_id)
{
    uint64_t hash = table_hash(bytes_of(device_id));
    for (struct table_node *n = table_first(&server->accounts, hash); n; n = table_next(n, hash)) {
        struct account *account = CONTAINER_OF(n, struct account, by_id);
        if (strcmp(account->device_id, device_id) == 0)
            return account;
    }
    return NULL;
}

struct account *session_account_for(struct session *session, const char *id)
{
    if (!id_valid(bytes_of(id)))
        return NULL;
    LIST_EACH (node, &session->accounts) {
        struct account *account = CONTAINER_OF(node, struct account, node);
        if (account->device && strcmp(id_tag(account->device_id), id_tag(id)) == 0)
            return account;
    }
    return NULL;
}

void account_free(struct account *account, bool clear_presence)
{
    struct session *session = account->session;
    struct device_server *server = session->server;
    /* An attach whose reply has not come may have been done: clear what it would have written as well. */
    if (clear_presence && (account->device || account->attach))
        store_device_detach(server->domain->store, account->device_id, &account->presence, NULL, NULL);
    store_cancel(account->attach);
    if (account->device) {
        METRIC_ADD(DEVICES_ATTACHED, -1);
        record__device__free_unpacked(account->device, NULL);
    }
    table_remove(&server->accounts, &account->by_id);
    list_remove(&account->node);
    list_remove(&account->renewing);
    session->account_count--;
    free(account);
}

static void send_welcome(struct account *account, const struct device_attached *attached)
{
    struct session *session = account->session;
    Nanopush__V1__Welcome welcome = NANOPUSH__V1__WELCOME__INIT;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    welcome.device_id = account->device_id;
    welcome.heartbeat_ms = session->server->options.heartbeat_ms;
    welcome.broker_unix_ms = (uint64_t)attached->now_unix_ms;
    welcome.pending_count = (uint32_t)attached->pending_count;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_WELCOME;
    message.welcome = &welcome;
    session_send(session, &message);
}

static void on_pending_read(enum err e, const struct challenge_view *view, void *arg)
{
    struct operation *operation = arg;
    struct session *session = operation->session;
    struct device_server *server = session->server;
    struct buf frame = {0};
    operation->read = NULL;
    if (e == ERR_OK && view->state == CHALLENGE_PENDING &&
        challenge_push_frame(view, operation->device_id, &frame) == ERR_OK &&
        session_write(session, buf_view(&frame))) {
        METRIC_ADD(PUSHES_SENT, 1);
        challenge_progressed(server->domain, operation->subject, operation->device_id,
                             NANOPUSH__V1__PROGRESS__PROGRESS_SENT);
    }
    buf_done(&frame);
    operation_free(operation);
}

static void push_pending(struct account *account, const struct device_attached *attached)
{
    for (size_t i = 0; i < attached->pending_count; i++) {
        struct operation *operation =
            operation_new(account->session, attached->pending[i], account->device_id);
        if (operation)
            operation->read = store_challenge_get(account->session->server->domain->store, operation->subject,
                                                  false, on_pending_read, operation);
    }
}

static void deny(struct account *account)
{
    struct session *session = account->session;
    METRIC_ADD(HELLOS_DENIED, 1);
    session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_DENIED, account->device_id, "hello refused");
    account_free(account, true);
}

static void on_attached(enum err e, const struct device_attached *attached, void *arg)
{
    struct account *account = arg;
    struct session *session = account->session;
    bool first = !account->device;
    account->attach = NULL;
    if (e == ERR_DENIED ||
        (e == ERR_OK && strcmp(attached->device->organisation, account->organisation) != 0)) {
        deny(account);
        return;
    }
    if (e != ERR_OK) {
        if (!first)
            return; /* Redis is away: the next generation of the inbox attaches it again */
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_UNAVAILABLE, account->device_id,
                      "say hello again later");
        account_free(account, true);
        return;
    }
    if (attached->taken.inbox[0]) {
        struct route old = {.presence = attached->taken};
        memcpy(old.device_id, account->device_id, ID_SIZE);
        router_take(session->server->domain->router, &old);
    }
    if (first) {
        account->device = (Record__Device *)store_record_copy(&attached->device->base);
        METRIC_ADD(HELLOS_ACCEPTED, 1);
        METRIC_ADD(DEVICES_ATTACHED, 1);
        LOG(INFO, DEVICE, "session-attached", "conn=%llu device=%s pending=%zu",
            (unsigned long long)session->connection, account->device_id, attached->pending_count);
        session_set_state(session, SESSION_ATTACHED);
        send_welcome(account, attached);
    }
    push_pending(account, attached);
    if (account->again)
        account_attach(account);
}

void account_attach(struct account *account)
{
    struct store *store = account->session->server->domain->store;
    account->again = account->attach != NULL;
    if (account->attach)
        return;
    account->presence = (struct presence){.connection = account->session->connection};
    strcpy(account->presence.inbox, store_inbox(store));
    account->attach = store_device_attach(store, account->device_id, account->generation,
                                          bytes_make(account->possession_key, P256_PUBLIC_BYTES),
                                          account->session->connection, on_attached, account);
}
