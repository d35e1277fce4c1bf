#include "cli/exposition.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool name_character(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == ':';
}

static enum err take_name(const char **at, char out[SAMPLE_TEXT_SIZE])
{
    size_t len = 0;
    while (name_character((*at)[len]))
        len++;
    if (len == 0)
        return ERR_MALFORMED;
    if (len >= SAMPLE_TEXT_SIZE)
        return ERR_TOO_BIG;
    memcpy(out, *at, len);
    out[len] = '\0';
    *at += len;
    return ERR_OK;
}

/* "value" with \\, \" and \n in it. */
static enum err take_quoted(const char **at, char out[SAMPLE_TEXT_SIZE])
{
    size_t len = 0;
    if (*(*at)++ != '"')
        return ERR_MALFORMED;
    for (; **at != '"'; (*at)++) {
        bool escaped = **at == '\\';
        if (escaped)
            (*at)++;
        if (!**at)
            return ERR_MALFORMED;
        if (len + 1 >= SAMPLE_TEXT_SIZE)
            return ERR_TOO_BIG;
        out[len++] = escaped && **at == 'n' ? '\n' : **at;
    }
    (*at)++;
    out[len] = '\0';
    return ERR_OK;
}

static enum err take_labels(const char **at, struct sample *sample)
{
    for ((*at)++; **at != '}';) {
        if (sample->label_count == SAMPLE_LABELS_MAX)
            return ERR_TOO_BIG;
        TRY(take_name(at, sample->labels[sample->label_count].name));
        if (*(*at)++ != '=')
            return ERR_MALFORMED;
        TRY(take_quoted(at, sample->labels[sample->label_count].value));
        sample->label_count++;
        if (**at == ',')
            (*at)++;
        else if (**at != '}')
            return ERR_MALFORMED;
    }
    (*at)++;
    return ERR_OK;
}

enum err sample_parse(const char *line, struct sample *ret)
{
    struct sample sample = {.label_count = 0};
    const char *at = line;
    if (!*at || *at == '#')
        return ERR_NOT_FOUND;
    TRY(take_name(&at, sample.name));
    if (*at == '{')
        TRY(take_labels(&at, &sample));
    if (*at++ != ' ')
        return ERR_MALFORMED;
    char *end;
    sample.value = strtod(at, &end);
    if (end == at || (*end && *end != ' '))
        return ERR_MALFORMED;
    *ret = sample;
    return ERR_OK;
}
