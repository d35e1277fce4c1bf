#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/call.h"
#include "store/record.h"

#define CHALLENGE_KEPT_MS 600000 /* readable after it is final */

/* Where challenge_create has them among its arguments. */
enum { CREATE_RECORD = 1, CREATE_INBOX = 9 };

/* What refuses a challenge, but for what needs to be told more of. */
static enum err create_error(const redisReply *reply)
{
    static const struct {
        const char *word;
        enum err e;
    } refusals[] = {{"no-user", ERR_NOT_FOUND}, {"no-device", ERR_DENIED},  {"no-capable", ERR_UNSUPPORTED},
                    {"conflict", ERR_EXISTS},   {"pending", ERR_BAD_STATE}, {"locked", ERR_LIMIT},
                    {"backoff", ERR_LIMIT}};
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        if (reply_is(reply, refusals[i].word))
            return refusals[i].e;
    return ERR_MALFORMED;
}

/* True where this worker is told of whatever comes behind what the reply says. */
static bool is_told(const struct store_call *call)
{
    struct bytes inbox = call_arg_at(call, CREATE_INBOX);
    return inbox.len && bytes_equal(inbox, bytes_of(store_inbox(call->store)));
}

static enum err read_created(const struct store_call *call, const redisReply *reply,
                             struct challenge_created *created)
{
    if (reply_is(reply, "ok")) {
        created->fence = call_arg_at(call, CREATE_RECORD);
        created->told = reply_int(reply, 7) == 1 && is_told(call);
        created->now_unix_ms = reply_int(reply, 1);
        created->expire_unix_ms = reply_int(reply, 2);
        routes_parse(reply_at(reply, 3), NULL, &created->routes);
        routes_parse(reply_at(reply, 6), reply_at(reply, 4), &created->others);
        created->superseded = reply_int(reply, 5) == 1;
        return ERR_OK;
    }
    created->replay = reply_is(reply, "replay");
    enum err e = created->replay ? ERR_OK : create_error(reply);
    if (e == ERR_LIMIT) {
        created->locked = reply_is(reply, "locked");
        created->until_unix_ms = reply_int(reply, 1);
    } else if (e == ERR_OK || e == ERR_BAD_STATE) {
        created->other_may_go = reply_int(reply, 2) == 1;
        created->other_same_session = reply_int(reply, 3) == 1;
        if (!id_valid(reply_bytes(reply, 1)) || !copy_text(reply_bytes(reply, 1), created->other_id, ID_SIZE))
            return ERR_MALFORMED;
    }
    return e;
}

static void on_create(struct store_call *call, enum err e, const redisReply *reply)
{
    struct challenge_created created = {0};
    if (e == ERR_OK)
        e = read_created(call, reply, &created);
    bool told = e == ERR_OK || e == ERR_BAD_STATE || e == ERR_LIMIT;
    call->fn.challenge_create(e, told ? &created : NULL, call->arg);
    routes_done(&created.routes);
    routes_done(&created.others);
}

struct store_call *store_challenge_create(struct store *store, const struct challenge_create *create,
                                          store_challenge_create_fn fn, void *arg)
{
    static const char *const parts[] = {"user", "devices", "presence", "pending", "limits"};
    const Record__Challenge *record = create->record;
    const char *tag = id_tag(record->id);
    struct store_call *call = call_new(store, SCRIPT_challenge_create, record->id, on_create, arg);
    struct key key = key_challenge(record->id);
    call->fn.challenge_create = fn;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        call_key(call, key_user(tag, parts[i]));
    call_key(call, key);
    call_key(call, key_idempotency(tag, create->idempotency ? create->idempotency : "none"));
    call_arg(call, bytes_of(record->id));
    call_arg_record(call, &key, "record", &record->base);
    call_arg_int(call, record->life_ms);
    call_arg_int(call, CHALLENGE_KEPT_MS);
    call_arg(call, bytes_of(create->pending_of));
    call_arg(call, bytes_of(create->session));
    call_arg(call, bytes_of(create->idempotency ? create->asked : ""));
    call_arg_int(call, create->needed);
    call_arg_int(call, create->shows_code);
    call_arg(call, bytes_of(create->wait ? store_inbox(store) : ""));
    if (create->supersede) {
        call_key(call, key_challenge(create->supersede));
        call_arg(call, bytes_of(create->supersede));
    }
    return call_send(call);
}

static struct challenge_progress parse_progress(struct bytes device_id, struct bytes text)
{
    struct challenge_progress progress = {0};
    char line[96];
    long long sent = 0, delivered = 0, seen = 0;
    if (copy_text(device_id, progress.device_id, ID_SIZE) && copy_text(text, line, sizeof line) &&
        sscanf(line, "%u %lld %lld %lld", &progress.progress, &sent, &delivered, &seen) == 4) {
        progress.sent_unix_ms = sent;
        progress.delivered_unix_ms = delivered;
        progress.seen_unix_ms = seen;
    }
    return progress;
}

static bool state_has_answer(enum challenge_state state)
{
    return state == CHALLENGE_APPROVED || state == CHALLENGE_DENIED || state == CHALLENGE_REPORTED ||
           state == CHALLENGE_FAILED;
}

/* What an unpacked view owns. */
struct challenge_parts {
    ProtobufCMessage *record, *settlement;
    struct challenge_progress *progress;
};

static void parts_done(struct challenge_parts *parts)
{
    if (parts->record)
        protobuf_c_message_free_unpacked(parts->record, NULL);
    if (parts->settlement)
        protobuf_c_message_free_unpacked(parts->settlement, NULL);
    free(parts->progress);
}

/* What prelude.lua's view_of() made: all of it but the record. */
static enum err read_view(struct store_call *call, const redisReply *reply, struct challenge_view *view,
                          struct challenge_parts *parts)
{
    struct key key = key_challenge(call->subject);
    view->now_unix_ms = reply_int(reply, 0);
    view->state = challenge_state_parse(reply_bytes(reply, 1));
    view->revision = (uint64_t)reply_int(reply, 2);
    view->create_unix_ms = reply_int(reply, 3);
    view->expire_unix_ms = reply_int(reply, 4);
    view->settle_unix_ms = reply_int(reply, 5);
    view->attempt = (unsigned)reply_int(reply, 8);
    view->attached_count = (size_t)reply_int(reply, 9);
    if (state_has_answer(view->state)) {
        /* The state stands there in the clear; what counts is that a worker sealed the same. */
        TRY(record_open(call->store->secret, &key, "settlement", reply_bytes(reply, 6),
                        &record__settlement__descriptor, &parts->settlement));
        view->settlement = (Record__Settlement *)parts->settlement;
        if (view->settlement->state != (uint32_t)view->state)
            return ERR_BAD_SIGNATURE;
    }
    const redisReply *progress = reply_at(reply, 7);
    size_t count = progress && progress->type == REDIS_REPLY_ARRAY ? progress->elements / 2 : 0;
    parts->progress = mem_new((count + 1) * sizeof *parts->progress);
    for (size_t i = 0; i < count; i++)
        parts->progress[i] = parse_progress(reply_bytes(progress, 2 * i), reply_bytes(progress, 2 * i + 1));
    view->progress = parts->progress;
    view->progress_count = count;
    return view->state == CHALLENGE_NONE ? ERR_MALFORMED : ERR_OK;
}

static enum err read_got(struct store_call *call, const redisReply *reply, struct challenge_view *view,
                         struct challenge_parts *parts)
{
    struct key key = key_challenge(call->subject);
    if (!reply_is(reply, "ok"))
        return reply_is(reply, "gone") ? ERR_NOT_FOUND : ERR_MALFORMED;
    view->fence = reply_bytes(reply, 1);
    TRY(record_open(call->store->secret, &key, "record", view->fence, &record__challenge__descriptor,
                    &parts->record));
    view->record = (Record__Challenge *)parts->record;
    return read_view(call, reply_at(reply, 2), view, parts);
}

static void on_get(struct store_call *call, enum err e, const redisReply *reply)
{
    struct challenge_view view = {0};
    struct challenge_parts parts = {0};
    if (e == ERR_OK)
        e = read_got(call, reply, &view, &parts);
    call->fn.challenge(e, e == ERR_OK ? &view : NULL, call->arg);
    parts_done(&parts);
}

struct store_call *store_challenge_get(struct store *store, const char *id, bool wait, store_challenge_fn fn,
                                       void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_challenge_get, id, on_get, arg);
    call->fn.challenge = fn;
    call_key(call, key_challenge(id));
    call_arg(call, bytes_of(wait ? store_inbox(store) : ""));
    return call_send(call);
}

/* One whose settlement does not open names nobody, and shows nothing: reading the challenge will say why. */
static enum err read_settled(struct store_call *call, const redisReply *reply,
                             struct challenge_settled *settled, struct challenge_view *view,
                             struct challenge_parts *parts)
{
    settled->moved = reply_is(reply, "moved");
    if (!settled->moved && !reply_is(reply, "already"))
        return reply_is(reply, "gone")     ? ERR_NOT_FOUND
               : reply_is(reply, "early")  ? ERR_BAD_STATE
               : reply_is(reply, "device") ? ERR_DENIED
                                           : ERR_MALFORMED;
    bool whole = read_view(call, reply_at(reply, 1), view, parts) == ERR_OK;
    settled->view = whole ? view : NULL;
    settled->state = view->state;
    if (whole && view->settlement)
        copy_text(bytes_of(view->settlement->device_id), settled->device_id, ID_SIZE);
    return view->state == CHALLENGE_NONE ? ERR_MALFORMED : ERR_OK;
}

/* '<device id> <step> <ms ago> <ms ago> <ms ago> ' of each phone; step and times are what progress_with() takes. */
static void call_arg_reached(struct store_call *call, const struct challenge_reached *reached, size_t count)
{
    size_t before = buf_len(&call->args);
    for (size_t i = 0; i < count; i++)
        if (buf_printf(&call->args, "%s %u %u %u %u ", reached[i].device_id, reached[i].step,
                       reached[i].ago_ms[0], reached[i].ago_ms[1], reached[i].ago_ms[2]) != ERR_OK)
            call->failed = true;
    call->arg_len[call->arg_count++] = buf_len(&call->args) - before;
}

static void on_settle(struct store_call *call, enum err e, const redisReply *reply)
{
    struct challenge_settled settled = {0};
    struct challenge_view view = {0};
    struct challenge_parts parts = {0};
    char(*others)[ID_SIZE] = NULL;
    if (e == ERR_OK)
        e = read_settled(call, reply, &settled, &view, &parts);
    if (e == ERR_OK) {
        routes_parse(reply_at(reply, 2), reply_at(reply, 3), &settled.routes);
        settled.locked_until_unix_ms = reply_int(reply, 4);
        others = reply_ids(reply_at(reply, 5), &settled.other_count);
        settled.others = others;
    }
    call->fn.challenge_settle(e, e == ERR_OK ? &settled : NULL, call->arg);
    routes_done(&settled.routes);
    parts_done(&parts);
    free(others);
}

struct store_call *store_challenge_settle(struct store *store, const struct challenge_settle *settle,
                                          store_challenge_settle_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_challenge_settle, settle->id, on_settle, arg);
    const char *tag = id_tag(settle->id);
    struct key key = key_challenge(settle->id);
    call->fn.challenge_settle = fn;
    call_key(call, key);
    call_key(call, key_user(tag, "pending"));
    call_key(call, key_user(tag, "devices"));
    call_key(call, key_user(tag, "presence"));
    call_key(call, key_user(tag, "limits"));
    if (settle->enrolment)
        call_key(call, key_enrolment(settle->enrolment));
    call_arg(call, bytes_of(settle->id));
    call_arg(call, settle->fence);
    call_arg(call, bytes_of(challenge_state_name(settle->state)));
    call_arg_int(call, CHALLENGE_KEPT_MS);
    call_arg(call, bytes_of(settle->device ? settle->device->id : ""));
    if (settle->device)
        call_arg_device_head(
            call, settle->device->generation,
            bytes_make(settle->device->possession_key.data, settle->device->possession_key.len));
    else
        call_arg(call, bytes_of(""));
    if (settle->settlement)
        call_arg_record(call, &key, "settlement", &settle->settlement->base);
    else
        call_arg(call, bytes_of(""));
    call_arg_unique(call);
    call_arg_reached(call, settle->reached, settle->reached_count);
    return call_send(call);
}

static void on_resend(struct store_call *call, enum err e, const redisReply *reply)
{
    struct challenge_resent resent = {0};
    if (e == ERR_OK && reply_is(reply, "ok")) {
        resent.now_unix_ms = reply_int(reply, 1);
        resent.attempt = (unsigned)reply_int(reply, 2);
        routes_parse(reply_at(reply, 3), reply_at(reply, 4), &resent.routes);
    } else if (e == ERR_OK) {
        resent.until_unix_ms = reply_int(reply, 1);
        e = reply_is(reply, "gone")                                   ? ERR_NOT_FOUND
            : reply_is(reply, "final")                                ? ERR_BAD_STATE
            : reply_is(reply, "early") || reply_is(reply, "too-many") ? ERR_LIMIT
                                                                      : ERR_MALFORMED;
    }
    call->fn.challenge_resend(e, &resent, call->arg);
    routes_done(&resent.routes);
}

struct store_call *store_challenge_resend(struct store *store, const char *id, struct bytes fence,
                                          unsigned needed, store_challenge_resend_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_challenge_resend, id, on_resend, arg);
    call->fn.challenge_resend = fn;
    call_key(call, key_challenge(id));
    call_key(call, key_user(id_tag(id), "devices"));
    call_key(call, key_user(id_tag(id), "presence"));
    call_arg(call, fence);
    call_arg_int(call, needed);
    return call_send(call);
}

static void on_progress(struct store_call *call, enum err e, const redisReply *reply)
{
    struct routes told = {0};
    if (e == ERR_OK)
        routes_parse(NULL, reply_at(reply, 1), &told);
    call->fn.told(e, &told, call->arg);
    routes_done(&told);
}

struct store_call *store_challenge_progress(struct store *store, const char *id,
                                            const struct challenge_reached *reached, size_t count,
                                            store_told_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_challenge_progress, id, on_progress, arg);
    call->fn.told = fn;
    call_key(call, key_challenge(id));
    call_arg_reached(call, reached, count);
    return call_send(call);
}
