/* The question to the old phones whether a new one may be added: a challenge of mode CODE, whose number the new phone
 * shows. So it is approved by somebody who holds both: a person who taps what comes lets no stranger's phone in. */
#include <string.h>

#include "core/log.h"
#include "crypto/digest.h"
#include "domain/challenge.h"
#include "domain/enrolment_op.h"
#include "domain/number.h"
#include "nanopush/v1/common.pb-c.h"
#include "wire/message.h"

#define MODE NANOPUSH__V1__MODE__MODE_CODE

/* One question an enrolment, whose id everybody can tell: to show its number, and to take it back. */
static enum err question_id(const char *enrolment_id, char out[ID_SIZE])
{
    static const char purpose[] = "nanopush/1 question";
    uint8_t digest[SHA256_BYTES];
    struct buf input = {0};
    enum err e = buf_append(&input, bytes_make(purpose, sizeof purpose));
    if (e == ERR_OK)
        e = buf_append(&input, bytes_of(enrolment_id));
    if (e == ERR_OK)
        e = sha256(buf_view(&input), digest);
    if (e == ERR_OK)
        id_make(digest, id_tag(enrolment_id), out);
    buf_done(&input);
    return e;
}

enum err enrolment_number(const struct secret *secret, const char *enrolment_id, char out[NUMBER_SIZE])
{
    char id[ID_SIZE];
    Record__Challenge question = RECORD__CHALLENGE__INIT;
    TRY(question_id(enrolment_id, id));
    question.id = id;
    question.mode = MODE;
    question.code_digits = NUMBER_LONG_DIGITS;
    return number_to_show(secret, &question, out);
}

/* ---- asking ---- */

static void on_decided(enum err e, void *arg)
{
    (void)e; /* the new phone repeats its Enrol, and with it this */
    (void)arg;
}

/* A question that is over while its enrolment waits: whoever was to draw the conclusion is gone, or there is none. */
static void on_asked(enum err e, const struct challenge_accepted *accepted, void *arg)
{
    struct enrolment_op *op = arg;
    if (e != ERR_OK) /* the new phone repeats its Enrol, and with it this */
        LOG(INFO, DOMAIN, "new-phone-not-asked", "enrolment=%s error=%s", op->id, err_name(e));
    else if (accepted->state != CHALLENGE_PENDING)
        enrolment_decide(op->domain, op->id, accepted->state == CHALLENGE_APPROVED, NULL, on_decided, NULL);
    enrolment_op_free(op);
}

static enum err pack_display(const Record__Enrolment *record, const Record__Device *device, struct buf *ret)
{
    static const char *const platforms[] = {"not said", "iPhone", "Android", "other"};
    Nanopush__V1__DisplayField name = NANOPUSH__V1__DISPLAY_FIELD__INIT;
    Nanopush__V1__DisplayField platform = NANOPUSH__V1__DISPLAY_FIELD__INIT, *fields[] = {&name, &platform};
    Nanopush__V1__Display display = NANOPUSH__V1__DISPLAY__INIT;
    name.label = "New phone, as it calls itself";
    name.value = device->name[0] ? device->name : "without a name";
    platform.label = "Its kind";
    platform.value = (char *)platforms[device->platform < 4 ? device->platform : 0];
    display.organisation = record->organisation_name;
    display.portal = record->portal_name[0] ? record->portal_name : record->portal;
    display.user = record->user;
    display.occasion = NANOPUSH__V1__OCCASION__OCCASION_NEW_PHONE;
    display.fields = fields;
    display.n_fields = 2;
    return message_pack(&display.base, ret);
}

void enrolment_ask(const struct enrolment_op *op, const Record__Device *device, bool again)
{
    const Record__Enrolment *record = op->record;
    char id[ID_SIZE];
    struct buf shown = {0};
    if (op->left_ms > 0 && question_id(op->id, id) == ERR_OK &&
        pack_display(record, device, &shown) == ERR_OK) {
        const struct challenge_request request = {
            .id = id,
            .organisation = record->organisation,
            .portal = record->portal,
            .user = record->user,
            .display = buf_view(&shown),
            .other_display = buf_view(&shown),
            .mode = MODE,
            .code_digits = NUMBER_LONG_DIGITS,
            .user_verification = NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_REQUIRED,
            .life_ms = (unsigned)op->left_ms,
            .browser_session = "",
            .idempotency = bytes_of(op->id),
            .asked = bytes_of(op->id),
            .enrolment = op->id,
            .repeated = again,
        };
        struct enrolment_op *asked = enrolment_op_new(op->domain, NULL);
        memcpy(asked->id, op->id, ID_SIZE);
        challenge_create(op->domain, &request, on_asked, asked);
    }
    buf_done(&shown);
}

/* ---- taking it back ---- */

static void on_question_read(enum err e, const struct challenge_view *view, void *arg)
{
    if (e != ERR_OK || view->state != CHALLENGE_PENDING)
        return;
    if (view->now_unix_ms >= view->expire_unix_ms)
        challenge_expire(arg, view);
    else
        challenge_cancel(arg, view, NULL, NULL, NULL);
}

void enrolment_withdraw(struct domain *domain, const char *enrolment_id)
{
    char id[ID_SIZE];
    if (question_id(enrolment_id, id) == ERR_OK)
        store_challenge_get(domain->store, id, false, on_question_read, domain);
}
