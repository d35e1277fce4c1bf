#include "domain/challenge_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/table.h"

#define SWEPT_AT_ONCE 4 /* of what has expired, with each that is put */

struct cached {
    struct table_node node; /* in challenge_cache.by_id */
    struct list order;      /* in challenge_cache.entries */
    Record__Challenge *record;
    struct buf fence;
    struct challenge_view view;
    int64_t put_mono_ms; /* when Redis' clock said view.now_unix_ms */
    bool told;
};

struct challenge_cache {
    struct table by_id;
    struct list entries; /* struct cached, the oldest first */
};

static int64_t now_of(const struct cached *cached)
{
    return cached->view.now_unix_ms + (clock_mono_ms() - cached->put_mono_ms);
}

static struct cached *find(const struct challenge_cache *cache, const char *id)
{
    uint64_t hash = cache ? table_hash(bytes_of(id)) : 0;
    for (struct table_node *n = cache ? table_first(&cache->by_id, hash) : NULL; n; n = table_next(n, hash)) {
        struct cached *cached = CONTAINER_OF(n, struct cached, node);
        if (strcmp(cached->record->id, id) == 0)
            return cached;
    }
    return NULL;
}

static void remove_one(struct challenge_cache *cache, struct cached *cached)
{
    table_remove(&cache->by_id, &cached->node);
    list_remove(&cached->order);
    record__challenge__free_unpacked(cached->record, NULL);
    buf_done(&cached->fence);
    free(cached);
}

/* Those that nobody has settled here: their time is over, or there are too many. */
static void sweep(struct challenge_cache *cache)
{
    for (int i = 0; i < SWEPT_AT_ONCE && !list_empty(&cache->entries); i++) {
        struct cached *oldest = CONTAINER_OF(cache->entries.next, struct cached, order);
        if (cache->by_id.count < CACHED_MAX && now_of(oldest) < oldest->view.expire_unix_ms)
            return;
        remove_one(cache, oldest);
    }
}

void challenge_cache_put(struct challenge_cache *cache, const struct challenge_view *view, bool told)
{
    if (!cache || find(cache, view->record->id))
        return;
    sweep(cache);
    struct cached *cached = mem_new(sizeof *cached);
    if (buf_append(&cached->fence, view->fence) != ERR_OK ||
        table_add(&cache->by_id, &cached->node, table_hash(bytes_of(view->record->id))) != ERR_OK) {
        buf_done(&cached->fence);
        free(cached); /* the store has it */
        return;
    }
    cached->record = (Record__Challenge *)store_record_copy(&view->record->base);
    cached->view = *view;
    cached->view.record = cached->record;
    cached->view.fence = buf_view(&cached->fence);
    cached->view.progress = NULL;
    cached->view.progress_count = 0;
    cached->put_mono_ms = clock_mono_ms();
    cached->told = told;
    list_append(&cache->entries, &cached->order);
}

bool challenge_cache_find(const struct challenge_cache *cache, const char *id, struct challenge_view *ret)
{
    const struct cached *cached = find(cache, id);
    if (!cached)
        return false;
    *ret = cached->view;
    ret->now_unix_ms = now_of(cached);
    return true;
}

bool challenge_cache_unchanged(const struct challenge_cache *cache, const char *id,
                               struct challenge_view *ret)
{
    const struct cached *cached = find(cache, id);
    return cached && cached->told && challenge_cache_find(cache, id, ret);
}

void challenge_cache_changed(struct challenge_cache *cache, const char *id)
{
    struct cached *cached = find(cache, id);
    if (cached)
        cached->told = false;
}

void challenge_cache_doubt(struct challenge_cache *cache)
{
    for (struct list *node = cache ? cache->entries.next : NULL; node && node != &cache->entries;
         node = node->next)
        CONTAINER_OF(node, struct cached, order)->told = false;
}

void challenge_cache_drop(struct challenge_cache *cache, const char *id)
{
    struct cached *cached = find(cache, id);
    if (cached)
        remove_one(cache, cached);
}

struct challenge_cache *challenge_cache_new(void)
{
    struct challenge_cache *cache = mem_new(sizeof *cache);
    list_init(&cache->entries);
    return cache;
}

void challenge_cache_free(struct challenge_cache *cache)
{
    if (!cache)
        return;
    while (!list_empty(&cache->entries))
        remove_one(cache, CONTAINER_OF(cache->entries.next, struct cached, order));
    table_done(&cache->by_id);
    free(cache);
}
