/**
 * What may be shown on a phone: text that cannot pretend to be other text.
 */
#ifndef NANOPUSH_DOMAIN_TEXT_H
#define NANOPUSH_DOMAIN_TEXT_H

#include "base/bytes.h"

/**
 * @return ERR_OK; ERR_TOO_BIG above @p max bytes; ERR_INVALID where it is not UTF-8, or has a control character, a line
 *         or paragraph separator, or a character of bidirectional formatting (Unicode 15, Bidi_Control).
 */
MUST_CHECK enum err text_check(struct bytes text, size_t max);

/** A name of the registry: 1 to NAME_MAX_LEN of a-z 0-9 and "-", neither first nor last a "-". */
bool text_is_name(struct bytes text);

#endif
