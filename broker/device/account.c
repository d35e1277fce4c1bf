/* Accounts: devices that said Hello; presence and what is pending for them. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "device/session.h"
#include "domain/router.h"

#define PENDING_RETRY_MS 1000

struct account *account_find(struct device_server *server, const char *device_id, uint64_t connection)
{
    uint64_t hash = table_hash(bytes_of(device_id));
    for (struct table_node *n = table_first(&server->accounts, hash); n; n = table_next(n, hash)) {
        struct account *account = CONTAINER_OF(n, struct account, by_id);
        if (account->session->connection == connection && strcmp(account->device_id, device_id) == 0)
            return account;
    }
    return NULL;
}

struct account *session_account(struct session *session, const char *device_id)
{
    struct account *account = account_find(session->server, device_id, session->connection);
    return account && account->device ? account : NULL;
}

struct account *session_account_for(struct session *session, const char *id, struct account *after)
{
    if (!id_valid(bytes_of(id)))
        return NULL;
    struct list *head = &session->accounts;
    for (struct list *node = (after ? &after->node : head)->next; node != head; node = node->next) {
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
    /* Also where the attach has failed or is under way: it may have been done. Fenced, so it harms nobody else. */
    if (clear_presence)
        store_device_detach(server->domain->store, account->device_id, &account->presence, NULL, NULL);
    store_cancel(account->attach);
    store_cancel(account->pending_read);
    timer_cancel(&account->pending_retry);
    free(account->pending);
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
    welcome.locked_until_unix_ms = (uint64_t)attached->locked_until_unix_ms;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_WELCOME;
    message.welcome = &welcome;
    session_send(session, &message);
}

/* ---- what waits: read one after the other, so that a phone with many costs no more at a time than one with few ---- */

static void read_pending(struct account *account);

static void on_pending_retry(void *arg)
{
    read_pending(arg);
}

void account_init_retry(struct account *account)
{
    timer_init(&account->pending_retry, account->session->server->domain->loop, on_pending_retry, account);
}

static void push_pending(struct account *account, const struct challenge_view *view)
{
    struct session *session = account->session;
    struct buf frame = {0};
    if (view->state == CHALLENGE_PENDING && challenge_fits(view, account->capabilities) &&
        challenge_push_frame(session->server->domain, view, account->device_id, &frame) == ERR_OK &&
        session_write(session, buf_view(&frame))) {
        METRIC_ADD(PUSHES_SENT, 1);
        challenge_progressed(session->server->domain, view->record->id, account->device_id,
                             NANOPUSH__V1__PROGRESS__PROGRESS_SENT);
    }
    buf_done(&frame);
}

static void on_pending_read(enum err e, const struct challenge_view *view, void *arg)
{
    struct account *account = arg;
    account->pending_read = NULL;
    if (e == ERR_UNAVAILABLE || e == ERR_TIMEOUT) {
        timer_start(&account->pending_retry, PENDING_RETRY_MS);
        return;
    }
    if (e == ERR_OK)
        push_pending(account, view);
    account->pending_next++;
    read_pending(account);
}

static void read_pending(struct account *account)
{
    if (account->pending_next < account->pending_count && account->session->state != SESSION_CLOSING)
        account->pending_read =
            store_challenge_get(account->session->server->domain->store,
                                account->pending[account->pending_next], false, on_pending_read, account);
}

static void take_pending(struct account *account, const struct device_attached *attached)
{
    store_cancel(account->pending_read);
    timer_cancel(&account->pending_retry);
    free(account->pending);
    account->pending = NULL;
    account->pending_read = NULL;
    account->pending_next = 0;
    account->pending_count = attached->pending_count;
    if (attached->pending_count == 0)
        return;
    account->pending = mem_new(attached->pending_count * sizeof *account->pending);
    memcpy(account->pending, attached->pending, attached->pending_count * sizeof *account->pending);
    read_pending(account);
}

static void deny(struct account *account)
{
    struct session *session = account->session;
    METRIC_ADD(HELLOS_DENIED, 1);
    session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_DENIED, account->device_id, "hello refused");
    account_free(account, true);
    session_strike(session);
    session_end_without_account(session);
}

/* Denied because the keys that were named are those of before a rotation that this connection asked for itself. */
static bool is_overtaken(struct account *account)
{
    if (account->rotating)
        account->denied = true;
    else if (account->doubtful) /* whether its keys are still good is for the phone's next Hello to show */
        session_go_away(account->session, NANOPUSH__V1__GO_AWAY__REASON__REASON_DRAINING, 0, CLOSE_LOCAL);
    else if (account->device && account->attach_generation != account->generation)
        account_attach(account);
    else
        return false;
    return true;
}

static void on_attached(enum err e, const struct device_attached *attached, void *arg)
{
    struct account *account = arg;
    struct session *session = account->session;
    bool first = !account->device;
    account->attach = NULL;
    session_release(session);
    if (e == ERR_DENIED && is_overtaken(account))
        return;
    if (e == ERR_DENIED ||
        (e == ERR_OK && strcmp(attached->device->organisation, account->organisation) != 0)) {
        deny(account);
        return;
    }
    if (e != ERR_OK) {
        if (!first) { /* it goes on being attached as it was; presence must come to name this inbox */
            device_server_renew_later(session->server, account);
            return;
        }
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_UNAVAILABLE, account->device_id,
                      "say hello again later");
        account_free(account, true);
        return;
    }
    struct route old = {.presence = attached->taken};
    memcpy(old.device_id, account->device_id, ID_SIZE);
    bool ours = attached->taken.connection == account->presence.connection &&
                strcmp(attached->taken.inbox, account->presence.inbox) == 0;
    if (first) {
        account->device = (Record__Device *)store_record_copy(&attached->device->base);
        METRIC_ADD(HELLOS_ACCEPTED, 1);
        METRIC_ADD(DEVICES_ATTACHED, 1);
        LOG(INFO, DEVICE, "session-attached", "conn=%llu device=%s pending=%zu",
            (unsigned long long)session->connection, account->device_id, attached->pending_count);
        if (session->state == SESSION_GREETING) /* and not CLOSING, by a Bye right behind its Hello */
            session_set_state(session, SESSION_ATTACHED);
        stream_park(session->stream);
        send_welcome(account, attached);
    }
    take_pending(account, attached);
    if (account->again)
        account_attach(account);
    if (old.presence.inbox[0] && !ours)
        router_take(session->server->domain->router, &old,
                    false); /* last: it may end another connection of this worker */
}

void account_rotation_ended(struct account *account, enum err e)
{
    account->doubtful = e == ERR_UNAVAILABLE || e == ERR_TIMEOUT;
    if (account->rotating && --account->rotating == 0 && account->denied)
        account_attach(account);
}

void account_attach(struct account *account)
{
    struct store *store = account->session->server->domain->store;
    account->again = account->attach != NULL;
    if (account->attach)
        return;
    account->denied = false;
    account->presence = store_presence(store, account->session->connection, account->capabilities);
    account->attach_generation = account->generation;
    account->attach = store_device_attach(store, account->device_id, account->generation,
                                          bytes_make(account->possession_key, P256_PUBLIC_BYTES),
                                          &account->presence, on_attached, account);
}
