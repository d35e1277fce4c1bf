/*
 * jws_parse(), statement_parse() and act_parse(): the first byte says whether the rest is a JWS, whose payload
 * is parsed too, or a payload at once, which random changes cannot reach through base64url.
 */
#include <stdlib.h>

#include "crypto/act.h"
#include "crypto/jws.h"
#include "crypto/statement.h"

#define JWS_MAX_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static void parse_statement(struct bytes payload)
{
    struct statement statement;
    if (statement_parse(payload, &statement) != ERR_OK)
        return;
    bool has_code = statement.decision == DECISION_APPROVE && statement.mode != MODE_TAP;
    if (statement.nonce_len < STATEMENT_NONCE_MIN_BYTES || statement.nonce_len > STATEMENT_NONCE_MAX_BYTES ||
        (statement.code[0] != '\0') != has_code)
        abort();
}

static void parse_act(struct bytes payload, bool rotation)
{
    struct act act;
    if (act_parse(payload, rotation, &act) != ERR_OK)
        return;
    if (!act.iss[0] || !act.org[0] || !act.sub[0] || act.iat_s < 0 ||
        (rotation && (!act.tp1[0] || !act.tp2[0])))
        abort();
}

static void parse_payload(struct bytes payload)
{
    parse_statement(payload);
    parse_act(payload, true);
    parse_act(payload, false);
}

static void parse_jws(struct bytes compact)
{
    struct jws jws;
    if (jws_parse(compact, JWS_MAX_BYTES, &jws) != ERR_OK)
        return;
    if (jws.signing_input.p != compact.p || jws.signing_input.len >= compact.len || jws.typ[0] == '\0')
        abort();
    parse_payload(buf_view(&jws.payload));
    jws_done(&jws);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    if (len == 0)
        return 0;
    if (in[0] == 'j')
        parse_jws(bytes_make(in + 1, len - 1));
    else
        parse_payload(bytes_make(in + 1, len - 1));
    return 0;
}
