#include "samples.h"

#include <stdio.h>
#include <stdlib.h>

#define FIRST_CAP 1024

void samples_add(struct samples *s, int64_t us)
{
    if (s->count == s->cap) {
        s->cap = s->cap ? s->cap * 2 : FIRST_CAP;
        s->us = realloc(s->us, s->cap * sizeof *s->us);
        if (!s->us)
            abort();
    }
    s->us[s->count++] = us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

void samples_done(struct samples *s)
{
    free(s->us);
    *s = (struct samples){0};
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t percentile(const struct samples *s, unsigned percent)
{
    return s->count ? s->us[(s->count - 1) * percent / 100] : 0;
}

void samples_print(struct samples *s, const char *name)
{
    if (s->count)
        qsort(s->us, s->count, sizeof *s->us, compare);
    printf("\"%s\":{\"count\":%zu,\"p50_us\":%u,\"p90_us\":%u,\"p99_us\":%u,\"max_us\":%u}", name, s->count,
           percentile(s, 50), percentile(s, 90), percentile(s, 99), percentile(s, 100));
}
