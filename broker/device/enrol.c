/* Scan and Enrol: a phone opens its enrolment, and uses the one-time token (SECURITY, "Enrolment"). */
#include <stdio.h>

#include "device/session.h"

static struct bytes view_of(const ProtobufCBinaryData *field)
{
    return bytes_make(field->data, field->len);
}

static void send_enrolled(struct session *session, const char *enrolment_id,
                          const struct enrolment_done *done)
{
    Nanopush__V1__Enrolled enrolled = NANOPUSH__V1__ENROLLED__INIT;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    enrolled.enrolment_id = (char *)enrolment_id;
    enrolled.organisation = done->device->organisation;
    enrolled.organisation_name = (char *)done->organisation_name;
    enrolled.user = done->device->user;
    enrolled.device_id = done->device->id;
    enrolled.generation = done->device->generation;
    enrolled.code = (char *)done->code;
    enrolled.number = (char *)done->number;
    enrolled.waiting = done->state != ENROLMENT_DONE;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_ENROLLED;
    message.enrolled = &enrolled;
    session_send(session, &message);
}

/* Whatever is wrong with the token counts against the connection. */
static void refuse(struct session *session, enum err e, const char *id)
{
    static const struct {
        enum err e;
        Nanopush__V1__Error__Code code;
        const char *text;
    } refusals[] = {
        {ERR_INVALID, NANOPUSH__V1__ERROR__CODE__CODE_INVALID, "a field or signature is wrong"},
        {ERR_NOT_FOUND, NANOPUSH__V1__ERROR__CODE__CODE_NOT_FOUND, "no such enrolment, or another token"},
        {ERR_EXPIRED, NANOPUSH__V1__ERROR__CODE__CODE_EXPIRED, "the token's time is over"},
        {ERR_BAD_STATE, NANOPUSH__V1__ERROR__CODE__CODE_USED, "used with other keys: void"},
        {ERR_EXISTS, NANOPUSH__V1__ERROR__CODE__CODE_EXISTS, "a key is enrolled already"},
        {ERR_LIMIT, NANOPUSH__V1__ERROR__CODE__CODE_LIMIT, "the user has too many phones"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        if (refusals[i].e == e) {
            session_error(session, refusals[i].code, id, refusals[i].text);
            session_strike(session);
            return;
        }
    session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_UNAVAILABLE, id, "try again later");
}

static void on_used(enum err e, const struct enrolment_done *done, void *arg)
{
    struct operation *operation = arg;
    struct session *session = operation->session;
    char id[ID_SIZE];
    snprintf(id, sizeof id, "%s", operation->subject);
    operation_free(operation);
    if (e == ERR_OK) {
        if (done->state != ENROLMENT_DONE)
            session_extend_greeting(session, ENROL_WAIT_MS);
        send_enrolled(session, id, done);
        return;
    }
    refuse(session, e, id);
}

void on_enrol(struct session *session, const Nanopush__V1__Enrol *enrol)
{
    if (session->resumed) {
        session_error(session, NANOPUSH__V1__ERROR__CODE__CODE_INVALID, enrol->enrolment_id,
                      "enrol after a full handshake");
        session_strike(session);
        return;
    }
    const struct enrolment_presented presented = {
        .channel_binding = session->channel_binding,
        .organisation = enrol->organisation,
        .id = enrol->enrolment_id,
        .name = enrol->name,
        .platform = (uint32_t)enrol->platform,
        .capabilities = enrol->capabilities & (CAPABILITY_CHOOSE | CAPABILITY_CODE),
        .token = view_of(&enrol->token),
        .possession_key = view_of(&enrol->possession_key),
        .user_verification_key = view_of(&enrol->user_verification_key),
        .possession_signature = view_of(&enrol->possession_signature),
        .user_verification_signature = view_of(&enrol->user_verification_signature),
        .proof = view_of(&enrol->proof),
    };
    struct operation *operation = operation_new(session, enrol->enrolment_id, "");
    if (operation)
        operation->enrolment = enrolment_use(session->server->domain, &presented, on_used, operation);
}

static void on_scanned(enum err e, void *arg)
{
    struct operation *operation = arg;
    struct session *session = operation->session;
    char id[ID_SIZE];
    snprintf(id, sizeof id, "%s", operation->subject);
    operation_free(operation);
    if (e != ERR_OK) {
        refuse(session, e, id);
        return;
    }
    Nanopush__V1__Scanned scanned = NANOPUSH__V1__SCANNED__INIT;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    scanned.enrolment_id = id;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_SCANNED;
    message.scanned = &scanned;
    session_send(session, &message);
    session_extend_greeting(session, ENROL_WAIT_MS);
}

void on_scan(struct session *session, const Nanopush__V1__Scan *scan)
{
    struct operation *operation = operation_new(session, scan->enrolment_id, "");
    if (operation)
        operation->enrolment = enrolment_scan(session->server->domain, scan->organisation, scan->enrolment_id,
                                              view_of(&scan->token), on_scanned, operation);
}
