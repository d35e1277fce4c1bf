/**
 * QR codes, for a terminal and as SVG.
 */
#ifndef NANOPUSH_CLI_QR_H
#define NANOPUSH_CLI_QR_H

#include "base/buf.h"

/**
 * Append @p text as a QR code of half blocks, two modules in a character, with a quiet zone of four modules
 * (ISO/IEC 18004), a line at a time.
 *
 * @param colour  set black on white by escape sequences, for a terminal, whatever its own colours; else dark
 * modules are the printed ones, as on paper.
 * @return ERR_OK; ERR_TOO_BIG if it does not fit into a QR code; ERR_INVALID if it is empty; ERR_NOMEM.
 */
MUST_CHECK enum err qr_draw(const char *text, bool colour, struct buf *out);

/** Append @p text as a QR code, an SVG document of black on white. @return as qr_draw(). */
MUST_CHECK enum err qr_svg(const char *text, struct buf *out);

#endif
