/**
 * Waiting for a challenge or an enrolment: snapshots of it as it changes, until it is final.
 *
 *     watch_challenge() ---> subject (one per id and worker) ---read + register this inbox---> Redis
 *            ^                  ^         read again: on a hint, at 2 s, at 10 s, when its time is over
 *            '--- snapshot -----'
 *
 * A hint may be lost; these re-reads are why that loses nothing. Whoever waits also keeps the challenge moving: when it
 * is found undelivered to some phone at a re-read it is pushed again to that, and when its time is over it is settled as expired.
 */
#ifndef NANOPUSH_DOMAIN_WATCH_H
#define NANOPUSH_DOMAIN_WATCH_H

#include "domain/domain.h"

struct watch;
struct watches;

/**
 * A snapshot, of a higher revision than the one before; or an error, with NULL: ERR_NOT_FOUND, ERR_LOST (it was there, and Redis lost
 * it in a fail-over or a crash), ERR_UNAVAILABLE (before
 * the first snapshot only), ERR_BAD_SIGNATURE and others of store.h. After a final snapshot or an error the watch is
 * over and must not be cancelled any more. May be called inside watches_settled(), never inside watch_challenge().
 */
typedef void (*watch_challenge_fn)(enum err e, const struct challenge_view *view, void *arg);
typedef void (*watch_enrolment_fn)(enum err e, const struct enrolment_view *view, void *arg);

/** @p domain is kept. */
struct watches *watches_new(struct domain *domain);

/** Watches that are left end in silence. NULL is allowed. */
void watches_free(struct watches *watches);

/** Of whatever kind, event watches too, as many are held as may be: who would begin one more is told to come again. */
bool watches_full(const struct domain *domain);

/** One more is held, or one less. */
void watches_count(struct domain *domain, int change);

/** @p id is valid. @p after: revisions up to this one are not wanted, but for a final one; 0 for all. */
struct watch *watch_challenge(struct watches *watches, const char *id, uint64_t after, watch_challenge_fn fn,
                              void *arg);
struct watch *watch_enrolment(struct watches *watches, const char *id, watch_enrolment_fn fn, void *arg);

/** Silence, at once. NULL is allowed. */
void watch_cancel(struct watch *watch);

/** A hint: @p id changed. What is not watched here is ignored. */
void watches_changed(struct watches *watches, const char *id);

/**
 * How challenge @p view ended, as the settle script replied: whoever watches it here is told at once. Its fence is not
 * looked at.
 */
void watches_settled(struct watches *watches, const struct challenge_view *view);

/** This worker has a new inbox, or Redis is back: register there, and read, everything that is watched, paced. */
void watches_renew(struct watches *watches);

#endif
