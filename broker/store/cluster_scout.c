#include "store/cluster_scout.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "store/redis_conn.h"

#define ASK_MS       5000
#define ASK_HURRY_MS 200
#define NEXT_MS      50
#define TIMEOUT_MS   1000
#define STALE_MS     15000 /* nobody knows that epoch any more: it is another cluster at the old addresses */

struct cluster_scout {
    const struct redis_options *options;
    struct redis_login login; /* a replica may be asked as well */
    cluster_scout_fn fn;
    void *arg;
    struct redis_conn *conn;
    struct redis_command *info, *slots;
    struct buf info_question, slots_question;
    struct address asked;
    size_t next; /* of the addresses that there are to ask, to begin with and in the map */
    uint64_t epoch, highest_epoch;
    int64_t counted_mono_ms; /* when a map counted last */
    bool hurry, failed;
    bool leaving; /* its connection is being cut for the next one's */
    struct timer ask;
    struct slot_map map; /* the last that counted */
    struct slot_map read;
};

static void ask_next(struct cluster_scout *scout)
{
    size_t count = scout->options->address_count + scout->map.master_count;
    size_t i = scout->next++ % count;
    size_t first = scout->map.master_count;
    struct address before = scout->asked;
    scout->asked = i < first ? scout->map.masters[i] : scout->options->addresses[i - first];
    scout->leaving = redis_conn_up(scout->conn) && !address_equal(&scout->asked, &before);
    redis_conn_dial(scout->conn, &scout->asked);
}

/* A line "cluster_current_epoch:6" in what INFO says; 0 where there is none. */
static uint64_t epoch_in(const redisReply *reply)
{
    static const char name[] = "cluster_current_epoch:";
    const char *at = reply->type == REDIS_REPLY_STRING ? strstr(reply->str, name) : NULL;
    return at ? strtoull(at + sizeof name - 1, NULL, 10) : 0;
}

static void on_info(enum err e, const redisReply *reply, void *arg)
{
    struct cluster_scout *scout = arg;
    scout->info = NULL;
    scout->epoch = e == ERR_OK ? epoch_in(reply) : 0;
    if (e == ERR_OK && reply->type == REDIS_REPLY_ERROR)
        LOG(ERROR, STORE, "cluster-refused", "error=%s", LOG_STR(reply->str));
}

static void take_map(struct cluster_scout *scout)
{
    int64_t now_mono_ms = clock_mono_ms();
    bool outdated = scout->epoch < scout->highest_epoch && now_mono_ms - scout->counted_mono_ms < STALE_MS;
    scout->failed = outdated || scout->read.master_count == 0;
    if (scout->failed)
        return;
    scout->highest_epoch = scout->epoch;
    scout->counted_mono_ms = now_mono_ms;
    scout->map = scout->read;
    scout->fn(&scout->map, scout->arg);
}

static void on_slots(enum err e, const redisReply *reply, void *arg)
{
    struct cluster_scout *scout = arg;
    scout->slots = NULL;
    scout->failed = e != ERR_OK || reply->type == REDIS_REPLY_ERROR;
    if (e != ERR_OK)
        return;
    if (reply->type == REDIS_REPLY_ERROR) {
        LOG(ERROR, STORE, "cluster-refused", "error=%s", LOG_STR(reply->str));
        return;
    }
    e = slot_map_parse(reply, &scout->asked, &scout->read);
    if (e != ERR_OK)
        LOG(ERROR, STORE, "cluster-unclear",
            "error=%s hint=\"nodes must announce IP addresses, and be %d masters at most\"", err_name(e),
            SLOT_MASTERS_MAX);
    else
        take_map(scout);
}

static void ask_now(struct cluster_scout *scout)
{
    if (scout->slots || scout->info)
        return;
    scout->info = redis_conn_send(scout->conn, buf_view(&scout->info_question), TIMEOUT_MS, on_info, scout);
    scout->slots =
        redis_conn_send(scout->conn, buf_view(&scout->slots_question), TIMEOUT_MS, on_slots, scout);
}

/* While something is amiss another one each time: what one node cannot know the next one does. */
static void on_ask_due(void *arg)
{
    struct cluster_scout *scout = arg;
    if (!scout->slots && !scout->info) {
        if (scout->hurry || scout->failed)
            ask_next(scout);
        ask_now(scout);
    }
    timer_start(&scout->ask, scout->hurry ? ASK_HURRY_MS : ASK_MS);
}

void cluster_scout_hurry(struct cluster_scout *scout)
{
    if (scout->hurry)
        return;
    scout->hurry = true;
    timer_start(&scout->ask, 0);
}

void cluster_scout_rest(struct cluster_scout *scout)
{
    scout->hurry = false;
}

static void on_conn_up(void *arg)
{
    ask_now(arg);
}

/* Who cannot be reached is not waited for. */
static void on_conn_down(void *arg)
{
    struct cluster_scout *scout = arg;
    bool leaving = scout->leaving;
    scout->leaving = false;
    if (leaving)
        return;
    if (scout->info)
        redis_command_cancel(scout->info);
    if (scout->slots)
        redis_command_cancel(scout->slots);
    scout->info = scout->slots = NULL;
    scout->failed = true;
    timer_start(&scout->ask, NEXT_MS);
}

static const struct redis_conn_handlers handlers = {.on_up = on_conn_up, .on_down = on_conn_down};

struct cluster_scout *cluster_scout_new(struct loop *loop, const struct redis_options *options,
                                        cluster_scout_fn fn, void *arg)
{
    const struct bytes info[] = {bytes_of("CLUSTER"), bytes_of("INFO")};
    const struct bytes slots[] = {bytes_of("CLUSTER"), bytes_of("SLOTS")};
    struct cluster_scout *scout = mem_new(sizeof *scout);
    if (redis_encode(2, info, &scout->info_question) != ERR_OK ||
        redis_encode(2, slots, &scout->slots_question) != ERR_OK)
        abort(); /* some dozen bytes, see mem_new() */
    scout->options = options;
    scout->login = options->login;
    scout->login.master = scout->login.appendfsync = scout->login.permissions = false;
    scout->fn = fn;
    scout->arg = arg;
    scout->conn = redis_conn_open(loop, &scout->login, NULL, TIMEOUT_MS, &handlers, scout);
    timer_init(&scout->ask, loop, on_ask_due, scout);
    cluster_scout_hurry(scout);
    return scout;
}

void cluster_scout_free(struct cluster_scout *scout)
{
    if (!scout)
        return;
    timer_cancel(&scout->ask);
    redis_conn_close(scout->conn);
    buf_done(&scout->info_question);
    buf_done(&scout->slots_question);
    free(scout);
}
