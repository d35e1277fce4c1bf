/**
 * The words that options take and lines print, for the values of the protocol's enums: "choose", "not-asked",
 * "delivered". The parsers say on standard error what is wrong, with the words that would be right.
 */
#ifndef NANOPUSH_CLI_WORDS_H
#define NANOPUSH_CLI_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "nanopush/v1/admin.pb-c.h"
#include "nanopush/v1/common.pb-c.h"

#define MODE_WORDS  3
#define SCOPE_WORDS 4

/**
 * A list, "tap,choose"; a word twice counts once.
 * @param text  NULL is an empty list.
 * @return false, with a line said, if a word is none.
 */
bool words_parse_modes(const char *text, Nanopush__V1__Mode ret[MODE_WORDS], size_t *count);
bool words_parse_scopes(const char *text, Nanopush__V1__Scope ret[SCOPE_WORDS], size_t *count);

/** One word; NULL is UNSPECIFIED. @return false, with a line said, if it is none. */
bool words_parse_mode(const char *text, Nanopush__V1__Mode *ret);
bool words_parse_user_verification(const char *text, Nanopush__V1__UserVerification *ret);
bool words_parse_preset(const char *text, Nanopush__V1__Preset *ret);
bool words_parse_platform(const char *text, Nanopush__V1__Platform *ret);

/** The value's words for a line, "sent to the phone"; of a value that is not known "unknown". Static. */
const char *words_of_mode(Nanopush__V1__Mode mode);
const char *words_of_platform(Nanopush__V1__Platform platform);
const char *words_of_progress(Nanopush__V1__Progress progress);
const char *words_of_state(Nanopush__V1__ChallengeState state);

#endif
