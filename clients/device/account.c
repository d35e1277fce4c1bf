#include "internal.h"

#include <stdlib.h>
#include <string.h>

static bool options_valid(const struct np_account_options *o)
{
    return np_text_fits(o->organisation, NP_ID_SIZE) && np_text_fits(o->user, NP_USER_SIZE) &&
           np_text_fits(o->device_id, NP_ID_SIZE) && np_text_fits(o->host, NP_HOST_SIZE) && o->port &&
           np_text_fits(o->server_name, NP_HOST_SIZE) && o->pin_count >= 1 && o->pin_count <= NP_PINS_MAX &&
           o->possession.sign;
}

enum np_error np_account_new(const struct np_account_options *options, struct np_account **ret)
{
    if (!options_valid(options))
        return NP_INVALID;
    struct np_account *account = calloc(1, sizeof *account);
    if (!account)
        return NP_NOMEM;
    struct np_account_options *o = &account->options;
    *o = *options;
    o->organisation = strdup(options->organisation);
    o->user = strdup(options->user);
    o->device_id = strdup(options->device_id);
    o->host = strdup(options->host);
    o->server_name = strdup(options->server_name);
    if (!o->organisation || !o->user || !o->device_id || !o->host || !o->server_name) {
        np_account_free(account);
        return NP_NOMEM;
    }
    *ret = account;
    return NP_OK;
}

void np_account_free(struct np_account *account)
{
    if (!account)
        return;
    while (account->waiting_count)
        np_account_remove(account, &account->waiting[account->waiting_count - 1]);
    np_act_drop(account);
    free((char *)account->options.organisation);
    free((char *)account->options.user);
    free((char *)account->options.device_id);
    free((char *)account->options.host);
    free((char *)account->options.server_name);
    free(account);
}

const struct np_account_options *np_account_options(const struct np_account *account)
{
    return &account->options;
}

void np_account_endpoint(const struct np_account *account, struct np_endpoint *ret)
{
    *ret = (struct np_endpoint){
        .host = account->options.host,
        .port = account->options.port,
        .server_name = account->options.server_name,
        .pins = account->options.pins,
        .pin_count = account->options.pin_count,
    };
}

void np_account_set_user_verification(struct np_account *account, np_sign_fn *sign, void *arg)
{
    account->options.user_verification.sign = sign;
    account->options.user_verification.arg = arg;
}

size_t np_account_alerted(const struct np_account *account, struct np_alerted ret[NP_ALERTED_MAX])
{
    memcpy(ret, account->alerted, account->alerted_count * sizeof *ret);
    return account->alerted_count;
}

void np_account_set_alerted(struct np_account *account, const struct np_alerted *alerted, size_t count)
{
    account->alerted_count = 0;
    for (size_t i = 0; i < count; i++)
        if (strnlen(alerted[i].challenge_id, NP_ID_SIZE) < NP_ID_SIZE)
            np_account_alert(account, alerted[i].challenge_id, alerted[i].attempt);
}

bool np_account_alert(struct np_account *account, const char *challenge_id, uint32_t attempt)
{
    for (size_t i = 0; i < account->alerted_count; i++)
        if (account->alerted[i].attempt == attempt &&
            strcmp(account->alerted[i].challenge_id, challenge_id) == 0)
            return false;
    if (account->alerted_count == NP_ALERTED_MAX) {
        memmove(account->alerted, account->alerted + 1, (NP_ALERTED_MAX - 1) * sizeof *account->alerted);
        account->alerted_count--;
    }
    struct np_alerted *last = &account->alerted[account->alerted_count++];
    *last = (struct np_alerted){.attempt = attempt};
    memcpy(last->challenge_id, challenge_id, strlen(challenge_id));
    return true;
}

int64_t np_account_broker_unix_ms(const struct np_account *account, int64_t now_mono_ms)
{
    return account->has_clock ? now_mono_ms + account->clock_offset_ms : 0;
}

void np_account_set_clock(struct np_account *account, uint64_t broker_unix_ms, int64_t now_mono_ms,
                          bool fresh)
{
    if (broker_unix_ms > UNIX_MS_MAX)
        return;
    /* A message that took its time on the way makes the estimate late, and nothing makes it early: so the
       highest one counts, until a new connection brings a broker whose clock may differ. */
    int64_t offset_ms = (int64_t)broker_unix_ms - now_mono_ms;
    if (fresh || !account->has_clock || offset_ms > account->clock_offset_ms)
        account->clock_offset_ms = offset_ms;
    account->has_clock = true;
}

bool np_account_pin_next(struct np_account *account, const uint8_t used[NP_PIN_BYTES],
                         const uint8_t next[NP_PIN_BYTES])
{
    struct np_account_options *o = &account->options;
    for (size_t i = 0; i < o->pin_count; i++)
        if (memcmp(o->pins[i], next, NP_PIN_BYTES) == 0)
            return false;
    memcpy(o->pins[0], used, NP_PIN_BYTES);
    memcpy(o->pins[1], next, NP_PIN_BYTES);
    o->pin_count = 2;
    return true;
}

struct np_waiting *np_account_find(struct np_account *account, const char *challenge_id)
{
    for (size_t i = 0; i < account->waiting_count; i++)
        if (strcmp(account->waiting[i].push->challenge_id, challenge_id) == 0)
            return &account->waiting[i];
    return NULL;
}

static bool same_bytes(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static bool same_options(const Nanopush__V1__ChallengePush *a, const Nanopush__V1__ChallengePush *b)
{
    if (a->n_options != b->n_options)
        return false;
    for (size_t i = 0; i < a->n_options; i++)
        if (strcmp(a->options[i], b->options[i]) != 0)
            return false;
    return true;
}

/* Whether a repetition asks the very same question: all but the attempt and the time of sending. */
static bool same_question(const Nanopush__V1__ChallengePush *a, const Nanopush__V1__ChallengePush *b)
{
    return strcmp(a->portal_id, b->portal_id) == 0 && same_bytes(&a->display, &b->display) &&
           same_bytes(&a->nonce, &b->nonce) && a->mode == b->mode &&
           a->user_verification == b->user_verification && a->expire_unix_s == b->expire_unix_s &&
           same_options(a, b);
}

enum np_error np_account_add(struct np_account *account, Nanopush__V1__ChallengePush *push,
                             Nanopush__V1__Display *display, struct np_waiting **ret)
{
    enum np_error error = NP_OK;
    struct np_waiting *waiting = np_account_find(account, push->challenge_id);
    if (waiting && same_question(waiting->push, push))
        waiting->push->attempt = push->attempt;
    else if (waiting)
        error = NP_INVALID;
    else if (account->waiting_count == NP_CHALLENGES_MAX)
        error = NP_LIMIT;
    if (waiting || error != NP_OK) {
        nanopush__v1__challenge_push__free_unpacked(push, NULL);
        nanopush__v1__display__free_unpacked(display, NULL);
    } else {
        waiting = &account->waiting[account->waiting_count++];
        *waiting = (struct np_waiting){.push = push, .display = display};
    }
    if (error == NP_OK)
        *ret = waiting;
    return error;
}

void np_waiting_drop_answer(struct np_waiting *waiting)
{
    free(waiting->jws);
    waiting->jws = NULL;
}

void np_account_remove(struct np_account *account, struct np_waiting *waiting)
{
    nanopush__v1__challenge_push__free_unpacked(waiting->push, NULL);
    nanopush__v1__display__free_unpacked(waiting->display, NULL);
    np_waiting_drop_answer(waiting);
    size_t behind = (size_t)(&account->waiting[account->waiting_count] - (waiting + 1));
    memmove(waiting, waiting + 1, behind * sizeof *waiting);
    account->waiting_count--;
}
