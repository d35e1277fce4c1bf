/* Answer: the person's decision, signed. It is repeated until Resolved says how the challenge ended. */
#include <stdio.h>

#include "device/session.h"
#include "domain/answer.h"
#include "wire/device_message.h"

static void on_done(enum err e, enum challenge_state state, const char *device_id, void *arg)
{
    struct operation *operation = arg;
    struct session *session = operation->session;
    struct buf frame = {0};
    char id[ID_SIZE];
    snprintf(id, sizeof id, "%s", operation->subject);
    operation_free(operation);
    switch (e) {
    case ERR_OK:
        if (device_message_resolved(id, (int)state, device_id, &frame) == ERR_OK)
            session_write(session, buf_view(&frame));
        buf_done(&frame);
        break;
    case ERR_NOT_FOUND:
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_NOT_FOUND, id, "no such challenge");
        break;
    case ERR_INVALID:
    case ERR_BAD_SIGNATURE:
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_INVALID, id, "signature or claims do not fit");
        break;
    case ERR_DENIED:
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_INVALID, id,
                      "not signed by the key that was asked for");
        break;
    default:
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_UNAVAILABLE, id, "not stored; send it again");
    }
}

static bool is_by(const Nanopush__V1__AnswerMessage *answer, const struct account *account)
{
    const Record__Device *device = account_record(account);
    return device && answer_is_by(bytes_of(answer->jws), device);
}

/* The account whose key the answer names, or any that the challenge is for: it refuses what is not its own. */
static struct account *signer_of(struct session *session, const Nanopush__V1__AnswerMessage *answer)
{
    struct account *first = session_account_for(session, answer->challenge_id, NULL), *next = first;
    if (!first || !session_account_for(session, answer->challenge_id, first))
        return first; /* nothing to choose from: no need to look into the answer twice */
    while (next && !is_by(answer, next))
        next = session_account_for(session, answer->challenge_id, next);
    return next ? next : first;
}

void on_answer(struct session *session, const Nanopush__V1__AnswerMessage *answer)
{
    struct account *account = signer_of(session, answer);
    if (!account) {
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_NOT_FOUND, answer->challenge_id,
                      "no such challenge");
        return;
    }
    const Record__Device *device = account_record(account);
    if (!device) {
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_UNAVAILABLE, answer->challenge_id,
                      "not stored; send it again");
        return;
    }
    struct operation *operation = operation_new(session, answer->challenge_id, device->id);
    if (operation)
        operation->answer = challenge_answer(session->server->domain, device, answer->challenge_id,
                                             bytes_of(answer->jws), on_done, operation);
}
