/**
 * Lines of text for a terminal: in columns, cut at its width, in colours where it has them. Writing never fails;
 * memory that ran out on the way shows at the end.
 */
#ifndef NANOPUSH_CLI_SHEET_H
#define NANOPUSH_CLI_SHEET_H

#include "base/buf.h"

enum sheet_style { SHEET_PLAIN, SHEET_STRONG, SHEET_SOFT, SHEET_GOOD, SHEET_WARN, SHEET_BAD };

struct sheet {
    struct buf out; /* freed with buf_done() */
    size_t width;   /* of a line, in characters; 0: any */
    size_t height;  /* lines, the last of which is not ended; 0: any, and all are */
    bool colour;
    const char *line_end; /* "\n"; where a line is painted over another, what also clears the rest of it */
    size_t column, row;
    bool failed; /* memory ran out */
};

/** Append printable ASCII to the line. */
void sheet_put(struct sheet *sheet, enum sheet_style style, const char *format, ...) PRINTF(3, 4);

/** Append @p text to the right of a column of @p width characters, after a space. */
void sheet_put_right(struct sheet *sheet, enum sheet_style style, size_t width, const char *text);

/** Go on at @p column, counted from 0; stays where the line has come further. */
void sheet_column(struct sheet *sheet, size_t column);

/** End the line. */
void sheet_end_line(struct sheet *sheet);

/** True where standard output is to be coloured: a terminal, and neither NO_COLOR (https://no-color.org) nor TERM=dumb. */
bool sheet_wants_colour(void);

#endif
