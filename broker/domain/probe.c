#include "domain/probe.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

#define PROBE_MS 1000

struct probe {
    struct domain *domain;
    struct timer due;
    struct store_call *call;  /* the script under way */
    uint64_t sent, returned;  /* numbers */
    int64_t sent_mono_us;     /* of the last */
    int64_t returned_mono_ms; /* 0: none yet */
    probe_step_fn fn;
    void *arg;
};

static void on_written(enum err e, void *arg)
{
    struct probe *probe = arg;
    probe->call = NULL;
    if (e == ERR_OK)
        probe->fn(PROBE_WRITTEN, probe->arg);
}

void probe_send(struct probe *probe)
{
    if (probe->call || !store_inbox(probe->domain->store)[0])
        return;
    probe->sent_mono_us = clock_mono_us();
    probe->call = store_probe(probe->domain->store, ++probe->sent, on_written, probe);
}

static void on_due(void *arg)
{
    struct probe *probe = arg;
    timer_start(&probe->due, PROBE_MS);
    probe->fn(PROBE_TURNED, probe->arg);
    probe_send(probe);
}

void probe_returned(struct probe *probe, uint64_t number)
{
    if (number <= probe->returned || number > probe->sent)
        return;
    if (number == probe->sent)
        HISTOGRAM_ADD(PROBE, clock_mono_us() - probe->sent_mono_us);
    probe->fn(PROBE_TURNED, probe->arg); /* the first comes before any is due */
    probe->returned = number;
    probe->returned_mono_ms = clock_mono_ms();
    probe->fn(PROBE_RETURNED, probe->arg);
}

bool probe_sound(const struct probe *probe)
{
    return probe->returned && clock_mono_ms() - probe->returned_mono_ms < PROBE_LATE_MS;
}

struct probe *probe_new(struct domain *domain, probe_step_fn fn, void *arg)
{
    struct probe *probe = mem_new(sizeof *probe);
    probe->domain = domain;
    probe->fn = fn;
    probe->arg = arg;
    timer_init(&probe->due, domain->loop, on_due, probe);
    timer_start(&probe->due, PROBE_MS);
    return probe;
}

void probe_free(struct probe *probe)
{
    if (!probe)
        return;
    store_cancel(probe->call);
    timer_cancel(&probe->due);
    free(probe);
}
