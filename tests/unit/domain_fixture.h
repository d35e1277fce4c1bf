/**
 * Two workers with all of domain/ and none of device/ and portal/: what would go to phones is noted instead. Beside them
 * stand store_fixture.h's own two stores, which look at Redis and change it without telling anybody.
 */
#ifndef NANOPUSH_TESTS_DOMAIN_FIXTURE_H
#define NANOPUSH_TESTS_DOMAIN_FIXTURE_H

#include "domain/challenge.h"
#include "domain/challenge_cache.h"
#include "domain/challenge_progress.h"
#include "domain/router.h"
#include "domain/watch.h"
#include "store_fixture.h"

#define NODE_TIMEOUT_MS 300

struct node {
    struct domain domain;
    unsigned inboxes, taken, removed;
    size_t push_count, resolved_count;
    struct {
        char id[ID_SIZE], device_id[ID_SIZE];
        uint64_t connection;
    } last; /* pushed or resolved */
};

static struct node near, far;

static inline void node_deliver(enum hint_kind kind, const char *device_id, uint64_t connection,
                                const char *challenge_id, struct bytes frame, void *arg)
{
    struct node *node = arg;
    *(kind == HINT_PUSH ? &node->push_count : &node->resolved_count) += frame.len > 0;
    node->last.connection = connection;
    snprintf(node->last.id, sizeof node->last.id, "%s", challenge_id);
    snprintf(node->last.device_id, sizeof node->last.device_id, "%s", device_id);
}

static inline void node_taken(const char *device_id, uint64_t connection, bool removed, void *arg)
{
    struct node *node = arg;
    (void)device_id;
    (void)connection;
    node->taken++;
    node->removed += removed;
}

static inline void node_changed(const char *id, void *arg)
{
    struct node *node = arg;
    watches_changed(node->domain.watches, id);
}

static inline void node_on_hint(const Record__Hint *hint, void *arg)
{
    struct node *node = arg;
    router_on_hint(node->domain.router, hint);
}

static inline void node_on_inbox(void *arg)
{
    struct node *node = arg;
    node->inboxes++;
    watches_renew(node->domain.watches);
}

static inline void node_open(struct node *node, unsigned slot)
{
    static const struct router_sinks sinks = {
        .deliver = node_deliver, .taken = node_taken, .changed = node_changed};
    static const struct store_events events = {.on_hint = node_on_hint, .on_inbox = node_on_inbox};
    const struct store_options options = {
        .redis = &redis.options, .timeout_ms = NODE_TIMEOUT_MS, .slot = slot};
    *node = (struct node){.domain = {.loop = loop, .secret = secret, .devices_max = TOLD_MAX}};
    node->domain.store = store_open(loop, secret, &options, &events, node);
    node->domain.router = router_new(loop, node->domain.store, &sinks, node);
    node->domain.watches = watches_new(&node->domain);
    node->domain.challenge_cache = challenge_cache_new();
    node->domain.progress = progress_new(&node->domain);
}

static inline void node_close(struct node *node)
{
    watches_free(node->domain.watches);
    progress_free(node->domain.progress);
    router_close(node->domain.router);
    store_close(node->domain.store);
    turn(5);
    router_free(node->domain.router);
    challenge_cache_free(node->domain.challenge_cache);
}

static inline int nodes_set_up(void **state)
{
    if (set_up(state) != 0)
        return -1;
    node_open(&near, 3);
    node_open(&far, 4);
    TURN_UNTIL(near.inboxes == 1 && far.inboxes == 1);
    return 0;
}

static inline int nodes_tear_down(void **state)
{
    kill(redis.pid, SIGCONT);
    node_close(&near);
    node_close(&far);
    return tear_down(state);
}

/** Hang the person's phone on a node. */
static inline void hang(struct node *node, const struct person *person, uint64_t connection)
{
    const struct presence presence = store_presence(node->domain.store, connection, 0);
    assert_int_equal(got_wait(store_device_attach(node->domain.store, person->phone, 1,
                                                  digest_of(person->keys[0]), &presence, on_attached, NULL)),
                     ERR_OK);
}

#endif
