#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/call.h"
#include "store/record.h"

#define FIELD "event"

static void on_added(struct store_call *call, enum err e, const redisReply *reply)
{
    struct routes told = {0};
    if (e == ERR_OK)
        routes_parse(NULL, reply_at(reply, 0), &told);
    call->fn.told(e, &told, call->arg);
    routes_done(&told);
}

struct store_call *store_event_add(struct store *store, const char *organisation, const char *uid,
                                   const ProtobufCMessage *event, store_told_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_event_add, organisation, on_added, arg);
    struct key key = key_events(organisation);
    call->fn.told = fn;
    call_key(call, key);
    call_key(call, key_events_state(organisation));
    call_key(call, key_event(organisation, uid));
    call_arg_record(call, &key, FIELD, event);
    call_arg_int(call, EVENTS_KEPT);
    call_arg_int(call, EVENTS_KEPT_MS);
    return call_send(call);
}

/* @return false for what is no id. */
static bool parse_id(struct bytes text, struct stored_event *ret)
{
    unsigned long long ms = 0, number = 0;
    if (!copy_text(text, ret->id, sizeof ret->id) || sscanf(ret->id, "%18llu-%18llu", &ms, &number) != 2)
        return false;
    ret->unix_ms = (int64_t)ms;
    ret->number = number;
    return true;
}

static void on_read(struct store_call *call, enum err e, const redisReply *reply)
{
    const redisReply *found = reply_at(reply, 1);
    size_t count = found && found->type == REDIS_REPLY_ARRAY ? found->elements / 2 : 0;
    struct stored_event *events = mem_new((count + 1) * sizeof *events);
    struct events_view view = {.events = events};
    struct key key = key_events(call->subject);
    if (e == ERR_OK && reply_bytes(reply, 0).len && !parse_id(reply_bytes(reply, 0), &view.newest))
        e = ERR_MALFORMED;
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        ProtobufCMessage *message = NULL;
        if (!parse_id(reply_bytes(found, 2 * i), &events[view.count]))
            continue;
        enum err opened = record_open(call->store->secret, &key, FIELD, reply_bytes(found, 2 * i + 1),
                                      call->type, &message);
        events[view.count++].message = opened == ERR_OK ? message : NULL;
    }
    call->fn.events(e, e == ERR_OK ? &view : NULL, call->arg);
    for (size_t i = 0; i < view.count; i++)
        if (events[i].message)
            protobuf_c_message_free_unpacked((ProtobufCMessage *)events[i].message, NULL);
    free(events);
}

struct store_call *store_events_read(struct store *store, const char *organisation, const char *after,
                                     const ProtobufCMessageDescriptor *type, store_events_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_event_read, organisation, on_read, arg);
    call->fn.events = fn;
    call->type = type;
    call_key(call, key_events(organisation));
    call_key(call, key_events_state(organisation));
    call_arg(call, bytes_of(after));
    call_arg_int(call, EVENTS_READ_COUNT);
    call_arg(call, bytes_of(store_inbox(store)));
    return call_send(call);
}
