/*
 * ListUsers: shard by shard of the table of contents, name by name; each user is read, and one that is not there any more
 * is taken out of the table. The page token says where it stopped, under a seal.
 */
#include "portal/user_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "domain/text.h"
#include "nanopush/v1/user.pb-c.h"
#include "portal/user_message.h"

#define PAGE_DEFAULT    50
#define TOKEN_MAX_BYTES (SHA256_BYTES + 1 + USER_NAME_SIZE)

struct listing {
    struct rpc_call *call;
    struct store_call *step;
    char *organisation;
    const char *shard;             /* in USER_SHARDS; at its end: all are through */
    char after[USER_NAME_SIZE];    /* the last name of the shard that was handled */
    char (*names)[USER_NAME_SIZE]; /* of the shard, being read */
    size_t name_count, name_at;
    char tag[USER_TAG_SIZE]; /* of the one being read */
    Nanopush__V1__User **users;
    size_t user_count, wanted;
};

static void listing_free(struct listing *listing)
{
    for (size_t i = 0; i < listing->user_count; i++)
        nanopush__v1__user__free_unpacked(listing->users[i], NULL);
    free(listing->users);
    free(listing->names);
    free(listing->organisation);
    free(listing);
}

static void listing_end(void *state)
{
    struct listing *listing = state;
    store_cancel(listing->step);
    listing_free(listing);
}

/* ---- page tokens: seal, shard, name; for one organisation ---- */

static void token_place(const char *organisation, char place[NAME_MAX_LEN + 16])
{
    snprintf(place, NAME_MAX_LEN + 16, "page of %s", organisation);
}

static enum err token_make(const struct listing *listing, char out[BASE64URL_SIZE(TOKEN_MAX_BYTES)])
{
    uint8_t token[TOKEN_MAX_BYTES];
    char place[NAME_MAX_LEN + 16];
    size_t name_len = strlen(listing->after);
    out[0] = '\0';
    if (!*listing->shard)
        return ERR_OK;
    token[SHA256_BYTES] = (uint8_t)*listing->shard;
    memcpy(token + SHA256_BYTES + 1, listing->after, name_len);
    token_place(listing->organisation, place);
    TRY(secret_seal(rpc_domain(listing->call)->secret, bytes_of(place),
                    bytes_make(token + SHA256_BYTES, 1 + name_len), token));
    base64url_encode(bytes_make(token, SHA256_BYTES + 1 + name_len), out);
    return ERR_OK;
}

static enum err token_read(const char *text, struct listing *listing)
{
    uint8_t token[TOKEN_MAX_BYTES];
    char place[NAME_MAX_LEN + 16];
    size_t len = 0;
    if (!text[0])
        return ERR_OK;
    token_place(listing->organisation, place);
    TRY(base64url_decode(bytes_of(text), token, sizeof token, &len));
    if (len < SHA256_BYTES + 1)
        return ERR_MALFORMED;
    TRY(secret_check_seal(rpc_domain(listing->call)->secret, bytes_of(place),
                          bytes_make(token + SHA256_BYTES, len - SHA256_BYTES), token));
    listing->shard = strchr(USER_SHARDS, token[SHA256_BYTES]);
    memcpy(listing->after, token + SHA256_BYTES + 1, len - SHA256_BYTES - 1);
    return ERR_OK;
}

/* ---- reading ---- */

static void next_shard(struct listing *listing);

static void fail(struct listing *listing, enum err e)
{
    struct rpc_call *call = listing->call;
    rpc_on_end(call, NULL, NULL);
    listing_free(listing);
    rpc_fail_store(call, e);
}

static void reply(struct listing *listing)
{
    struct rpc_call *call = listing->call;
    Nanopush__V1__ListUsersResponse response = NANOPUSH__V1__LIST_USERS_RESPONSE__INIT;
    char token[BASE64URL_SIZE(TOKEN_MAX_BYTES)];
    enum err e = token_make(listing, token);
    if (e != ERR_OK) {
        fail(listing, e);
        return;
    }
    rpc_on_end(call, NULL, NULL);
    response.users = listing->users;
    response.n_users = listing->user_count;
    response.next_page_token = token;
    rpc_reply(call, &response.base);
    listing_free(listing);
}

static void next_user(struct listing *listing);

static void on_user(enum err e, const struct user_view *view, void *arg)
{
    struct listing *listing = arg;
    struct domain *domain = rpc_domain(listing->call);
    const char *name = listing->names[listing->name_at++];
    struct user_message user;
    listing->step = NULL;
    if (e == ERR_NOT_FOUND) {
        store_user_index_set(domain->store, listing->organisation, *listing->shard, name, false, NULL, NULL);
    } else if (e != ERR_OK) {
        fail(listing, e);
        return;
    } else {
        user_message_fill(rpc_portal(listing->call), name, view, &user);
        listing->users[listing->user_count++] = (Nanopush__V1__User *)store_record_copy(&user.message.base);
        user_message_done(&user);
    }
    memcpy(listing->after, name, USER_NAME_SIZE);
    next_user(listing);
}

static void next_user(struct listing *listing)
{
    struct domain *domain = rpc_domain(listing->call);
    if (listing->user_count == listing->wanted) {
        reply(listing);
        return;
    }
    if (listing->name_at == listing->name_count) {
        next_shard(listing);
        return;
    }
    enum err e = secret_user_tag(domain->secret, bytes_of(listing->organisation),
                                 bytes_of(listing->names[listing->name_at]), listing->tag);
    if (e != ERR_OK)
        fail(listing, e);
    else
        listing->step = store_user_get(domain->store, listing->tag, on_user, listing);
}

static void on_names(enum err e, const struct user_names *names, void *arg)
{
    struct listing *listing = arg;
    listing->step = NULL;
    if (e != ERR_OK) {
        fail(listing, e);
        return;
    }
    listing->name_at = 0;
    listing->name_count = names->count;
    for (size_t i = 0; i < names->count; i++)
        memcpy(listing->names[i], names->at[i], USER_NAME_SIZE);
    if (names->count == 0) {
        listing->shard++;
        listing->after[0] = '\0';
    }
    next_user(listing);
}

static void next_shard(struct listing *listing)
{
    if (!*listing->shard)
        reply(listing);
    else
        listing->step =
            store_user_index_list(rpc_domain(listing->call)->store, listing->organisation, *listing->shard,
                                  listing->after, listing->wanted - listing->user_count, on_names, listing);
}

void user_list(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Nanopush__V1__ListUsersRequest *request = (const Nanopush__V1__ListUsersRequest *)message;
    const Record__Portal *portal = rpc_portal(call);
    const char *organisation = portal ? portal->organisation : request->organisation;
    if (!text_is_name(bytes_of(organisation))) {
        rpc_fail(call, RPC_INVALID_ARGUMENT, "organisation: must be named on the admin socket");
        return;
    }
    struct listing *listing = mem_new(sizeof *listing);
    listing->call = call;
    listing->organisation = mem_copy_string(organisation);
    listing->shard = USER_SHARDS;
    listing->wanted = request->page_size == 0               ? PAGE_DEFAULT
                      : request->page_size < USERS_PAGE_MAX ? request->page_size
                                                            : USERS_PAGE_MAX;
    if (token_read(request->page_token, listing) != ERR_OK) {
        listing_free(listing);
        rpc_fail(call, RPC_INVALID_ARGUMENT, "pageToken: not one of this list; begin anew without");
        return;
    }
    listing->names = mem_new(USERS_PAGE_MAX * sizeof *listing->names);
    listing->users = mem_new(listing->wanted * sizeof *listing->users);
    rpc_on_end(call, listing_end, listing);
    next_shard(listing);
}
