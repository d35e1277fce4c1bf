/**
 * What a connection says to Redis before it is up, one step after the other: who it is, which database, and whether
 * this is a server that may be used at all.
 *
 *     AUTH -> SELECT -> PING (LOADING?) -> ROLE (a master?) -> CONFIG GET (appendfsync?) -> which commands the ACL lacks
 *          -> does it have what the one before had? -> up
 */
#ifndef NANOPUSH_STORE_REDIS_LOGIN_H
#define NANOPUSH_STORE_REDIS_LOGIN_H

#include <hiredis/hiredis.h>

#include "base/buf.h"
#include "crypto/tls.h"

#define REDIS_LINEAGE_SIZE 33 /* 32 hex digits and NUL */

/**
 * What a group of servers, one master after the other, has in common: an id in a key of its own, made by who finds none
 * first, and replicated as all else. A server without it, or with another, came back empty. Zero-initialised: not known.
 */
struct redis_lineage {
    char id[REDIS_LINEAGE_SIZE];
    int64_t foreign_mono_ms; /* since when a server without it was all that there is; 0: it is not so */
};

/** For how long one that came back empty is refused; if nobody else is master by then, what was there is gone. */
#define REDIS_FOREIGN_MS 15000

/** Zero-initialised: plain, no password, database 0, whatever server answers. */
struct redis_login {
    SSL_CTX *tls;          /* NULL: plain */
    const char *user;      /* NULL or "": the default user */
    struct bytes password; /* empty: none; a secret */
    unsigned database;
    bool master;                   /* refuse one that is none */
    bool appendfsync;              /* refuse one that does not write to its disk at once */
    bool permissions;              /* refuse one that lets us not run what scripts run */
    struct redis_lineage *lineage; /* refuse one of another; NULL: not asked */
};

enum redis_step {
    REDIS_STEP_AUTH,
    REDIS_STEP_SELECT,
    REDIS_STEP_PING,
    REDIS_STEP_ROLE,
    REDIS_STEP_APPENDFSYNC,
    REDIS_STEP_PERMISSIONS,
    REDIS_STEP_LINEAGE,
    REDIS_STEP_DONE,
};

/**
 * The first step from @p from on that is needed, its command appended to @p out; REDIS_STEP_DONE when none is left.
 * @param[out] next  set on ERR_OK.
 * @return ERR_OK; ERR_NOMEM; ERR_CRYPTO (no random numbers).
 */
MUST_CHECK enum err redis_login_next(const struct redis_login *login, enum redis_step from, struct buf *out,
                                     enum redis_step *next);

/**
 * Judge the reply to a step; that to the last one may make the lineage known.
 * @param why  gets a line for the operator, without the password, when it is not ERR_OK.
 * @return ERR_OK; ERR_DENIED: the server refuses us, or is not what is wanted; ERR_UNAVAILABLE: it is loading;
 *         ERR_NOMEM.
 */
MUST_CHECK enum err redis_login_check(const struct redis_login *login, enum redis_step step,
                                      const redisReply *reply, struct buf *why);

/** The name of a step, for log lines. */
const char *redis_step_name(enum redis_step step);

/** Append a command in RESP: an array of bulk strings. @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err redis_encode(size_t argc, const struct bytes *argv, struct buf *out);

#endif
