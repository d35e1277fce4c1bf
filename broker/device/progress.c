/* Ack and Seen: how far a challenge came on this phone. Those that join what is noted already cost nothing; each of the
 * others costs the store a call, so a session is not read on while REPORTS_MAX of them are under way: a phone that sends
 * them without end waits for itself, and nobody for it. */
#include "core/metrics.h"
#include "device/session.h"
#include "domain/challenge_progress.h"

static void on_reported(enum err e, void *arg)
{
    struct operation *operation = arg;
    struct session *session = operation->session;
    (void)e; /* the phone is not told */
    operation_free(operation);
    session_release(session);
}

/* @return false for what is about nothing of this phone's, and nobody needs to know. */
static bool progressed(struct session *session, const char *challenge_id, unsigned progress)
{
    struct account *account = session_account_for(session, challenge_id, NULL);
    bool ours = account;
    for (; account; account = session_account_for(session, challenge_id, account)) {
        char id[ID_SIZE];
        account_id(account, id);
        struct operation *operation = operation_new_report(session, challenge_id, id);
        operation->answer = progress_note(session->server->domain->progress, challenge_id, id, progress,
                                          on_reported, operation);
        if (!operation->answer)
            operation_free(operation);
    }
    return ours;
}

void on_ack(struct session *session, const Nanopush__V1__Ack *ack)
{
    if (progressed(session, ack->challenge_id, NANOPUSH__V1__PROGRESS__PROGRESS_DELIVERED))
        METRIC_ADD(PUSHES_ACKED, 1);
}

void on_seen(struct session *session, const Nanopush__V1__Seen *seen)
{
    progressed(session, seen->challenge_id, NANOPUSH__V1__PROGRESS__PROGRESS_SEEN);
}
