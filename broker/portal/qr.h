/**
 * A QR code as an SVG document: one path on white, with the quiet zone of four modules that scanners want.
 */
#ifndef NANOPUSH_PORTAL_QR_H
#define NANOPUSH_PORTAL_QR_H

#include "base/buf.h"

/** Append the document for @p text. @return ERR_OK; ERR_TOO_BIG for what fits into no QR code; ERR_NOMEM. */
MUST_CHECK enum err qr_append_svg(const char *text, struct buf *out);

#endif
