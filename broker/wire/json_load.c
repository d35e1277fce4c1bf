#include "wire/json_load.h"

#include <stdio.h>

/* The position behind the string that starts at i; a string without an end goes to the end of the text. */
static size_t skip_string(struct bytes text, size_t i)
{
    for (i++; i < text.len && text.p[i] != '"'; i++)
        if (text.p[i] == '\\')
            i++;
    return i + 1;
}

/* Counts right for any text that is JSON; for others it need not, since jansson refuses them. */
static enum err check_limits(struct bytes text, unsigned depth_max, struct json_problem *problem)
{
    size_t depth = 0, token_count = 0;
    for (size_t i = 0; i < text.len;) {
        uint8_t c = text.p[i];
        bool opens = c == '{' || c == '[';
        if (opens && ++depth > depth_max) {
            snprintf(problem->text, sizeof problem->text, "nested deeper than %u levels", depth_max);
            return ERR_TOO_BIG;
        }
        if ((opens || c == ',' || c == ':') && ++token_count > JSON_MAX_TOKENS) {
            snprintf(problem->text, sizeof problem->text, "more than %d brackets, commas and colons",
                     JSON_MAX_TOKENS);
            return ERR_TOO_BIG;
        }
        if ((c == '}' || c == ']') && depth)
            depth--;
        i = c == '"' ? skip_string(text, i) : i + 1;
    }
    return ERR_OK;
}

/* Own words, since jansson's repeat the text that they complain about. */
static const char *what_is_wrong(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_duplicate_key:
        return "a member stands twice";
    case json_error_invalid_utf8:
        return "invalid UTF-8";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "a string has a NUL character";
    case json_error_numeric_overflow:
        return "a number is too large; write it as a string";
    default:
        return "not a JSON object";
    }
}

enum err json_load_object(struct bytes text, unsigned depth_max, json_t **ret, struct json_problem *problem)
{
    TRY(check_limits(text, depth_max, problem));
    json_error_t error;
    json_t *root = json_loadb(text.len ? (const char *)text.p : "", text.len, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        snprintf(problem->text, sizeof problem->text, "line %d, column %d: %s", error.line, error.column,
                 what_is_wrong(&error));
        return json_error_code(&error) == json_error_out_of_memory ? ERR_NOMEM : ERR_MALFORMED;
    }
    if (!json_is_object(root)) {
        json_decref(root);
        snprintf(problem->text, sizeof problem->text, "must be an object");
        return ERR_INVALID;
    }
    *ret = root;
    return ERR_OK;
}
