#include "internal.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static void add_label(struct np_buf *b, const char *label)
{
    np_buf_add(b, label,
               strlen(label) + 1); /* its NUL ends it, so that no label is the beginning of another input */
}

enum np_error np_hello_input(const uint8_t exporter[EXPORTER_BYTES], const struct np_account_options *who,
                             const uint8_t pin[NP_PIN_BYTES], struct np_buf *ret)
{
    add_label(ret, "nanopush/1 hello");
    np_buf_add(ret, exporter, EXPORTER_BYTES);
    np_buf_add_lp(ret, who->organisation);
    np_buf_add_lp(ret, who->device_id);
    np_buf_add_u32(ret, who->generation);
    np_buf_add(ret, pin, NP_PIN_BYTES);
    np_buf_add_u32(ret, NP_CAPABILITIES);
    return ret->error;
}

enum np_error np_enrol_input(const uint8_t exporter[EXPORTER_BYTES], const struct np_enrolment_uri *uri,
                             const char tp1[THUMBPRINT_SIZE], const char tp2[THUMBPRINT_SIZE],
                             struct np_buf *ret)
{
    add_label(ret, "nanopush/1 enrol");
    np_buf_add(ret, exporter, EXPORTER_BYTES);
    np_buf_add_lp(ret, uri->organisation);
    np_buf_add_lp(ret, uri->enrolment_id);
    np_buf_add_text(ret, tp1);
    np_buf_add_text(ret, tp2);
    return ret->error;
}

enum np_error np_enrol_proof(const struct np_enrolment_uri *uri, const char tp1[THUMBPRINT_SIZE],
                             const char tp2[THUMBPRINT_SIZE], uint8_t ret[SHA256_BYTES])
{
    struct np_buf input = {0};
    add_label(&input, "nanopush/1 keys");
    np_buf_add_lp(&input, uri->organisation);
    np_buf_add_lp(&input, uri->user);
    np_buf_add_lp(&input, uri->enrolment_id);
    np_buf_add_text(&input, tp1);
    np_buf_add_text(&input, tp2);
    enum np_error error =
        input.error ? input.error : np_hmac_sha256(uri->secret, sizeof uri->secret, input.p, input.len, ret);
    np_buf_done(&input);
    return error;
}

static void add_text_claim(struct np_buf *b, const char *name, const char *value)
{
    np_buf_add_text(b, ",\"");
    np_buf_add_text(b, name);
    np_buf_add_text(b, "\":");
    np_buf_add_json(b, value);
}

static void add_bytes_claim(struct np_buf *b, const char *name, const void *p, size_t len)
{
    np_buf_add_text(b, ",\"");
    np_buf_add_text(b, name);
    np_buf_add_text(b, "\":\"");
    np_buf_add_base64url(b, p, len);
    np_buf_add_text(b, "\"");
}

static void add_number_claim(struct np_buf *b, const char *name, int64_t value)
{
    np_buf_add_text(b, ",\"");
    np_buf_add_text(b, name);
    np_buf_add_text(b, "\":");
    np_buf_add_number(b, value);
}

static enum np_error display_hash(const ProtobufCBinaryData *display, uint8_t ret[SHA256_BYTES])
{
    struct np_buf input = {0};
    add_label(&input, "nanopush-display-v1");
    np_buf_add(&input, display->data, display->len);
    enum np_error error = input.error ? input.error : np_sha256(input.p, input.len, ret);
    np_buf_done(&input);
    return error;
}

static enum np_error add_claims(const struct np_account_options *who, const struct np_statement *statement,
                                struct np_buf *b)
{
    static const char *const decisions[] = {
        [NP_APPROVE] = "approve", [NP_DENY] = "deny", [NP_NOT_ME] = "not_me"};
    static const char *const modes[] = {
        [NP_MODE_TAP] = "tap", [NP_MODE_CHOOSE] = "choose", [NP_MODE_CODE] = "code"};
    const Nanopush__V1__ChallengePush *push = statement->push;
    uint8_t shown[SHA256_BYTES];
    enum np_error error = display_hash(&push->display, shown);
    if (error != NP_OK)
        return error;
    np_buf_add_text(b, "{\"v\":1");
    add_text_claim(b, "iss", who->device_id);
    add_text_claim(b, "org", who->organisation);
    add_text_claim(b, "sub", who->user);
    add_text_claim(b, "aud", push->portal_id);
    add_text_claim(b, "jti", push->challenge_id);
    add_bytes_claim(b, "nonce", push->nonce.data, push->nonce.len);
    add_text_claim(b, "decision", decisions[statement->decision]);
    add_text_claim(b, "mode", modes[push->mode]);
    if (statement->code)
        add_text_claim(b, "code", statement->code);
    add_bytes_claim(b, "display", shown, sizeof shown);
    add_number_claim(b, "gen", who->generation);
    add_number_claim(b, "iat", statement->issued_unix_s);
    add_number_claim(b, "exp", (int64_t)push->expire_unix_s);
    np_buf_add_text(b, "}");
    return b->error;
}

static enum np_error add_header(const struct np_signer *signer, const char *typ, struct np_buf *b)
{
    char kid[THUMBPRINT_SIZE];
    enum np_error error = np_key_thumbprint(signer->public_key, kid);
    if (error != NP_OK)
        return error;
    np_buf_add_text(b, "{\"alg\":\"ES256\",\"typ\":\"nanopush-");
    np_buf_add_text(b, typ);
    np_buf_add_text(b, "+jwt\",\"kid\":\"");
    np_buf_add_text(b, kid);
    np_buf_add_text(b, "\"}");
    return b->error;
}

/* Compact JWS of @p claims, which are spent. @p typ: without "nanopush-" and "+jwt". */
static enum np_error seal(const struct np_signer *signer, const char *typ, struct np_buf *claims,
                          struct np_buf *ret)
{
    struct np_buf header = {0};
    uint8_t signature[NP_SIGNATURE_BYTES];
    size_t start = ret->len;
    enum np_error error = add_header(signer, typ, &header);
    if (error == NP_OK) {
        np_buf_add_base64url(ret, header.p, header.len);
        np_buf_add_text(ret, ".");
        np_buf_add_base64url(ret, claims->p, claims->len);
        error = ret->error;
    }
    if (error == NP_OK)
        error = signer->sign(ret->p + start, ret->len - start, signature, signer->arg);
    if (error == NP_OK) {
        np_buf_add_text(ret, ".");
        np_buf_add_base64url(ret, signature, sizeof signature);
        error = ret->error;
    }
    np_buf_done(&header);
    np_buf_done(claims);
    return error;
}

enum np_error np_statement_sign(const struct np_account_options *who, const struct np_statement *statement,
                                const struct np_signer *signer, struct np_buf *ret)
{
    struct np_buf claims = {0};
    enum np_error error = add_claims(who, statement, &claims);
    if (error != NP_OK) {
        np_buf_done(&claims);
        return error;
    }
    return seal(signer, statement->decision == NP_APPROVE ? "approval" : "refusal", &claims, ret);
}

static enum np_error add_thumbprint_claim(struct np_buf *b, const char *name, const struct np_signer *key)
{
    char thumbprint[THUMBPRINT_SIZE];
    enum np_error error = np_key_thumbprint(key->public_key, thumbprint);
    if (error == NP_OK)
        add_text_claim(b, name, thumbprint);
    return error;
}

static enum np_error add_act_claims(const struct np_account_options *who,
                                    const struct np_act_statement *statement, struct np_buf *b)
{
    bool rotates = statement->act == NP_ACT_ROTATED;
    enum np_error error = NP_OK;
    np_buf_add_text(b, "{\"v\":1");
    add_text_claim(b, "iss", who->device_id);
    add_text_claim(b, "org", who->organisation);
    add_text_claim(b, "sub", who->user);
    add_number_claim(b, "gen", (int64_t)who->generation + rotates);
    if (rotates)
        error = add_thumbprint_claim(b, "tp1", statement->next_possession);
    if (rotates && error == NP_OK)
        error = add_thumbprint_claim(b, "tp2", statement->next_user_verification);
    add_number_claim(b, "iat", statement->issued_unix_s);
    if (!rotates)
        add_bytes_claim(b, "cb", statement->exporter, EXPORTER_BYTES);
    np_buf_add_text(b, "}");
    return error == NP_OK ? b->error : error;
}

enum np_error np_act_sign(const struct np_account_options *who, const struct np_act_statement *statement,
                          const struct np_signer *signer, struct np_buf *ret)
{
    static const char *const typs[] = {
        [NP_ACT_ROTATED] = "rotation", [NP_ACT_UNLOCKED] = "unlock", [NP_ACT_REMOVED] = "remove"};
    struct np_buf claims = {0};
    enum np_error error = add_act_claims(who, statement, &claims);
    if (error != NP_OK) {
        np_buf_done(&claims);
        return error;
    }
    return seal(signer, typs[statement->act], &claims, ret);
}
