#include "core/recent.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

#include "base/clock.h"

/* A reader takes an entry whose number is the same before and after it has copied it. */
struct cell {
    _Atomic uint64_t number; /* 0: being written, or never was */
    struct recent_entry entry;
};

struct recent {
    _Atomic uint64_t last; /* number of the newest; the first is 1 */
    struct cell cells[RECENT_MAX];
};

static struct recent *own_ring;
static unsigned own_slot;

struct recent *recent_new(void)
{
    void *p = mmap(NULL, sizeof(struct recent), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void recent_free(struct recent *recent)
{
    if (!recent)
        return;
    if (own_ring == recent)
        own_ring = NULL;
    munmap(recent, sizeof *recent);
}

void recent_use(struct recent *recent, unsigned slot)
{
    own_ring = recent;
    own_slot = slot;
}

void recent_add(enum recent_severity severity, const char *kind)
{
    if (!own_ring)
        return;
    uint64_t number = atomic_fetch_add(&own_ring->last, 1) + 1;
    struct cell *cell = &own_ring->cells[number % RECENT_MAX];
    atomic_store(&cell->number, 0);
    cell->entry = (struct recent_entry){.unix_ms = clock_unix_ms(), .slot = own_slot, .severity = severity};
    snprintf(cell->entry.kind, sizeof cell->entry.kind, "%s", kind);
    atomic_store(&cell->number, number);
}

size_t recent_read(const struct recent *recent, struct recent_entry ret[RECENT_MAX])
{
    uint64_t last = atomic_load(&recent->last);
    size_t count = 0;
    for (uint64_t number = last; number > 0 && number + RECENT_MAX > last; number--) {
        const struct cell *cell = &recent->cells[number % RECENT_MAX];
        ret[count] = cell->entry;
        ret[count].kind[RECENT_KIND_SIZE - 1] = '\0';
        count += atomic_load(&cell->number) == number;
    }
    return count;
}
