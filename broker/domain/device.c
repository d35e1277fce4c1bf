#include "domain/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "crypto/act.h"
#include "crypto/digest.h"
#include "crypto/jws.h"
#include "domain/enrolment.h"
#include "domain/event.h"
#include "domain/notice.h"
#include "domain/router.h"
#include "domain/text.h"
#include "nanopush/v1/device.pb-c.h"

struct device_op {
    struct domain *domain;
    char id[ID_SIZE];
    union {
        device_done_fn done;
        device_rotated_fn rotated;
    } fn;
    bool silent;
    void *arg;
    struct deferral failed;
    enum err error;
    Record__Device *present, *next; /* rotate */
    char *organisation, *user;      /* unlock */
    char by[EVENT_BY_SIZE];
};

void device_op_cancel(struct device_op *op)
{
    if (op)
        op->silent = true;
}

static struct device_op *op_new(struct domain *domain, const char *id, void *arg)
{
    struct device_op *op = mem_new(sizeof *op);
    op->domain = domain;
    memcpy(op->id, id, strnlen(id, ID_LEN));
    op->arg = arg;
    deferral_init(&op->failed, NULL, NULL);
    return op;
}

static void op_free(struct device_op *op)
{
    deferral_cancel(&op->failed);
    if (op->present)
        record__device__free_unpacked(op->present, NULL);
    if (op->next)
        record__device__free_unpacked(op->next, NULL);
    free(op->organisation);
    free(op->user);
    free(op);
}

static void done(struct device_op *op, enum err e)
{
    if (!op->silent)
        op->fn.done(e, op->arg);
    op_free(op);
}

static void on_failed(void *arg)
{
    struct device_op *op = arg;
    done(op, op->error);
}

static void fail_later(struct device_op *op, enum err e, loop_fn fn)
{
    op->error = e;
    deferral_init(&op->failed, fn, op);
    loop_defer(op->domain->loop, &op->failed);
}

/* Something became of @p device. */
static void emit(const struct device_op *op, enum event_kind kind, const Record__Device *device)
{
    const struct event event = {
        .kind = kind,
        .organisation = device->organisation,
        .user = device->user,
        .device_id = device->id,
        .by = op->by,
        .detail = device->name,
    };
    event_emit(op->domain, &event);
}

/* ---- the signature and claims of an act ---- */

/* The device's key of that thumbprint, where it may sign this act; NULL else. */
static const uint8_t *key_of(const Record__Device *device, const char *kid, bool either)
{
    const ProtobufCBinaryData *const keys[] = {&device->user_verification_key, &device->possession_key};
    for (size_t i = 0; i < (either ? 2 : 1); i++) {
        char thumbprint[P256_THUMBPRINT_SIZE];
        if (keys[i]->len == P256_PUBLIC_BYTES && p256_thumbprint(keys[i]->data, thumbprint) == ERR_OK &&
            strcmp(thumbprint, kid) == 0)
            return keys[i]->data;
    }
    return NULL;
}

static bool is_timely(int64_t iat_s)
{
    int64_t off_s = iat_s - clock_unix_ms() / 1000;
    return off_s >= -ACT_CLOCK_SLACK_S && off_s <= ACT_CLOCK_SLACK_S;
}

/* ERR_OK, or ERR_INVALID for whatever is wrong with it, or an error of this process. */
static enum err open_act(const Record__Device *device, struct bytes compact, const char *typ, struct act *act)
{
    struct jws jws = {0};
    bool rotation = strcmp(typ, JWS_TYP_ROTATION) == 0;
    enum err e = jws_parse(compact, ACT_MAX_BYTES, &jws);
    if (e != ERR_OK)
        return e == ERR_NOMEM || e == ERR_CRYPTO ? e : ERR_INVALID;
    const uint8_t *key = key_of(device, jws.kid, strcmp(typ, JWS_TYP_REMOVE) == 0);
    if (strcmp(jws.typ, typ) != 0 || !key || jws_verify(&jws, key) != ERR_OK ||
        act_parse(buf_view(&jws.payload), rotation, act) != ERR_OK)
        e = ERR_INVALID;
    else if (strcmp(act->iss, device->id) != 0 || strcmp(act->org, device->organisation) != 0 ||
             strcmp(act->sub, device->user) != 0 || !is_timely(act->iat_s))
        e = ERR_INVALID;
    jws_done(&jws);
    return e;
}

static enum err check_bound_act(const Record__Device *device, const uint8_t *channel_binding,
                                struct bytes jws, const char *typ)
{
    struct act act;
    TRY(open_act(device, jws, typ, &act));
    return act.gen == device->generation && memcmp(act.cb, channel_binding, CHANNEL_BINDING_BYTES) == 0
               ? ERR_OK
               : ERR_INVALID;
}

/* ---- removal ---- */

/* Who asked is told first: it may be the very phone whose connection ends then. */
static void on_removed(enum err e, const struct device_removed *removed, void *arg)
{
    struct device_op *op = arg;
    if (!op->silent)
        op->fn.done(e, op->arg);
    if (e == ERR_OK) {
        struct route gone = {.presence = removed->presence};
        memcpy(gone.device_id, op->id, ID_SIZE);
        router_take(op->domain->router, &gone, true);
    }
    if (e == ERR_OK && removed->device) {
        METRIC_ADD(DEVICES_REMOVED, 1);
        LOG(INFO, DOMAIN, "device-removed", "device=%s", op->id);
        emit(op, EVENT_PHONE_REMOVED, removed->device);
        notice_send(op->domain, &removed->others, NANOPUSH__V1__NOTICE__KIND__KIND_PHONE_REMOVED,
                    removed->device->name, 0);
    }
    op_free(op);
}

struct device_op *device_revoke(struct domain *domain, const char *device_id, const char *by,
                                device_done_fn fn, void *arg)
{
    struct device_op *op = op_new(domain, device_id, arg);
    snprintf(op->by, sizeof op->by, "%s", by);
    op->fn.done = fn;
    store_device_remove(domain->store, op->id, NULL, on_removed, op);
    return op;
}

struct device_op *device_remove(struct domain *domain, const Record__Device *device,
                                const uint8_t *channel_binding, struct bytes jws, device_done_fn fn,
                                void *arg)
{
    struct device_op *op = op_new(domain, device->id, arg);
    op->fn.done = fn;
    event_by_phone(device->id, op->by);
    enum err e = check_bound_act(device, channel_binding, jws, JWS_TYP_REMOVE);
    if (e != ERR_OK)
        fail_later(op, e, on_failed);
    else
        store_device_remove(domain->store, op->id, device, on_removed, op);
    return op;
}

/* ---- unlock ---- */

static void on_unlocked(enum err e, const struct routes *told, void *arg)
{
    struct device_op *op = arg;
    bool by_phone = op->id[0];
    if (e == ERR_OK &&
        (!by_phone || told->device_count > 0)) { /* a phone that says it without end is no news */
        const struct event event = {.kind = EVENT_PUSH_UNLOCKED,
                                    .organisation = op->organisation,
                                    .user = op->user,
                                    .device_id = op->id,
                                    .by = op->by};
        LOG(INFO, DOMAIN, "push-unlocked", "by=%s", LOG_STR(op->by));
        event_emit(op->domain, &event);
        notice_send(op->domain, told, NANOPUSH__V1__NOTICE__KIND__KIND_UNLOCKED, "", 0);
    }
    done(op, e);
}

struct device_op *device_unlock_user(struct domain *domain, const char *organisation, const char *user,
                                     const char *by, device_done_fn fn, void *arg)
{
    struct device_op *op = op_new(domain, "", arg);
    char tag[USER_TAG_SIZE];
    op->fn.done = fn;
    op->organisation = mem_copy_string(organisation);
    op->user = mem_copy_string(user);
    snprintf(op->by, sizeof op->by, "%s", by);
    enum err e = secret_user_tag(domain->secret, bytes_of(organisation), bytes_of(user), tag);
    if (e != ERR_OK)
        fail_later(op, e, on_failed);
    else
        store_user_unlock(domain->store, tag, NULL, on_unlocked, op);
    return op;
}

struct device_op *device_unlock(struct domain *domain, const Record__Device *device,
                                const uint8_t *channel_binding, struct bytes jws, device_done_fn fn,
                                void *arg)
{
    struct device_op *op = op_new(domain, device->id, arg);
    op->fn.done = fn;
    op->organisation = mem_copy_string(device->organisation);
    op->user = mem_copy_string(device->user);
    event_by_phone(device->id, op->by);
    enum err e = check_bound_act(device, channel_binding, jws, JWS_TYP_UNLOCK);
    if (e != ERR_OK)
        fail_later(op, e, on_failed);
    else
        store_user_unlock(domain->store, id_tag(op->id), device, on_unlocked, op);
    return op;
}

/* ---- rotation: claim both new keys, then put the next generation in the place of the present ---- */

static void rotate_finish(struct device_op *op, enum err e)
{
    if (e == ERR_OK) {
        LOG(INFO, DOMAIN, "device-rotated", "device=%s generation=%u", op->id, op->next->generation);
        event_by_phone(op->id, op->by);
        emit(op, EVENT_PHONE_ROTATED, op->next);
    }
    if (!op->silent)
        op->fn.rotated(e, e == ERR_OK ? op->next : NULL, op->arg);
    op_free(op);
}

static void on_rotate_failed(void *arg)
{
    struct device_op *op = arg;
    rotate_finish(op, op->error);
}

static void keep_key(const struct device_op *op, const ProtobufCBinaryData *key)
{
    store_key_claim(op->domain->store, bytes_make(key->data, key->len), op->id, true, NULL, NULL);
}

static void on_rotated(enum err e, void *arg)
{
    struct device_op *op = arg;
    if (e == ERR_OK) {
        keep_key(op, &op->next->possession_key);
        keep_key(op, &op->next->user_verification_key);
    }
    rotate_finish(op, e);
}

static void on_both_claimed(enum err e, void *arg)
{
    struct device_op *op = arg;
    if (e != ERR_OK)
        rotate_finish(op, e);
    else
        store_device_rotate(op->domain->store, op->present, op->next, on_rotated, op);
}

static void on_first_claimed(enum err e, void *arg)
{
    struct device_op *op = arg;
    const ProtobufCBinaryData *key = &op->next->user_verification_key;
    if (e != ERR_OK)
        rotate_finish(op, e);
    else
        store_key_claim(op->domain->store, bytes_make(key->data, key->len), op->id, false, on_both_claimed,
                        op);
}

static bool is_new_key(const Record__Device *device, struct bytes key)
{
    return p256_check_public(key) == ERR_OK &&
           !bytes_equal(key, bytes_make(device->possession_key.data, device->possession_key.len)) &&
           !bytes_equal(key,
                        bytes_make(device->user_verification_key.data, device->user_verification_key.len));
}

bool device_id_is_of_key(const char *device_id, struct bytes key)
{
    uint8_t digest[SHA256_BYTES];
    char hex[HEX_SIZE(ID_RANDOM_BYTES)];
    if (sha256(key, digest) != ERR_OK)
        return false;
    hex_encode(bytes_make(digest, ID_RANDOM_BYTES), hex);
    return strncmp(device_id, hex, ID_RANDOM_BYTES * 2) == 0;
}

/* A key of an earlier generation: rotations name them all but the first possession key, which the id is of. */
static bool had_key(const Record__Device *device, struct bytes key, const char *thumbprint)
{
    bool found = device_id_is_of_key(device->id, key);
    for (size_t i = 0; i < device->n_rotations && !found; i++) {
        struct jws jws;
        struct act act;
        if (jws_parse(bytes_of(device->rotations[i]->jws), ACT_MAX_BYTES, &jws) != ERR_OK)
            continue;
        found = strcmp(jws.kid, thumbprint) == 0 ||
                (act_parse(buf_view(&jws.payload), true, &act) == ERR_OK &&
                 (strcmp(act.tp1, thumbprint) == 0 || strcmp(act.tp2, thumbprint) == 0));
        jws_done(&jws);
    }
    return found;
}

static enum err check_rotation(const Record__Device *device, struct bytes jws, struct bytes possession,
                               struct bytes verification)
{
    char tp1[P256_THUMBPRINT_SIZE], tp2[P256_THUMBPRINT_SIZE];
    struct act act;
    if (device->n_rotations >= ROTATIONS_MAX)
        return ERR_LIMIT;
    if (!is_new_key(device, possession) || !is_new_key(device, verification) ||
        bytes_equal(possession, verification))
        return ERR_INVALID;
    TRY(open_act(device, jws, JWS_TYP_ROTATION, &act));
    TRY(p256_thumbprint(possession.p, tp1));
    TRY(p256_thumbprint(verification.p, tp2));
    if (had_key(device, possession, tp1) || had_key(device, verification, tp2))
        return ERR_INVALID;
    return act.gen == device->generation + 1 && strcmp(act.tp1, tp1) == 0 && strcmp(act.tp2, tp2) == 0
               ? ERR_OK
               : ERR_INVALID;
}

static Record__Device *next_generation(const Record__Device *device, struct bytes jws,
                                       struct bytes possession, struct bytes verification)
{
    char text[ACT_MAX_BYTES + 1];
    Record__Rotation newest = RECORD__ROTATION__INIT, *rotations[ROTATIONS_MAX];
    Record__Device next = *device;
    memcpy(text, jws.p, jws.len);
    text[jws.len] = '\0';
    newest.jws = text;
    newest.user_verification_key =
        (ProtobufCBinaryData){.data = (uint8_t *)verification.p, .len = verification.len};
    for (size_t i = 0; i < device->n_rotations; i++)
        rotations[i] = device->rotations[i];
    rotations[device->n_rotations] = &newest;
    next.rotations = rotations;
    next.n_rotations = device->n_rotations + 1;
    next.generation++;
    next.possession_key = (ProtobufCBinaryData){.data = (uint8_t *)possession.p, .len = possession.len};
    next.user_verification_key = newest.user_verification_key;
    return (Record__Device *)store_record_copy(&next.base);
}

struct device_op *device_rotate(struct domain *domain, const Record__Device *device, struct bytes jws,
                                struct bytes possession_key, struct bytes user_verification_key,
                                device_rotated_fn fn, void *arg)
{
    struct device_op *op = op_new(domain, device->id, arg);
    op->fn.rotated = fn;
    enum err e = check_rotation(device, jws, possession_key, user_verification_key);
    if (e != ERR_OK) {
        fail_later(op, e, on_rotate_failed);
        return op;
    }
    op->present = (Record__Device *)store_record_copy(&device->base);
    op->next = next_generation(device, jws, possession_key, user_verification_key);
    store_key_claim(domain->store, possession_key, op->id, false, on_first_claimed, op);
    return op;
}

/* ---- another name ---- */

static void on_renamed(enum err e, void *arg)
{
    struct device_op *op = arg;
    if (e == ERR_OK)
        emit(op, EVENT_PHONE_RENAMED, op->next);
    if (!op->silent)
        op->fn.rotated(e, e == ERR_OK ? op->next : NULL, op->arg);
    op_free(op);
}

static void on_rename_failed(void *arg)
{
    struct device_op *op = arg;
    on_renamed(op->error, op);
}

struct device_op *device_rename(struct domain *domain, const Record__Device *device, const char *name,
                                const char *by, device_rotated_fn fn, void *arg)
{
    struct device_op *op = op_new(domain, device->id, arg);
    Record__Device next = *device;
    op->fn.rotated = fn;
    snprintf(op->by, sizeof op->by, "%s", by);
    next.name = (char *)name;
    op->present = (Record__Device *)store_record_copy(&device->base);
    op->next = (Record__Device *)store_record_copy(&next.base);
    if (!name[0] || text_check(bytes_of(name), DEVICE_NAME_MAX_BYTES) != ERR_OK)
        fail_later(op, ERR_INVALID, on_rename_failed);
    else
        store_device_rotate(domain->store, op->present, op->next, on_renamed, op);
    return op;
}
