/**
 * Why a connection ended: one table for the code, the metric and the log line (close_reason.def).
 */
#ifndef NANOPUSH_NET_CLOSE_REASON_H
#define NANOPUSH_NET_CLOSE_REASON_H

#define CLOSE(name, label, text) CLOSE_##name,
enum close_reason {
#include "net/close_reason.def"
    CLOSE_REASON_COUNT
};
#undef CLOSE

/** Label for metrics, "peer_closed". Static. */
const char *close_reason_label(enum close_reason reason);

/** Text for a log line. Static. */
const char *close_reason_text(enum close_reason reason);

/** Count a connection that ended so in nanopush_connections_closed_total. */
void close_reason_count(enum close_reason reason);

#endif
