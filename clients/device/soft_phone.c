#include "soft_phone.h"

#include "soft_phone_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PASSCODE_BYTES_MIN 4
#define ENROL_SECONDS      60
#define CONFIRM_SECONDS    600 /* as long as the token of an enrolment may live */
#define ACT_SECONDS        60

int soft_phone_complain(const struct soft_phone_options *options, enum np_error error, const char *text)
{
    soft_phone_print_error(options, error, "", text);
    return SOFT_PHONE_FAILED;
}

static void on_go_away(struct np_connection *c, enum np_go_away reason, uint32_t return_after_ms, void *arg)
{
    struct soft_phone *phone = arg;
    (void)c;
    phone->return_after_ms = return_after_ms;
    soft_phone_print_go_away(phone->options, reason, return_after_ms);
}

static void set_end(struct soft_phone *phone, int seconds)
{
    phone->end_mono_ms = seconds > 0 ? soft_phone_now_mono_ms() + seconds * INT64_C(1000) : INT64_MAX;
}

/* Enrol ----------------------------------------------------------------------------------------------- */

static void enrol_on_open(struct np_connection *c, void *arg)
{
    struct soft_phone *phone = arg;
    enum np_error error = np_connection_scan(c, phone->uri);
    if (error == NP_OK)
        error = np_connection_enrol(c, phone->uri, phone->name, phone->platform, &phone->possession,
                                    &phone->verification);
    if (error != NP_OK)
        soft_phone_stop(phone,
                        soft_phone_complain(phone->options, error, "the enrolment could not be asked for"));
}

static void enrol_on_enrolled(struct np_connection *c, const struct np_enrolled *enrolled, void *arg)
{
    struct soft_phone *phone = arg;
    struct soft_phone_store *s = &phone->store;
    (void)c;
    if (enrolled->waiting) {
        soft_phone_print_waiting(phone->options, enrolled);
        phone->attempt = 0;
        if (phone->options->max_seconds <= 0)
            set_end(phone, CONFIRM_SECONDS);
        return;
    }
    memcpy(s->device_id, enrolled->device_id, strlen(enrolled->device_id) + 1);
    s->generation = enrolled->generation;
    if (!soft_phone_store_save_account(s)) {
        soft_phone_stop(phone, soft_phone_complain(phone->options, s->error, s->why));
        return;
    }
    soft_phone_print_enrolled(phone->options, enrolled);
    soft_phone_stop(phone, SOFT_PHONE_OK);
}

static void enrol_on_error(struct np_connection *c, enum np_error error, const char *subject,
                           const char *text, void *arg)
{
    struct soft_phone *phone = arg;
    soft_phone_print_error(phone->options, error, subject, text);
    if (error == NP_UNAVAILABLE)
        np_connection_bye(c); /* and again, with backoff */
    else
        soft_phone_stop(phone, SOFT_PHONE_FAILED);
}

static void enrol_on_closed(struct np_connection *c, enum np_error why, const char *text, void *arg)
{
    struct soft_phone *phone = arg;
    if (why == NP_UNTRUSTED)
        soft_phone_stop(phone, soft_phone_complain(phone->options, why, text));
    soft_phone_on_closed(c, why, text, phone);
}

static bool prepare_store(struct soft_phone *phone)
{
    struct soft_phone_store *s = &phone->store;
    const struct np_enrolment_uri *uri = phone->uri;
    const char *passcode = phone->options->passcode;
    if (!soft_phone_store_open(phone->options->state_dir, true, s) || !soft_phone_store_load(s, passcode))
        return false;
    if (*s->device_id) {
        s->error = NP_BAD_STATE;
        s->why = "the state directory holds an account already";
        return false;
    }
    if (strcmp(s->enrolment_id, uri->enrolment_id) == 0 && *s->enrolment_id)
        return true; /* cut off before: the token is bound to these keys */
    if (!soft_phone_store_make_keys(s, passcode))
        return false;
    memcpy(s->enrolment_id, uri->enrolment_id, sizeof uri->enrolment_id);
    memcpy(s->organisation, uri->organisation, sizeof uri->organisation);
    memcpy(s->user, uri->user, sizeof uri->user);
    memcpy(s->host, uri->host, sizeof uri->host);
    memcpy(s->server_name, uri->server_name, sizeof uri->server_name);
    memcpy(s->pins[0], uri->pin, sizeof uri->pin);
    s->port = uri->port;
    s->pin_count = 1;
    return soft_phone_store_save_account(s);
}

static int enrol(struct soft_phone *phone)
{
    if (!prepare_store(phone))
        return soft_phone_complain(phone->options, phone->store.error, phone->store.why);
    enum np_error error = np_key_signer(phone->store.possession, &phone->possession);
    if (error == NP_OK)
        error = np_key_signer(phone->store.user_verification, &phone->verification);
    if (error != NP_OK)
        return soft_phone_complain(phone->options, error, "");
    np_enrolment_uri_endpoint(phone->uri, &phone->endpoint);
    set_end(phone, phone->options->max_seconds > 0 ? phone->options->max_seconds : ENROL_SECONDS);
    soft_phone_loop(phone);
    return phone->exit_code;
}

int soft_phone_enrol(const char *uri, const char *name, int platform,
                     const struct soft_phone_options *options)
{
    static const struct np_callbacks callbacks = {
        .on_open = enrol_on_open,
        .on_enrolled = enrol_on_enrolled,
        .on_error = enrol_on_error,
        .on_go_away = on_go_away,
        .on_closed = enrol_on_closed,
    };
    struct np_enrolment_uri parsed;
    if (!options->passcode || strlen(options->passcode) < PASSCODE_BYTES_MIN)
        return soft_phone_complain(options, NP_NO_KEY, "enrolling needs a passcode of 4 characters or more");
    enum np_error error = np_enrolment_uri_parse(uri, &parsed);
    if (error != NP_OK)
        return soft_phone_complain(options, error, "not an enrolment URI");
    struct soft_phone *phone = calloc(1, sizeof *phone);
    int exit_code = phone ? SOFT_PHONE_OK : soft_phone_complain(options, NP_NOMEM, "");
    if (phone) {
        phone->options = options;
        phone->callbacks = &callbacks;
        phone->uri = &parsed;
        phone->name = name;
        phone->platform = (enum np_platform)platform;
        exit_code = enrol(phone);
        soft_phone_store_close(&phone->store);
    }
    free(phone);
    np_enrolment_uri_cleanse(&parsed);
    return exit_code;
}

/* Run ------------------------------------------------------------------------------------------------- */

static void run_on_open(struct np_connection *c, void *arg)
{
    struct soft_phone *phone = arg;
    phone->welcome = false;
    enum np_error error = np_connection_hello(c, phone->account);
    if (error != NP_OK)
        soft_phone_stop(phone, soft_phone_complain(phone->options, error, "the account could not say hello"));
}

static void run_on_welcome(struct np_connection *c, const struct np_welcome *welcome, void *arg)
{
    struct soft_phone *phone = arg;
    (void)c;
    phone->attempt = 0;
    phone->welcome = true;
    if (welcome->pins_changed) {
        const struct np_account_options *o = np_account_options(phone->account);
        memcpy(phone->store.pins, o->pins, sizeof o->pins);
        phone->store.pin_count = o->pin_count;
        if (!soft_phone_store_save_account(&phone->store))
            soft_phone_complain(phone->options, phone->store.error, phone->store.why);
    }
    soft_phone_print_welcome(phone->options, phone->store.device_id, welcome);
    int64_t locked_until_unix_ms = np_account_locked_until_unix_ms(welcome->account);
    if (locked_until_unix_ms)
        soft_phone_print_locked(phone->options, phone->store.device_id, locked_until_unix_ms);
    soft_phone_begin_due(phone);
}

static void run_on_session(struct np_connection *c, struct np_account *account, const uint8_t *session,
                           size_t len, void *arg)
{
    struct soft_phone *phone = arg;
    (void)c, (void)account;
    if (!soft_phone_store_save_session(&phone->store, session, len))
        soft_phone_complain(phone->options, phone->store.error, phone->store.why);
}

static void run_on_challenge(struct np_connection *c, const struct np_challenge *challenge, void *arg)
{
    struct soft_phone *phone = arg;
    (void)c;
    if (challenge->alert && !soft_phone_store_save_alerted(&phone->store, phone->account))
        soft_phone_complain(phone->options, phone->store.error, phone->store.why);
    soft_phone_print_challenge(phone->options, challenge);
    soft_phone_show(phone, challenge);
}

static void run_on_resolved(struct np_connection *c, struct np_account *account, const char *challenge_id,
                            enum np_challenge_state state, bool by_this_phone, void *arg)
{
    struct soft_phone *phone = arg;
    (void)c, (void)account;
    soft_phone_forget(phone, challenge_id);
    soft_phone_print_resolved(phone->options, challenge_id, state, by_this_phone);
    if (phone->options->once)
        soft_phone_stop(phone, SOFT_PHONE_OK);
}

static void run_on_error(struct np_connection *c, enum np_error error, const char *subject, const char *text,
                         void *arg)
{
    struct soft_phone *phone = arg;
    bool about_account = strcmp(subject, phone->store.device_id) == 0;
    bool gone = error == NP_DENIED || error == NP_REMOVED;
    if (about_account && gone && phone->remove_asked) {
        soft_phone_removed(phone); /* what was lost was the answer */
        return;
    }
    soft_phone_print_error(phone->options, error, subject, text);
    if (!about_account)
        return;
    if (error == NP_UNAVAILABLE && !phone->welcome)
        np_connection_bye(c); /* and again, with backoff */
    else if (gone || (phone->act && error != NP_UNAVAILABLE))
        soft_phone_stop(phone, SOFT_PHONE_FAILED);
}

static int run(struct soft_phone *phone)
{
    struct soft_phone_store *s = &phone->store;
    const struct soft_phone_options *options = phone->options;
    if (!soft_phone_store_open(options->state_dir, false, s) || !soft_phone_store_load(s, options->passcode))
        return soft_phone_complain(options, s->error, s->why);
    if (!*s->device_id)
        return soft_phone_complain(options, NP_NOT_FOUND,
                                   "the state directory holds no account: enrol first");
    if (!soft_phone_store_account(s, &phone->account))
        return soft_phone_complain(options, s->error, s->why);
    phone->stdin_open = !phone->act && options->answer == SOFT_PHONE_ASK;
    set_end(phone, phone->act && options->max_seconds <= 0 ? ACT_SECONDS : options->max_seconds);
    soft_phone_loop(phone);
    return phone->exit_code;
}

static int run_for(enum np_act act, const struct np_callbacks *callbacks,
                   const struct soft_phone_options *options)
{
    struct soft_phone *phone = calloc(1, sizeof *phone);
    if (!phone)
        return soft_phone_complain(options, NP_NOMEM, "");
    phone->options = options;
    phone->callbacks = callbacks;
    phone->act = act;
    int exit_code = run(phone);
    np_account_free(phone->account);
    soft_phone_store_close(&phone->store);
    free(phone);
    return exit_code;
}

int soft_phone_run(const struct soft_phone_options *options)
{
    static const struct np_callbacks callbacks = {
        .on_open = run_on_open,
        .on_welcome = run_on_welcome,
        .on_session = run_on_session,
        .on_challenge = run_on_challenge,
        .on_resolved = run_on_resolved,
        .on_accepted = soft_phone_on_accepted,
        .on_notice = soft_phone_on_notice,
        .on_error = run_on_error,
        .on_go_away = on_go_away,
        .on_closed = soft_phone_on_closed,
    };
    return run_for((enum np_act)0, &callbacks, options);
}

int soft_phone_act(int act, const struct soft_phone_options *options)
{
    static const struct np_callbacks callbacks = {
        .on_open = run_on_open,
        .on_welcome = run_on_welcome,
        .on_session = run_on_session,
        .on_accepted = soft_phone_on_accepted,
        .on_error = run_on_error,
        .on_go_away = on_go_away,
        .on_closed = soft_phone_on_closed,
    };
    if (act != NP_ACT_REMOVED && !options->passcode)
        return soft_phone_complain(options, NP_NO_KEY, "that needs the passcode");
    return run_for((enum np_act)act, &callbacks, options);
}
