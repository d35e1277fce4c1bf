#include "net/close_reason.h"

#include "core/metrics.h"

#define CLOSE(name, label, text) [CLOSE_##name] = label,
static const char *const labels[] = {
#include "net/close_reason.def"
};
#undef CLOSE

#define CLOSE(name, label, text) [CLOSE_##name] = text,
static const char *const texts[] = {
#include "net/close_reason.def"
};
#undef CLOSE

const char *close_reason_label(enum close_reason reason)
{
    return labels[reason];
}

const char *close_reason_text(enum close_reason reason)
{
    return texts[reason];
}

#define CLOSE(name, label, text) [CLOSE_##name] = METRIC_CLOSED_##name,
void close_reason_count(enum close_reason reason)
{
    static const enum metric metrics[] = {
#include "net/close_reason.def"
    };
    metrics_add(metrics[reason], 1);
}
#undef CLOSE
