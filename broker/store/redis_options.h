/**
 * Where Redis is and how to log in to it: what the options redis* mean, with their files read. Made once, by the master,
 * before it forks; blocking (files, names that are looked up).
 */
#ifndef NANOPUSH_STORE_REDIS_OPTIONS_H
#define NANOPUSH_STORE_REDIS_OPTIONS_H

#include "core/config.h"
#include "net/address.h"
#include "store/redis_login.h"

#define REDIS_PASSWORD_MAX_BYTES 512

#define REDIS_ADDRESSES_MAX      64

enum redis_kind {
    REDIS_SINGLE,   /* one server; the embedded one too */
    REDIS_SENTINEL, /* a master, which Sentinels name */
    REDIS_CLUSTER,  /* masters, which share the keys by their slots */
};

struct redis_options {
    enum redis_kind kind;
    size_t address_count;
    struct address addresses[REDIS_ADDRESSES_MAX]; /* the server; the Sentinels; nodes to begin with */
    const char *master_name;
    bool replicated;                          /* durable writes wait for a replica */
    struct redis_login login, sentinel_login; /* their passwords are in the next two */
    struct buf password, sentinel_password;
};

/**
 * @param      config    kept.
 * @param      embedded  address of the embedded one; used where the configuration names none.
 * @param[out] ret       done with redis_options_done(), also on error.
 * @param      why       gets a line for the operator on error.
 * @return ERR_OK; ERR_CONFIG; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err redis_options_load(const struct config *config, const char *embedded,
                                       struct redis_options *ret, struct buf *why);

/** Cleanses the password. Zero-initialised is allowed. */
void redis_options_done(struct redis_options *options);

/** True if the configuration names a Redis, of whatever kind. */
bool redis_is_named(const struct config *config);

#endif
