/* Users as a whole: deleted, and listed. */
#include <stdlib.h>

#include "base/mem.h"
#include "store/call.h"

static void on_delete(struct store_call *call, enum err e, const redisReply *reply)
{
    struct user_deleted deleted = {0};
    char(*challenges)[ID_SIZE] = NULL, (*enrolments)[ID_SIZE] = NULL;
    if (e == ERR_OK) {
        deleted.existed = reply_int(reply, 0) == 1;
        routes_parse(reply_at(reply, 1), NULL, &deleted.routes);
        challenges = reply_ids(reply_at(reply, 2), &deleted.challenge_count);
        enrolments = reply_ids(reply_at(reply, 3), &deleted.enrolment_count);
        deleted.challenges = challenges;
        deleted.enrolments = enrolments;
    }
    call->fn.user_delete(e, e == ERR_OK ? &deleted : NULL, call->arg);
    routes_done(&deleted.routes);
    free(challenges);
    free(enrolments);
}

struct store_call *store_user_delete(struct store *store, const char *tag, store_user_delete_fn fn, void *arg)
{
    static const char *const parts[] = {"user", "devices", "presence", "pending", "limits", "enrolments"};
    struct store_call *call = call_new(store, SCRIPT_user_delete, tag, on_delete, arg);
    call->fn.user_delete = fn;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        call_key(call, key_user(tag, parts[i]));
    return call_send(call);
}

/* ---- which users there are ---- */

static void on_index_set(struct store_call *call, enum err e, const redisReply *reply)
{
    (void)reply;
    if (call->fn.done)
        call->fn.done(e, call->arg);
}

struct store_call *store_user_index_set(struct store *store, const char *organisation, char shard,
                                        const char *user, bool there, store_done_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_registry_index, "", on_index_set, arg);
    call->fn.done = fn;
    call_key(call, key_users(organisation, shard));
    call_arg(call, bytes_of(user));
    call_arg_int(call, there);
    return call_send(call);
}

static void on_index_list(struct store_call *call, enum err e, const redisReply *reply)
{
    char(*names)[USER_NAME_SIZE] = mem_new(USERS_PAGE_MAX * sizeof *names);
    struct user_names list = {.at = names};
    if (e == ERR_OK && reply->type != REDIS_REPLY_ARRAY)
        e = ERR_MALFORMED;
    for (size_t i = 0; e == ERR_OK && i < reply->elements && list.count < USERS_PAGE_MAX; i++)
        if (copy_text(reply_bytes(reply, i), names[list.count], USER_NAME_SIZE))
            list.count++;
    call->fn.user_names(e, e == ERR_OK ? &list : NULL, call->arg);
    free(names);
}

struct store_call *store_user_index_list(struct store *store, const char *organisation, char shard,
                                         const char *after, size_t count, store_user_names_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_registry_list, "", on_index_list, arg);
    call->fn.user_names = fn;
    call_key(call, key_users(organisation, shard));
    call_arg(call, bytes_of(after));
    call_arg_int(call, (int64_t)(count < USERS_PAGE_MAX ? count : USERS_PAGE_MAX));
    return call_send(call);
}
