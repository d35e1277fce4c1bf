#include "core/log_limit.h"

#include <string.h>

/* The event's window, or else a free one, or NULL. */
static struct log_limit_window *find_window(struct log_limit *l, enum log_area area, const char *event)
{
    struct log_limit_window *unused = NULL;
    for (size_t i = 0; i < LOG_LIMIT_WINDOWS; i++) {
        struct log_limit_window *w = &l->windows[i];
        if (w->event && w->area == area && strcmp(w->event, event) == 0)
            return w;
        if (!w->event && !unused)
            unused = w;
    }
    return unused;
}

bool log_limit_pass(struct log_limit *l, enum log_level level, enum log_area area, const char *event,
                    int64_t mono_ms)
{
    struct log_limit_window *w = find_window(l, area, event);
    if (!w)
        return true;
    if (!w->event)
        *w = (struct log_limit_window){
            .event = event, .area = area, .level = level, .ends_mono_ms = mono_ms + LOG_LIMIT_WINDOW_MS};
    if (w->count < UINT32_MAX)
        w->count++;
    return w->count <= LOG_LIMIT_EVENTS;
}

bool log_limit_take(struct log_limit *l, int64_t mono_ms, struct log_limit_window *ret)
{
    for (size_t i = 0; i < LOG_LIMIT_WINDOWS; i++) {
        struct log_limit_window *w = &l->windows[i];
        if (!w->event || mono_ms < w->ends_mono_ms)
            continue;
        struct log_limit_window ended = *w;
        w->event = NULL;
        if (ended.count > LOG_LIMIT_EVENTS) {
            ended.count -= LOG_LIMIT_EVENTS;
            *ret = ended;
            return true;
        }
    }
    return false;
}
