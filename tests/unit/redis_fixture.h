/**
 * A real Redis for one test program, and a plain connection to it that looks at, and changes, what is stored.
 *
 * It listens on a unix socket in a directory of its own, on no port, and dies with the test program however that ends.
 */
#ifndef NANOPUSH_TESTS_REDIS_FIXTURE_H
#define NANOPUSH_TESTS_REDIS_FIXTURE_H

#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/redis_options.h"

#define REDIS_START_MS 10000

static struct {
    char dir[32];
    char socket[64], address[72]; /* the same as path, and as the store wants it */
    struct redis_options options; /* of that address */
    int pid;                      /* 0: not running */
    redisContext *raw;
} redis;

static inline void redis_run_program(int parent)
{
    /* redis-check-rdb, of Debian's redis-tools, is the server's program under another name. */
    static const char *const programs[] = {"redis-server", "redis-check-rdb"};
    static char *const argv[] = {"redis-server", "--port", "0", "--unixsocket", "redis.sock", "--appendonly",
                                 "yes",          "--save", "",  "--logfile",    "redis.log",  NULL};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent && chdir(redis.dir) == 0)
        for (size_t i = 0; i < 2; i++)
            execvp(programs[i], argv);
    _exit(127);
}

/** True once it answers PING; a server that still reads its file does not. */
static inline bool redis_answers(void)
{
    if (redis.raw)
        redisFree(redis.raw);
    redis.raw = redisConnectUnix(redis.socket);
    redisReply *reply = redis.raw && !redis.raw->err ? redisCommand(redis.raw, "PING") : NULL;
    bool pong = reply && reply->type == REDIS_REPLY_STATUS;
    freeReplyObject(reply);
    return pong;
}

/** Start it, in the directory that it had before if there is one. @return 0, or -1. */
static inline int redis_start(void)
{
    int parent = getpid();
    if (!redis.dir[0]) {
        strcpy(redis.dir, "/tmp/nanopush-redis.XXXXXX");
        if (!mkdtemp(redis.dir))
            return -1;
        snprintf(redis.socket, sizeof redis.socket, "%s/redis.sock", redis.dir);
        snprintf(redis.address, sizeof redis.address, "unix:%s", redis.socket);
        redis.options.login.master = true;
        redis.options.address_count = 1;
        if (address_parse(redis.address, &redis.options.addresses[0]) != ERR_OK)
            return -1;
    }
    redis.pid = fork();
    if (redis.pid == 0)
        redis_run_program(parent);
    for (int64_t until_mono_ms = clock_mono_ms() + REDIS_START_MS; !redis_answers(); poll(NULL, 0, 10))
        if (clock_mono_ms() > until_mono_ms || waitpid(redis.pid, NULL, WNOHANG) != 0) {
            fprintf(stderr, "no Redis in %s\n", redis.dir);
            return -1;
        }
    return 0;
}

/** As a crash: nothing is written any more. */
static inline void redis_kill(void)
{
    if (redis.pid > 0) {
        kill(redis.pid, SIGKILL);
        waitpid(redis.pid, NULL, 0);
    }
    redis.pid = 0;
}

static inline int redis_remove_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void redis_end(void)
{
    redis_kill();
    if (redis.raw)
        redisFree(redis.raw);
    if (redis.dir[0])
        nftw(redis.dir, redis_remove_file, 8, FTW_DEPTH | FTW_PHYS);
}

/** Run a command, in hiredis' format; its number, or -1 where the answer is none. The answer must not be an error. */
static inline int64_t redis_do(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = redisvCommand(redis.raw, format, args);
    va_end(args);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", format, reply->str);
    int64_t number = reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
    freeReplyObject(reply);
    return number;
}

/** The string that a command answers with, valid until the next call; @p len may be NULL. "" where it is none. */
static inline const char *redis_text(size_t *len, const char *format, ...)
{
    static char text[65536];
    va_list args;
    va_start(args, format);
    redisReply *reply = redisvCommand(redis.raw, format, args);
    va_end(args);
    assert_non_null(reply);
    size_t n = reply->type == REDIS_REPLY_STRING ? (size_t)reply->len : 0;
    assert_true(n < sizeof text);
    memcpy(text, n ? reply->str : "", n);
    text[n] = '\0';
    if (len)
        *len = n;
    freeReplyObject(reply);
    return text;
}

#endif
