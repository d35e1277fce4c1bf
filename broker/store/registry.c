#include <stdlib.h>

#include "core/metrics.h"
#include "crypto/digest.h"
#include "store/call.h"
#include "store/record.h"

static void on_put(struct store_call *call, enum err e, const redisReply *reply)
{
    if (e == ERR_OK && !(reply->type == REDIS_REPLY_INTEGER && reply->integer == 1))
        e = ERR_EXISTS;
    call->fn.done(e, call->arg);
}

static struct store_call *put(struct store *store, struct key key, const ProtobufCMessage *record,
                              store_done_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_registry_put, "", on_put, arg);
    call->fn.done = fn;
    call_key(call, key);
    call_arg_record(call, &key, "", record);
    return call_send(call);
}

struct store_call *store_organisation_put(struct store *store, const Record__Organisation *organisation,
                                          store_done_fn fn, void *arg)
{
    return put(store, key_organisation(organisation->id), &organisation->base, fn, arg);
}

struct store_call *store_portal_put(struct store *store, const Record__Portal *portal, store_done_fn fn,
                                    void *arg)
{
    return put(store, key_portal(portal->id), &portal->base, fn, arg);
}

/* The record of a reply, or NULL and *e says why. */
static ProtobufCMessage *open_reply(struct store_call *call, struct key key, const redisReply *reply,
                                    const ProtobufCMessageDescriptor *type, enum err *e)
{
    ProtobufCMessage *record = NULL;
    const redisReply *value = *e == ERR_OK ? reply_at(reply, 0) : NULL;
    if (*e == ERR_OK && !value)
        *e = ERR_MALFORMED;
    if (*e == ERR_OK && value->type == REDIS_REPLY_NIL)
        *e = ERR_NOT_FOUND;
    if (*e == ERR_OK)
        *e = record_open(call->store->secret, &key, "", reply_bytes(reply, 0), type, &record);
    return record;
}

static void on_organisation(struct store_call *call, enum err e, const redisReply *reply)
{
    ProtobufCMessage *record =
        open_reply(call, key_organisation(call->subject), reply, &record__organisation__descriptor, &e);
    call->fn.organisation(e, (Record__Organisation *)record,
                          e == ERR_OK ? reply_bytes(reply, 0) : (struct bytes){0}, call->arg);
    if (record)
        protobuf_c_message_free_unpacked(record, NULL);
}

static void on_portal(struct store_call *call, enum err e, const redisReply *reply)
{
    ProtobufCMessage *record =
        open_reply(call, key_portal(call->subject), reply, &record__portal__descriptor, &e);
    struct portal_view view = {.record = (Record__Portal *)record};
    if (e == ERR_OK) {
        view.fence = reply_bytes(reply, 0);
        view.now_unix_ms = reply_int(reply, 1);
    }
    call->fn.portal(e, e == ERR_OK ? &view : NULL, call->arg);
    if (record)
        protobuf_c_message_free_unpacked(record, NULL);
}

struct store_call *store_organisation_get(struct store *store, const char *id, store_organisation_fn fn,
                                          void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_registry_get, id, on_organisation, arg);
    call->fn.organisation = fn;
    call_key(call, key_organisation(id));
    return call_send(call);
}

struct store_call *store_portal_get(struct store *store, const char *id, store_portal_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_registry_get, id, on_portal, arg);
    call->fn.portal = fn;
    call_key(call, key_portal(id));
    return call_send(call);
}

static void on_replaced(struct store_call *call, enum err e, const redisReply *reply)
{
    if (e == ERR_OK && !(reply->type == REDIS_REPLY_INTEGER && reply->integer == 1))
        e = ERR_BAD_STATE;
    call->fn.done(e, call->arg);
}

static struct store_call *replace(struct store *store, struct key key, struct bytes fence,
                                  const ProtobufCMessage *record, store_done_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_registry_replace, "", on_replaced, arg);
    call->fn.done = fn;
    call_key(call, key);
    call_arg(call, fence);
    call_arg_record(call, &key, "", record);
    return call_send(call);
}

struct store_call *store_organisation_replace(struct store *store, struct bytes fence,
                                              const Record__Organisation *organisation, store_done_fn fn,
                                              void *arg)
{
    return replace(store, key_organisation(organisation->id), fence, &organisation->base, fn, arg);
}

struct store_call *store_portal_replace(struct store *store, struct bytes fence, const Record__Portal *portal,
                                        store_done_fn fn, void *arg)
{
    return replace(store, key_portal(portal->id), fence, &portal->base, fn, arg);
}

/* ---- how much a portal may call ---- */

static void on_lease(struct store_call *call, enum err e, const redisReply *reply)
{
    int64_t granted = e == ERR_OK ? reply_int(reply, 0) : 0, retry_ms = e == ERR_OK ? reply_int(reply, 1) : 0;
    if (e == ERR_OK && (granted < 0 || granted > UINT32_MAX || retry_ms < 0 || retry_ms > UINT32_MAX))
        e = ERR_MALFORMED;
    call->fn.lease(e, (unsigned)granted, (unsigned)retry_ms, call->arg);
}

struct store_call *store_portal_lease(struct store *store, const char *portal, unsigned per_s, unsigned most,
                                      unsigned wanted, store_lease_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_portal_lease, "", on_lease, arg);
    call->fn.lease = fn;
    call_key(call, key_permits(portal));
    call_arg_int(call, per_s);
    call_arg_int(call, most);
    call_arg_int(call, wanted);
    return call_send(call);
}

/* ---- whose a certificate is ---- */

static struct key certificate_key(const uint8_t fingerprint[SHA256_BYTES])
{
    char hex[HEX_SIZE(SHA256_BYTES)];
    hex_encode(bytes_make(fingerprint, SHA256_BYTES), hex);
    return key_certificate(hex);
}

struct store_call *store_certificate_pin(struct store *store, const uint8_t fingerprint[SHA256_BYTES],
                                         const char *portal, bool pinned, store_done_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_registry_pin, "", on_put, arg);
    call->fn.done = fn;
    call_key(call, certificate_key(fingerprint));
    call_arg(call, bytes_of(portal));
    call_arg_int(call, pinned);
    return call_send(call);
}

static void on_holder(struct store_call *call, enum err e, const redisReply *reply)
{
    char portal[NAME_MAX_LEN + 1];
    const redisReply *value = e == ERR_OK ? reply_at(reply, 0) : NULL;
    if (e == ERR_OK && (!value || value->type == REDIS_REPLY_NIL))
        e = ERR_NOT_FOUND;
    if (e == ERR_OK && !copy_text(reply_bytes(reply, 0), portal, sizeof portal))
        e = ERR_MALFORMED;
    call->fn.holder(e, e == ERR_OK ? portal : NULL, call->arg);
}

struct store_call *store_certificate_get(struct store *store, const uint8_t fingerprint[SHA256_BYTES],
                                         store_holder_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_registry_get, "", on_holder, arg);
    call->fn.holder = fn;
    call_key(call, certificate_key(fingerprint));
    return call_send(call);
}

/* ---- which there are ---- */

static const char *const index_names[] = {
    [INDEX_ORGANISATIONS] = "organisations",
    [INDEX_PORTALS] = "portals",
};

static void on_index_set(struct store_call *call, enum err e, const redisReply *reply)
{
    (void)reply;
    call->fn.done(e, call->arg);
}

struct store_call *store_index_set(struct store *store, enum registry_index index, const char *id, bool there,
                                   store_done_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_registry_index, "", on_index_set, arg);
    call->fn.done = fn;
    call_key(call, key_index(index_names[index]));
    call_arg(call, bytes_of(id));
    call_arg_int(call, there);
    return call_send(call);
}

static void on_index_list(struct store_call *call, enum err e, const redisReply *reply)
{
    static char names[INDEX_PAGE_MAX][NAME_MAX_LEN + 1];
    struct name_list list = {.at = names};
    if (e == ERR_OK && reply->type != REDIS_REPLY_ARRAY)
        e = ERR_MALFORMED;
    for (size_t i = 0; e == ERR_OK && i < reply->elements && list.count < INDEX_PAGE_MAX; i++)
        if (copy_text(reply_bytes(reply, i), names[list.count], sizeof names[0]))
            list.count++;
    call->fn.names(e, e == ERR_OK ? &list : NULL, call->arg);
}

struct store_call *store_index_list(struct store *store, enum registry_index index, const char *after,
                                    size_t count, store_names_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_registry_list, "", on_index_list, arg);
    call->fn.names = fn;
    call_key(call, key_index(index_names[index]));
    call_arg(call, bytes_of(after));
    call_arg_int(call, (int64_t)(count < INDEX_PAGE_MAX ? count : INDEX_PAGE_MAX));
    return call_send(call);
}
