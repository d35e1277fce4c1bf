/**
 * What went wrong or stood out lately, in all processes: a ring in memory that they share, for the dashboard. It holds
 * names of kinds, rows of core/event.def and events of the log, and so names no user.
 *
 * Writers never wait; one that is overtaken by a whole ring loses its entry.
 */
#ifndef NANOPUSH_CORE_RECENT_H
#define NANOPUSH_CORE_RECENT_H

#include <stddef.h>
#include <stdint.h>

#define RECENT_MAX       64
#define RECENT_KIND_SIZE 40

struct recent;

enum recent_severity { RECENT_NOTICE, RECENT_WARNING, RECENT_ERROR };

struct recent_entry {
    int64_t unix_ms;
    unsigned slot; /* of the process */
    enum recent_severity severity;
    char kind[RECENT_KIND_SIZE];
};

/** An empty ring, shared with every child that is forked after this. NULL when memory is out. */
struct recent *recent_new(void);

/** Unmap it in this process. NULL is allowed. */
void recent_free(struct recent *recent);

/** Whose entries this process writes, and where. Before this call, or with NULL, they go nowhere. */
void recent_use(struct recent *recent, unsigned slot);

/** Add an entry; @p kind is cut to RECENT_KIND_SIZE - 1 bytes. */
void recent_add(enum recent_severity severity, const char *kind);

/** Copy the entries, newest first. @return how many. */
size_t recent_read(const struct recent *recent, struct recent_entry ret[RECENT_MAX]);

#endif
