#include "store/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "store/cluster_scout.h"

#define PING_MS      1000
#define MARK_SIZE    16
#define DESCRIBE_MAX 8 /* runs of slots */

struct cluster {
    struct loop *loop;
    const struct redis_options *options;
    unsigned timeout_ms;
    const struct cluster_handlers *handlers;
    void *arg;
    struct cluster_scout *scout;
    struct slot_map map;
    struct redis_node *nodes[SLOT_MASTERS_MAX]; /* of map.masters; beyond: those that only ASK has named */
    size_t node_count;
    unsigned marks[SLOT_MASTERS_MAX]; /* the last number that was tried, see mark_node() */
    bool up;
    int64_t since_unix_ms, gap_since_mono_ms;
    struct timer ping;
    struct buf ping_question;
};

static void on_node_up(struct redis_node *node, void *arg);
static void on_node_down(struct redis_node *node, void *arg);

static void on_mark_refused(struct redis_node *node, void *arg);

static const struct redis_node_handlers node_handlers = {
    .on_up = on_node_up, .on_down = on_node_down, .on_mark_refused = on_mark_refused};

static void judge(struct cluster *cluster)
{
    unsigned first, last;
    bool gap = slot_map_gap(&cluster->map, 0, &first, &last), up = !gap;
    for (size_t i = 0; i < cluster->map.master_count; i++)
        up = up && redis_node_up(cluster->nodes[i]);
    if (!gap)
        cluster->gap_since_mono_ms = 0;
    else if (!cluster->gap_since_mono_ms)
        cluster->gap_since_mono_ms = clock_mono_ms();
    if (up)
        cluster_scout_rest(cluster->scout);
    else
        cluster_scout_hurry(cluster->scout);
    if (up == cluster->up)
        return;
    cluster->up = up;
    cluster->since_unix_ms = clock_unix_ms();
    if (up)
        LOG(INFO, STORE, "cluster-whole");
    else
        LOG(WARN, STORE, "cluster-part-gone");
}

static void on_node_up(struct redis_node *node, void *arg)
{
    struct cluster *cluster = arg;
    (void)node;
    judge(cluster);
    cluster->handlers->on_up(cluster->arg);
}

static void on_node_down(struct redis_node *node, void *arg)
{
    struct cluster *cluster = arg;
    (void)node;
    judge(cluster);
    cluster_scout_hurry(cluster->scout);
    cluster->handlers->on_down(cluster->arg);
}

/* The first tag, in an order that is random enough, whose slot is the node's: some 16384 / its slots are tried. */
static void mark_node(struct cluster *cluster, size_t i)
{
    char tag[MARK_SIZE];
    for (unsigned tries = 0; tries < 4 * SLOT_COUNT; tries++) {
        snprintf(tag, sizeof tag, "m%u", ++cluster->marks[i] % 1000000);
        if (cluster->map.at[slot_of(bytes_of(tag))] == i) {
            redis_node_mark(cluster->nodes[i], tag);
            return;
        }
    }
}

static void on_mark_refused(struct redis_node *node, void *arg)
{
    struct cluster *cluster = arg;
    for (size_t i = 0; i < cluster->map.master_count; i++)
        if (cluster->nodes[i] == node)
            mark_node(cluster, i);
}

static struct redis_node *node_new(struct cluster *cluster, const struct address *address)
{
    struct redis_node *node =
        redis_node_open(cluster->loop, &cluster->options->login, cluster->options->replicated,
                        cluster->timeout_ms, &node_handlers, cluster);
    redis_node_dial(node, address);
    return node;
}

static struct redis_node *find(const struct cluster *cluster, const struct address *address)
{
    for (size_t i = 0; i < cluster->node_count; i++)
        if (address_equal(redis_node_address(cluster->nodes[i]), address))
            return cluster->nodes[i];
    return NULL;
}

/* Nodes that are still named are kept, with what is under way at them. */
static void on_map(const struct slot_map *map, void *arg)
{
    struct cluster *cluster = arg;
    struct redis_node *nodes[SLOT_MASTERS_MAX], *gone[SLOT_MASTERS_MAX];
    size_t gone_count = 0;
    for (size_t i = 0; i < map->master_count; i++) {
        nodes[i] = find(cluster, &map->masters[i]);
        if (!nodes[i])
            nodes[i] = node_new(cluster, &map->masters[i]);
    }
    for (size_t k = 0; k < cluster->node_count; k++) {
        bool named = false;
        for (size_t i = 0; i < map->master_count; i++)
            named = named || nodes[i] == cluster->nodes[k];
        if (!named)
            gone[gone_count++] = cluster->nodes[k];
    }
    cluster->map = *map;
    cluster->node_count = map->master_count;
    memcpy(cluster->nodes, nodes, map->master_count * sizeof *nodes);
    for (size_t i = 0; i < cluster->node_count; i++)
        mark_node(cluster, i);
    judge(cluster);
    cluster->handlers->on_map(cluster->arg);
    for (size_t k = 0; k < gone_count; k++)
        redis_node_close(gone[k]);
}

struct redis_node *cluster_node(const struct cluster *cluster, unsigned slot)
{
    unsigned at = cluster->map.at[slot];
    return at == SLOT_NOBODY ? NULL : cluster->nodes[at];
}

struct redis_node *cluster_node_at(struct cluster *cluster, const struct address *address)
{
    struct redis_node *node = find(cluster, address);
    if (node || cluster->node_count == SLOT_MASTERS_MAX)
        return node;
    return cluster->nodes[cluster->node_count++] = node_new(cluster, address);
}

/* Only for a master that the map has; whatever else it means comes with the next one. */
void cluster_moved(struct cluster *cluster, unsigned slot, const struct address *address)
{
    for (size_t i = 0; i < cluster->map.master_count; i++)
        if (address_equal(&cluster->map.masters[i], address))
            cluster->map.at[slot] = (uint8_t)i;
    cluster_outdated(cluster);
}

void cluster_outdated(struct cluster *cluster)
{
    cluster_scout_hurry(cluster->scout); /* until the next map, see judge() */
}

static void on_ping_due(void *arg)
{
    struct cluster *cluster = arg;
    for (size_t i = 0; i < cluster->map.master_count; i++)
        redis_node_ping(cluster->nodes[i], buf_view(&cluster->ping_question), cluster->timeout_ms);
    timer_start(&cluster->ping, PING_MS);
}

struct cluster *cluster_open(struct loop *loop, const struct redis_options *options, unsigned timeout_ms,
                             const struct cluster_handlers *handlers, void *arg)
{
    struct cluster *cluster = mem_new(sizeof *cluster);
    if (redis_encode(1, (const struct bytes[]){bytes_of("PING")}, &cluster->ping_question) != ERR_OK)
        abort(); /* some dozen bytes, see mem_new() */
    cluster->loop = loop;
    cluster->options = options;
    cluster->timeout_ms = timeout_ms;
    cluster->handlers = handlers;
    cluster->arg = arg;
    cluster->since_unix_ms = clock_unix_ms();
    cluster->gap_since_mono_ms = clock_mono_ms();
    memset(cluster->map.at, SLOT_NOBODY, sizeof cluster->map.at);
    timer_init(&cluster->ping, loop, on_ping_due, cluster);
    timer_start(&cluster->ping, PING_MS);
    cluster->scout = cluster_scout_new(loop, options, on_map, cluster);
    return cluster;
}

void cluster_close(struct cluster *cluster)
{
    if (!cluster)
        return;
    timer_cancel(&cluster->ping);
    cluster_scout_free(cluster->scout);
    for (size_t i = 0; i < cluster->node_count; i++)
        redis_node_close(cluster->nodes[i]);
    buf_done(&cluster->ping_question);
    free(cluster);
}

bool cluster_up(const struct cluster *cluster)
{
    return cluster->up;
}

int64_t cluster_since_unix_ms(const struct cluster *cluster)
{
    return cluster->since_unix_ms;
}

int64_t cluster_gap_since_mono_ms(const struct cluster *cluster)
{
    return cluster->gap_since_mono_ms;
}

bool cluster_serves(const struct cluster *cluster, const struct address *address)
{
    for (size_t i = 0; i < cluster->map.master_count; i++)
        if (address_equal(&cluster->map.masters[i], address))
            return true;
    return false;
}

static bool is_served(const struct cluster *cluster, unsigned slot)
{
    struct redis_node *node = cluster_node(cluster, slot);
    return node && redis_node_up(node);
}

enum err cluster_describe(const struct cluster *cluster, struct buf *out)
{
    unsigned runs = 0;
    if (cluster->up)
        return ERR_OK;
    if (cluster->map.master_count == 0)
        return buf_printf(out, "no node of the cluster tells its slots");
    for (unsigned slot = 0; slot < SLOT_COUNT && runs < DESCRIBE_MAX; slot++) {
        unsigned first = slot;
        while (slot < SLOT_COUNT && !is_served(cluster, slot))
            slot++;
        if (slot > first)
            TRY(buf_printf(out, runs++ ? ", %u-%u" : "slots %u-%u", first, slot - 1));
    }
    return runs ? buf_printf(out, " have no master that answers") : ERR_OK;
}
