/* What a server says before it may be used, and where a Cluster's nodes send whom: read, or refused, as often as it is said. */
#include <stdlib.h>

#include "store/redis_login.h"
#include "store/slot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slot_map map;

static void check_map(void)
{
    unsigned first, last;
    char text[ADDRESS_TEXT_SIZE];
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        if (map.at[slot] != SLOT_NOBODY && map.at[slot] >= map.master_count)
            abort();
    for (size_t i = 0; i < map.master_count; i++)
        address_print(&map.masters[i], text);
    for (unsigned from = 0; slot_map_gap(&map, from, &first, &last); from = last + 1)
        if (first < from || last < first || last >= SLOT_COUNT)
            abort();
}

static void check_redirect(struct bytes error)
{
    struct redirect to = redirect_parse(error);
    bool named = to.kind == REDIRECT_MOVED || to.kind == REDIRECT_ASK;
    if (to.slot >= SLOT_COUNT || named != (to.address.len != 0))
        abort();
}

static void judge(const redisReply *reply)
{
    struct redis_lineage lineage = {0};
    const struct redis_login login = {.lineage = &lineage};
    struct address asked;
    if (address_parse("[::1]:6379", &asked) != ERR_OK)
        abort();
    for (enum redis_step step = REDIS_STEP_AUTH; step <= REDIS_STEP_DONE; step++) {
        struct buf why = {0};
        if (redis_login_check(&login, step, reply, &why) == ERR_OK && buf_len(&why))
            abort();
        buf_done(&why);
    }
    if (slot_map_parse(reply, &asked, &map) == ERR_OK)
        check_map();
    if (reply->type == REDIS_REPLY_ERROR)
        check_redirect(bytes_make(reply->str, (size_t)reply->len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    check_redirect(bytes_make(data, size));
    if (reader && redisReaderFeed(reader, (const char *)data, size) == REDIS_OK)
        while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
            judge(reply);
            freeReplyObject(reply);
            reply = NULL;
        }
    if (reader)
        redisReaderFree(reader);
    return 0;
}
