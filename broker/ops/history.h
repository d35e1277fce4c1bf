/**
 * The last ten minutes of a few metrics, so that who opens the dashboard sees what led here.
 */
#ifndef NANOPUSH_OPS_HISTORY_H
#define NANOPUSH_OPS_HISTORY_H

#include "core/metrics.h"

#define HISTORY_STEP_MS 5000
#define HISTORY_MAX     121 /* samples: 120 steps */

struct history;

/** Empty; freed with free(). Never NULL. */
struct history *history_new(void);

/** Take one sample; call it each HISTORY_STEP_MS. */
void history_take(struct history *history, const struct metrics_page *page);

/** Append as a JSON object, oldest first: {"step_ms":5000,"phones":[..],"asked":[..],"approved":[..],"other":[..]}.
 * Phones are a gauge, the rest totals. @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err history_render(const struct history *history, struct buf *out);

#endif
