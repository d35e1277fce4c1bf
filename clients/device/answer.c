#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum np_error np_seen(struct np_account *account, const char *challenge_id, uint32_t attempt)
{
    struct np_waiting *waiting = np_account_find(account, challenge_id);
    if (!waiting)
        return NP_NOT_FOUND;
    waiting->seen_attempt = attempt;
    waiting->seen_due = true;
    return NP_OK;
}

static bool is_option(const Nanopush__V1__ChallengePush *push, const char *code)
{
    for (size_t i = 0; i < push->n_options; i++)
        if (strcmp(push->options[i], code) == 0)
            return true;
    return false;
}

static bool code_allowed(const Nanopush__V1__ChallengePush *push, enum np_decision decision, const char *code)
{
    if (decision != NP_APPROVE || push->mode == NANOPUSH__V1__MODE__MODE_TAP)
        return !code;
    if (!code || !np_code_fits(code))
        return false;
    return push->mode == NANOPUSH__V1__MODE__MODE_CODE || is_option(push, code);
}

static const struct np_signer *signer_for(const struct np_account_options *o,
                                          const Nanopush__V1__ChallengePush *push, enum np_decision decision)
{
    if (decision != NP_APPROVE ||
        push->user_verification == NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_NOT_ASKED)
        return &o->possession;
    if (!o->user_verification.sign &&
        push->user_verification == NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_PREFERRED)
        return &o->possession;
    return &o->user_verification;
}

enum np_error np_answer(struct np_account *account, const char *challenge_id, enum np_decision decision,
                        const char *code, int64_t now_mono_ms)
{
    struct np_waiting *waiting = np_account_find(account, challenge_id);
    if (!waiting)
        return NP_NOT_FOUND;
    if (waiting->jws)
        return NP_BAD_STATE;
    if (decision > NP_NOT_ME || !code_allowed(waiting->push, decision, code))
        return NP_INVALID;
    struct np_statement statement = {
        .push = waiting->push,
        .decision = decision,
        .code = code,
        .issued_unix_s = np_account_broker_unix_ms(account, now_mono_ms) / 1000,
    };
    if (statement.issued_unix_s >= (int64_t)waiting->push->expire_unix_s)
        return NP_EXPIRED;
    const struct np_signer *signer = signer_for(&account->options, waiting->push, decision);
    if (!signer->sign)
        return NP_NO_KEY;
    struct np_buf jws = {0};
    enum np_error error = np_statement_sign(&account->options, &statement, signer, &jws);
    if (error == NP_OK) {
        waiting->jws = strndup((const char *)jws.p, jws.len);
        error = waiting->jws ? NP_OK : NP_NOMEM;
    }
    waiting->send_mono_ms = now_mono_ms;
    np_buf_done(&jws);
    return error;
}
