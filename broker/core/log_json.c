#include "core/log_json.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define HEX_DIGITS "0123456789abcdefABCDEF"

/** What is left of the line, and the object so far. */
struct transcription {
    const char *at, *end;
    char *out;
    size_t len;
    bool full;
};

static void put(struct transcription *t, const char *text, size_t len)
{
    if (t->len + len > LOG_JSON_MAX_BYTES - sizeof "\"}")
        t->full = true;
    if (t->full)
        return;
    memcpy(t->out + t->len, text, len);
    t->len += len;
}

/* One escape of log_quote(), which JSON has too but for \xHH. */
static void put_escape(struct transcription *t)
{
    if (t->end - t->at >= 4 && t->at[1] == 'x' && strspn(t->at + 2, HEX_DIGITS) >= 2) {
        put(t, "\\u00", 4);
        put(t, t->at + 2, 2);
        t->at += 4;
    } else if (t->end - t->at >= 2 && strchr("\"\\nrt", t->at[1])) {
        put(t, t->at, 2);
        t->at += 2;
    } else { /* cut off */
        put(t, "\\\\", 2);
        t->at++;
    }
}

/* A value in quotes, up to the closing one; or a plain one, up to the next space. */
static void put_value(struct transcription *t)
{
    bool quoted = t->at < t->end && *t->at == '"';
    t->at += quoted;
    while (t->at < t->end && *t->at != (quoted ? '"' : ' ')) {
        if (*t->at == '\\')
            put_escape(t);
        else if (*t->at == '"')
            put(t, "\\\"", 2), t->at++;
        else
            put(t, t->at++, 1);
    }
    t->at += quoted && t->at < t->end;
}

size_t log_json(const char *line, size_t len, char out[LOG_JSON_MAX_BYTES])
{
    struct transcription t = {.at = line, .end = line + len, .out = out};
    size_t whole = 0; /* up to the last pair that is whole */
    while (t.at < t.end) {
        const char *equals = memchr(t.at, '=', (size_t)(t.end - t.at));
        if (!equals)
            break;
        put(&t, whole ? ",\"" : "{\"", 2);
        put(&t, t.at, (size_t)(equals - t.at));
        put(&t, "\":\"", 3);
        t.at = equals + 1;
        put_value(&t);
        put(&t, "\"", 1);
        if (t.full)
            break;
        whole = t.len;
        while (t.at < t.end && *t.at == ' ')
            t.at++;
    }
    t.len = whole;
    t.full = false;
    put(&t, whole ? "}" : "{}", whole ? 1 : 2);
    return t.len;
}
