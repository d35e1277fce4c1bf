#include "core/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/log_json.h"
#include "core/log_limit.h"
#include "core/recent.h"

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static const char *const area_names[] = {
#define LOG_AREA(name, text) text,
#include "core/log_area.def"
#undef LOG_AREA
};

struct levels {
    _Atomic int of[LOG_AREA_COUNT];
};

static struct levels own_levels = {.of = {
#define LOG_AREA(name, text) [LOG_AREA_##name] = LOG_LEVEL_INFO,
#include "core/log_area.def"
#undef LOG_AREA
                                   }};
static struct levels *levels = &own_levels;

static struct {
    struct log_value process;
    bool json;
    struct log_limit limit;
    uint64_t lost_count; /* lines that standard error did not take since the last that it took */
} logger = {.process = {"nanopushd"}};

void log_set_process(const char *process)
{
    log_quote(bytes_of(process), &logger.process);
    logger.limit = (struct log_limit){0};
    logger.lost_count = 0;
}

void log_init(const char *process, enum log_level level)
{
    log_set_process(process);
    log_set_level(level);
}

void log_set_json(bool json)
{
    logger.json = json;
}

bool log_share_levels(void)
{
    struct levels *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return false;
    for (size_t area = 0; area < LOG_AREA_COUNT; area++)
        shared->of[area] = levels->of[area];
    levels = shared;
    return true;
}

void log_set_level(enum log_level level)
{
    for (size_t area = 0; area < LOG_AREA_COUNT; area++)
        log_set_area_level((enum log_area)area, level);
}

void log_set_area_level(enum log_area area, enum log_level level)
{
    atomic_store_explicit(&levels->of[area], (int)level, memory_order_relaxed);
}

bool log_wants(enum log_level level, enum log_area area)
{
    return (int)level <= atomic_load_explicit(&levels->of[area], memory_order_relaxed);
}

/* Asking first keeps a worker from blocking on a reader that has stopped, and from SIGPIPE on one that is
   gone. O_NONBLOCK would do so too, but it would change the descriptor of whoever shares it with us. */
static bool write_line(const char *line, size_t len)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) == 1 && out.revents == POLLOUT && write(STDERR_FILENO, line, len) >= 0;
}

static void blank_unprintable(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            text[i] = '?';
}

/* Format what fits into @p room characters, the last of which is kept for the line feed. */
static PRINTF(3, 0) size_t format_pairs(char *out, size_t room, const char *pairs, va_list args)
{
    int wanted = vsnprintf(out, room, pairs, args);
    if (wanted < 0)
        return 0;
    if ((size_t)wanted < room)
        return (size_t)wanted;
    memcpy(out + room - 4, "...", 3);
    return room - 1;
}

static PRINTF(4, 0) bool put_event(enum log_level level, enum log_area area, const char *event,
                                   const char *pairs, va_list args)
{
    char line[LOG_LINE_MAX_BYTES], time_text[LOG_TIME_SIZE];
    int errno_of_caller = errno;
    /* The head always fits: its parts are static strings and a bounded process name. */
    size_t len = (size_t)snprintf(line, sizeof line / 2, "time=%s level=%s process=%s area=%s event=%s",
                                  log_time(clock_unix_ms(), time_text), log_level_name(level),
                                  logger.process.text, area_names[area], event);
    if (len >= sizeof line / 2)
        len = sizeof line / 2 - 1;
    errno = errno_of_caller; /* for "%m" */
    if (strcmp(pairs, " ") != 0)
        len += format_pairs(line + len, sizeof line - len, pairs, args);
    blank_unprintable(line, len);
    if (logger.json) {
        char object[LOG_JSON_MAX_BYTES];
        size_t object_len = log_json(line, len, object);
        object[object_len] = '\n';
        return write_line(object, object_len + 1);
    }
    line[len] = '\n';
    return write_line(line, len + 1);
}

static bool put(enum log_level level, enum log_area area, const char *event, const char *pairs, ...)
    PRINTF(4, 5);

static bool put(enum log_level level, enum log_area area, const char *event, const char *pairs, ...)
{
    va_list args;
    va_start(args, pairs);
    bool taken = put_event(level, area, event, pairs, args);
    va_end(args);
    return taken;
}

static void count_line(bool taken)
{
    if (!taken)
        logger.lost_count++;
}

static void put_counts(int64_t mono_ms)
{
    if (logger.lost_count > 0 && put(LOG_LEVEL_WARN, LOG_AREA_LOG, "log-lines-lost", " count=%llu",
                                     (unsigned long long)logger.lost_count))
        logger.lost_count = 0;
    struct log_limit_window ended;
    while (log_limit_take(&logger.limit, mono_ms, &ended))
        count_line(put(ended.level, ended.area, "repeats-suppressed", " suppressed=%s count=%u window_ms=%d",
                       ended.event, ended.count, LOG_LIMIT_WINDOW_MS));
}

void log_flush(int64_t mono_ms)
{
    int errno_of_caller = errno;
    put_counts(mono_ms);
    errno = errno_of_caller;
}

void log_event(enum log_level level, enum log_area area, const char *event, const char *pairs, ...)
{
    int errno_of_caller = errno;
    int64_t mono_ms = clock_mono_ms();
    put_counts(mono_ms);
    if (log_limit_pass(&logger.limit, level, area, event, mono_ms)) {
        errno = errno_of_caller;
        va_list args;
        va_start(args, pairs);
        count_line(put_event(level, area, event, pairs, args));
        va_end(args);
        if (level <= LOG_LEVEL_WARN)
            recent_add(level == LOG_LEVEL_ERROR ? RECENT_ERROR : RECENT_WARNING, event);
    }
    errno = errno_of_caller;
}

static bool is_plain(struct bytes in)
{
    for (size_t i = 0; i < in.len; i++)
        if (in.p[i] <= ' ' || in.p[i] > '~' || strchr("\"\\=", in.p[i]))
            return false;
    return in.len > 0;
}

/* The form of one byte inside quotes; @p out has room for 5. */
static void escape_byte(uint8_t byte, char *out)
{
    static const char named[] = "\"\"\\\\\nn\rr\tt"; /* pairs: the byte, its letter */
    for (const char *n = named; *n; n += 2) {
        if ((uint8_t)n[0] == byte) {
            snprintf(out, 5, "\\%c", n[1]);
            return;
        }
    }
    snprintf(out, 5, byte >= ' ' && byte <= '~' ? "%c" : "\\x%02x", byte);
}

const char *log_quote(struct bytes in, struct log_value *room)
{
    bool plain = is_plain(in);
    const size_t end = LOG_VALUE_MAX_BYTES - strlen("...\"");
    size_t len = 0;
    char piece[5];
    if (!plain)
        room->text[len++] = '"';
    for (size_t i = 0; i < in.len; i++) {
        escape_byte(in.p[i], piece);
        size_t piece_len = strlen(piece);
        if (len + piece_len > end) {
            memcpy(room->text + len, "...", 3);
            len += 3;
            break;
        }
        memcpy(room->text + len, piece, piece_len);
        len += piece_len;
    }
    if (!plain)
        room->text[len++] = '"';
    room->text[len] = '\0';
    return room->text;
}

const char *log_time(int64_t unix_ms, char *out)
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm utc;
    char text[64];
    gmtime_r(&seconds, &utc);
    size_t len = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + len, sizeof text - len, ".%03dZ", (int)(unix_ms % 1000));
    memcpy(out, text, LOG_TIME_SIZE - 1);
    out[LOG_TIME_SIZE - 1] = '\0';
    return out;
}

const char *log_level_name(enum log_level level)
{
    return (size_t)level < LOG_LEVEL_COUNT ? level_names[level] : "unknown";
}

enum err log_area_parse(const char *name, enum log_area *ret)
{
    for (int area = 0; area < LOG_AREA_COUNT; area++) {
        if (strcmp(name, area_names[area]) == 0) {
            *ret = (enum log_area)area;
            return ERR_OK;
        }
    }
    return ERR_INVALID;
}

enum err log_level_parse(const char *name, enum log_level *ret)
{
    for (int level = 0; level < LOG_LEVEL_COUNT; level++) {
        if (strcmp(name, level_names[level]) == 0) {
            *ret = (enum log_level)level;
            return ERR_OK;
        }
    }
    return ERR_INVALID;
}
