/* What waits for a device when it attaches: read one after the other, so that a phone with many costs no more at a time
 * than one with few. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/metrics.h"
#include "device/session.h"
#include "domain/challenge_cache.h"
#include "domain/challenge_progress.h"

#define PENDING_RETRY_MS 1000

static void read_next(struct account *account);

static void on_retry(void *arg)
{
    read_next(arg);
}

static void push(struct account *account, const struct challenge_view *view)
{
    struct session *session = account_session(account);
    struct domain *domain = session->server->domain;
    struct buf frame = {0};
    char id[ID_SIZE];
    account_id(account, id);
    if (view->state == CHALLENGE_PENDING && challenge_fits(view, account->capabilities) &&
        challenge_push_frame(domain, view, id, &frame) == ERR_OK &&
        session_write(session, buf_view(&frame))) {
        METRIC_ADD(PUSHES_SENT, 1);
        challenge_cache_put(domain->challenge_cache, view, false); /* an answer is to come */
        progress_note(domain->progress, view->record->id, id, NANOPUSH__V1__PROGRESS__PROGRESS_SENT, NULL,
                      NULL);
    }
    buf_done(&frame);
}

static void on_read(enum err e, const struct challenge_view *view, void *arg)
{
    struct account *account = arg;
    struct awake *awake = account->awake;
    awake->pending_read = NULL;
    if (e == ERR_UNAVAILABLE || e == ERR_TIMEOUT) {
        timer_start(&awake->pending_retry, PENDING_RETRY_MS);
        return;
    }
    if (e == ERR_OK)
        push(account, view);
    awake->pending_next++;
    read_next(account);
}

static void read_next(struct account *account)
{
    struct awake *awake = account->awake;
    if (awake->pending_next < awake->pending_count && account_session(account)->state != SESSION_CLOSING)
        awake->pending_read =
            store_challenge_get(account_session(account)->server->domain->store,
                                awake->pending[awake->pending_next], false, on_read, account);
}

void pending_done(struct awake *awake)
{
    store_cancel(awake->pending_read);
    timer_cancel(&awake->pending_retry);
    free(awake->pending);
    awake->pending = NULL;
    awake->pending_read = NULL;
    awake->pending_count = awake->pending_next = 0;
}

void pending_take(struct account *account, const struct device_attached *attached)
{
    struct awake *awake = account->awake;
    pending_done(awake);
    if (attached->pending_count == 0)
        return;
    timer_init(&awake->pending_retry, account_session(account)->server->domain->loop, on_retry, account);
    awake->pending_count = attached->pending_count;
    awake->pending = mem_new(attached->pending_count * sizeof *awake->pending);
    memcpy(awake->pending, attached->pending, attached->pending_count * sizeof *awake->pending);
    read_next(account);
}
