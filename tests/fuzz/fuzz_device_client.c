/*
 * clients/device: the enrolment URI, and what a broker (or whoever stole one) sends behind TLS. The first
 * byte says which; the app's callbacks answer whatever is shown.
 */
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"

#define NOW_MS 5000

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static enum np_error sign_zeros(const uint8_t *message, size_t len, uint8_t *signature, void *arg)
{
    (void)message, (void)len, (void)arg;
    memset(signature, 0, NP_SIGNATURE_BYTES);
    return NP_OK;
}

static void must_be_text(const char *text)
{
    if (!np_text_clean(text))
        abort();
}

static void on_challenge(struct np_connection *c, const struct np_challenge *challenge, void *arg)
{
    (void)c, (void)arg;
    must_be_text(challenge->id);
    must_be_text(challenge->portal);
    must_be_text(challenge->message);
    for (size_t i = 0; i < challenge->field_count; i++)
        must_be_text(challenge->fields[i].value);
    const char *code = challenge->option_count ? challenge->options[0] : NULL;
    enum np_error error = np_seen(challenge->account, challenge->id, challenge->attempt);
    if (error == NP_OK && !challenge->answered)
        error = np_answer(challenge->account, challenge->id, NP_APPROVE, code, NOW_MS);
    (void)error; /* INVALID in mode CODE, EXPIRED */
}

/* Each Welcome begins another act, so that an Accepted of each kind finds its own. */
static void on_welcome(struct np_connection *c, const struct np_welcome *welcome, void *arg)
{
    unsigned *welcomes = arg;
    struct np_signer possession = {.public_key = {3}, .sign = sign_zeros};
    struct np_signer verification = {.public_key = {4}, .sign = sign_zeros};
    possession.public_key[1] = verification.public_key[1] = (uint8_t)++ * welcomes;
    enum np_error error = *welcomes % 3 == 1 ? np_unlock(c, welcome->account, NOW_MS)
                          : *welcomes % 3 == 2
                              ? np_rotate(c, welcome->account, &possession, &verification, NOW_MS)
                              : np_remove(c, welcome->account, NOW_MS);
    (void)error; /* BAD_STATE: one is under way */
}

static void on_accepted(struct np_connection *c, struct np_account *account, enum np_act act, void *arg)
{
    (void)c, (void)arg;
    if (act == NP_ACT_REMOVED && (account->connection || account->waiting_count))
        abort();
}

static void on_notice(struct np_connection *c, const struct np_notice *notice, void *arg)
{
    (void)c, (void)arg;
    must_be_text(notice->phone_name);
    if (notice->until_unix_ms < 0 || np_account_locked_until_unix_ms(notice->account) < 0)
        abort();
}

static void on_enrolled(struct np_connection *c, const struct np_enrolled *enrolled, void *arg)
{
    (void)arg;
    must_be_text(enrolled->organisation_name);
    must_be_text(enrolled->code);
    if (c->enrolling != enrolled->waiting)
        abort();
}

static void on_error(struct np_connection *c, enum np_error error, const char *subject, const char *text,
                     void *arg)
{
    (void)c, (void)error, (void)arg;
    must_be_text(subject);
    must_be_text(text);
}

static void receive(const uint8_t *in, size_t len)
{
    struct np_connection *c = calloc(1, sizeof *c);
    struct np_account *account = NULL;
    unsigned welcomes = 0;
    struct np_account_options options = {
        .organisation = "o",
        .user = "u",
        .device_id = "d",
        .host = "h",
        .port = 1,
        .server_name = "n",
        .pin_count = 1,
        .possession = {.public_key = {1}, .sign = sign_zeros},
        .user_verification = {.public_key = {2}, .sign = sign_zeros},
    };
    if (!c || np_account_new(&options, &account) != NP_OK)
        abort();
    c->state = NP_STATE_OPEN;
    c->callbacks = (struct np_callbacks){
        .on_welcome = on_welcome,
        .on_challenge = on_challenge,
        .on_enrolled = on_enrolled,
        .on_accepted = on_accepted,
        .on_notice = on_notice,
        .on_error = on_error,
    };
    c->arg = &welcomes;
    c->now_mono_ms = c->heard_mono_ms = NOW_MS;
    strcpy(c->server_name, "n");
    if (np_connection_hello(c, account) != NP_OK)
        abort();
    c->enrolling = true;
    strcpy(c->enrolment.enrolment_id, "e");
    size_t half = len / 2; /* in two pieces, so that frames are cut */
    np_connection_receive(c, in, half);
    np_connection_receive(c, in + half, len - half);
    bool readable, writable;
    int64_t deadline_mono_ms;
    np_connection_want(c, &readable, &writable, &deadline_mono_ms);
    np_connection_free(c);
    np_account_free(account);
}

static void parse_uri(const uint8_t *in, size_t len)
{
    struct np_enrolment_uri uri;
    char *text = strndup((const char *)in, len);
    if (!text)
        abort();
    if (np_enrolment_uri_parse(text, &uri) == NP_OK) {
        must_be_text(uri.host);
        must_be_text(uri.user);
        must_be_text(uri.enrolment_id);
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    if (len && in[0] == 'n')
        parse_uri(in, len);
    else if (len)
        receive(in + 1, len - 1);
    return 0;
}
