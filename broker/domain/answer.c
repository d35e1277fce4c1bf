#include "domain/answer.h"

#include <string.h>

#include "crypto/inputs.h"
#include "nanopush/v1/common.pb-c.h"

static bool is_type_of(const char *typ, enum statement_decision decision)
{
    return strcmp(typ, decision == DECISION_APPROVE ? JWS_TYP_APPROVAL : JWS_TYP_REFUSAL) == 0;
}

/* The device's key of that thumbprint, or NULL. */
static const uint8_t *key_of(const Record__Device *device, const char *kid, bool *user_verification)
{
    const ProtobufCBinaryData *const keys[] = {&device->possession_key, &device->user_verification_key};
    for (size_t i = 0; i < 2; i++) {
        char thumbprint[P256_THUMBPRINT_SIZE];
        if (keys[i]->len != P256_PUBLIC_BYTES || p256_thumbprint(keys[i]->data, thumbprint) != ERR_OK)
            continue;
        if (strcmp(thumbprint, kid) == 0) {
            *user_verification = i == 1;
            return keys[i]->data;
        }
    }
    return NULL;
}

bool answer_is_by(struct bytes compact, const Record__Device *device)
{
    struct jws jws;
    bool user_verification;
    if (jws_parse(compact, ANSWER_MAX_BYTES, &jws) != ERR_OK)
        return false;
    bool found = key_of(device, jws.kid, &user_verification) != NULL;
    jws_done(&jws);
    return found;
}

enum err answer_open(struct bytes compact, const Record__Device *device, struct answer *ret)
{
    struct answer answer = {0};
    TRY(jws_parse(compact, ANSWER_MAX_BYTES, &answer.jws));
    const uint8_t *key = key_of(device, answer.jws.kid, &answer.by_user_verification);
    enum err e = key ? jws_verify(&answer.jws, key) : ERR_BAD_SIGNATURE;
    if (e == ERR_OK && statement_parse(buf_view(&answer.jws.payload), &answer.statement) != ERR_OK)
        e = ERR_INVALID;
    if (e == ERR_OK && !is_type_of(answer.jws.typ, answer.statement.decision))
        e = ERR_INVALID;
    if (e != ERR_OK) {
        answer_done(&answer);
        return e;
    }
    *ret = answer;
    return ERR_OK;
}

void answer_done(struct answer *answer)
{
    jws_done(&answer->jws);
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static bool is_about(const struct statement *s, const Record__Device *device,
                     const struct challenge_view *view)
{
    static const Nanopush__V1__Mode modes[MODE_COUNT] = {
        [MODE_TAP] = NANOPUSH__V1__MODE__MODE_TAP,
        [MODE_CHOOSE] = NANOPUSH__V1__MODE__MODE_CHOOSE,
        [MODE_CODE] = NANOPUSH__V1__MODE__MODE_CODE,
    };
    const Record__Challenge *c = view->record;
    struct bytes nonce = bytes_make(c->nonce.data, c->nonce.len);
    return same_text(s->iss, device->id) && s->gen == device->generation &&
           same_text(s->org, c->organisation) && same_text(s->sub, c->user) && same_text(s->aud, c->portal) &&
           same_text(s->jti, c->id) && bytes_equal(bytes_make(s->nonce, s->nonce_len), nonce) &&
           (uint32_t)modes[s->mode] == c->mode && s->exp_s == view->expire_unix_ms / 1000;
}

enum err answer_judge(const struct answer *answer, const Record__Device *device,
                      const struct challenge_view *view, const char *number, enum challenge_state *state)
{
    static const enum challenge_state states[DECISION_COUNT] = {
        [DECISION_APPROVE] = CHALLENGE_APPROVED,
        [DECISION_DENY] = CHALLENGE_DENIED,
        [DECISION_NOT_ME] = CHALLENGE_REPORTED,
    };
    const Record__Challenge *c = view->record;
    uint8_t display[SHA256_BYTES];
    if (!is_about(&answer->statement, device, view))
        return ERR_INVALID;
    TRY(input_display_digest(bytes_make(c->display.data, c->display.len), display));
    if (memcmp(display, answer->statement.display, sizeof display) != 0)
        return ERR_INVALID;
    if (answer->statement.decision == DECISION_APPROVE && !answer->by_user_verification &&
        c->user_verification == NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_REQUIRED)
        return ERR_DENIED;
    *state = states[answer->statement.decision];
    bool numbered = *state == CHALLENGE_APPROVED && answer->statement.mode != MODE_TAP;
    if (numbered && !bytes_equal_secret(bytes_of(answer->statement.code), bytes_of(number)))
        *state = CHALLENGE_FAILED;
    return ERR_OK;
}
