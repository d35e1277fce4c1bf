#include <stdlib.h>

#include "base/mem.h"
#include "store/call.h"
#include "store/inbox.h"
#include "store/record.h"

static enum err read_attached(struct store_call *call, const redisReply *reply,
                              struct device_attached *attached, Record__Device **device)
{
    if (!reply_is(reply, "ok"))
        return reply_is(reply, "denied") ? ERR_DENIED : ERR_MALFORMED;
    TRY(record_open_device(call->store->secret, call->subject, reply_bytes(reply, 2), device));
    attached->device = *device;
    attached->now_unix_ms = reply_int(reply, 1);
    attached->taken = presence_parse(reply_bytes(reply, 3));
    return ERR_OK;
}

static void on_attach(struct store_call *call, enum err e, const redisReply *reply)
{
    struct device_attached attached = {0};
    Record__Device *device = NULL;
    char(*pending)[ID_SIZE] = NULL;
    if (e == ERR_OK)
        e = read_attached(call, reply, &attached, &device);
    if (e == ERR_OK) {
        const redisReply *ids = reply_at(reply, 4);
        size_t count = ids && ids->type == REDIS_REPLY_ARRAY ? ids->elements : 0;
        pending = mem_new((count + 1) * sizeof *pending);
        for (size_t i = 0; i < count; i++)
            if (id_valid(reply_bytes(ids, i)) &&
                copy_text(reply_bytes(ids, i), pending[attached.pending_count], ID_SIZE))
                attached.pending_count++;
        attached.pending = pending;
    }
    call->fn.device_attach(e, e == ERR_OK ? &attached : NULL, call->arg);
    free(pending);
    if (device)
        record__device__free_unpacked(device, NULL);
}

struct store_call *store_device_attach(struct store *store, const char *device_id, uint32_t generation,
                                       struct bytes possession_key, uint64_t connection,
                                       store_device_attach_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_device_attach, device_id, on_attach, arg);
    struct presence presence = inbox_presence(store, connection);
    char text[PRESENCE_SIZE];
    call->fn.device_attach = fn;
    call_key(call, key_user(id_tag(device_id), "devices"));
    call_key(call, key_user(id_tag(device_id), "presence"));
    call_key(call, key_user(id_tag(device_id), "pending"));
    call_arg(call, bytes_of(device_id));
    call_arg_device_head(call, generation, possession_key);
    presence_print(&presence, text);
    call_arg(call, bytes_of(text));
    return call_send(call);
}

static void on_detach(struct store_call *call, enum err e, const redisReply *reply)
{
    (void)reply;
    if (call->fn.done)
        call->fn.done(e, call->arg);
}

struct store_call *store_device_detach(struct store *store, const char *device_id,
                                       const struct presence *presence, store_done_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_device_detach, device_id, on_detach, arg);
    char text[PRESENCE_SIZE];
    call->fn.done = fn;
    call_key(call, key_user(id_tag(device_id), "presence"));
    call_arg(call, bytes_of(device_id));
    presence_print(presence, text);
    call_arg(call, bytes_of(text));
    return call_send(call);
}

static void on_user(struct store_call *call, enum err e, const redisReply *reply)
{
    const redisReply *found = reply_at(reply, 1);
    size_t count = e == ERR_OK && found && found->type == REDIS_REPLY_ARRAY ? found->elements / 3 : 0;
    struct user_device *devices = mem_new((count + 1) * sizeof *devices);
    size_t opened = 0;
    if (e == ERR_OK && reply_int(reply, 0) == 0)
        e = ERR_NOT_FOUND;
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        char id[ID_SIZE];
        Record__Device *record = NULL;
        e = id_valid(reply_bytes(found, 3 * i)) && copy_text(reply_bytes(found, 3 * i), id, ID_SIZE)
                ? record_open_device(call->store->secret, id, reply_bytes(found, 3 * i + 1), &record)
                : ERR_MALFORMED;
        if (e == ERR_OK) {
            devices[opened].record = record;
            devices[opened++].presence = presence_parse(reply_bytes(found, 3 * i + 2));
        }
    }
    struct user_view view = {.devices = devices, .device_count = opened};
    call->fn.user(e, e == ERR_OK ? &view : NULL, call->arg);
    for (size_t i = 0; i < opened; i++)
        record__device__free_unpacked((Record__Device *)devices[i].record, NULL);
    free(devices);
}

struct store_call *store_user_get(struct store *store, const char *tag, store_user_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_device_get, tag, on_user, arg);
    call->fn.user = fn;
    call_key(call, key_user(tag, "user"));
    call_key(call, key_user(tag, "devices"));
    call_key(call, key_user(tag, "presence"));
    return call_send(call);
}
