#include "cli/qr.h"

#include <errno.h>
#include <qrencode.h>

#define QUIET_ZONE 4
#define BLACK_ON_WHITE                                                                                       \
    "\x1b[38;5;16;48;5;231m" /* of the 256 colours: the named ones are the theme's to change */
#define RESET "\x1b[0m"

/* Level M: a screen is not dirty, but a photographed one glares. */
static enum err encode(const char *text, QRcode **ret)
{
    if (!*text)
        return ERR_INVALID;
    QRcode *code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M);
    if (!code)
        return errno == ERANGE ? ERR_TOO_BIG : ERR_NOMEM;
    *ret = code;
    return ERR_OK;
}

static bool dark(const QRcode *code, int x, int y)
{
    return x >= 0 && y >= 0 && x < code->width && y < code->width && code->data[y * code->width + x] & 1;
}

static enum err draw_line(const QRcode *code, int y, bool colour, struct buf *out)
{
    static const char *const blocks[] = {" ", "▄", "▀", "█"}; /* upper module * 2 + lower module */
    if (colour)
        TRY(buf_append(out, bytes_of(BLACK_ON_WHITE)));
    for (int x = -QUIET_ZONE; x < code->width + QUIET_ZONE; x++)
        TRY(buf_append(out, bytes_of(blocks[dark(code, x, y) * 2 + dark(code, x, y + 1)])));
    return buf_append(out, bytes_of(colour ? RESET "\n" : "\n"));
}

enum err qr_draw(const char *text, bool colour, struct buf *out)
{
    QRcode *code;
    TRY(encode(text, &code));
    enum err e = ERR_OK;
    for (int y = -QUIET_ZONE; e == ERR_OK && y < code->width + QUIET_ZONE; y += 2)
        e = draw_line(code, y, colour, out);
    QRcode_free(code);
    return e;
}

/* One path, a bar for each run of dark modules in a row. */
static enum err draw_path(const QRcode *code, struct buf *out)
{
    for (int y = 0; y < code->width; y++) {
        for (int x = 0; x < code->width; x++) {
            int run = 0;
            while (dark(code, x + run, y))
                run++;
            if (run)
                TRY(buf_printf(out, "M%d %dh%dv1h-%dz", x + QUIET_ZONE, y + QUIET_ZONE, run, run));
            x += run;
        }
    }
    return ERR_OK;
}

enum err qr_svg(const char *text, struct buf *out)
{
    QRcode *code;
    TRY(encode(text, &code));
    int side = code->width + 2 * QUIET_ZONE;
    enum err e =
        buf_printf(out,
                   "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                   "shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h%dv%dH0z\"/><path d=\"",
                   side, side, side, side);
    if (e == ERR_OK)
        e = draw_path(code, out);
    if (e == ERR_OK)
        e = buf_append(out, bytes_of("\"/></svg>\n"));
    QRcode_free(code);
    return e;
}
