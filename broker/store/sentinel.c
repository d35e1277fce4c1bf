#include "store/sentinel.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "store/redis_conn.h"

#define ASK_MS       1000
#define ASK_HURRY_MS 200
#define TIMEOUT_MS   1000
#define FRESH_MS     5000 /* an older answer does not count */

struct sentinel {
    struct sentinels *all;
    struct redis_conn *conn;
    struct redis_command *asked;
    struct address master; /* what it said last */
    bool down;             /* as it says */
    uint64_t epoch;
    int64_t said_mono_ms; /* 0: nothing yet */
    bool unclear;         /* it named a host: told once */
};

struct sentinels {
    struct loop *loop;
    sentinels_master_fn fn;
    void *arg;
    struct timer ask;
    struct buf question;
    struct address master;
    bool hurry;
    bool sought; /* to be named, even if it is the one that it was */
    size_t count;
    struct sentinel each[REDIS_ADDRESSES_MAX];
};

static bool is_fresh(const struct sentinel *s, int64_t now_mono_ms)
{
    return s->said_mono_ms && now_mono_ms - s->said_mono_ms <= FRESH_MS;
}

/* NULL while none of the highest epoch calls the master up. */
static const struct sentinel *best_of(const struct sentinels *all)
{
    const struct sentinel *best = NULL;
    int64_t now_mono_ms = clock_mono_ms();
    for (const struct sentinel *s = all->each; s < all->each + all->count; s++)
        if (is_fresh(s, now_mono_ms) &&
            (!best || s->epoch > best->epoch || (s->epoch == best->epoch && best->down)))
            best = s;
    return best && !best->down ? best : NULL;
}

static void decide(struct sentinels *all)
{
    const struct sentinel *best = best_of(all);
    char text[ADDRESS_TEXT_SIZE];
    if (!best)
        return;
    if (!address_equal(&best->master, &all->master)) {
        all->master = best->master;
        all->sought = true;
        address_print(&all->master, text);
        LOG(INFO, STORE, "redis-master", "address=%s epoch=%" PRIu64, text, best->epoch);
    }
    if (!all->sought)
        return;
    all->sought = false;
    all->fn(&all->master, all->arg);
}

/* A field of SENTINEL MASTER's answer: names and values in turn. "" where there is none. */
static const char *field(const redisReply *reply, const char *name)
{
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2)
        if (reply->element[i]->type == REDIS_REPLY_STRING &&
            reply->element[i + 1]->type == REDIS_REPLY_STRING && strcmp(reply->element[i]->str, name) == 0)
            return reply->element[i + 1]->str;
    return "";
}

/* Flags are words with commas between: master, s_down, o_down, failover_in_progress, ... */
static bool parse_master(const redisReply *reply, struct sentinel *s)
{
    const char *flags = field(reply, "flags");
    char text[ADDRESS_TEXT_SIZE];
    const char *ip = field(reply, "ip");
    snprintf(text, sizeof text, strchr(ip, ':') ? "[%s]:%s" : "%s:%s", ip, field(reply, "port"));
    if (address_parse(text, &s->master) != ERR_OK)
        return false;
    s->down = strstr(flags, "_down") || strstr(flags, "failover_in_progress");
    s->epoch = strtoull(field(reply, "config-epoch"), NULL, 10);
    s->said_mono_ms = clock_mono_ms();
    return true;
}

static void note_unclear(struct sentinel *s, const redisReply *reply)
{
    if (!s->unclear)
        LOG(ERROR, STORE, "sentinel-unclear", "ip=%s hint=\"it must announce IP addresses, not names\"",
            LOG_STR(field(reply, "ip")));
    s->unclear = true;
}

static void on_said(enum err e, const redisReply *reply, void *arg)
{
    struct sentinel *s = arg;
    s->asked = NULL;
    if (e != ERR_OK)
        return;
    if (reply->type == REDIS_REPLY_ERROR)
        LOG(ERROR, STORE, "sentinel-refused", "error=%s", LOG_STR(reply->str));
    else if (!parse_master(reply, s))
        note_unclear(s, reply);
    else
        s->unclear = false;
    decide(s->all);
}

static void on_ask_due(void *arg)
{
    struct sentinels *all = arg;
    for (struct sentinel *s = all->each; s < all->each + all->count; s++)
        if (!s->asked)
            s->asked = redis_conn_send(s->conn, buf_view(&all->question), TIMEOUT_MS, on_said, s);
    timer_start(&all->ask, all->hurry ? ASK_HURRY_MS : ASK_MS);
}

/* An answer that is under way was asked for before the loss. */
void sentinels_lost(struct sentinels *all)
{
    for (struct sentinel *s = all->each; s < all->each + all->count; s++) {
        s->said_mono_ms = 0;
        if (s->asked)
            redis_command_cancel(s->asked);
        s->asked = NULL;
    }
    all->hurry = all->sought = true;
    timer_start(&all->ask, 0);
}

void sentinels_reached(struct sentinels *all)
{
    all->hurry = false;
}

static void on_conn_up(void *arg)
{
    struct sentinel *s = arg;
    timer_start(&s->all->ask, 0);
}

static const struct redis_conn_handlers handlers = {.on_up = on_conn_up};

struct sentinels *sentinels_new(struct loop *loop, const struct redis_options *options,
                                sentinels_master_fn fn, void *arg)
{
    struct sentinels *all = mem_new(sizeof *all);
    const struct bytes argv[] = {bytes_of("SENTINEL"), bytes_of("MASTER"), bytes_of(options->master_name)};
    if (redis_encode(3, argv, &all->question) != ERR_OK)
        abort(); /* some hundred bytes, see mem_new() */
    all->loop = loop;
    all->fn = fn;
    all->arg = arg;
    all->hurry = true;
    all->count = options->address_count;
    timer_init(&all->ask, loop, on_ask_due, all);
    for (size_t i = 0; i < all->count; i++) {
        all->each[i].all = all;
        all->each[i].conn = redis_conn_open(loop, &options->sentinel_login, &options->addresses[i], 0,
                                            &handlers, &all->each[i]);
    }
    return all;
}

void sentinels_free(struct sentinels *all)
{
    if (!all)
        return;
    timer_cancel(&all->ask);
    for (size_t i = 0; i < all->count; i++)
        redis_conn_close(all->each[i].conn);
    buf_done(&all->question);
    free(all);
}
