/* Ack and Seen: how far a challenge came on this phone. */
#include "core/metrics.h"
#include "device/session.h"

/* @return false for what is about nothing of this phone's, and nobody needs to know. */
static bool progressed(struct session *session, const char *challenge_id, unsigned progress)
{
    struct account *account = session_account_for(session, challenge_id, NULL);
    bool ours = account;
    for (; account; account = session_account_for(session, challenge_id, account)) {
        char id[ID_SIZE];
        account_id(account, id);
        challenge_progressed(session->server->domain, challenge_id, id, progress);
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
