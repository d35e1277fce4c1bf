#include "net/bad_request.h"

#include "core/metrics.h"

#define BAD_REQUEST(name, label, status, text)                                                               \
    [BAD_REQUEST_##name] = {status, text, METRIC_BAD_REQUEST_##name},
static const struct {
    unsigned status;
    const char *text;
    enum metric metric;
} rows[] = {
#include "net/bad_request.def"
};
#undef BAD_REQUEST

unsigned bad_request_status(enum bad_request why)
{
    return rows[why].status;
}

const char *bad_request_text(enum bad_request why)
{
    return rows[why].text;
}

void bad_request_count(enum bad_request why)
{
    if (why != BAD_REQUEST_NONE)
        metrics_add(rows[why].metric, 1);
}
