#include "portal/qr.h"

#include <errno.h>
#include <qrencode.h>

#define QUIET_MODULES 4

/* Runs of dark modules, each a rectangle one module high. */
static enum err append_path(const QRcode *code, struct buf *out)
{
    for (int y = 0; y < code->width; y++)
        for (int x = 0, run; x < code->width; x += run) {
            const unsigned char *row = code->data + y * code->width;
            for (run = 1; x + run < code->width && (row[x + run] & 1) == (row[x] & 1);)
                run++;
            if (row[x] & 1)
                TRY(buf_printf(out, "M%d %dh%dv1h-%dz", x + QUIET_MODULES, y + QUIET_MODULES, run, run));
        }
    return ERR_OK;
}

static enum err append_document(const QRcode *code, struct buf *out)
{
    int size = code->width + 2 * QUIET_MODULES;
    TRY(buf_printf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" shape-rendering=\"crispEdges\">"
        "<path fill=\"#fff\" d=\"M0 0h%dv%dH0z\"/><path d=\"",
        size, size, size, size));
    TRY(append_path(code, out));
    return buf_append(out, bytes_of("\"/></svg>"));
}

enum err qr_append_svg(const char *text, struct buf *out)
{
    QRcode *code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M);
    if (!code)
        return errno == ENOMEM ? ERR_NOMEM : ERR_TOO_BIG;
    enum err e = append_document(code, out);
    QRcode_free(code);
    return e;
}
