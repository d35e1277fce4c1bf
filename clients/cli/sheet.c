#include "cli/sheet.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX_BYTES 512

static const char *const escapes[] = {
    [SHEET_PLAIN] = "",        [SHEET_STRONG] = "\033[1m", [SHEET_SOFT] = "\033[2m",
    [SHEET_GOOD] = "\033[32m", [SHEET_WARN] = "\033[33m",  [SHEET_BAD] = "\033[1;31m",
};

static bool full(const struct sheet *sheet)
{
    return sheet->height && sheet->row >= sheet->height;
}

static void append(struct sheet *sheet, struct bytes text)
{
    if (buf_append(&sheet->out, text) != ERR_OK)
        sheet->failed = true;
}

void sheet_put(struct sheet *sheet, enum sheet_style style, const char *format, ...)
{
    char text[TEXT_MAX_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    size_t len = strlen(text);
    if (sheet->width)
        len = sheet->column >= sheet->width        ? 0
              : len < sheet->width - sheet->column ? len
                                                   : sheet->width - sheet->column;
    if (len == 0 || full(sheet))
        return;
    bool styled = sheet->colour && style != SHEET_PLAIN;
    if (styled)
        append(sheet, bytes_of(escapes[style]));
    append(sheet, bytes_make(text, len));
    if (styled)
        append(sheet, bytes_of("\033[0m"));
    sheet->column += len;
}

void sheet_put_right(struct sheet *sheet, enum sheet_style style, size_t width, const char *text)
{
    size_t len = strlen(text);
    sheet_put(sheet, SHEET_PLAIN, " %*s", len < width ? (int)(width - len) : 0, "");
    sheet_put(sheet, style, "%s", text);
}

void sheet_column(struct sheet *sheet, size_t column)
{
    if (column > sheet->column)
        sheet_put(sheet, SHEET_PLAIN, "%*s", (int)(column - sheet->column), "");
}

void sheet_end_line(struct sheet *sheet)
{
    if (!full(sheet) && sheet->row + 1 != sheet->height)
        append(sheet, bytes_of(sheet->line_end));
    sheet->column = 0;
    sheet->row++;
}

bool sheet_wants_colour(void)
{
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(no_colour && *no_colour) && term && *term && strcmp(term, "dumb") != 0;
}
