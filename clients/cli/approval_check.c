#include "cli/approval_check.h"

#include <string.h>

#include "crypto/inputs.h"
#include "crypto/jws.h"
#include "crypto/statement.h"
#include "wire/message.h"

#define DISPLAY_MEMORY_MAX_BYTES (256 * 1024)

/** As TRY, for findings. */
#define CHECK(expr)                                                                                          \
    do {                                                                                                     \
        enum approval check_found_ = (expr);                                                                 \
        if (check_found_ != APPROVAL_VERIFIED)                                                               \
            return check_found_;                                                                             \
    } while (0)

#define REQUIRE(holds, found)                                                                                \
    do {                                                                                                     \
        if (!(holds))                                                                                        \
            return APPROVAL_##found;                                                                         \
    } while (0)

const char *approval_text(enum approval approval)
{
    static const char *const texts[] = {
#define APPROVAL(ident, point, text) text,
#include "cli/approval.def"
#undef APPROVAL
    };
    return texts[approval];
}

int approval_point(enum approval approval)
{
    static const int points[] = {
#define APPROVAL(ident, point, text) point,
#include "cli/approval.def"
#undef APPROVAL
    };
    return points[approval];
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* What went wrong is the answer's fault, unless this machine could not look. */
static enum approval finding(enum err e, enum approval otherwise)
{
    return e == ERR_OK                         ? APPROVAL_VERIFIED
           : e == ERR_NOMEM || e == ERR_CRYPTO ? APPROVAL_NOT_CHECKED
                                               : otherwise;
}

static bool takes_possession_key(const struct approval_request *request)
{
    return request->asked->user_verification ==
               NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_PREFERRED ||
           request->asked->user_verification == NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_NOT_ASKED;
}

/* The phone that has the key of that thumbprint; NULL: none. */
static const struct pinned_device *find_key(const char *kid, const struct pinned_device *devices,
                                            size_t device_count)
{
    for (size_t i = 0; i < device_count; i++) {
        if (same_text(kid, devices[i].possession) || same_text(kid, devices[i].user_verification))
            return &devices[i];
    }
    return NULL;
}

bool approval_key_known(struct bytes jws, const struct pinned_device *devices, size_t device_count)
{
    struct jws parsed;
    if (jws_parse(jws, APPROVAL_JWS_MAX_BYTES, &parsed) != ERR_OK)
        return false;
    bool known = find_key(parsed.kid, devices, device_count);
    jws_done(&parsed);
    return known;
}

/* Point 1, but for the claims: whose key it is, and that it did sign. */
static enum approval check_signer(const struct approval_request *request, const struct jws *jws,
                                  const struct pinned_device **ret)
{
    const struct pinned_device *device = find_key(jws->kid, request->devices, request->device_count);
    REQUIRE(device, KEY_UNKNOWN);
    bool possession = same_text(jws->kid, device->possession);
    REQUIRE(!possession || takes_possession_key(request), KEY_ROLE);
    CHECK(finding(jws_verify(jws, possession ? device->possession_key : device->user_verification_key),
                  APPROVAL_SIGNATURE));
    REQUIRE(same_text(jws->typ, JWS_TYP_APPROVAL), TYPE);
    *ret = device;
    return APPROVAL_VERIFIED;
}

static enum approval check_parties(const struct approval_request *request, const struct pinned_device *device,
                                   const struct statement *statement)
{
    REQUIRE(same_text(statement->iss, device->device_id), DEVICE);
    REQUIRE(same_text(statement->aud, request->portal), AUDIENCE);
    REQUIRE(same_text(statement->org, device->org), ORGANISATION);
    REQUIRE(same_text(statement->sub, request->asked->user), SUBJECT);
    REQUIRE(same_text(statement->jti, request->challenge_id), CHALLENGE);
    return APPROVAL_VERIFIED;
}

/* Higher is stronger; 0: no mode. A mode that was not asked for by name is the broker's choice: nothing to check by. */
static int strength(Nanopush__V1__Mode mode)
{
    switch (mode) {
    case NANOPUSH__V1__MODE__MODE_TAP:
        return 1;
    case NANOPUSH__V1__MODE__MODE_CHOOSE:
        return 2;
    case NANOPUSH__V1__MODE__MODE_CODE:
        return 3;
    default:
        return 0;
    }
}

static enum approval check_mode(const struct approval_request *request, const struct statement *statement)
{
    static const Nanopush__V1__Mode modes[] = {
        [MODE_TAP] = NANOPUSH__V1__MODE__MODE_TAP,
        [MODE_CHOOSE] = NANOPUSH__V1__MODE__MODE_CHOOSE,
        [MODE_CODE] = NANOPUSH__V1__MODE__MODE_CODE,
    };
    int asked = strength(request->asked->mode);
    bool tap = statement->mode == MODE_TAP;
    REQUIRE(asked && strength(modes[statement->mode]) >= asked, MODE);
    REQUIRE(!tap || !*request->number, MODE);
    REQUIRE(
        tap || (*request->number && bytes_equal_secret(bytes_of(statement->code), bytes_of(request->number))),
        CODE);
    return APPROVAL_VERIFIED;
}

static bool shows_fields(const Nanopush__V1__Display *display, const Nanopush__V1__ChallengeContext *asked)
{
    if (display->n_fields != asked->n_fields)
        return false;
    for (size_t i = 0; i < asked->n_fields; i++) {
        if (!same_text(display->fields[i]->label, asked->fields[i]->label) ||
            !same_text(display->fields[i]->value, asked->fields[i]->value))
            return false;
    }
    return true;
}

static bool shows(const Nanopush__V1__Display *display, const Nanopush__V1__CreateChallengeRequest *asked)
{
    static const Nanopush__V1__ChallengeContext nothing = NANOPUSH__V1__CHALLENGE_CONTEXT__INIT;
    const Nanopush__V1__ChallengeContext *context = asked->context ? asked->context : &nothing;
    return display->occasion == NANOPUSH__V1__OCCASION__OCCASION_SIGN_IN &&
           same_text(display->user, asked->user) && same_text(display->application, context->application) &&
           same_text(display->address, context->address) && same_text(display->place, context->place) &&
           same_text(display->browser, context->browser) &&
           same_text(display->operating_system, context->operating_system) &&
           same_text(display->message, context->message) && shows_fields(display, context);
}

static enum approval check_display(const struct approval_request *request, struct bytes display,
                                   const struct statement *statement)
{
    uint8_t digest[SHA256_BYTES];
    CHECK(finding(input_display_digest(display, digest), APPROVAL_DISPLAY_HASH));
    REQUIRE(bytes_equal_secret(bytes_make(digest, sizeof digest),
                               bytes_make(statement->display, sizeof statement->display)),
            DISPLAY_HASH);
    struct arena arena;
    ProtobufCMessage *message;
    arena_init(&arena, DISPLAY_MEMORY_MAX_BYTES);
    enum err e = message_parse(&nanopush__v1__display__descriptor, display, SCAN_STRICT, &arena, &message);
    enum approval found = finding(e, APPROVAL_DISPLAY_CONTENT);
    if (e == ERR_OK && !shows((const Nanopush__V1__Display *)message, request->asked))
        found = APPROVAL_DISPLAY_CONTENT;
    arena_done(&arena);
    return found;
}

static enum approval check_statement(const struct approval_request *request, const struct jws *jws,
                                     struct bytes display, int64_t now_unix_s)
{
    const struct pinned_device *device;
    struct statement statement;
    struct bytes nonce = bytes_make(request->asked->nonce.data, request->asked->nonce.len);
    CHECK(check_signer(request, jws, &device));
    CHECK(finding(statement_parse(buf_view(&jws->payload), &statement), APPROVAL_NO_STATEMENT));
    CHECK(check_parties(request, device, &statement));
    REQUIRE(nonce.len && bytes_equal_secret(bytes_make(statement.nonce, statement.nonce_len), nonce), NONCE);
    CHECK(check_mode(request, &statement));
    CHECK(check_display(request, display, &statement));
    REQUIRE(statement.decision == DECISION_APPROVE, DECISION);
    REQUIRE(statement.exp_s > now_unix_s, EXPIRED);
    return APPROVAL_VERIFIED;
}

enum approval approval_check(const struct approval_request *request, struct bytes jws, struct bytes display,
                             int64_t now_unix_s)
{
    struct jws parsed;
    CHECK(finding(jws_parse(jws, APPROVAL_JWS_MAX_BYTES, &parsed), APPROVAL_NO_JWS));
    enum approval found = check_statement(request, &parsed, display, now_unix_s);
    jws_done(&parsed);
    return found;
}
