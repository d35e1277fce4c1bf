#include "ops/history.h"

#include <inttypes.h>

#include "base/mem.h"

enum { PHONES, ASKED, APPROVED, OTHER, SERIES_COUNT };

static const char *const names[SERIES_COUNT] = {"phones", "asked", "approved", "other"};

struct history {
    size_t count, next; /* next is also the oldest, once it is full */
    int64_t samples[HISTORY_MAX][SERIES_COUNT];
};

struct history *history_new(void)
{
    return mem_new(sizeof(struct history));
}

void history_take(struct history *history, const struct metrics_page *page)
{
    int64_t *sample = history->samples[history->next];
    sample[PHONES] = metrics_sum(page, METRIC_DEVICES_ATTACHED);
    sample[ASKED] = metrics_sum(page, METRIC_CHALLENGES_CREATED);
    sample[APPROVED] = metrics_sum(page, METRIC_CHALLENGES_APPROVED);
    sample[OTHER] =
        metrics_sum(page, METRIC_CHALLENGES_DENIED) + metrics_sum(page, METRIC_CHALLENGES_REPORTED) +
        metrics_sum(page, METRIC_CHALLENGES_FAILED) + metrics_sum(page, METRIC_CHALLENGES_EXPIRED);
    history->next = (history->next + 1) % HISTORY_MAX;
    history->count += history->count < HISTORY_MAX;
}

enum err history_render(const struct history *history, struct buf *out)
{
    size_t oldest = (history->next + HISTORY_MAX - history->count) % HISTORY_MAX;
    TRY(buf_printf(out, "{\"step_ms\":%d", HISTORY_STEP_MS));
    for (size_t s = 0; s < SERIES_COUNT; s++) {
        TRY(buf_printf(out, ",\"%s\":[", names[s]));
        for (size_t i = 0; i < history->count; i++)
            TRY(buf_printf(out, "%s%" PRId64, i ? "," : "", history->samples[(oldest + i) % HISTORY_MAX][s]));
        TRY(buf_append_byte(out, ']'));
    }
    return buf_append_byte(out, '}');
}
