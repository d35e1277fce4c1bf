/**
 * Tells the service manager how the broker is: systemd's notification protocol (sd_notify(3)), a datagram of
 * "VARIABLE=value" lines to the socket that $NOTIFY_SOCKET names. Nobody asked to be told: nothing happens.
 */
#ifndef NANOPUSH_PROC_SERVICE_NOTIFY_H
#define NANOPUSH_PROC_SERVICE_NOTIFY_H

#include "base/err.h"

/**
 * Send @p state: "READY=1", "STOPPING=1", "WATCHDOG=1".
 * @return ERR_OK, also where nobody asked; ERR_INVALID if $NOTIFY_SOCKET is no path and no abstract name ("@..."), or too
 * long; ERR_IO.
 */
MUST_CHECK enum err service_notify(const char *state);

#endif
