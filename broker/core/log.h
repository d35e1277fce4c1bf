/**
 * The log: one line per event on standard error, as key=value pairs, for people and for machines.
 *
 *     LOG(INFO, DEVICE, "session-closed", "conn=%u reason=%s", id, close_reason_label(why));
 *     LOG(WARN, PORTAL, "user-unknown", "user=%s", LOG_BYTES(user));
 *     LOG(INFO, PROC, "started");
 *
 *     time=2026-11-24T10:50:09.123Z level=info process=worker-1 area=device event=session-closed conn=7 ...
 *
 * What a peer wrote goes through LOG_STR() or LOG_BYTES(), so that it stays one value. Behind that stands a
 * second fence: a byte that is not printable ASCII leaves as '?', so no value ends a line early.
 *
 * The log holds nothing up: a line that standard error cannot take at once is dropped, and counted in the
 * next line that it takes. An event that repeats is limited (core/log_limit.h). Warnings and errors go to core/recent.h too. One thread a process; errno
 * is left as it was.
 */
#ifndef NANOPUSH_CORE_LOG_H
#define NANOPUSH_CORE_LOG_H

#include "base/bytes.h"

/** Gravest first: a level includes those before it. */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_COUNT };

#define LOG_AREA(name, text) LOG_AREA_##name,
enum log_area {
#include "core/log_area.def"
    LOG_AREA_COUNT
};
#undef LOG_AREA

#define LOG_LINE_MAX_BYTES  2048 /* within PIPE_BUF, so that lines of two processes never mix */
#define LOG_VALUE_MAX_BYTES 200  /* of one quoted value; what is longer ends in "..." */
#define LOG_TIME_SIZE       25   /* characters of log_time(), NUL included */

/** Room for one quoted value; made by LOG_STR() and LOG_BYTES(). */
struct log_value {
    char text[LOG_VALUE_MAX_BYTES + 1];
};

/**
 * Log an event.
 *
 * @param level  ERROR, WARN, INFO or DEBUG.
 * @param area   a name from core/log_area.def.
 * @param event  string literal: what happened, "session-closed"; one name is one kind of event.
 * @param ...    nothing, or a printf format (string literal) of the pairs, separated by spaces, and its
 *               arguments, which are evaluated only if the level is logged.
 */
#define LOG(level, area, event, ...)                                                                         \
    do {                                                                                                     \
        if (log_wants(LOG_LEVEL_##level, LOG_AREA_##area))                                                   \
            log_event(LOG_LEVEL_##level, LOG_AREA_##area, "" event, " " __VA_ARGS__);                        \
    } while (0)

/** A C string (NULL: empty), or a struct bytes, as one value for "%s". Valid until the end of the block. */
#define LOG_STR(s)   log_quote(bytes_of(s), &(struct log_value){{0}})
#define LOG_BYTES(b) log_quote((b), &(struct log_value){{0}})

/**
 * Set who is speaking, and how much; forgets what was being limited. To be called first in each process.
 *
 * @param process  "master", "ops", "worker-1"; copied, quoted if it needs it.
 * @param level    the finest level that is written. Before this call: info, as "nanopushd".
 */
void log_init(const char *process, enum log_level level);

/** As log_init(), and the levels stay. For a child of who shares them. */
void log_set_process(const char *process);

/** Write lines as JSON (core/log_json.h) from now on, or as pairs. Children that are forked later go on so. */
void log_set_json(bool json);

/** Share the levels with every child that is forked after this: each change is everybody's. @return false when memory is
 * out. */
bool log_share_levels(void);

/** Change the level of all areas, or of one, at run time. */
void log_set_level(enum log_level level);
void log_set_area_level(enum log_area area, enum log_level level);

/** True if events of @p level in @p area are written. */
bool log_wants(enum log_level level, enum log_area area);

/** What LOG() calls; use LOG(). @p event is kept by address. @p pairs begins with a space. */
void log_event(enum log_level level, enum log_area area, const char *event, const char *pairs, ...)
    PRINTF(4, 5);

/**
 * Write the counts of limited events whose window has ended by @p mono_ms. Each logged event does so too; a
 * process that may fall silent calls this from a timer, about once a second.
 */
void log_flush(int64_t mono_ms);

/**
 * Make one value of @p in: as it is if it is plain (printable ASCII other than space, quote, backslash and
 * '='), else in double quotes with \" \\ \n \r \t and \xHH.
 * @return @p room's text.
 */
const char *log_quote(struct bytes in, struct log_value *room);

/** RFC 3339, UTC, "2026-11-24T10:50:09.123Z", into LOG_TIME_SIZE characters. @return @p out. */
const char *log_time(int64_t unix_ms, char *out);

/** The level's name, "warn". Never NULL, static. */
const char *log_level_name(enum log_level level);

/** @return ERR_OK; ERR_INVALID if @p name is no area's name. */
MUST_CHECK enum err log_area_parse(const char *name, enum log_area *ret);

/** @return ERR_OK; ERR_INVALID if @p name is no level's name. */
MUST_CHECK enum err log_level_parse(const char *name, enum log_level *ret);

#endif
