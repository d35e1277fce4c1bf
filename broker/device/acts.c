/* Rotate, Unlock, Remove: what a phone may do to its own account, signed (SECURITY, "Other signed acts of a phone"). */
#include <stdio.h>
#include <string.h>

#include "device/session.h"

static void send_accepted(struct session *session, const char *device_id, Nanopush__V1__Accepted__Act act,
                          uint32_t generation)
{
    Nanopush__V1__Accepted accepted = NANOPUSH__V1__ACCEPTED__INIT;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    accepted.device_id = (char *)device_id;
    accepted.act = act;
    accepted.generation = generation;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_ACCEPTED;
    message.accepted = &accepted;
    session_send(session, &message);
}

static void refuse(struct session *session, enum err e, const char *device_id)
{
    if (e == ERR_INVALID)
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_INVALID, device_id,
                      "signature, claims or keys do not fit");
    else if (e == ERR_DENIED)
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_DENIED, device_id,
                      "the device is not what said hello");
    else if (e == ERR_EXISTS)
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_EXISTS, device_id,
                      "a key is enrolled already");
    else if (e == ERR_LIMIT)
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_LIMIT, device_id,
                      "rotated too often; enrol anew");
    else
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_UNAVAILABLE, device_id, "send it again");
}

/* The account that an act is about, with its record, and room to do it in. @return NULL when that was answered with an Error. */
static struct operation *begin(struct session *session, const char *device_id, struct account **account)
{
    *account = session_account(session, device_id);
    if (!*account) {
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_DENIED, device_id, "say hello first");
        return NULL;
    }
    if (!account_record(*account)) {
        refuse(session, ERR_UNAVAILABLE, device_id);
        return NULL;
    }
    return operation_new(session, device_id, device_id);
}

static void on_rotated(enum err e, const Record__Device *next, void *arg)
{
    struct operation *operation = arg;
    struct session *session = operation->session;
    struct account *account = session_account(session, operation->device_id);
    char id[ID_SIZE];
    snprintf(id, sizeof id, "%s", operation->device_id);
    operation_free(operation);
    if (account && e == ERR_OK) /* what this connection signs from now on is checked with the new keys */
        account_rotated(account, next);
    if (account)
        account_rotation_ended(account, e);
    if (e != ERR_OK) {
        refuse(session, e, id);
        return;
    }
    send_accepted(session, id, NANOPUSH__V1__ACCEPTED__ACT__ACT_ROTATED, next->generation);
}

void on_rotate(struct session *session, const Nanopush__V1__Rotate *rotate)
{
    struct account *account;
    struct operation *operation = begin(session, rotate->device_id, &account);
    if (!operation)
        return;
    account->awake->rotating++;
    operation->act =
        device_rotate(session->server->domain, account_record(account), bytes_of(rotate->jws),
                      bytes_make(rotate->possession_key.data, rotate->possession_key.len),
                      bytes_make(rotate->user_verification_key.data, rotate->user_verification_key.len),
                      on_rotated, operation);
}

static void on_unlocked(enum err e, void *arg)
{
    struct operation *operation = arg;
    struct session *session = operation->session;
    struct account *account = session_account(session, operation->device_id);
    char id[ID_SIZE];
    snprintf(id, sizeof id, "%s", operation->device_id);
    operation_free(operation);
    if (e != ERR_OK)
        refuse(session, e, id);
    else
        send_accepted(session, id, NANOPUSH__V1__ACCEPTED__ACT__ACT_UNLOCKED,
                      account ? account->generation : 0);
}

void on_unlock(struct session *session, const Nanopush__V1__Unlock *unlock)
{
    struct account *account;
    struct operation *operation = begin(session, unlock->device_id, &account);
    if (operation)
        operation->act =
            device_unlock(session->server->domain, account_record(account), session->channel_binding,
                          bytes_of(unlock->jws), on_unlocked, operation);
}

static void on_removed(enum err e, void *arg)
{
    struct operation *operation = arg;
    struct session *session = operation->session;
    char id[ID_SIZE];
    snprintf(id, sizeof id, "%s", operation->device_id);
    operation_free(operation);
    if (e != ERR_OK)
        refuse(session, e, id);
    else
        send_accepted(session, id, NANOPUSH__V1__ACCEPTED__ACT__ACT_REMOVED, 0);
}

void on_remove(struct session *session, const Nanopush__V1__Remove *remove)
{
    struct account *account;
    struct operation *operation = begin(session, remove->device_id, &account);
    if (operation)
        operation->act =
            device_remove(session->server->domain, account_record(account), session->channel_binding,
                          bytes_of(remove->jws), on_removed, operation);
}
