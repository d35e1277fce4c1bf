#include "store/durable.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "store/slot.h"

#define MARK_TAG      "mark"
#define MARK_LIFE_MS  "60000"
#define PROBE_WAIT_MS 500
#define PROBE_MS      1000
#define REMARK_MS     100

enum lane_state {
    LANE_DOWN,   /* no connection */
    LANE_ASKING, /* connected; whether there is a replica is being asked */
    LANE_READY,
    LANE_LONELY, /* there is none */
};

struct durable_lane {
    struct loop *loop;
    struct redis_conn *conn;
    unsigned timeout_ms;
    const struct durable_handlers *handlers;
    void *arg;
    enum lane_state state;
    int64_t since_mono_ms;
    struct list queue, group;    /* struct durable_write */
    struct redis_command *waits; /* the WAIT in flight, behind the group */
    struct redis_command *mark;  /* the SET before it */
    struct buf set, wait, probe_wait;
    struct buf next_set; /* takes the place of set, once that is not under way; empty: none does */
    bool mark_refused;   /* WAIT will say nothing of the group */
    struct timer probe, deadline;
};

static void flush(struct durable_lane *lane);
static void ask(struct durable_lane *lane);

static void set_state(struct durable_lane *lane, enum lane_state state)
{
    static const char *const names[] = {"down", "asking", "ready", "lonely"};
    if (state == lane->state)
        return;
    if (state == LANE_LONELY)
        LOG(ERROR, STORE, "redis-no-replica",
            "hint=\"durability is replicated: nothing is accepted without one\"");
    else
        LOG(DEBUG, STORE, "durable-lane", "from=%s to=%s", names[lane->state], names[state]);
    lane->state = state;
    lane->since_mono_ms = clock_mono_ms();
}

static void finish(struct durable_write *write, enum err e)
{
    redis_reply_fn fn = write->fn;
    redisReply *reply = write->reply;
    void *arg = write->arg;
    write->reply = NULL;
    list_remove(&write->node);
    if (e != ERR_OK)
        METRIC_ADD(STORE_UNREPLICATED, 1);
    fn(e, e == ERR_OK ? reply : NULL, arg);
    freeReplyObject(reply);
}

static void finish_all(struct list *writes, enum err e)
{
    while (!list_empty(writes))
        finish(CONTAINER_OF(writes->next, struct durable_write, node), e);
}

/* No replica confirmed: whether what was sent stays is not known, what was not is refused. */
static void be_lonely(struct durable_lane *lane, enum err e)
{
    set_state(lane, LANE_LONELY);
    timer_start(&lane->probe, PROBE_MS);
    finish_all(&lane->group, e);
    finish_all(&lane->queue, ERR_UNAVAILABLE);
}

/* The group goes back to the front of the queue, in order; its replies count for nothing. */
static void send_again(struct durable_lane *lane)
{
    while (!list_empty(&lane->group)) {
        struct durable_write *write = CONTAINER_OF(lane->group.prev, struct durable_write, node);
        if (write->command)
            redis_command_cancel(write->command);
        freeReplyObject(write->reply);
        write->command = NULL;
        write->reply = NULL;
        list_remove(&write->node);
        list_append(lane->queue.next, &write->node); /* before the first */
    }
}

static bool is_redirect(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_ERROR &&
           redirect_parse(bytes_make(reply->str, (size_t)reply->len)).kind != REDIRECT_NONE;
}

/* What the node did not do goes back to who sent it, the rest is sent again. */
static void split_group(struct durable_lane *lane)
{
    struct list elsewhere;
    list_init(&elsewhere);
    LIST_EACH_SAFE (node, &lane->group)
        if (is_redirect(CONTAINER_OF(node, struct durable_write, node)->reply)) {
            list_remove(node);
            list_append(&elsewhere, node);
        }
    send_again(lane);
    finish_all(&elsewhere, ERR_OK);
    timer_start(&lane->deadline, 0);
}

static void on_waited(enum err e, const redisReply *reply, void *arg)
{
    struct durable_lane *lane = arg;
    bool replicated = e == ERR_OK && reply->type == REDIS_REPLY_INTEGER && reply->integer >= 1;
    if (e == ERR_OK && reply->type == REDIS_REPLY_ERROR)
        LOG(ERROR, STORE, "wait-failed", "error=%s", LOG_STR(reply->str));
    struct list done; /* their callbacks may begin the next group */
    lane->waits = NULL;
    if (lane->mark_refused) {
        set_state(lane, LANE_ASKING);
        timer_start(&lane->probe, REMARK_MS);
        split_group(lane);
        return;
    }
    if (!replicated) {
        be_lonely(lane, e == ERR_TIMEOUT ? e : ERR_UNAVAILABLE);
        return;
    }
    list_init(&done);
    list_move(&lane->group, &done);
    set_state(lane, LANE_READY);
    finish_all(&done, ERR_OK);
    flush(lane);
}

static void on_marked(enum err e, const redisReply *reply, void *arg)
{
    struct durable_lane *lane = arg;
    lane->mark = NULL;
    if (e != ERR_OK || reply->type != REDIS_REPLY_ERROR)
        return;
    LOG(WARN, STORE, "mark-refused", "error=%s", LOG_STR(reply->str));
    lane->mark_refused = is_redirect(reply);
    if (lane->mark_refused)
        lane->handlers->on_mark_refused(lane->arg);
}

static void send_wait(struct durable_lane *lane, const struct buf *wait)
{
    if (buf_len(&lane->next_set)) {
        buf_done(&lane->set);
        lane->set = lane->next_set;
        lane->next_set = (struct buf){0};
    }
    lane->mark_refused = false;
    lane->mark = redis_conn_send(lane->conn, buf_view(&lane->set), lane->timeout_ms, on_marked, lane);
    lane->waits =
        redis_conn_send(lane->conn, buf_view(wait), lane->timeout_ms + PROBE_WAIT_MS, on_waited, lane);
}

static void ask(struct durable_lane *lane)
{
    if (lane->state != LANE_DOWN && !lane->waits)
        send_wait(lane, &lane->probe_wait);
}

static void on_probe_due(void *arg)
{
    ask(arg);
}

static void on_written(enum err e, const redisReply *reply, void *arg)
{
    struct durable_write *write = arg;
    write->command = NULL;
    if (e != ERR_OK) {
        finish(write, e);
        return;
    }
    redis_conn_keep_reply(write->lane->conn);
    write->reply = (redisReply *)(uintptr_t)reply;
}

static void flush(struct durable_lane *lane)
{
    if (lane->state != LANE_READY || lane->waits || list_empty(&lane->queue))
        return;
    while (!list_empty(&lane->queue)) {
        struct durable_write *write = CONTAINER_OF(lane->queue.next, struct durable_write, node);
        int64_t left_ms = write->due_mono_ms - clock_mono_ms();
        unsigned timeout_ms = left_ms > 1 ? (unsigned)left_ms : 1;
        if (!write->asking || redis_conn_send_asking(lane->conn, timeout_ms))
            write->command = redis_conn_send(lane->conn, write->encoded, timeout_ms, on_written, write);
        if (!write->command)
            break; /* full: the next group */
        list_remove(&write->node);
        list_append(&lane->group, &write->node);
    }
    if (!list_empty(&lane->group))
        send_wait(lane, &lane->wait);
}

static void on_deadline(void *arg)
{
    struct durable_lane *lane = arg;
    int64_t now_mono_ms = clock_mono_ms();
    while (!list_empty(&lane->queue)) {
        struct durable_write *write = CONTAINER_OF(lane->queue.next, struct durable_write, node);
        if (write->due_mono_ms > now_mono_ms) {
            timer_start(&lane->deadline, (unsigned)(write->due_mono_ms - now_mono_ms));
            return;
        }
        finish(write, ERR_UNAVAILABLE);
    }
}

static void on_up(void *arg)
{
    struct durable_lane *lane = arg;
    set_state(lane, LANE_ASKING);
    ask(lane);
}

static void on_down(void *arg)
{
    struct durable_lane *lane = arg;
    struct redis_command **const sent[] = {&lane->mark, &lane->waits};
    set_state(lane, LANE_DOWN);
    timer_cancel(&lane->probe);
    for (size_t i = 0; i < 2; i++) {
        if (*sent[i])
            redis_command_cancel(*sent[i]);
        *sent[i] = NULL;
    }
    send_again(lane);
    if (!list_empty(&lane->queue))
        timer_start(&lane->deadline, 0);
    lane->handlers->on_lost(lane->arg);
}

static const struct redis_conn_handlers handlers = {.on_up = on_up, .on_down = on_down};

static enum err encode_wait(unsigned timeout_ms, struct buf *out)
{
    char text[16];
    int len = snprintf(text, sizeof text, "%u", timeout_ms);
    const struct bytes argv[] = {bytes_of("WAIT"), bytes_of("1"), bytes_make(text, (size_t)len)};
    return redis_encode(3, argv, out);
}

void durable_lane_mark(struct durable_lane *lane, const char *tag)
{
    char key[64];
    snprintf(key, sizeof key, "np1:{%s}:mark", tag);
    const struct bytes set[] = {bytes_of("SET"), bytes_of(key), bytes_of("1"), bytes_of("PX"),
                                bytes_of(MARK_LIFE_MS)};
    struct buf *next = lane->mark ? &lane->next_set : &lane->set;
    buf_done(next);
    if (redis_encode(5, set, next) != ERR_OK)
        abort(); /* some dozen bytes, see mem_new() */
}

struct durable_lane *durable_lane_open(struct loop *loop, const struct redis_login *login,
                                       unsigned timeout_ms, const struct durable_handlers *lane_handlers,
                                       void *arg)
{
    struct durable_lane *lane = mem_new(sizeof *lane);
    lane->loop = loop;
    lane->timeout_ms = timeout_ms;
    lane->handlers = lane_handlers;
    lane->arg = arg;
    lane->since_mono_ms = clock_mono_ms();
    list_init(&lane->queue);
    list_init(&lane->group);
    timer_init(&lane->probe, loop, on_probe_due, lane);
    timer_init(&lane->deadline, loop, on_deadline, lane);
    durable_lane_mark(lane, MARK_TAG);
    if (encode_wait(timeout_ms, &lane->wait) != ERR_OK ||
        encode_wait(PROBE_WAIT_MS, &lane->probe_wait) != ERR_OK)
        abort(); /* some dozen bytes, see mem_new() */
    lane->conn = redis_conn_open(loop, login, NULL, timeout_ms, &handlers, lane);
    return lane;
}

void durable_lane_dial(struct durable_lane *lane, const struct address *address)
{
    redis_conn_dial(lane->conn, address);
}

void durable_lane_hold(struct durable_lane *lane)
{
    redis_conn_hold(lane->conn);
}

void durable_lane_close(struct durable_lane *lane)
{
    if (!lane)
        return;
    timer_cancel(&lane->probe);
    timer_cancel(&lane->deadline);
    while (!list_empty(&lane->group))
        durable_cancel(CONTAINER_OF(lane->group.next, struct durable_write, node));
    while (!list_empty(&lane->queue))
        durable_cancel(CONTAINER_OF(lane->queue.next, struct durable_write, node));
    redis_conn_close(lane->conn);
    buf_done(&lane->set);
    buf_done(&lane->next_set);
    buf_done(&lane->wait);
    buf_done(&lane->probe_wait);
    free(lane);
}

bool durable_send(struct durable_lane *lane, struct durable_write *write, bool asking, struct bytes encoded,
                  unsigned timeout_ms, redis_reply_fn fn, void *arg)
{
    int64_t now_mono_ms = clock_mono_ms();
    bool gone = lane->state == LANE_DOWN && now_mono_ms - lane->since_mono_ms >= lane->timeout_ms;
    if (gone || lane->state == LANE_LONELY) {
        METRIC_ADD(STORE_UNREPLICATED, 1);
        return false;
    }
    *write = (struct durable_write){.lane = lane, .encoded = encoded, .asking = asking, .fn = fn, .arg = arg};
    write->due_mono_ms = now_mono_ms + timeout_ms;
    list_append(&lane->queue, &write->node);
    flush(lane);
    if (!timer_armed(&lane->deadline))
        timer_start(&lane->deadline, lane->timeout_ms);
    return true;
}

void durable_cancel(struct durable_write *write)
{
    if (write->command)
        redis_command_cancel(write->command);
    freeReplyObject(write->reply);
    list_remove(&write->node);
    write->command = NULL;
    write->reply = NULL;
}
