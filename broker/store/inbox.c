#include "store/inbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "crypto/digest.h"
#include "store/call.h"

#define INBOX_LIFE_MS   30000
#define RENEW_MS        5000
#define RETRY_MS        200
#define REREAD_MS       1000
#define FOLLOW_MS       100
#define READ_BLOCK_MS   10000
#define READ_COUNT      "256"
#define ENTRY_ID_SIZE   48
#define PROBE_MAX_BYTES 16 /* two tags, a kind, a number */
#define INBOX_ENTRIES_MAX                                                                                    \
    "20000" /* about; what is trimmed unread is found when waiters and phones read again */

struct inbox {
    struct store *store;
    struct redis_conn *reader;     /* NULL before the first generation */
    struct address reader_address; /* where it reads */
    struct redis_command *read;
    struct buf encoded;      /* the read's */
    struct store_call *call; /* open or renew under way */
    struct timer renew, reread, follow;
    char boot[HEX_SIZE(8)];
    unsigned generation;
    char name[INBOX_SIZE]; /* "" while there is none */
    char last_id[ENTRY_ID_SIZE];
};

static void open_next(struct inbox *inbox);
static void read_next(struct inbox *inbox);

/* A master that steps down cuts those that block; the renewal, which writes, shows the store's connection that too. */
static void on_reader_down(void *arg)
{
    inbox_check(arg);
}

static const struct redis_conn_handlers reader_handlers = {.on_down = on_reader_down};

const char *store_inbox(const struct store *store)
{
    return store->inbox ? store->inbox->name : "";
}

struct presence store_presence(const struct store *store, uint64_t connection, unsigned capabilities)
{
    struct presence presence = {.connection = connection, .capabilities = capabilities};
    snprintf(presence.inbox, sizeof presence.inbox, "%s", store_inbox(store));
    return presence;
}

/* An entry is {id, {'hint', bytes}}. */
static void take_entry(struct inbox *inbox, const redisReply *entry)
{
    struct bytes packed = reply_bytes(reply_at(entry, 1), 1);
    copy_text(reply_bytes(entry, 0), inbox->last_id, sizeof inbox->last_id);
    if (packed.len == 0)
        return;
    Record__Hint *hint = record__hint__unpack(NULL, packed.len, packed.p);
    METRIC_ADD(INBOX_READ, 1);
    if (!hint) {
        LOG(WARN, STORE, "hint-malformed");
        return;
    }
    inbox->store->events->on_hint(hint, inbox->store->arg);
    record__hint__free_unpacked(hint, NULL);
}

/* Its slot was moved to another node, with what is in it: read on there, and not at once, for this is the reader's
   callback. @return false if the error is another one. */
static bool follow_slot(struct inbox *inbox, struct bytes error)
{
    if (!redis_moved(inbox->store->redis, error))
        return false;
    timer_start(&inbox->follow, FOLLOW_MS);
    return true;
}

static void on_follow_due(void *arg)
{
    struct inbox *inbox = arg;
    struct key key = key_inbox(inbox->name);
    if (!inbox->name[0] || !redis_find(inbox->store->redis, &key, &inbox->reader_address))
        return; /* the renewal will see to it */
    redis_conn_dial(inbox->reader, &inbox->reader_address);
    read_next(inbox);
}

static void on_entries(enum err e, const redisReply *reply, void *arg)
{
    struct inbox *inbox = arg;
    inbox->read = NULL;
    if (e == ERR_OK && reply->type == REDIS_REPLY_ERROR &&
        follow_slot(inbox, bytes_make(reply->str, (size_t)reply->len)))
        return;
    if (e == ERR_OK && reply->type == REDIS_REPLY_ERROR) { /* LOADING, or not a stream: not at once again */
        LOG(WARN, STORE, "inbox-unreadable", "error=%s", LOG_STR(reply->str));
        timer_start(&inbox->reread, REREAD_MS);
        return;
    }
    if (e == ERR_OK) { /* [[stream, [entry, ...]]], or nil when the block ended */
        const redisReply *entries = reply_at(reply_at(reply, 0), 1);
        for (size_t i = 0; entries && entries->type == REDIS_REPLY_ARRAY && i < entries->elements; i++)
            take_entry(inbox, entries->element[i]);
    }
    read_next(inbox);
}

static void read_next(struct inbox *inbox)
{
    struct key key = key_inbox(inbox->name);
    char block[16];
    snprintf(block, sizeof block, "%d", READ_BLOCK_MS);
    const struct bytes argv[] = {
        bytes_of("XREAD"), bytes_of("COUNT"),   bytes_of(READ_COUNT), bytes_of("BLOCK"),
        bytes_of(block),   bytes_of("STREAMS"), bytes_of(key.text),   bytes_of(inbox->last_id),
    };
    if (!inbox->name[0] || inbox->read)
        return;
    buf_done(&inbox->encoded);
    if (redis_encode(sizeof argv / sizeof *argv, argv, &inbox->encoded) == ERR_OK)
        inbox->read = redis_conn_send(inbox->reader, buf_view(&inbox->encoded),
                                      READ_BLOCK_MS + inbox->store->options.timeout_ms, on_entries, inbox);
    if (!inbox->read)
        timer_start(&inbox->reread, REREAD_MS);
}

static void on_opened(struct store_call *call, enum err e, const redisReply *reply)
{
    struct inbox *inbox = call->arg;
    inbox->call = NULL;
    timer_start(&inbox->renew, e == ERR_OK ? RENEW_MS : RETRY_MS);
    if (e != ERR_OK || reply->type != REDIS_REPLY_STRING ||
        !copy_text(bytes_make(reply->str, (size_t)reply->len), inbox->last_id, sizeof inbox->last_id)) {
        inbox->name[0] = '\0'; /* the timer tries again */
        return;
    }
    LOG(INFO, STORE, "inbox-opened", "inbox=%s", inbox->name);
    read_next(inbox);
    if (inbox->store->events->on_inbox)
        inbox->store->events->on_inbox(inbox->store->arg);
}

static void on_reread_due(void *arg)
{
    struct inbox *inbox = arg;
    inbox->name[0] = '\0'; /* whatever stands there now, take another */
    inbox_check(inbox);
}

static void open_next(struct inbox *inbox)
{
    struct store *store = inbox->store;
    timer_cancel(&inbox->reread);
    timer_cancel(&inbox->follow);
    snprintf(inbox->name, sizeof inbox->name, "w%u.%s.%u", store->options.slot, inbox->boot,
             ++inbox->generation);
    struct key key = key_inbox(inbox->name);
    /* A read blocks its connection on the old name, and whatever is sent behind it for as long: so a new one. */
    redis_conn_close(inbox->reader);
    inbox->read = NULL;
    inbox->reader = NULL;
    if (!redis_find(store->redis, &key, &inbox->reader_address)) {
        inbox->name[0] = '\0';
        timer_start(&inbox->renew, RENEW_MS); /* sooner once it is known: the store's connection is up then */
        return;
    }
    inbox->reader = redis_conn_open(store->loop, &store->options.redis->login, &inbox->reader_address,
                                    READ_BLOCK_MS, &reader_handlers, inbox);
    struct store_call *call = call_new(store, SCRIPT_inbox_open, inbox->name, on_opened, inbox);
    call_key(call, key);
    call_arg_int(call, INBOX_LIFE_MS);
    inbox->call = call_send(call);
}

static void on_renewed(struct store_call *call, enum err e, const redisReply *reply)
{
    struct inbox *inbox = call->arg;
    inbox->call = NULL;
    if (e == ERR_OK && reply->type == REDIS_REPLY_INTEGER && reply->integer == 0) {
        LOG(WARN, STORE, "inbox-gone", "inbox=%s", inbox->name);
        open_next(inbox);
        return;
    }
    timer_start(&inbox->renew, RENEW_MS);
}

/* Another server has it than the one that it is read from, which is master no more. That one may have a copy, but of what
   age nobody knows. Where its slot was moved from a master to another the read is told. */
static bool has_moved(const struct inbox *inbox)
{
    struct key key = key_inbox(inbox->name);
    struct address address;
    return redis_find(inbox->store->redis, &key, &address) &&
           !address_equal(&address, &inbox->reader_address) &&
           !redis_serves(inbox->store->redis, &inbox->reader_address);
}

void inbox_check(struct inbox *inbox)
{
    if (inbox->call)
        return;
    timer_cancel(&inbox->renew);
    if (!inbox->name[0] || has_moved(inbox)) {
        open_next(inbox);
        return;
    }
    struct store_call *call = call_new(inbox->store, SCRIPT_inbox_renew, inbox->name, on_renewed, inbox);
    call_key(call, key_inbox(inbox->name));
    call_arg_int(call, INBOX_LIFE_MS);
    call_arg(call, bytes_of(inbox->last_id));
    inbox->call = call_send(call);
}

static void on_renew_due(void *arg)
{
    inbox_check(arg);
}

struct inbox *inbox_new(struct store *store)
{
    struct inbox *inbox = mem_new(sizeof *inbox);
    uint8_t boot[8] = {0};
    inbox->store = store;
    if (random_bytes(boot, sizeof boot) != ERR_OK)
        abort(); /* two workers of one name would read each other's hints */
    hex_encode(bytes_make(boot, sizeof boot), inbox->boot);
    timer_init(&inbox->renew, store->loop, on_renew_due, inbox);
    timer_init(&inbox->reread, store->loop, on_reread_due, inbox);
    timer_init(&inbox->follow, store->loop, on_follow_due, inbox);
    return inbox;
}

void inbox_free(struct inbox *inbox)
{
    if (!inbox)
        return;
    struct key key = key_inbox(inbox->name);
    const struct bytes argv[] = {bytes_of("DEL"), bytes_of(key.text)};
    timer_cancel(&inbox->renew);
    timer_cancel(&inbox->reread);
    timer_cancel(&inbox->follow);
    store_cancel(inbox->call);
    redis_conn_close(inbox->reader);
    buf_done(&inbox->encoded);
    if (inbox->name[0] && redis_up(inbox->store->redis)) {
        struct redis_request *removal = redis_send(inbox->store->redis, &key, false, 2, argv, NULL, NULL);
        (void)removal;
    }
    free(inbox);
}

static void on_hint_written(enum err e, const redisReply *reply, void *arg)
{
    struct store_call *call = arg;
    call->request = NULL;
    if (e == ERR_OK && reply->type == REDIS_REPLY_NIL)
        e = ERR_NOT_FOUND;
    else if (e == ERR_OK && reply->type == REDIS_REPLY_ERROR)
        e = ERR_UNAVAILABLE;
    call->on_reply(call, e, NULL);
    call_free(call);
}

static void on_hint_done(struct store_call *call, enum err e, const redisReply *reply)
{
    (void)reply;
    if (call->fn.done)
        call->fn.done(e, call->arg);
}

struct store_call *store_hint(struct store *store, const char *inbox, const Record__Hint *hint,
                              store_done_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_COUNT, inbox, on_hint_done, arg);
    struct key key = key_inbox(inbox);
    size_t len = record__hint__get_packed_size(hint);
    uint8_t *packed = buf_reserve(&call->args, len + 1);
    call->fn.done = fn;
    call_key(call, key);
    call->failed = !packed;
    if (packed)
        buf_commit(&call->args, record__hint__pack(hint, packed));
    const struct bytes argv[] = {
        bytes_of("XADD"),   bytes_of(key.text), bytes_of("NOMKSTREAM"),
        bytes_of("MAXLEN"), bytes_of("~"),      bytes_of(INBOX_ENTRIES_MAX),
        bytes_of("*"),      bytes_of("hint"),   buf_view(&call->args),
    };
    METRIC_ADD(INBOX_WRITTEN, 1);
    call_send_command(call, sizeof argv / sizeof *argv, argv, on_hint_written);
    return call;
}

static void on_probe_written(struct store_call *call, enum err e, const redisReply *reply)
{
    if (e == ERR_OK && (reply->type != REDIS_REPLY_INTEGER || reply->integer == 0))
        e = ERR_NOT_FOUND;
    call->fn.done(e, call->arg);
}

struct store_call *store_probe(struct store *store, uint64_t number, store_done_fn fn, void *arg)
{
    struct store_call *call = call_new(store, SCRIPT_inbox_probe, store_inbox(store), on_probe_written, arg);
    Record__Hint hint = RECORD__HINT__INIT;
    uint8_t packed[PROBE_MAX_BYTES];
    hint.kind = HINT_PROBE;
    hint.connection = number;
    call->fn.done = fn;
    call_key(call, key_inbox(store_inbox(store)));
    call_arg(call, bytes_make(packed, record__hint__pack(&hint, packed)));
    METRIC_ADD(INBOX_WRITTEN, 1);
    return call_send(call);
}
