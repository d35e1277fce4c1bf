/* How a challenge ends: by an answer, by its portal, by time. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "domain/challenge_cache.h"
#include "domain/challenge_op.h"
#include "domain/challenge_progress.h"
#include "domain/enrolment.h"
#include "domain/number.h"

/* What is noted of its phones goes along; it is forgotten when the reply is there (tell_outcome). */
static void settle_with_progress(struct challenge_op *op, struct challenge_settle settle,
                                 store_challenge_settle_fn fn)
{
    struct challenge_reached reached[REACHED_MAX];
    settle.reached = reached;
    settle.reached_count = progress_noted(op->domain->progress, op->id, reached);
    store_challenge_settle(op->domain->store, &settle, fn, op);
}

/* ---- ends that are nobody's answer ---- */

static void on_ended(enum err e, const struct challenge_settled *settled, void *arg)
{
    struct challenge_op *op = arg;
    if (e == ERR_OK)
        tell_outcome(op->domain, op->record, settled, "", op->ended_by[0] ? op->ended_by : NULL);
    if (!op->silent && op->fn.done)
        op->fn.done(e, op->arg);
    op_free(op);
}

static struct challenge_op *end(struct domain *domain, const struct challenge_view *view,
                                enum challenge_state state, const char *by, challenge_done_fn fn, void *arg)
{
    struct challenge_op *op = op_new(domain, view->record->id, arg);
    const struct challenge_settle settle = {.id = op->id, .fence = view->fence, .state = state};
    op->fn.done = fn;
    op->record = (Record__Challenge *)store_record_copy(&view->record->base);
    snprintf(op->ended_by, sizeof op->ended_by, "%s", by ? by : "");
    settle_with_progress(op, settle, on_ended);
    return op;
}

struct challenge_op *challenge_cancel(struct domain *domain, const struct challenge_view *view,
                                      const char *by, challenge_done_fn fn, void *arg)
{
    return end(domain, view, CHALLENGE_CANCELLED, by, fn, arg);
}

void challenge_expire(struct domain *domain, const struct challenge_view *view)
{
    end(domain, view, CHALLENGE_EXPIRED, NULL, NULL, NULL);
}

/* ---- answers ---- */

static void answer_finish(struct challenge_op *op, enum err e)
{
    if (e == ERR_INVALID)
        METRIC_ADD(ANSWERS_REFUSED_CLAIMS, 1);
    else if (e == ERR_BAD_SIGNATURE)
        METRIC_ADD(ANSWERS_REFUSED_SIGNATURE, 1);
    else if (e == ERR_DENIED)
        METRIC_ADD(ANSWERS_REFUSED_DEVICE, 1);
    else if (e == ERR_OK)
        HISTOGRAM_ADD(LOGIN_ANSWER, clock_mono_us() - op->begin_mono_us);
    if (e != ERR_OK)
        LOG(INFO, DOMAIN, "answer-refused", "challenge=%s device=%s error=%s", op->id, op->device->id,
            err_name(e));
    if (!op->silent)
        op->fn.answer(e, op->state, op->by, op->arg);
    op_free(op);
}

static void on_answer_failed(void *arg)
{
    struct challenge_op *op = arg;
    answer_finish(op, op->error);
}

/* Whether it asks an old phone about a new one. */
static bool is_question(const Record__Challenge *record)
{
    return id_valid(bytes_of(record->enrolment));
}

/* The phone that answered is told last: until then it repeats its answer, and with it whatever was not done. */
static void on_enrolment_decided(enum err e, void *arg)
{
    answer_finish(arg, e == ERR_BAD_STATE || e == ERR_NOT_FOUND ? ERR_OK : e);
}

static void on_answer_settled(enum err e, const struct challenge_settled *settled, void *arg)
{
    struct challenge_op *op = arg;
    if (e != ERR_OK) {
        answer_finish(op, e);
        return;
    }
    if (settled->moved && settled->state == CHALLENGE_EXPIRED)
        METRIC_ADD(ANSWERS_REFUSED_EXPIRED, 1);
    else if (!settled->moved && strcmp(settled->device_id, op->device->id) != 0)
        METRIC_ADD(ANSWERS_REFUSED_STATE, 1);
    op->state = settled->state;
    memcpy(op->by, settled->device_id, ID_SIZE);
    tell_outcome(op->domain, op->record, settled, op->device->id, NULL);
    bool decides = settled->state == CHALLENGE_APPROVED || settled->state == CHALLENGE_DENIED ||
                   settled->state == CHALLENGE_REPORTED || settled->state == CHALLENGE_FAILED;
    if (is_question(op->record) && decides)
        enrolment_decide(op->domain, op->record->enrolment, settled->state == CHALLENGE_APPROVED,
                         op->device->id, on_enrolment_decided, op);
    else
        answer_finish(op, ERR_OK);
}

static enum err judge(struct challenge_op *op, const struct challenge_view *view,
                      enum challenge_state *wanted)
{
    char number[NUMBER_SIZE];
    if (strcmp(view->record->user, op->device->user) != 0)
        return ERR_NOT_FOUND;
    TRY(number_to_show(op->domain->secret, view->record, number));
    return answer_judge(&op->answer, op->device, view, number, wanted);
}

/* The store decides, whatever the view's state: whoever was first has it. */
static enum err settle_answer(struct challenge_op *op, const struct challenge_view *view)
{
    enum challenge_state wanted = CHALLENGE_NONE;
    TRY(judge(op, view, &wanted));
    op->record = (Record__Challenge *)store_record_copy(&view->record->base);
    Record__Settlement settlement = RECORD__SETTLEMENT__INIT;
    settlement.state = (uint32_t)wanted;
    settlement.device_id = op->device->id;
    settlement.jws = (char *)buf_view(&op->jws).p;
    settlement.user_verified = op->answer.by_user_verification;
    const struct challenge_settle settle = {
        .id = op->id,
        .fence = view->fence,
        .state = wanted,
        .device = op->device,
        .settlement = &settlement,
        .enrolment = is_question(op->record) ? op->record->enrolment : NULL,
    };
    settle_with_progress(op, settle, on_answer_settled);
    return ERR_OK;
}

static void on_answer_challenge(enum err e, const struct challenge_view *view, void *arg)
{
    struct challenge_op *op = arg;
    if (e == ERR_OK)
        e = settle_answer(op, view);
    if (e != ERR_OK)
        answer_finish(op, e);
}

static enum err answer_prepare(struct challenge_op *op, struct bytes jws)
{
    if (jws.len > ANSWER_MAX_BYTES)
        return ERR_INVALID;
    TRY(buf_append(&op->jws, jws));
    TRY(buf_append_byte(&op->jws, 0));
    enum err e = answer_open(bytes_make(buf_view(&op->jws).p, jws.len), op->device, &op->answer);
    op->answer_is_open = e == ERR_OK;
    return e == ERR_MALFORMED || e == ERR_TOO_BIG || e == ERR_UNSUPPORTED ? ERR_INVALID : e;
}

struct challenge_op *challenge_answer(struct domain *domain, const Record__Device *device, const char *id,
                                      struct bytes jws, challenge_answer_fn fn, void *arg)
{
    char own_id[ID_SIZE] = {0};
    bool ours = id_valid(bytes_of(id)) && strcmp(id_tag(id), id_tag(device->id)) == 0;
    if (ours)
        memcpy(own_id, id, ID_SIZE);
    struct challenge_op *op = op_new(domain, own_id, arg);
    struct challenge_view view;
    op->fn.answer = fn;
    op->device = (Record__Device *)store_record_copy(&device->base);
    enum err e = ours ? answer_prepare(op, jws) : ERR_NOT_FOUND;
    bool in_hand = e == ERR_OK && challenge_cache_find(domain->challenge_cache, op->id, &view);
    if (in_hand)
        e = settle_answer(op, &view);
    if (e != ERR_OK)
        op_fail_later(op, e, on_answer_failed);
    else if (!in_hand)
        store_challenge_get(domain->store, op->id, false, on_answer_challenge, op);
    return op;
}
