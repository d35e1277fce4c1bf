/**
 * How far challenges came on phones, on its way to the store. Sent, delivered, seen and answered come within
 * milliseconds where nobody is asleep: each is noted here for PROGRESS_DELAY_MS, with its time, and written together with
 * what came meanwhile; or along with what settles the challenge, which then costs Redis nothing more.
 *
 * Nothing depends on it but what the portal is shown: a worker that dies takes its last notes along.
 */
#ifndef NANOPUSH_DOMAIN_CHALLENGE_PROGRESS_H
#define NANOPUSH_DOMAIN_CHALLENGE_PROGRESS_H

#include "domain/challenge.h"

#define PROGRESS_DELAY_MS 100
#define PROGRESS_MAX      4096 /* notes held at a time; beyond them the oldest is written at once */

struct progress;

/** @p domain is kept. */
struct progress *progress_new(struct domain *domain);

/** What is noted is lost, and whoever waits for it is told ERR_UNAVAILABLE, later. NULL is allowed. */
void progress_free(struct progress *progress);

/**
 * Device @p device_id has reached @p step (nanopush.v1.Progress, SENT or more) of challenge @p id just now; both are
 * valid ids. @p progress NULL: nothing is noted.
 *
 * @p fn, or NULL: when the note is stored, with the store's error, or was taken away; never within the call.
 * @return the handle that silences @p fn; NULL where this has joined a note that was there: it costs the store nothing,
 *         and @p fn is not called.
 */
struct challenge_op *progress_note(struct progress *progress, const char *id, const char *device_id,
                                   unsigned step, challenge_done_fn fn, void *arg);

/**
 * What is noted of challenge @p id, for whoever settles it; it stays noted, since that may fail.
 * @param[out] ret  room for REACHED_MAX.
 * @return how many phones; 0 where @p progress is NULL.
 */
size_t progress_noted(const struct progress *progress, const char *id, struct challenge_reached *ret);

/** Challenge @p id is settled, and progress_noted() written with it. @p progress may be NULL. */
void progress_forget(struct progress *progress, const char *id);

#endif
