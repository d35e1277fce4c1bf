/**
 * The rules' surroundings: what a worker hands to every rule. Made and owned by proc/worker.
 *
 *     device/  portal/                   who asks
 *         domain/challenge  enrolment    what may happen
 *         domain/answer  text            checks without any surroundings
 *         domain/router  watch           who is told
 *     store/                             what is remembered
 */
#ifndef NANOPUSH_DOMAIN_DOMAIN_H
#define NANOPUSH_DOMAIN_DOMAIN_H

#include "core/loop.h"
#include "crypto/secret.h"
#include "store/store.h"

struct audit;
struct challenge_cache;
struct event_watches;
struct permits;
struct probe;
struct progress;
struct registry;
struct router;
struct watches;

struct domain {
    struct loop *loop;
    struct store *store;
    const struct secret *secret;
    struct router *router;
    struct watches *watches;                 /* NULL where nobody waits */
    struct challenge_cache *challenge_cache; /* NULL: none is kept */
    struct progress *progress;               /* NULL where nothing is pushed */
    struct registry *registry;
    struct permits *permits; /* NULL where no portal calls */
    struct audit *audit;     /* NULL: none is kept */
    struct event_watches *event_watches;
    struct probe *probe;  /* NULL where nothing is delivered */
    unsigned devices_max; /* phones of one user */
    size_t watches_max;   /* watches and event watches that this process holds at a time */
    size_t watches_held;
};

#endif
