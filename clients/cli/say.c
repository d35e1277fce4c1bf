#include "cli/say.h"

#include <errno.h>
#include <string.h>

#include "wire/json.h"

#define LABEL_WIDTH 16

/* Bytes of the character at @p text, which is valid UTF-8 or else taken byte by byte. */
static size_t character_bytes(const unsigned char *text)
{
    size_t len = *text >= 0xf0 ? 4 : *text >= 0xe0 ? 3 : *text >= 0xc0 ? 2 : 1;
    return strnlen((const char *)text, len) == len && utf8_valid(bytes_make(text, len)) ? len : 1;
}

static bool harmless(const unsigned char *at, size_t len)
{
    if (len == 1)
        return *at >= 0x20 && *at < 0x7f;
    if (len == 2)
        return at[0] != 0xc2 || at[1] >= 0xa0; /* C1 control characters */
    if (len == 3 && at[0] == 0xe2 && at[1] == 0x80)
        return !(at[2] >= 0x8b && at[2] <= 0x8f) && !(at[2] >= 0xa8 && at[2] <= 0xae);
    if (len == 3 && at[0] == 0xe2 && at[1] == 0x81)
        return !(at[2] >= 0xa0 && at[2] <= 0xaf);
    return true;
}

void say_text(FILE *to, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at) {
        size_t len = character_bytes(at);
        if (harmless(at, len))
            fwrite(at, 1, len, to);
        else
            fputc('?', to);
        at += len;
    }
}

void say_error(const char *what, const char *reason)
{
    fflush(stdout); /* so that a terminal and a log show both in order */
    fputs("nanopush: ", stderr);
    say_text(stderr, what);
    fputs(": ", stderr);
    say_text(stderr, reason);
    fputc('\n', stderr);
}

void say_problem(const char *what, const struct connect_problem *problem)
{
    char reason[CONNECT_CODE_SIZE + CONNECT_MESSAGE_SIZE + 2];
    snprintf(reason, sizeof reason, "%s: %s", problem->code, problem->message);
    say_error(what, reason);
    if (problem->support[0])
        say_error("help", problem->support);
}

void say_file_error(const char *what, const char *path, enum err e)
{
    const char *reason = e == ERR_IO ? strerror(errno) : err_text(e);
    char line[512];
    snprintf(line, sizeof line, "%s %s", what, path);
    say_error(line, reason);
}

void say_row(const char *label, const char *text)
{
    if (!*text)
        return;
    printf("%-*s ", LABEL_WIDTH, label);
    say_text(stdout, text);
    putchar('\n');
}

enum exit_status say_json(const ProtobufCMessage *message)
{
    struct buf line = {0};
    enum err e = json_encode(message, &line);
    if (e == ERR_OK)
        e = buf_append_byte(&line, '\n');
    if (e == ERR_OK) {
        fwrite(buf_view(&line).p, 1, buf_len(&line), stdout);
        fflush(stdout);
    }
    buf_done(&line);
    return e == ERR_OK ? EXIT_STATUS_OK : say_failure("what the broker answered", e);
}

enum exit_status say_failure(const char *what, enum err e)
{
    say_error(what, err_text(e));
    return EXIT_STATUS_ERROR;
}
