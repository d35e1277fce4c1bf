#include <stdlib.h>

#include "core/metrics.h"
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
    if (*e == ERR_OK && reply->type == REDIS_REPLY_NIL)
        *e = ERR_NOT_FOUND;
    if (*e == ERR_OK)
        *e = reply->type == REDIS_REPLY_STRING
                 ? record_open(call->store->secret, &key, "", bytes_make(reply->str, (size_t)reply->len),
                               type, &record)
                 : ERR_MALFORMED;
    return record;
}

static void on_organisation(struct store_call *call, enum err e, const redisReply *reply)
{
    ProtobufCMessage *record =
        open_reply(call, key_organisation(call->subject), reply, &record__organisation__descriptor, &e);
    call->fn.organisation(e, (Record__Organisation *)record, call->arg);
    if (record)
        protobuf_c_message_free_unpacked(record, NULL);
}

static void on_portal(struct store_call *call, enum err e, const redisReply *reply)
{
    ProtobufCMessage *record =
        open_reply(call, key_portal(call->subject), reply, &record__portal__descriptor, &e);
    call->fn.portal(e, (Record__Portal *)record, call->arg);
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
