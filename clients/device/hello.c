#include "internal.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static bool account_fits(const struct np_connection *c, const struct np_account_options *o)
{
    if (strcmp(o->server_name, c->server_name) != 0)
        return false;
    for (size_t i = 0; i < o->pin_count; i++)
        if (memcmp(o->pins[i], c->pin, NP_PIN_BYTES) == 0)
            return true;
    return false;
}

enum np_error np_hello_send(struct np_connection *c, const struct np_account *account)
{
    struct np_account_options o = account->options;
    uint8_t signature[NP_SIGNATURE_BYTES];
    struct np_buf input = {0};
    if (account->hello_with_next) {
        o.possession = account->next_possession;
        o.generation++;
    }
    enum np_error error = np_hello_input(c->exporter, &o, c->pin, &input);
    if (error == NP_OK)
        error = o.possession.sign(input.p, input.len, signature, o.possession.arg);
    np_buf_done(&input);
    if (error != NP_OK)
        return error;
    Nanopush__V1__Hello hello = NANOPUSH__V1__HELLO__INIT;
    hello.organisation = (char *)o.organisation;
    hello.device_id = (char *)o.device_id;
    hello.possession_key = (ProtobufCBinaryData){NP_KEY_BYTES, o.possession.public_key};
    hello.generation = o.generation;
    hello.trust_anchor = (ProtobufCBinaryData){NP_PIN_BYTES, c->pin};
    hello.capabilities = NP_CAPABILITIES;
    hello.signature = (ProtobufCBinaryData){sizeof signature, signature};
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_HELLO;
    message.hello = &hello;
    return np_connection_send(c, &message);
}

enum np_error np_connection_hello(struct np_connection *c, struct np_account *account)
{
    if (c->state != NP_STATE_OPEN || account->connection)
        return NP_BAD_STATE;
    if (c->account_count == NP_ACCOUNTS_MAX)
        return NP_LIMIT;
    if (!account_fits(c, &account->options))
        return NP_INVALID;
    enum np_error error = np_hello_send(c, account);
    if (error != NP_OK)
        return error;
    c->accounts[c->account_count++] = account;
    account->connection = c;
    account->welcomed = false;
    return NP_OK;
}

static enum np_error sign_enrol(struct np_connection *c, const struct np_enrolment_uri *uri,
                                const struct np_signer *possession, const struct np_signer *user_verification,
                                Nanopush__V1__Enrol *enrol)
{
    char tp1[THUMBPRINT_SIZE], tp2[THUMBPRINT_SIZE];
    struct np_buf input = {0};
    enum np_error error = np_key_thumbprint(possession->public_key, tp1);
    if (error == NP_OK)
        error = np_key_thumbprint(user_verification->public_key, tp2);
    if (error == NP_OK)
        error = np_enrol_input(c->exporter, uri, tp1, tp2, &input);
    if (error == NP_OK)
        error = possession->sign(input.p, input.len, enrol->possession_signature.data, possession->arg);
    if (error == NP_OK)
        error = user_verification->sign(input.p, input.len, enrol->user_verification_signature.data,
                                        user_verification->arg);
    if (error == NP_OK && uri->has_secret)
        error = np_enrol_proof(uri, tp1, tp2, enrol->proof.data);
    np_buf_done(&input);
    return error;
}

/* The frame is kept, for an enrolment that waits: the signatures hold on this connection. */
static enum np_error make_enrol(struct np_connection *c, const struct np_enrolment_uri *uri, const char *name,
                                enum np_platform platform, const struct np_signer *possession,
                                const struct np_signer *user_verification)
{
    struct np_signer keys[] = {*possession, *user_verification}; /* protobuf-c wants them writable */
    struct np_enrolment_uri from = *uri;
    uint8_t signatures[2][NP_SIGNATURE_BYTES], proof[SHA256_BYTES];
    Nanopush__V1__Enrol enrol = NANOPUSH__V1__ENROL__INIT;
    enrol.organisation = from.organisation;
    enrol.enrolment_id = from.enrolment_id;
    enrol.token = (ProtobufCBinaryData){sizeof from.token, from.token};
    enrol.possession_key = (ProtobufCBinaryData){NP_KEY_BYTES, keys[0].public_key};
    enrol.user_verification_key = (ProtobufCBinaryData){NP_KEY_BYTES, keys[1].public_key};
    enrol.possession_signature = (ProtobufCBinaryData){NP_SIGNATURE_BYTES, signatures[0]};
    enrol.user_verification_signature = (ProtobufCBinaryData){NP_SIGNATURE_BYTES, signatures[1]};
    enrol.proof = (ProtobufCBinaryData){from.has_secret ? sizeof proof : 0, proof};
    enrol.name = (char *)name;
    enrol.platform = (Nanopush__V1__Platform)platform;
    enrol.capabilities = NP_CAPABILITIES;
    enum np_error error = sign_enrol(c, &from, &keys[0], &keys[1], &enrol);
    if (error == NP_OK) {
        Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
        message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ENROL;
        message.enrol = &enrol;
        error = np_frame_add(&c->enrol, &message);
    }
    np_enrolment_uri_cleanse(&from);
    return error;
}

static bool uri_fits(const struct np_connection *c, const struct np_enrolment_uri *uri)
{
    return memcmp(uri->pin, c->pin, NP_PIN_BYTES) == 0 && strcmp(uri->server_name, c->server_name) == 0;
}

enum np_error np_connection_scan(struct np_connection *c, const struct np_enrolment_uri *uri)
{
    if (c->state != NP_STATE_OPEN)
        return NP_BAD_STATE;
    if (!uri_fits(c, uri))
        return NP_INVALID;
    struct np_enrolment_uri from = *uri; /* protobuf-c wants it writable */
    Nanopush__V1__Scan scan = NANOPUSH__V1__SCAN__INIT;
    Nanopush__V1__PhoneMessage message = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    scan.organisation = from.organisation;
    scan.enrolment_id = from.enrolment_id;
    scan.token = (ProtobufCBinaryData){sizeof from.token, from.token};
    message.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_SCAN;
    message.scan = &scan;
    enum np_error error = np_connection_send(c, &message);
    np_enrolment_uri_cleanse(&from);
    return error;
}

enum np_error np_connection_enrol(struct np_connection *c, const struct np_enrolment_uri *uri,
                                  const char *name, enum np_platform platform,
                                  const struct np_signer *possession,
                                  const struct np_signer *user_verification)
{
    if (c->state != NP_STATE_OPEN || c->resumed || c->enrolling)
        return NP_BAD_STATE;
    if (!possession->sign || !user_verification->sign)
        return NP_NO_KEY;
    if (!np_text_fits(name, NP_NAME_SIZE) || !uri_fits(c, uri) ||
        memcmp(possession->public_key, user_verification->public_key, NP_KEY_BYTES) == 0)
        return NP_INVALID;
    enum np_error error = make_enrol(c, uri, name, platform, possession, user_verification);
    if (error == NP_OK)
        error = np_connection_send_frame(c, &c->enrol);
    if (error != NP_OK) {
        np_enrol_done(c);
        return error;
    }
    c->enrolling = true;
    c->enrol_mono_ms = c->now_mono_ms + ENROL_REPEAT_MS;
    c->enrolment = *uri;
    OPENSSL_cleanse(c->enrolment.token, sizeof c->enrolment.token);
    OPENSSL_cleanse(c->enrolment.secret, sizeof c->enrolment.secret);
    return NP_OK;
}

void np_enrol_done(struct np_connection *c)
{
    np_buf_done(&c->enrol);
    c->enrolling = false;
    c->enrol_waits = false;
}
