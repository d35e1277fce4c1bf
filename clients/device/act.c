#include "internal.h"

#include <stdlib.h>
#include <string.h>

static bool keys_differ(const struct np_account_options *now, const struct np_signer *possession,
                        const struct np_signer *user_verification)
{
    const uint8_t *const keys[] = {possession->public_key, user_verification->public_key,
                                   now->possession.public_key, now->user_verification.public_key};
    for (size_t next = 0; next < 2; next++)
        for (size_t other = next + 1; other < sizeof keys / sizeof *keys; other++)
            if (memcmp(keys[next], keys[other], NP_KEY_BYTES) == 0)
                return false;
    return true;
}

static void set_next_keys(struct np_account *account, const struct np_signer *possession,
                          const struct np_signer *user_verification)
{
    account->next_possession = *possession;
    account->next_user_verification = *user_verification;
    account->has_next = true;
}

enum np_error np_account_set_next_keys(struct np_account *account, const struct np_signer *possession,
                                       const struct np_signer *user_verification)
{
    if (account->connection)
        return NP_BAD_STATE;
    if (!possession->sign)
        return NP_NO_KEY;
    /* The rest was checked by np_rotate(), and a user-verification key that is locked away may not even be
     * known. */
    if (memcmp(possession->public_key, account->options.possession.public_key, NP_KEY_BYTES) == 0 ||
        memcmp(possession->public_key, user_verification->public_key, NP_KEY_BYTES) == 0)
        return NP_INVALID;
    set_next_keys(account, possession, user_verification);
    return NP_OK;
}

int64_t np_account_locked_until_unix_ms(const struct np_account *account)
{
    return account->locked_until_unix_ms;
}

static bool may_act(const struct np_connection *c, const struct np_account *account)
{
    return c->state == NP_STATE_OPEN && account->connection == c && account->welcomed && !account->act_jws;
}

/* Sign it and keep it: np_connection_step() sends. */
static enum np_error begin(struct np_account *account, struct np_act_statement *statement,
                           const struct np_signer *signer, int64_t now_mono_ms)
{
    if (!signer->sign)
        return NP_NO_KEY;
    struct np_buf jws = {0};
    statement->issued_unix_s = np_account_broker_unix_ms(account, now_mono_ms) / 1000;
    enum np_error error = np_act_sign(&account->options, statement, signer, &jws);
    if (error == NP_OK) {
        account->act_jws = strndup((const char *)jws.p, jws.len);
        error = account->act_jws ? NP_OK : NP_NOMEM;
    }
    account->act = statement->act;
    account->act_mono_ms = now_mono_ms;
    np_buf_done(&jws);
    return error;
}

enum np_error np_rotate(struct np_connection *c, struct np_account *account,
                        const struct np_signer *possession, const struct np_signer *user_verification,
                        int64_t now_mono_ms)
{
    struct np_act_statement statement = {
        .act = NP_ACT_ROTATED, .next_possession = possession, .next_user_verification = user_verification};
    if (!may_act(c, account))
        return NP_BAD_STATE;
    if (!possession->sign || !user_verification->sign)
        return NP_NO_KEY;
    if (!keys_differ(&account->options, possession, user_verification))
        return NP_INVALID;
    enum np_error error = begin(account, &statement, &account->options.user_verification, now_mono_ms);
    if (error == NP_OK)
        set_next_keys(account, possession, user_verification);
    return error;
}

enum np_error np_unlock(struct np_connection *c, struct np_account *account, int64_t now_mono_ms)
{
    struct np_act_statement statement = {.act = NP_ACT_UNLOCKED, .exporter = c->exporter};
    if (!may_act(c, account))
        return NP_BAD_STATE;
    return begin(account, &statement, &account->options.user_verification, now_mono_ms);
}

enum np_error np_remove(struct np_connection *c, struct np_account *account, int64_t now_mono_ms)
{
    struct np_act_statement statement = {.act = NP_ACT_REMOVED, .exporter = c->exporter};
    if (!may_act(c, account))
        return NP_BAD_STATE;
    return begin(account, &statement, &account->options.possession, now_mono_ms);
}

void np_act_drop(struct np_account *account)
{
    free(account->act_jws);
    account->act_jws = NULL;
}

void np_account_adopt_next_keys(struct np_account *account)
{
    account->options.possession = account->next_possession;
    account->options.user_verification = account->next_user_verification;
    account->options.generation++;
    account->has_next = false;
    account->hello_with_next = false;
}

/* Its challenges go, too: nobody answers them any more. */
static void detach(struct np_connection *c, struct np_account *account)
{
    size_t at = 0;
    while (c->accounts[at] != account)
        at++;
    c->accounts[at] = c->accounts[--c->account_count];
    account->connection = NULL;
    account->welcomed = false;
    while (account->waiting_count)
        np_account_remove(account, &account->waiting[account->waiting_count - 1]);
}

bool np_account_settle_error(struct np_connection *c, struct np_account *account, enum np_error error)
{
    if (error == NP_REMOVED) {
        np_act_drop(account);
        detach(c, account);
        return false;
    }
    if (account->welcomed) {
        if (error != NP_UNAVAILABLE)
            np_act_drop(account);
        return false;
    }
    if (error != NP_DENIED || !account->has_next)
        return false;
    account->hello_with_next = !account->hello_with_next; /* denied with both: back to the present ones */
    return account->hello_with_next && np_hello_send(c, account) == NP_OK;
}

void np_act_accepted(struct np_connection *c, struct np_account *account, const Nanopush__V1__Accepted *in)
{
    /* What was sent twice is accepted twice: the second time it is over, or something else is under way. */
    if (!account->act_jws || (int)in->act != (int)account->act)
        return;
    if (account->act == NP_ACT_ROTATED && in->generation != account->options.generation + 1)
        return;
    np_act_drop(account);
    if (account->act == NP_ACT_ROTATED)
        np_account_adopt_next_keys(account);
    else if (account->act == NP_ACT_UNLOCKED)
        account->locked_until_unix_ms = 0;
    else
        detach(c, account);
    if (c->callbacks.on_accepted)
        c->callbacks.on_accepted(c, account, account->act, c->arg);
}
