/**
 * JSON text to jansson's tree, limits first: the tree can be many times as large as the text. Private to
 * wire/.
 */
#ifndef NANOPUSH_WIRE_JSON_LOAD_H
#define NANOPUSH_WIRE_JSON_LOAD_H

#include <jansson.h>

#include "wire/json.h"

/**
 * @param[out] ret      an object; json_decref() it.
 * @param[out] problem  written on error only.
 * @return ERR_OK; ERR_TOO_BIG above @p depth_max or JSON_MAX_TOKENS, before any allocation; ERR_MALFORMED;
 * ERR_NOMEM.
 */
MUST_CHECK enum err json_load_object(struct bytes text, unsigned depth_max, json_t **ret,
                                     struct json_problem *problem);

#endif
