#include "store/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "store/record.h"

void call_free(struct store_call *call)
{
    list_remove(&call->node);
    deferral_cancel(&call->refused);
    buf_done(&call->args);
    free(call);
}

static void on_refused(void *arg)
{
    struct store_call *call = arg;
    call->on_reply(call, call->failed ? ERR_NOMEM : ERR_UNAVAILABLE, NULL);
    call_free(call);
}

struct store_call *call_new(struct store *store, enum script_id script, const char *subject,
                            call_reply_fn on_reply, void *arg)
{
    struct store_call *call = mem_new(sizeof *call);
    list_append(&store->calls, &call->node);
    call->store = store;
    call->begin_mono_us = clock_mono_us();
    call->script = script < SCRIPT_COUNT ? &scripts[script] : NULL;
    call->on_reply = on_reply;
    call->arg = arg;
    snprintf(call->subject, sizeof call->subject, "%s", subject);
    deferral_init(&call->refused, on_refused, call);
    return call;
}

void call_key(struct store_call *call, struct key key)
{
    call->keys[call->key_count++] = key;
}

void call_arg(struct store_call *call, struct bytes arg)
{
    if (buf_append(&call->args, arg) != ERR_OK)
        call->failed = true;
    call->arg_len[call->arg_count++] = arg.len;
}

void call_arg_int(struct store_call *call, int64_t value)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%lld", (long long)value);
    call_arg(call, bytes_make(text, (size_t)len));
}

void call_arg_record(struct store_call *call, const struct key *key, const char *field,
                     const ProtobufCMessage *message)
{
    size_t before = buf_len(&call->args);
    if (record_seal(call->store->secret, key, field, message, &call->args) != ERR_OK)
        call->failed = true;
    call->arg_len[call->arg_count++] = buf_len(&call->args) - before;
}

void call_arg_unique(struct store_call *call)
{
    uint8_t bits[16] = {0};
    char hex[HEX_SIZE(sizeof bits)];
    if (random_bytes(bits, sizeof bits) != ERR_OK)
        call->failed = true;
    hex_encode(bytes_make(bits, sizeof bits), hex);
    call_arg(call, bytes_of(hex));
}

void call_arg_device(struct store_call *call, const Record__Device *device)
{
    size_t before = buf_len(&call->args);
    if (record_seal_device(call->store->secret, device, &call->args) != ERR_OK)
        call->failed = true;
    call->arg_len[call->arg_count++] = buf_len(&call->args) - before;
}

void call_arg_device_head(struct store_call *call, uint32_t generation, struct bytes possession_key)
{
    uint8_t head[DEVICE_HEAD_BYTES] = {0};
    if (record_device_head(generation, possession_key, head) != ERR_OK)
        call->failed = true;
    call_arg(call, bytes_make(head, sizeof head));
}

struct bytes call_arg_at(const struct store_call *call, size_t i)
{
    size_t at = 0;
    for (size_t k = 0; k < i; k++)
        at += call->arg_len[k];
    return bytes_make(buf_view(&call->args).p + at, call->arg_len[i]);
}

static void on_command_reply(enum err e, const redisReply *reply, void *arg);

void call_send_command(struct store_call *call, size_t argc, const struct bytes *argv, redis_reply_fn fn)
{
    call->request = call->failed ? NULL
                                 : redis_send(call->store->redis, &call->keys[0],
                                              call->script && call->script->durable, argc, argv, fn, call);
    if (!call->request)
        loop_defer(call->store->loop, &call->refused);
}

/* By hash, or with the whole text where Redis does not have it (restarted, SCRIPT FLUSH). */
static void send_script(struct store_call *call, bool with_text)
{
    struct bytes argv[3 + CALL_KEYS_MAX + CALL_ARGS_MAX];
    char count[8];
    size_t argc = 0, at = 0;
    snprintf(count, sizeof count, "%zu", call->key_count);
    argv[argc++] = bytes_of(with_text ? "EVAL" : "EVALSHA");
    argv[argc++] = bytes_of(with_text ? call->script->text : call->script->sha1);
    argv[argc++] = bytes_of(count);
    for (size_t i = 0; i < call->key_count; i++)
        argv[argc++] = bytes_of(call->keys[i].text);
    for (size_t i = 0; i < call->arg_count; at += call->arg_len[i++])
        argv[argc++] = bytes_make(buf_view(&call->args).p + at, call->arg_len[i]);
    call_send_command(call, argc, argv, on_command_reply);
}

static void on_command_reply(enum err e, const redisReply *reply, void *arg)
{
    struct store_call *call = arg;
    call->request = NULL;
    if (e == ERR_OK && reply->type == REDIS_REPLY_ERROR) {
        if (strncmp(reply->str, "NOSCRIPT", 8) == 0) {
            send_script(call, true);
            return;
        }
        LOG(ERROR, STORE, "script-failed", "script=%s error=%s", call->script->name, LOG_STR(reply->str));
        e = ERR_UNAVAILABLE;
    }
    if (e == ERR_OK)
        HISTOGRAM_ADD(REDIS, clock_mono_us() - call->begin_mono_us);
    call->on_reply(call, e, e == ERR_OK ? reply : NULL);
    call_free(call);
}

struct store_call *call_send(struct store_call *call)
{
    send_script(call, false);
    return call;
}

void call_fail(struct store_call *call)
{
    if (call->request)
        redis_cancel(call->request);
    call->request = NULL;
    call->on_reply(call, ERR_UNAVAILABLE, NULL);
    call_free(call);
}

void store_cancel(struct store_call *call)
{
    if (!call)
        return;
    if (call->request)
        redis_cancel(call->request);
    call_free(call);
}

const redisReply *reply_at(const redisReply *reply, size_t i)
{
    return reply && reply->type == REDIS_REPLY_ARRAY && i < reply->elements ? reply->element[i] : NULL;
}

struct bytes reply_bytes(const redisReply *reply, size_t i)
{
    const redisReply *at = reply_at(reply, i);
    if (!at || (at->type != REDIS_REPLY_STRING && at->type != REDIS_REPLY_STATUS))
        return bytes_make(NULL, 0);
    return bytes_make(at->str, (size_t)at->len);
}

int64_t reply_int(const redisReply *reply, size_t i)
{
    const redisReply *at = reply_at(reply, i);
    if (at && at->type == REDIS_REPLY_INTEGER)
        return at->integer;
    struct bytes text = reply_bytes(reply, i);
    int64_t value = 0;
    for (size_t k = 0; k < text.len && k < 18; k++) {
        if (text.p[k] < '0' || text.p[k] > '9')
            return 0;
        value = value * 10 + (text.p[k] - '0');
    }
    return value;
}

bool reply_is(const redisReply *reply, const char *word)
{
    return bytes_equal(reply_bytes(reply, 0), bytes_of(word));
}

bool copy_text(struct bytes in, char *out, size_t cap)
{
    bool fits = in.len < cap && (in.len == 0 || !memchr(in.p, 0, in.len));
    if (fits && in.len)
        memcpy(out, in.p, in.len);
    out[fits ? in.len : 0] = '\0';
    return fits;
}

char (*reply_ids(const redisReply *reply, size_t *count))[ID_SIZE]
{
    size_t max = reply && reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
    char(*ids)[ID_SIZE] = mem_new((max + 1) * sizeof *ids);
    *count = 0;
    for (size_t i = 0; i < max; i++)
        if (id_valid(reply_bytes(reply, i)) && copy_text(reply_bytes(reply, i), ids[*count], ID_SIZE))
            (*count)++;
    return ids;
}

/* Exactly what presence_print() writes: text that differs from ours must not pass for ours. */
struct presence presence_parse(struct bytes text)
{
    struct presence presence = {0};
    char line[PRESENCE_SIZE], again[PRESENCE_SIZE];
    unsigned long long connection = 0;
    char *mark = copy_text(text, line, sizeof line) ? strchr(line, '#') : NULL;
    if (!mark || mark - line >= INBOX_SIZE ||
        (sscanf(mark, "#%20llu#%10u", &connection, &presence.capabilities) != 2 &&
         sscanf(mark, "##%10u", &presence.capabilities) != 1))
        return (struct presence){0};
    memcpy(presence.inbox, line, (size_t)(mark - line));
    presence.connection = connection;
    presence_print(&presence, again);
    return strcmp(again, line) == 0 ? presence : (struct presence){0};
}

void presence_print(const struct presence *presence, char *out)
{
    if (presence->inbox[0])
        snprintf(out, PRESENCE_SIZE, "%s#%llu#%u", presence->inbox, (unsigned long long)presence->connection,
                 presence->capabilities);
    else
        snprintf(out, PRESENCE_SIZE, "##%u",
                 presence->capabilities); /* nowhere: what it can do stays known */
}

void routes_parse(const redisReply *devices, const redisReply *inboxes, struct routes *ret)
{
    size_t device_max = devices && devices->type == REDIS_REPLY_ARRAY ? devices->elements / 2 : 0;
    size_t inbox_max = inboxes && inboxes->type == REDIS_REPLY_ARRAY ? inboxes->elements : 0;
    struct route *routes = mem_new((device_max + 1) * sizeof *routes);
    char(*names)[INBOX_SIZE] = mem_new((inbox_max + 1) * sizeof *names);
    size_t device_count = 0, inbox_count = 0;
    for (size_t i = 0; i < device_max; i++)
        if (copy_text(reply_bytes(devices, 2 * i), routes[device_count].device_id, ID_SIZE) &&
            routes[device_count].device_id[0])
            routes[device_count++].presence = presence_parse(reply_bytes(devices, 2 * i + 1));
    for (size_t i = 0; i < inbox_max; i++)
        if (copy_text(reply_bytes(inboxes, i), names[inbox_count], INBOX_SIZE))
            inbox_count++;
    *ret = (struct routes){
        .devices = routes, .device_count = device_count, .inboxes = names, .inbox_count = inbox_count};
}

void routes_done(struct routes *routes)
{
    free((void *)routes->devices);
    free((void *)routes->inboxes);
    *routes = (struct routes){0};
}
