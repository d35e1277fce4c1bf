#include "portal/snapshot.h"

#include <stdlib.h>

#include "base/mem.h"
#include "crypto/p256.h"

struct device_row {
    Nanopush__V1__DeviceProgress message;
    Google__Protobuf__Timestamp sent, delivered, seen;
};

Google__Protobuf__Timestamp snapshot_time(int64_t unix_ms)
{
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    time.seconds = unix_ms / 1000;
    time.nanos = (int32_t)(unix_ms % 1000) * 1000000;
    return time;
}

static Google__Protobuf__Timestamp *time_or_none(int64_t unix_ms, Google__Protobuf__Timestamp *room)
{
    *room = snapshot_time(unix_ms);
    return unix_ms ? room : NULL;
}

static void add_devices(const struct challenge_view *view, struct challenge_snapshot *ret)
{
    ret->rows = mem_new((view->progress_count + 1) * sizeof *ret->rows);
    ret->message.devices = mem_new((view->progress_count + 1) * sizeof *ret->message.devices);
    ret->message.n_devices = view->progress_count;
    ret->message.progress = NANOPUSH__V1__PROGRESS__PROGRESS_QUEUED;
    for (size_t i = 0; i < view->progress_count; i++) {
        const struct challenge_progress *progress = &view->progress[i];
        struct device_row *row = &ret->rows[i];
        nanopush__v1__device_progress__init(&row->message);
        row->message.device_id = (char *)progress->device_id;
        row->message.progress = (Nanopush__V1__Progress)progress->progress;
        row->message.sent_time = time_or_none(progress->sent_unix_ms, &row->sent);
        row->message.delivered_time = time_or_none(progress->delivered_unix_ms, &row->delivered);
        row->message.seen_time = time_or_none(progress->seen_unix_ms, &row->seen);
        ret->message.devices[i] = &row->message;
        if (row->message.progress > ret->message.progress)
            ret->message.progress = row->message.progress;
    }
}

enum err snapshot_challenge(const struct secret *secret, const struct challenge_view *view,
                            struct challenge_snapshot *ret)
{
    const Record__Challenge *record = view->record;
    Nanopush__V1__Challenge *c = &ret->message;
    nanopush__v1__challenge__init(c);
    c->id = record->id;
    c->user = record->user;
    c->state = (Nanopush__V1__ChallengeState)view->state;
    if (view->state == CHALLENGE_PENDING && view->now_unix_ms >= view->expire_unix_ms)
        c->state =
            NANOPUSH__V1__CHALLENGE_STATE__CHALLENGE_STATE_EXPIRED; /* whether or not it is settled yet */
    c->revision = view->revision;
    c->create_time = time_or_none(view->create_unix_ms, &ret->created);
    c->expire_time = time_or_none(view->expire_unix_ms, &ret->expires);
    c->settle_time = time_or_none(view->settle_unix_ms, &ret->settled);
    c->mode = (Nanopush__V1__Mode)record->mode;
    c->user_verification = (Nanopush__V1__UserVerification)record->user_verification;
    c->nonce = record->nonce;
    c->display = record->display;
    if (view->settlement) {
        nanopush__v1__answer__init(&ret->answer);
        ret->answer.device_id = view->settlement->device_id;
        ret->answer.jws = view->settlement->jws;
        ret->answer.user_verified = view->settlement->user_verified;
        c->answer = &ret->answer;
    }
    add_devices(view, ret);
    c->attempt = view->attempt;
    c->number = ret->number;
    return number_to_show(secret, record, ret->number);
}

void snapshot_challenge_done(struct challenge_snapshot *snapshot)
{
    free(snapshot->rows);
    free(snapshot->message.devices);
}

enum err snapshot_enrolment(const struct enrolment_view *view, struct enrolment_snapshot *ret)
{
    Nanopush__V1__Enrolment *e = &ret->message;
    nanopush__v1__enrolment__init(e);
    e->id = view->record->id;
    e->user = view->record->user;
    e->state = (Nanopush__V1__EnrolmentState)view->state;
    e->revision = view->revision;
    e->create_time = time_or_none(view->create_unix_ms, &ret->created);
    e->expire_time = time_or_none(view->expire_unix_ms, &ret->expires);
    if (!view->enrolled)
        return ERR_OK;
    const Record__Device *device = view->enrolled->device;
    TRY(p256_thumbprint(device->possession_key.data, ret->possession));
    TRY(p256_thumbprint(device->user_verification_key.data, ret->user_verification));
    nanopush__v1__enrolled_device__init(&ret->device);
    ret->device.device_id = device->id;
    ret->device.name = device->name;
    ret->device.platform = (Nanopush__V1__Platform)device->platform;
    ret->device.possession_thumbprint = ret->possession;
    ret->device.user_verification_thumbprint = ret->user_verification;
    ret->device.proof = view->enrolled->proof;
    ret->device.possession_key = device->possession_key;
    ret->device.user_verification_key = device->user_verification_key;
    e->device = &ret->device;
    return ERR_OK;
}
