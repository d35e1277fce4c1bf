#include "cli/words.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/say.h"

/** Value i of an enum is word i; NULL: it has none. */
struct vocabulary {
    const char *option; /* that takes the words */
    const char *const *words;
    size_t count;
};

static const char *const mode_words[] = {NULL, "tap", "choose", "code"};
static const char *const scope_words[] = {NULL, "challenge", "enrol", "admin", "events"};
static const char *const user_verification_words[] = {NULL, "required", "preferred", "not-asked"};
static const char *const preset_words[] = {NULL, "nist"};
static const char *const platform_words[] = {NULL, "ios", "android", "other"};
static const char *const progress_words[] = {NULL, "queued", "sent to the phone", "delivered", "seen"};
static const char *const state_words[] = {NULL,     "pending", "approved",  "denied",    "reported",
                                          "failed", "expired", "cancelled", "superseded"};

static const struct vocabulary modes = {"--mode", mode_words, 4};
static const struct vocabulary scopes = {"--scope", scope_words, 5};
static const struct vocabulary user_verifications = {"--user-verification", user_verification_words, 4};
static const struct vocabulary presets = {"--preset", preset_words, 2};
static const struct vocabulary platforms = {"--platform", platform_words, 4};
static const struct vocabulary progresses = {NULL, progress_words, 5};
static const struct vocabulary states = {NULL, state_words, 9};

static bool refuse(const struct vocabulary *of, struct bytes word)
{
    char what[96];
    snprintf(what, sizeof what, "%s: \"%.*s\"", of->option, (int)(word.len < 40 ? word.len : 40),
             (const char *)word.p);
    char reason[96] = "must be ";
    for (size_t i = 1, len = strlen(reason); i < of->count && len < sizeof reason; i++)
        len += (size_t)snprintf(reason + len, sizeof reason - len, "%s%s", of->words[i],
                                i + 2 < of->count   ? ", "
                                : i + 1 < of->count ? " or "
                                                    : "");
    say_error(what, reason);
    return false;
}

/* @return the value, or 0. */
static int value_of(const struct vocabulary *of, struct bytes word)
{
    for (size_t i = 1; i < of->count; i++) {
        if (bytes_equal(bytes_of(of->words[i]), word))
            return (int)i;
    }
    return 0;
}

static bool parse_one(const struct vocabulary *of, const char *text, int *ret)
{
    int value = text ? value_of(of, bytes_of(text)) : 0;
    if (text && !value)
        return refuse(of, bytes_of(text));
    *ret = value;
    return true;
}

/* @param[out] given  one flag for each value. */
static bool parse_list(const struct vocabulary *of, const char *text, bool *given)
{
    while (text) {
        const char *comma = strchr(text, ',');
        struct bytes word = bytes_make(text, comma ? (size_t)(comma - text) : strlen(text));
        int value = value_of(of, word);
        if (!value)
            return refuse(of, word);
        given[value] = true;
        text = comma ? comma + 1 : NULL;
    }
    return true;
}

bool words_parse_modes(const char *text, Nanopush__V1__Mode ret[MODE_WORDS], size_t *count)
{
    bool given[MODE_WORDS + 1] = {false};
    if (!parse_list(&modes, text, given))
        return false;
    *count = 0;
    for (int i = 1; i <= MODE_WORDS; i++) {
        if (given[i])
            ret[(*count)++] = (Nanopush__V1__Mode)i;
    }
    return true;
}

bool words_parse_scopes(const char *text, Nanopush__V1__Scope ret[SCOPE_WORDS], size_t *count)
{
    bool given[SCOPE_WORDS + 1] = {false};
    if (!parse_list(&scopes, text, given))
        return false;
    *count = 0;
    for (int i = 1; i <= SCOPE_WORDS; i++) {
        if (given[i])
            ret[(*count)++] = (Nanopush__V1__Scope)i;
    }
    return true;
}

bool words_parse_mode(const char *text, Nanopush__V1__Mode *ret)
{
    int value;
    if (!parse_one(&modes, text, &value))
        return false;
    *ret = (Nanopush__V1__Mode)value;
    return true;
}

bool words_parse_user_verification(const char *text, Nanopush__V1__UserVerification *ret)
{
    int value;
    if (!parse_one(&user_verifications, text, &value))
        return false;
    *ret = (Nanopush__V1__UserVerification)value;
    return true;
}

bool words_parse_preset(const char *text, Nanopush__V1__Preset *ret)
{
    int value;
    if (!parse_one(&presets, text, &value))
        return false;
    *ret = (Nanopush__V1__Preset)value;
    return true;
}

bool words_parse_platform(const char *text, Nanopush__V1__Platform *ret)
{
    int value;
    if (!parse_one(&platforms, text, &value))
        return false;
    *ret = (Nanopush__V1__Platform)value;
    return true;
}

static const char *word_of(const struct vocabulary *of, int value)
{
    return value > 0 && (size_t)value < of->count ? of->words[value] : "unknown";
}

const char *words_of_mode(Nanopush__V1__Mode mode)
{
    return word_of(&modes, (int)mode);
}

const char *words_of_platform(Nanopush__V1__Platform platform)
{
    return word_of(&platforms, (int)platform);
}

const char *words_of_progress(Nanopush__V1__Progress progress)
{
    return word_of(&progresses, (int)progress);
}

const char *words_of_state(Nanopush__V1__ChallengeState state)
{
    return word_of(&states, (int)state);
}
