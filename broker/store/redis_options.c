#include "store/redis_options.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "crypto/keyfile.h"
#include "crypto/tls.h"

#define REFUSE(why, ...) (buf_printf((why), __VA_ARGS__) == ERR_OK ? ERR_CONFIG : ERR_NOMEM)

bool redis_is_named(const struct config *config)
{
    return config->redis[0] || config->redis_sentinels.count || config->redis_cluster.count;
}

/* Looked up here, once: workers only ever dial addresses. */
static enum err look_up(const char *text, struct address *ret, struct buf *why)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG};
    struct addrinfo *found = NULL;
    char host[256];
    const char *colon = strrchr(text, ':');
    if (address_parse(text, ret) == ERR_OK)
        return ERR_OK;
    if (!colon || (size_t)(colon - text) >= sizeof host)
        return REFUSE(why, "%s: not an address of a Redis", text);
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    int error = getaddrinfo(host, colon + 1, &hints, &found);
    if (error)
        return REFUSE(why, "%s: %s", text, gai_strerror(error));
    memset(ret, 0, sizeof *ret);
    memcpy(&ret->storage, found->ai_addr, found->ai_addrlen);
    ret->len = found->ai_addrlen;
    freeaddrinfo(found);
    return ERR_OK;
}

/* The file's bytes but for line ends behind them. */
static enum err read_password(const char *option, const char *path, struct buf *password, struct bytes *ret,
                              struct buf *why)
{
    if (!path[0])
        return ERR_OK;
    enum err e = keyfile_read(path, KEYFILE_PRIVATE, REDIS_PASSWORD_MAX_BYTES, password);
    if (e != ERR_OK)
        return REFUSE(why, "%s: %s: %s%s", option, path, err_text(e),
                      e == ERR_DENIED ? "; it must be readable by its owner only" : "");
    struct bytes text = buf_view(password);
    while (text.len && (text.p[text.len - 1] == '\n' || text.p[text.len - 1] == '\r'))
        text.len--;
    if (text.len == 0)
        return REFUSE(why, "%s: %s: there is no password in it", option, path);
    *ret = text;
    return ERR_OK;
}

static enum err set_up_tls(const struct config *config, struct redis_login *login, struct buf *why)
{
    if (!config->redis_tls_ca[0])
        return config->redis_tls_certificate[0] || config->redis_tls_name[0]
                   ? REFUSE(why, "redis_tls_ca is needed for TLS to Redis")
                   : ERR_OK;
    if (!config->redis_tls_name[0])
        return REFUSE(why, "redis_tls_name is needed: the name or address in Redis' certificate");
    if (config->redis_tls_certificate[0] && !config->redis_tls_key[0])
        return REFUSE(why, "redis_tls_key is needed with redis_tls_certificate");
    return tls_client_new(config->redis_tls_ca, config->redis_tls_name, config->redis_tls_certificate,
                          config->redis_tls_key, &login->tls, why);
}

static enum err find_servers(const struct config *config, const char *embedded, struct redis_options *ret,
                             struct buf *why)
{
    bool sentinels = config->redis_sentinels.count > 0;
    const struct config_strings *several = sentinels ? &config->redis_sentinels : &config->redis_cluster;
    if ((config->redis[0] != '\0') + sentinels + (config->redis_cluster.count > 0) > 1)
        return REFUSE(why, "redis, redis_sentinels and redis_cluster exclude each other");
    ret->kind = sentinels ? REDIS_SENTINEL : several->count ? REDIS_CLUSTER : REDIS_SINGLE;
    ret->address_count = several->count ? several->count : 1;
    if (ret->kind == REDIS_SINGLE)
        return look_up(config->redis[0] ? config->redis : embedded, &ret->addresses[0], why);
    if (ret->kind == REDIS_CLUSTER && config->redis_database)
        return REFUSE(why, "redis_database: a Redis Cluster has number 0 only");
    for (size_t i = 0; i < several->count; i++)
        TRY(look_up(several->at[i], &ret->addresses[i], why));
    return ERR_OK;
}

static enum err set_up_login(const char *user, const char *file_option, const char *file,
                             struct buf *password, struct redis_login *login, struct buf *why)
{
    login->user = user;
    TRY(read_password(file_option, file, password, &login->password, why));
    return user[0] && login->password.len == 0 ? REFUSE(why, "%s is needed with its user", file_option)
                                               : ERR_OK;
}

enum err redis_options_load(const struct config *config, const char *embedded, struct redis_options *ret,
                            struct buf *why)
{
    *ret = (struct redis_options){.master_name = config->redis_master, .login = {.master = true}};
    TRY(find_servers(config, embedded, ret, why));
    ret->replicated = strcmp(config->durability, "replicated") == 0;
    ret->login.appendfsync = strcmp(config->durability, "always") == 0;
    if (!redis_is_named(config))
        return ret->replicated
                   ? REFUSE(why, "durability = \"replicated\" needs a Redis that is named, with a replica")
                   : ERR_OK;
    ret->login.database = (unsigned)config->redis_database;
    ret->login.permissions = true;
    TRY(set_up_login(config->redis_user, "redis_password_file", config->redis_password_file, &ret->password,
                     &ret->login, why));
    TRY(set_up_login(config->redis_sentinel_user, "redis_sentinel_password_file",
                     config->redis_sentinel_password_file, &ret->sentinel_password, &ret->sentinel_login,
                     why));
    TRY(set_up_tls(config, &ret->login, why));
    ret->sentinel_login.tls = ret->login.tls;
    return ERR_OK;
}

void redis_options_done(struct redis_options *options)
{
    SSL_CTX_free(options->login.tls);
    buf_done(&options->password);
    buf_done(&options->sentinel_password);
    *options = (struct redis_options){0};
}
