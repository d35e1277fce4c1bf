/* Accounts: devices that said Hello; their presence, and their record while it is needed. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "device/session.h"
#include "domain/router.h"

#define REST_AFTER_DS 600
#define AWAKE_BYTES   1024 /* with its record, about */

/* ---- finding ---- */

static struct account *find_in(const struct session *session, const char *device_id)
{
    uint8_t id[ID_BYTES];
    if (!id_pack(bytes_of(device_id), id))
        return NULL;
    struct account *account = session->accounts;
    while (account && memcmp(account->id, id, ID_BYTES) != 0)
        account = account->next;
    return account;
}

struct account *account_find(struct device_server *server, const char *device_id, uint64_t connection)
{
    struct session *session = device_server_session(server, connection);
    return session ? find_in(session, device_id) : NULL;
}

struct account *session_account(struct session *session, const char *device_id)
{
    struct account *account = find_in(session, device_id);
    return account && account->attached ? account : NULL;
}

static bool is_of_user(const struct account *account, const uint8_t id[ID_BYTES])
{
    return memcmp(account->id + ID_RANDOM_BYTES, id + ID_RANDOM_BYTES, ID_TAG_BYTES) == 0;
}

struct account *session_account_for(struct session *session, const char *id, struct account *after)
{
    uint8_t packed[ID_BYTES];
    if (!id_pack(bytes_of(id), packed))
        return NULL;
    for (struct account *account = after ? after->next : session->accounts; account; account = account->next)
        if (account->attached && is_of_user(account, packed))
            return account;
    return NULL;
}

void account_id(const struct account *account, char out[ID_SIZE])
{
    id_unpack(account->id, out);
}

struct session *account_session(const struct account *account)
{
    return account->at_rest ? account->session : account->awake->session;
}

/* ---- life ---- */

static struct awake *awaken(struct account *account)
{
    if (account->at_rest) {
        struct awake *awake = mem_new(sizeof *awake);
        awake->session = account->session;
        account->awake = awake;
        account->at_rest = false;
    }
    account->awake->used_ds = device_server_now(account->awake->session->server);
    return account->awake;
}

static void put_to_rest(struct account *account)
{
    if (account->at_rest)
        return;
    struct awake *awake = account->awake;
    store_cancel(awake->attach);
    pending_done(awake);
    if (awake->device)
        record__device__free_unpacked(awake->device, NULL);
    account->session = awake->session;
    account->at_rest = true;
    free(awake);
    mem_freed(AWAKE_BYTES);
}

void account_rest(struct account *account)
{
    if (account->at_rest)
        return;
    const struct awake *awake = account->awake;
    const struct session *session = awake->session;
    bool quiet = !awake->attach && awake->pending_next == awake->pending_count && !awake->rotating &&
                 !awake->doubtful && !session->operations;
    bool used = (awake->device || awake->failed) &&
                device_server_now(session->server) - awake->used_ds <= REST_AFTER_DS;
    if (!quiet || used)
        return;
    LOG(DEBUG, DEVICE, "account-at-rest", "conn=%llu", (unsigned long long)session->connection);
    put_to_rest(account);
}

struct account *account_new(struct session *session, const Nanopush__V1__Hello *hello)
{
    struct account *account = slab_take(&session->server->account_slab);
    if (!account)
        return NULL;
    if (!id_pack(bytes_of(hello->device_id), account->id) ||
        store_key_digest(bytes_make(hello->possession_key.data, hello->possession_key.len),
                         account->key_digest) != ERR_OK) {
        slab_put(account);
        return NULL;
    }
    account->session = session;
    account->at_rest = true;
    account->generation = hello->generation;
    account->capabilities = hello->capabilities & (CAPABILITY_CHOOSE | CAPABILITY_CODE);
    struct awake *awake = awaken(account);
    memcpy(awake->organisation, hello->organisation, strlen(hello->organisation) + 1);
    account->next = session->accounts;
    session->accounts = account;
    session->account_count++;
    return account;
}

static struct presence presence_of(const struct account *account)
{
    const struct session *session = account_session(account);
    struct presence presence = {.connection = session->connection, .capabilities = account->capabilities};
    memcpy(presence.inbox, session->server->inboxes[account->inbox_at], INBOX_SIZE);
    return presence;
}

void account_free(struct account *account, bool clear_presence)
{
    struct session *session = account_session(account);
    struct presence presence = presence_of(account);
    char id[ID_SIZE];
    account_id(account, id);
    /* Also where the attach has failed or is under way: it may have been done. Fenced, so it harms nobody else. */
    if (clear_presence)
        store_device_detach(session->server->domain->store, id, &presence, NULL, NULL);
    put_to_rest(account);
    METRIC_ADD(DEVICES_ATTACHED, account->attached ? -1 : 0);
    struct account **link = &session->accounts;
    while (*link != account)
        link = &(*link)->next;
    *link = account->next;
    session->account_count--;
    slab_put(account);
}

/* ---- the record ---- */

const Record__Device *account_record(const struct account *account)
{
    return account->at_rest ? NULL : account->awake->device;
}

static void keep_record(struct account *account, const Record__Device *device)
{
    struct awake *awake = awaken(account);
    if (awake->device)
        record__device__free_unpacked(awake->device, NULL);
    awake->device = (Record__Device *)store_record_copy(&device->base);
}

void account_rotated(struct account *account, const Record__Device *next)
{
    uint8_t digest[DEVICE_KEY_DIGEST_BYTES];
    keep_record(account, next);
    if (store_key_digest(bytes_make(next->possession_key.data, next->possession_key.len), digest) != ERR_OK)
        return; /* the old generation's attaches are refused, and the phone says Hello anew */
    account->generation = next->generation;
    memcpy(account->key_digest, digest, sizeof digest);
}

static void attach(struct account *account);

void account_wake(struct account *account)
{
    struct awake *awake = awaken(account);
    if (!awake->device && !awake->attach)
        attach(account); /* it says the same presence once more, and brings the record */
}

/* True while the record is being read; when that failed it is not waited for again, but told to the phone. */
static bool waits_for_record(struct account *account)
{
    struct awake *awake = awaken(account);
    bool failed = awake->failed;
    awake->failed = false;
    if (awake->device || failed)
        return false;
    account_wake(account);
    return true;
}

bool session_must_wait(struct session *session, const char *subject, bool record)
{
    uint8_t id[ID_BYTES];
    bool waits = false;
    if (!id_pack(bytes_of(subject), id))
        return false;
    for (struct account *account = session->accounts; account; account = account->next)
        if (is_of_user(account, id))
            waits |= !account->attached || (record && waits_for_record(account));
    return waits;
}

/* ---- attaching ---- */

static void send_welcome(struct account *account, const char *id, const struct device_attached *attached)
{
    struct session *session = account_session(account);
    Nanopush__V1__Welcome welcome = NANOPUSH__V1__WELCOME__INIT;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    welcome.device_id = (char *)id;
    welcome.heartbeat_ms = session->heartbeat_s * 1000u;
    welcome.broker_unix_ms = (uint64_t)attached->now_unix_ms;
    welcome.pending_count = (uint32_t)attached->pending_count;
    welcome.locked_until_unix_ms = (uint64_t)attached->locked_until_unix_ms;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_WELCOME;
    message.welcome = &welcome;
    session_send(session, &message);
}

static void deny(struct account *account)
{
    struct session *session = account_session(account);
    char id[ID_SIZE];
    account_id(account, id);
    METRIC_ADD(HELLOS_DENIED, 1);
    session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_DENIED, id, "hello refused");
    account_free(account, true);
    session_strike(session);
    session_end_without_account(session);
}

/* Denied because the keys that were named are those of before a rotation that this connection asked for itself. */
static bool is_overtaken(struct account *account)
{
    struct awake *awake = account->awake;
    if (awake->rotating)
        awake->denied = true;
    else if (awake->doubtful) /* whether its keys are still good is for the phone's next Hello to show */
        session_go_away(account_session(account), NANOPUSH__V1__GO_AWAY__REASON__REASON_DRAINING, 0,
                        CLOSE_LOCAL);
    else if (account->attached && awake->attach_generation != account->generation)
        attach(account);
    else
        return false;
    return true;
}

static void on_not_attached(struct account *account)
{
    struct session *session = account_session(account);
    char id[ID_SIZE];
    if (account->attached) { /* it goes on being attached as it was; presence must come to name this inbox */
        account->awake->failed = true;
        device_server_renew_later(session->server, account);
        return;
    }
    account_id(account, id);
    session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_UNAVAILABLE, id, "say hello again later");
    account_free(account, true);
}

static void on_first_attached(struct account *account, const char *id, const struct device_attached *attached)
{
    struct session *session = account_session(account);
    account->attached = true;
    METRIC_ADD(HELLOS_ACCEPTED, 1);
    METRIC_ADD(DEVICES_ATTACHED, 1);
    LOG(INFO, DEVICE, "session-attached", "conn=%llu device=%s pending=%zu",
        (unsigned long long)session->connection, id, attached->pending_count);
    if (session->state == SESSION_GREETING) /* and not CLOSING, by a Bye right behind its Hello */
        session_set_state(session, SESSION_ATTACHED);
    stream_park(session->stream);
    send_welcome(account, id, attached);
}

static void on_attached(enum err e, const struct device_attached *attached, void *arg)
{
    struct account *account = arg;
    struct session *session = account_session(account);
    struct awake *awake = account->awake;
    awake->attach = NULL;
    session_release(session);
    if (e == ERR_DENIED && is_overtaken(account))
        return;
    if (e == ERR_DENIED || (e == ERR_OK && !account->attached &&
                            strcmp(attached->device->organisation, awake->organisation) != 0)) {
        deny(account);
        return;
    }
    if (e != ERR_OK) {
        on_not_attached(account);
        return;
    }
    struct presence presence = presence_of(account);
    struct route old = {.presence = attached->taken};
    bool ours = attached->taken.connection == presence.connection &&
                strcmp(attached->taken.inbox, presence.inbox) == 0;
    account_id(account, old.device_id);
    bool asked = !awake->read_pending || attached->pending_count > 0 || awake->device;
    if (asked && awake->attach_generation == account->generation)
        keep_record(account, attached->device); /* most phones are asked nothing when they come */
    if (!account->attached)
        on_first_attached(account, old.device_id, attached);
    if (awake->read_pending)
        pending_take(account, attached);
    awake->read_pending = false;
    if (awake->again)
        account_attach(account);
    account_rest(account);
    if (old.presence.inbox[0] && !ours)
        router_take(session->server->domain->router, &old,
                    false); /* last: it may end another connection of this worker */
}

void account_rotation_ended(struct account *account, enum err e)
{
    struct awake *awake = awaken(account);
    awake->doubtful = e == ERR_UNAVAILABLE || e == ERR_TIMEOUT;
    if (awake->rotating && --awake->rotating == 0 && awake->denied)
        account_attach(account);
}

/* The inbox that attaches name from now on; accounts that name the one before are attached anew meanwhile. */
static void note_inbox(struct device_server *server)
{
    const char *now = store_inbox(server->domain->store);
    if (strcmp(now, server->inboxes[server->inbox_at]) == 0)
        return;
    server->inbox_at ^= 1;
    memcpy(server->inboxes[server->inbox_at], now, strlen(now) + 1);
}

static void attach(struct account *account)
{
    struct session *session = account_session(account);
    struct device_server *server = session->server;
    struct awake *awake = awaken(account);
    char id[ID_SIZE];
    awake->denied = awake->again = awake->failed = false;
    awake->attach_generation = account->generation;
    note_inbox(server);
    account->inbox_at = server->inbox_at & 1;
    account->stale = false;
    struct presence presence = presence_of(account);
    account_id(account, id);
    awake->attach = store_device_attach(server->domain->store, id, account->generation, account->key_digest,
                                        &presence, on_attached, account);
}

void account_attach(struct account *account)
{
    struct awake *awake = awaken(account);
    awake->read_pending = true;
    if (awake->attach)
        awake->again = true;
    else
        attach(account);
}
