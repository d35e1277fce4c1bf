/**
 * The dashboard: one page without an outside, made of broker/ops/dashboard.html at build time.
 */
#ifndef NANOPUSH_OPS_DASHBOARD_H
#define NANOPUSH_OPS_DASHBOARD_H

#include "base/bytes.h"

/** The page, UTF-8. Static. */
struct bytes dashboard_html(void);

#define DASHBOARD_POLICY_SIZE 320

/**
 * The page's Content-Security-Policy: its own style and script, by their hashes, and its own port, nothing else.
 * @return ERR_OK; ERR_CRYPTO; ERR_MALFORMED if the page has no style or no script.
 */
MUST_CHECK enum err dashboard_policy(char out[DASHBOARD_POLICY_SIZE]);

#endif
