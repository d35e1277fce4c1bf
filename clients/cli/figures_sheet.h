/**
 * The broker's figures as lines for a person, most urgent first: whether logins work, phones, outcomes, latency,
 * processes, recent events.
 */
#ifndef NANOPUSH_CLI_FIGURES_SHEET_H
#define NANOPUSH_CLI_FIGURES_SHEET_H

#include "cli/figures.h"
#include "cli/sheet.h"

/**
 * @param now     what is shown.
 * @param before  latency is that of what came after this, and that of the start where nothing did; NULL: of the start.
 * What the sheet's height has no room for is left out, recent events first.
 */
void figures_sheet(const struct figures *now, const struct figures *before, struct sheet *sheet);

#endif
