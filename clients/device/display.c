#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define NONCE_BYTES_MIN 16
#define NONCE_BYTES_MAX 64

static bool texts_clean(const Nanopush__V1__Display *display)
{
    const char *const texts[] = {
        display->organisation, display->portal,           display->user,
        display->application,  display->address,          display->place,
        display->browser,      display->operating_system, display->message,
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!np_text_clean(texts[i]))
            return false;
    for (size_t i = 0; i < display->n_fields; i++)
        if (!np_text_clean(display->fields[i]->label) || !np_text_clean(display->fields[i]->value))
            return false;
    return true;
}

static bool all_known(const Nanopush__V1__Display *display)
{
    if (display->base.n_unknown_fields ||
        !protobuf_c_enum_descriptor_get_value(&nanopush__v1__occasion__descriptor, (int)display->occasion))
        return false;
    for (size_t i = 0; i < display->n_fields; i++)
        if (display->fields[i]->base.n_unknown_fields)
            return false;
    return true;
}

static enum np_error check(const Nanopush__V1__Display *display, const uint8_t *p, size_t len)
{
    if (!all_known(display))
        return NP_UNSUPPORTED;
    if (display->n_fields > NP_DISPLAY_FIELDS_MAX || !texts_clean(display))
        return NP_INVALID;
    if (nanopush__v1__display__get_packed_size(display) != len)
        return NP_MALFORMED;
    uint8_t packed[NP_FRAME_BYTES_MAX];
    nanopush__v1__display__pack(display, packed);
    return memcmp(packed, p, len) == 0 ? NP_OK : NP_MALFORMED;
}

enum np_error np_display_parse(const uint8_t *p, size_t len, Nanopush__V1__Display **ret)
{
    if (len == 0 || len > NP_FRAME_BYTES_MAX)
        return NP_MALFORMED;
    Nanopush__V1__Display *display = nanopush__v1__display__unpack(NULL, len, p);
    if (!display)
        return NP_MALFORMED;
    enum np_error error = check(display, p, len);
    if (error != NP_OK) {
        nanopush__v1__display__free_unpacked(display, NULL);
        return error;
    }
    *ret = display;
    return NP_OK;
}

bool np_code_fits(const char *code)
{
    size_t len = strspn(code, "0123456789");
    return len >= 1 && len <= NP_CODE_DIGITS_MAX && !code[len];
}

static bool options_fit(const Nanopush__V1__ChallengePush *push)
{
    if (push->n_options < 2 || push->n_options > NP_OPTIONS_MAX)
        return false;
    for (size_t i = 0; i < push->n_options; i++)
        if (!np_code_fits(push->options[i]))
            return false;
    return true;
}

enum np_error np_push_check(const Nanopush__V1__ChallengePush *push)
{
    if (!np_text_fits(push->challenge_id, NP_ID_SIZE) || !np_text_fits(push->portal_id, NP_ID_SIZE) ||
        push->nonce.len < NONCE_BYTES_MIN || push->nonce.len > NONCE_BYTES_MAX ||
        push->expire_unix_s > UNIX_MS_MAX / 1000 || push->broker_unix_ms > UNIX_MS_MAX)
        return NP_INVALID;
    if (push->mode < NANOPUSH__V1__MODE__MODE_TAP || push->mode > NANOPUSH__V1__MODE__MODE_CODE ||
        push->user_verification < NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_REQUIRED ||
        push->user_verification > NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_NOT_ASKED)
        return NP_UNSUPPORTED;
    if (push->mode == NANOPUSH__V1__MODE__MODE_CHOOSE && !options_fit(push))
        return NP_INVALID;
    return NP_OK;
}
