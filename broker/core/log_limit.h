/**
 * How often an event may be logged: LOG_LIMIT_EVENTS times in a window of LOG_LIMIT_WINDOW_MS that its first
 * one opens. The rest of the window is counted, and the count taken when the window has ended. Time is an
 * argument.
 */
#ifndef NANOPUSH_CORE_LOG_LIMIT_H
#define NANOPUSH_CORE_LOG_LIMIT_H

#include "core/log.h"

#define LOG_LIMIT_EVENTS    20
#define LOG_LIMIT_WINDOW_MS 10000
#define LOG_LIMIT_WINDOWS   64 /* events that can be limited at once; what is beyond passes unlimited */

/** One event's window; free if @p event is NULL. */
struct log_limit_window {
    const char *event; /* static string */
    enum log_area area;
    enum log_level level;
    int64_t ends_mono_ms;
    unsigned count; /* all in this window: 1..LOG_LIMIT_EVENTS passed, those beyond did not */
};

/** Zero-initialised is empty and valid. */
struct log_limit {
    struct log_limit_window windows[LOG_LIMIT_WINDOWS];
};

/** Count an event. Windows that ended are to be taken first. @return true if it may be logged. */
bool log_limit_pass(struct log_limit *l, enum log_level level, enum log_area area, const char *event,
                    int64_t mono_ms);

/**
 * Free the windows that have ended, up to and including the first that kept something back.
 * @param[out] ret  that window; its count is of what was kept back only.
 * @return false when there is none left.
 */
bool log_limit_take(struct log_limit *l, int64_t mono_ms, struct log_limit_window *ret);

#endif
