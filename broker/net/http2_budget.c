#include "net/http2_budget.h"

void http2_budget_give(struct http2_budget *budget, unsigned count)
{
    budget->spent -= count < budget->spent ? count : budget->spent;
}

/* Time counts in whole tokens only, so that no part of one is lost between two calls. */
static void refill(struct http2_budget *budget, int64_t mono_ms)
{
    int64_t passed_ms = mono_ms - budget->since_mono_ms;
    if (budget->spent == 0 || passed_ms >= (int64_t)budget->burst * 1000 / budget->per_s) {
        budget->spent = 0;
        budget->since_mono_ms = mono_ms;
        return;
    }
    int64_t count = passed_ms * budget->per_s / 1000;
    http2_budget_give(budget, (unsigned)count);
    budget->since_mono_ms += count * 1000 / budget->per_s;
}

bool http2_budget_take(struct http2_budget *budget, int64_t mono_ms)
{
    refill(budget, mono_ms);
    if (budget->spent == budget->burst)
        return false;
    budget->spent++;
    return true;
}
