#include <stdlib.h>

#include "base/mem.h"
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
};

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
        e = reply_is(reply, "has-device") ? ERR_EXISTS : ERR_MALFORMED;
    call->fn.enrolment_create(e, e == ERR_OK ? reply_int(reply, 1) : 0, call->arg);
}

struct store_call *store_enrolment_create(struct store *store, const Record__Enrolment *record,
                                          unsigned life_ms, store_enrolment_create_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_enrolment_create, record->id, on_create, arg);
    struct key key = key_enrolment(record->id);
    call->fn.enrolment_create = fn;
    call_key(call, key_user(id_tag(record->id), "user"));
    call_key(call, key_user(id_tag(record->id), "devices"));
    call_key(call, key);
    call_arg_record(call, &key, "record", &record->base);
    call_arg_int(call, life_ms);
    call_arg_int(call, ENROLMENT_KEPT_MS);
    call_arg_int(call, record->may_add);
    call_arg(call, bytes_of(record->organisation));
    call_arg(call, bytes_of(record->user));
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
    view->now_unix_ms = reply_int(reply, 1);
    view->revision = (uint64_t)reply_int(reply, 4);
    view->create_unix_ms = reply_int(reply, 5);
    view->expire_unix_ms = reply_int(reply, 6);
    if (view->state == ENROLMENT_DONE) {
        TRY(record_open(call->store->secret, &key, "enrolled", reply_bytes(reply, 7),
                        &record__enrolled__descriptor, enrolled));
        view->enrolled = (Record__Enrolled *)*enrolled;
        if (!view->enrolled->device)
            return ERR_MALFORMED;
    }
    if (reply_int(reply, 8))
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

static void on_use(struct store_call *call, enum err e, const redisReply *reply)
{
    static const struct {
        const char *word;
        enum err e;
    } refusals[] = {{"gone", ERR_NOT_FOUND},
                    {"expired", ERR_EXPIRED},
                    {"has-device", ERR_EXISTS},
                    {"too-many", ERR_LIMIT},
                    {"void", ERR_BAD_STATE}};
    struct enrolment_used used = {0};
    if (e == ERR_OK && reply_is(reply, "ok")) {
        used.replay = reply_int(reply, 1) == 1;
        routes_parse(NULL, reply_at(reply, 2), &used.told);
    } else if (e == ERR_OK) {
        e = ERR_MALFORMED;
        for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
            if (reply_is(reply, refusals[i].word))
                e = refusals[i].e;
    }
    struct route voided = {0};
    if (e == ERR_BAD_STATE) {
        routes_parse(NULL, reply_at(reply, 2), &used.told);
        if (copy_text(reply_bytes(reply, 3), voided.device_id, ID_SIZE) && voided.device_id[0]) {
            voided.presence = presence_parse(reply_bytes(reply, 4));
            free((void *)used.told.devices);
            used.told.devices = mem_new(sizeof voided);
            *(struct route *)used.told.devices = voided;
            used.told.device_count = 1;
        }
    }
    call->fn.enrolment_use(e, e == ERR_OK || e == ERR_BAD_STATE ? &used : NULL, call->arg);
    routes_done(&used.told);
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

struct store_call *store_enrolment_use(struct store *store, const char *id, struct bytes fence,
                                       const Record__Enrolled *enrolled, bool may_add, unsigned devices_max,
                                       store_enrolment_use_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_enrolment_use, id, on_use, arg);
    const Record__Device *device = enrolled->device;
    struct key key = key_enrolment(id);
    call->fn.enrolment_use = fn;
    call_key(call, key);
    call_key(call, key_user(id_tag(id), "devices"));
    call_key(call, key_user(id_tag(id), "user"));
    call_key(call, key_user(id_tag(id), "presence"));
    call_arg(call, fence);
    call_arg(call, bytes_of(device->id));
    call_arg_device(call, device);
    call_arg_record(call, &key, "enrolled", &enrolled->base);
    call_arg_keys(call, device);
    call_arg_int(call, may_add);
    call_arg_int(call, devices_max);
    return call_send(call);
}

static void on_cancel(struct store_call *call, enum err e, const redisReply *reply)
{
    struct routes told = {0};
    if (e == ERR_OK && !reply_is(reply, "ok"))
        e = reply_is(reply, "gone") ? ERR_NOT_FOUND : ERR_MALFORMED;
    if (e == ERR_OK)
        routes_parse(NULL, reply_at(reply, 1), &told);
    call->fn.told(e, &told, call->arg);
    routes_done(&told);
}

struct store_call *store_enrolment_cancel(struct store *store, const char *id, struct bytes fence,
                                          store_told_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_enrolment_cancel, id, on_cancel, arg);
    call->fn.told = fn;
    call_key(call, key_enrolment(id));
    call_arg(call, fence);
    return call_send(call);
}
