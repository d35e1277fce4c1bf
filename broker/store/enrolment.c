#include <stdlib.h>

#include "base/mem.h"
#include "crypto/digest.h"
#include "store/call.h"
#include "store/record.h"

#define ENROLMENT_KEPT_MS 600000 /* readable after its time */

static const char *const state_names[] = {
    [ENROLMENT_NONE] = "",
    [ENROLMENT_WAITING] = "waiting",
    [ENROLMENT_TO_CONFIRM] = "to-confirm",
    [ENROLMENT_DONE] = "done",
    [ENROLMENT_EXPIRED] = "expired",
    [ENROLMENT_VOID] = "void",
    [ENROLMENT_CANCELLED] = "cancelled",
    [ENROLMENT_TO_APPROVE] = "to-approve",
};

bool enrolment_state_open(enum enrolment_state state)
{
    return state == ENROLMENT_WAITING || state == ENROLMENT_SCANNED || state == ENROLMENT_TO_CONFIRM ||
           state == ENROLMENT_TO_APPROVE;
}

static enum enrolment_state parse_state(struct bytes name)
{
    for (size_t i = ENROLMENT_WAITING; i < sizeof state_names / sizeof *state_names; i++)
        if (bytes_equal(name, bytes_of(state_names[i])))
            return (enum enrolment_state)i;
    return ENROLMENT_NONE;
}

static void on_create(struct store_call *call, enum err e, const redisReply *reply)
{
    if (e == ERR_OK && !reply_is(reply, "ok"))
        e = ERR_MALFORMED;
    call->fn.enrolment_create(e, e == ERR_OK ? reply_int(reply, 1) : 0, call->arg);
}

struct store_call *store_enrolment_create(struct store *store, const Record__Enrolment *record,
                                          unsigned life_ms, store_enrolment_create_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_enrolment_create, record->id, on_create, arg);
    struct key key = key_enrolment(record->id);
    call->fn.enrolment_create = fn;
    call_key(call, key_user(id_tag(record->id), "user"));
    call_key(call, key);
    call_key(call, key_user(id_tag(record->id), "enrolments"));
    call_arg_record(call, &key, "record", &record->base);
    call_arg_int(call, life_ms);
    call_arg_int(call, ENROLMENT_KEPT_MS);
    call_arg(call, bytes_of(record->organisation));
    call_arg(call, bytes_of(record->user));
    call_arg(call, bytes_of(record->id));
    return call_send(call);
}

/* Fill the view; what it owns is freed by view_done(). */
static enum err read_view(struct store_call *call, const redisReply *reply, struct enrolment_view *view,
                          ProtobufCMessage **record, ProtobufCMessage **enrolled)
{
    if (!reply_is(reply, "ok"))
        return reply_is(reply, "gone") ? ERR_NOT_FOUND : ERR_MALFORMED;
    struct key key = key_enrolment(call->subject);
    view->fence = reply_bytes(reply, 2);
    TRY(record_open(call->store->secret, &key, "record", view->fence, &record__enrolment__descriptor,
                    record));
    view->record = (Record__Enrolment *)*record;
    view->state = parse_state(reply_bytes(reply, 3));
    if (view->state == ENROLMENT_WAITING && reply_int(reply, 10))
        view->state = ENROLMENT_SCANNED;
    view->now_unix_ms = reply_int(reply, 1);
    view->revision = (uint64_t)reply_int(reply, 4);
    view->create_unix_ms = reply_int(reply, 5);
    view->expire_unix_ms = reply_int(reply, 6);
    if (view->state == ENROLMENT_DONE || view->state == ENROLMENT_TO_CONFIRM ||
        view->state == ENROLMENT_TO_APPROVE) {
        TRY(record_open(call->store->secret, &key, "enrolled", reply_bytes(reply, 7),
                        &record__enrolled__descriptor, enrolled));
        view->enrolled = (Record__Enrolled *)*enrolled;
        if (!view->enrolled->device)
            return ERR_MALFORMED;
    }
    view->just_expired = reply_int(reply, 8) == 1;
    if (view->just_expired)
        routes_parse(NULL, reply_at(reply, 9), &view->told);
    return view->state == ENROLMENT_NONE ? ERR_MALFORMED : ERR_OK;
}

static void on_get(struct store_call *call, enum err e, const redisReply *reply)
{
    struct enrolment_view view = {0};
    ProtobufCMessage *record = NULL, *enrolled = NULL;
    if (e == ERR_OK)
        e = read_view(call, reply, &view, &record, &enrolled);
    call->fn.enrolment(e, e == ERR_OK ? &view : NULL, call->arg);
    routes_done(&view.told);
    if (record)
        protobuf_c_message_free_unpacked(record, NULL);
    if (enrolled)
        protobuf_c_message_free_unpacked(enrolled, NULL);
}

struct store_call *store_enrolment_get(struct store *store, const char *id, bool wait, store_enrolment_fn fn,
                                       void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_enrolment_get, id, on_get, arg);
    call->fn.enrolment = fn;
    call_key(call, key_enrolment(id));
    call_arg(call, bytes_of(wait ? store_inbox(store) : ""));
    return call_send(call);
}

/* The device that two scanners made void, as the one route of @p told. */
static void read_voided(const redisReply *reply, struct routes *told)
{
    struct route *voided = mem_new(sizeof *voided);
    routes_parse(NULL, reply_at(reply, 1), told);
    if (!copy_text(reply_bytes(reply, 2), voided->device_id, ID_SIZE) || !voided->device_id[0]) {
        free(voided);
        return;
    }
    voided->presence = presence_parse(reply_bytes(reply, 3));
    free((void *)told->devices);
    told->devices = voided;
    told->device_count = 1;
}

static void on_step(struct store_call *call, enum err e, const redisReply *reply)
{
    static const struct {
        const char *word;
        enum err e;
    } refusals[] = {{"gone", ERR_NOT_FOUND}, {"expired", ERR_EXPIRED}, {"has-device", ERR_EXISTS},
                    {"too-many", ERR_LIMIT}, {"void", ERR_BAD_STATE},  {"other", ERR_BAD_STATE}};
    struct enrolment_step step = {0};
    if (e == ERR_OK && reply_is(reply, "ok")) {
        step.state = parse_state(reply_bytes(reply, 1));
        step.moved = reply_int(reply, 4) == 1;
        routes_parse(reply_at(reply, 3), reply_at(reply, 2), &step.told);
    } else if (e == ERR_OK) {
        e = ERR_MALFORMED;
        for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
            if (reply_is(reply, refusals[i].word))
                e = refusals[i].e;
        if (reply_is(reply, "void")) {
            step.moved = reply_int(reply, 4) == 1;
            read_voided(reply, &step.told);
        }
    }
    call->fn.enrolment_step(e, e == ERR_OK || e == ERR_BAD_STATE ? &step : NULL, call->arg);
    routes_done(&step.told);
}

/* What tells one scanner from another: both keys. */
static void call_arg_keys(struct store_call *call, const Record__Device *device)
{
    struct buf keys = {0};
    if (buf_append(&keys, bytes_make(device->possession_key.data, device->possession_key.len)) != ERR_OK ||
        buf_append(&keys, bytes_make(device->user_verification_key.data,
                                     device->user_verification_key.len)) != ERR_OK)
        call->failed = true;
    call_arg(call, buf_view(&keys));
    buf_done(&keys);
}

static struct store_call *step_new(struct store *store, enum script_id script, const char *id,
                                   store_enrolment_step_fn fn, void *arg)
{
    struct store_call *call = call_new(store, script, id, on_step, arg);
    call->fn.enrolment_step = fn;
    call_key(call, key_enrolment(id));
    call_key(call, key_user(id_tag(id), "devices"));
    call_key(call, key_user(id_tag(id), "user"));
    call_key(call, key_user(id_tag(id), "presence"));
    return call;
}

struct store_call *store_enrolment_use(struct store *store, const struct enrolment_use *use,
                                       store_enrolment_step_fn fn, void *arg)
{
    struct store_call *call = step_new(store, SCRIPT_enrolment_use, use->id, fn, arg);
    const Record__Device *device = use->enrolled->device;
    struct key key = key_enrolment(use->id);
    call_arg(call, use->fence);
    call_arg(call, bytes_of(device->id));
    call_arg_device(call, device);
    call_arg_record(call, &key, "enrolled", &use->enrolled->base);
    call_arg_keys(call, device);
    call_arg_int(call, use->may_add);
    call_arg_int(call, use->devices_max);
    call_arg_int(call, use->confirm);
    call_arg_int(call, use->capabilities);
    return call_send(call);
}

struct store_call *store_enrolment_advance(struct store *store, const struct enrolment_advance *advance,
                                           store_enrolment_step_fn fn, void *arg)
{
    struct store_call *call = step_new(store, SCRIPT_enrolment_advance, advance->id, fn, arg);
    call_arg(call, advance->fence);
    call_arg(call, bytes_of(state_names[advance->from]));
    call_arg_int(call, advance->good);
    call_arg_int(call, advance->may_add);
    call_arg_int(call, advance->devices_max);
    call_arg(call, bytes_of(advance->device->id));
    call_arg_device(call, advance->device);
    return call_send(call);
}

static void on_claim(struct store_call *call, enum err e, const redisReply *reply)
{
    if (e == ERR_OK && !(reply->type == REDIS_REPLY_INTEGER && reply->integer == 1))
        e = ERR_EXISTS;
    if (call->fn.done)
        call->fn.done(e, call->arg);
}

struct store_call *store_key_claim(struct store *store, struct bytes public_key, const char *device_id,
                                   bool keep, store_done_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_key_claim, device_id, on_claim, arg);
    uint8_t digest[SHA256_BYTES] = {0};
    char hash[HEX_SIZE(SHA256_BYTES)];
    call->fn.done = fn;
    if (sha256(public_key, digest) != ERR_OK)
        call->failed = true;
    hex_encode(bytes_make(digest, sizeof digest), hash);
    call_key(call, key_public(hash));
    call_arg(call, bytes_of(device_id));
    call_arg_int(call, keep);
    return call_send(call);
}

static void on_told(struct store_call *call, enum err e, const redisReply *reply)
{
    struct routes told = {0};
    if (e == ERR_OK && !reply_is(reply, "ok"))
        e = reply_is(reply, "gone")      ? ERR_NOT_FOUND
            : reply_is(reply, "expired") ? ERR_EXPIRED
                                         : ERR_MALFORMED;
    if (e == ERR_OK)
        routes_parse(NULL, reply_at(reply, 1), &told);
    call->fn.told(e, &told, call->arg);
    routes_done(&told);
}

struct store_call *store_enrolment_cancel(struct store *store, const char *id, struct bytes fence,
                                          store_told_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_enrolment_cancel, id, on_told, arg);
    call->fn.told = fn;
    call_key(call, key_enrolment(id));
    call_arg(call, fence);
    return call_send(call);
}

struct store_call *store_enrolment_scan(struct store *store, const char *id, struct bytes fence,
                                        store_told_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_enrolment_scan, id, on_told, arg);
    call->fn.told = fn;
    call_key(call, key_enrolment(id));
    call_arg(call, fence);
    return call_send(call);
}
