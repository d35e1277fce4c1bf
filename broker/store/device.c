#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/call.h"
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
    attached->locked_until_unix_ms = reply_int(reply, 5);
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
        pending = reply_ids(reply_at(reply, 4), &attached.pending_count);
        attached.pending = pending;
    }
    call->fn.device_attach(e, e == ERR_OK ? &attached : NULL, call->arg);
    free(pending);
    if (device)
        record__device__free_unpacked(device, NULL);
}

struct store_call *store_device_attach(struct store *store, const char *device_id, uint32_t generation,
                                       const uint8_t key_digest[DEVICE_KEY_DIGEST_BYTES],
                                       const struct presence *presence, store_device_attach_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_device_attach, device_id, on_attach, arg);
    char text[PRESENCE_SIZE];
    uint8_t head[DEVICE_HEAD_START_BYTES];
    call->fn.device_attach = fn;
    call_key(call, key_user(id_tag(device_id), "devices"));
    call_key(call, key_user(id_tag(device_id), "presence"));
    call_key(call, key_user(id_tag(device_id), "pending"));
    call_key(call, key_user(id_tag(device_id), "limits"));
    call_arg(call, bytes_of(device_id));
    record_device_head_start(generation, key_digest, head);
    call_arg(call, bytes_make(head, sizeof head));
    presence_print(presence, text);
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
        if (e == ERR_OK && memcmp(id_tag(id), call->subject, TAG_LEN) != 0) {
            record__device__free_unpacked(record, NULL); /* sealed, but for another user's place */
            e = ERR_BAD_SIGNATURE;
        }
        if (e == ERR_OK) {
            devices[opened].record = record;
            devices[opened++].presence = presence_parse(reply_bytes(found, 3 * i + 2));
        }
    }
    struct user_view view = {.devices = devices,
                             .device_count = opened,
                             .locked_until_unix_ms = reply_int(reply, 2),
                             .now_unix_ms = reply_int(reply, 3)};
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
    call_key(call, key_user(tag, "limits"));
    return call_send(call);
}

static void call_arg_verified(struct store_call *call, const Record__Device *verified)
{
    if (verified)
        call_arg_device_head(call, verified->generation,
                             bytes_make(verified->possession_key.data, verified->possession_key.len));
    else
        call_arg(call, bytes_of(""));
}

static void on_remove(struct store_call *call, enum err e, const redisReply *reply)
{
    struct device_removed removed = {0};
    Record__Device *device = NULL;
    if (e == ERR_OK && !reply_is(reply, "ok"))
        e = reply_is(reply, "denied") ? ERR_DENIED : ERR_MALFORMED;
    if (e == ERR_OK) {
        /* One whose seal is broken is removed all the same; there is nobody to tell its name to. */
        if (reply_bytes(reply, 1).len &&
            record_open_device(call->store->secret, call->subject, reply_bytes(reply, 1), &device) == ERR_OK)
            removed.device = device;
        removed.presence = presence_parse(reply_bytes(reply, 2));
        routes_parse(reply_at(reply, 3), NULL, &removed.others);
    }
    call->fn.device_remove(e, e == ERR_OK ? &removed : NULL, call->arg);
    routes_done(&removed.others);
    if (device)
        record__device__free_unpacked(device, NULL);
}

struct store_call *store_device_remove(struct store *store, const char *device_id,
                                       const Record__Device *verified, store_device_remove_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_device_remove, device_id, on_remove, arg);
    call->fn.device_remove = fn;
    call_key(call, key_user(id_tag(device_id), "devices"));
    call_key(call, key_user(id_tag(device_id), "presence"));
    call_arg(call, bytes_of(device_id));
    call_arg_verified(call, verified);
    return call_send(call);
}

static void on_rotate(struct store_call *call, enum err e, const redisReply *reply)
{
    if (e == ERR_OK && !reply_is(reply, "ok"))
        e = reply_is(reply, "denied") ? ERR_DENIED : ERR_MALFORMED;
    call->fn.done(e, call->arg);
}

struct store_call *store_device_rotate(struct store *store, const Record__Device *present,
                                       const Record__Device *next, store_done_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_device_rotate, present->id, on_rotate, arg);
    call->fn.done = fn;
    call_key(call, key_user(id_tag(present->id), "devices"));
    call_arg(call, bytes_of(present->id));
    call_arg_verified(call, present);
    call_arg_device(call, next);
    return call_send(call);
}

static void on_unlock(struct store_call *call, enum err e, const redisReply *reply)
{
    struct routes told = {0};
    if (e == ERR_OK && !reply_is(reply, "ok"))
        e = reply_is(reply, "denied")    ? ERR_DENIED
            : reply_is(reply, "no-user") ? ERR_NOT_FOUND
                                         : ERR_MALFORMED;
    if (e == ERR_OK)
        routes_parse(reply_at(reply, 1), NULL, &told);
    call->fn.told(e, &told, call->arg);
    routes_done(&told);
}

struct store_call *store_user_unlock(struct store *store, const char *tag, const Record__Device *verified,
                                     store_told_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_user_unlock, tag, on_unlock, arg);
    static const char *const parts[] = {"user", "devices", "presence", "limits"};
    call->fn.told = fn;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        call_key(call, key_user(tag, parts[i]));
    call_arg(call, bytes_of(verified ? verified->id : ""));
    call_arg_verified(call, verified);
    call_arg_unique(call);
    return call_send(call);
}
