#include "proc/fair_share.h"

#include "domain/probe.h"

#define SLACK_DIVISOR     16 /* of the mean: what evens itself out costs nobody a wait */
#define SLACK_CONNECTIONS 16

static bool takes_part(const struct metrics_page *page, unsigned slot, int64_t now_mono_ms)
{
    const struct metrics_health health = metrics_slot_health(page, slot);
    return health.ready && now_mono_ms - health.probe_mono_ms[PROBE_TURNED] <= PROBE_LATE_MS;
}

bool fair_share_exceeded(const struct metrics_page *page, unsigned worker_count, unsigned slot,
                         int64_t now_mono_ms)
{
    int64_t own = metrics_value(page, slot, METRIC_OPEN_DEVICE), sum = own, count = 1;
    for (unsigned other = 0; other < worker_count; other++)
        if (other != slot && takes_part(page, other, now_mono_ms)) {
            sum += metrics_value(page, other, METRIC_OPEN_DEVICE);
            count++;
        }
    int64_t mean = sum / count;
    return own > mean + mean / SLACK_DIVISOR + SLACK_CONNECTIONS;
}
