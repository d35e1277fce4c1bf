#include "soft_phone_internal.h"

static enum np_error rotate(struct soft_phone *phone, int64_t now_mono_ms)
{
    struct soft_phone_store *s = &phone->store;
    struct np_signer possession, user_verification;
    if (!s->user_verification)
        return NP_NO_KEY;
    if (!soft_phone_store_make_next_keys(s, phone->options->passcode)) {
        soft_phone_complain(phone->options, s->error, s->why);
        return s->error;
    }
    enum np_error error = np_key_signer(s->next_possession, &possession);
    if (error == NP_OK)
        error = np_key_signer(s->next_user_verification, &user_verification);
    if (error == NP_OK)
        error = np_rotate(phone->connection, phone->account, &possession, &user_verification, now_mono_ms);
    return error;
}

static enum np_error begin(struct soft_phone *phone, enum np_act act)
{
    int64_t now_mono_ms = soft_phone_now_mono_ms();
    if (!phone->connection || !phone->welcome)
        return NP_BAD_STATE;
    switch (act) {
    case NP_ACT_ROTATED:
        return rotate(phone, now_mono_ms);
    case NP_ACT_UNLOCKED:
        return np_unlock(phone->connection, phone->account, now_mono_ms);
    case NP_ACT_REMOVED:
        break;
    }
    enum np_error error = np_remove(phone->connection, phone->account, now_mono_ms);
    phone->remove_asked = phone->remove_asked || error == NP_OK;
    return error;
}

void soft_phone_begin(struct soft_phone *phone, enum np_act act)
{
    enum np_error error = begin(phone, act);
    if (error == NP_OK)
        return;
    soft_phone_print_error(phone->options, error, phone->store.device_id,
                           error == NP_NO_KEY ? "that needs the passcode" : "");
    if (phone->act)
        soft_phone_stop(phone, SOFT_PHONE_FAILED);
}

void soft_phone_begin_due(struct soft_phone *phone)
{
    if (phone->stopping)
        return;
    if (phone->act)
        soft_phone_begin(phone, phone->act);
    else if (phone->store.next_possession && phone->store.user_verification)
        soft_phone_begin(phone, NP_ACT_ROTATED);
}

void soft_phone_removed(struct soft_phone *phone)
{
    struct soft_phone_store *s = &phone->store;
    bool wiped = soft_phone_store_wipe(s);
    soft_phone_print_accepted(phone->options, s->device_id, NP_ACT_REMOVED, s->generation);
    soft_phone_stop(phone, wiped ? SOFT_PHONE_OK : soft_phone_complain(phone->options, s->error, s->why));
}

void soft_phone_on_accepted(struct np_connection *c, struct np_account *account, enum np_act act, void *arg)
{
    struct soft_phone *phone = arg;
    struct soft_phone_store *s = &phone->store;
    (void)c;
    if (act == NP_ACT_REMOVED) {
        soft_phone_removed(phone);
        return;
    }
    uint32_t generation = np_account_options(account)->generation;
    bool stored = act != NP_ACT_ROTATED || soft_phone_store_adopt_next_keys(s, generation);
    soft_phone_print_accepted(phone->options, s->device_id, act, generation);
    if (!stored)
        soft_phone_stop(phone, soft_phone_complain(phone->options, s->error, s->why));
    else if (phone->act == act)
        soft_phone_stop(phone, SOFT_PHONE_OK);
}

void soft_phone_on_notice(struct np_connection *c, const struct np_notice *notice, void *arg)
{
    struct soft_phone *phone = arg;
    (void)c;
    soft_phone_print_notice(phone->options, phone->store.device_id, notice);
    if (notice->kind == NP_NOTICE_LOCKED)
        soft_phone_print_locked(phone->options, phone->store.device_id, notice->until_unix_ms);
}
