/*
 * Linked into build/nanopushd-stops, and into nothing else: around the calls by which store/ sends a command, so that a test
 * has a worker stop dead, or stand still, at a point of its choice. Nothing of the product knows of it (adr/0015).
 *
 * The file that STOP_POINT names has "COMMAND MOMENT kill" or "COMMAND MOMENT pause": a row of script.def, or a
 * command that is sent from outside a script; and
 *
 *     before   the command is not sent
 *     sent     its bytes have gone to Redis
 *     reply    Redis' reply is there, and nobody was told
 *     handled  whoever waited for the reply has been told
 *
 * The first process that comes to it takes the file away, writes its id into FILE.pid, and stops.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/redis.h"
#include "store/script.h"

#define POINT_MAX_BYTES 128

enum moment { MOMENT_BEFORE, MOMENT_SENT, MOMENT_REPLY, MOMENT_HANDLED, MOMENT_COUNT };

static const char *const moments[MOMENT_COUNT] = {"before", "sent", "reply", "handled"};

struct stop {
    enum moment moment;
    bool pauses;
    redis_reply_fn fn; /* of whoever sent the command */
    void *arg;
};

static char sending[64]; /* what the command has in it whose bytes are awaited; "": none */
static bool sending_pauses;

__typeof__(redis_send) __wrap_redis_send, __real_redis_send;
__typeof__(send) __wrap_send, __real_send;

static void stop_here(bool pauses)
{
    char path[4096], pid[24];
    snprintf(path, sizeof path, "%s.pid", getenv("STOP_POINT"));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int len = snprintf(pid, sizeof pid, "%d", (int)getpid());
    if (fd < 0 || write(fd, pid, (size_t)len) != len || close(fd) != 0)
        abort();
    raise(pauses ? SIGSTOP : SIGKILL);
}

static const char *name_of(size_t argc, const struct bytes *argv)
{
    static char word[24];
    bool script =
        argc > 1 && (bytes_equal(argv[0], bytes_of("EVALSHA")) || bytes_equal(argv[0], bytes_of("EVAL")));
    for (size_t i = 0; script && i < SCRIPT_COUNT; i++)
        if (bytes_equal(argv[1], bytes_of(scripts[i].sha1)) ||
            bytes_equal(argv[1], bytes_of(scripts[i].text)))
            return scripts[i].name;
    snprintf(word, sizeof word, "%.*s", (int)argv[0].len, (const char *)argv[0].p);
    return word;
}

/* True for one process only: it has taken the file away. */
static bool is_here(const char *name, struct stop *ret)
{
    const char *path = getenv("STOP_POINT");
    char text[POINT_MAX_BYTES] = "", command[64], moment[16], how[16];
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0 || sscanf(text, "%63s %15s %15s", command, moment, how) != 3 || strcmp(command, name) != 0)
        return false;
    ret->pauses = strcmp(how, "pause") == 0;
    for (ret->moment = 0; ret->moment < MOMENT_COUNT; ret->moment++)
        if (strcmp(moment, moments[ret->moment]) == 0)
            return unlink(path) == 0;
    return false;
}

static void on_reply(enum err e, const redisReply *reply, void *arg)
{
    struct stop stop = *(struct stop *)arg;
    free(arg);
    if (stop.moment == MOMENT_REPLY)
        stop_here(stop.pauses);
    if (stop.fn)
        stop.fn(e, reply, stop.arg);
    if (stop.moment == MOMENT_HANDLED)
        stop_here(stop.pauses);
}

struct redis_request *__wrap_redis_send(struct redis *redis, const struct key *key, bool durable, size_t argc,
                                        const struct bytes *argv, redis_reply_fn fn, void *arg)
{
    struct stop stop = {.fn = fn, .arg = arg};
    if (!is_here(name_of(argc, argv), &stop))
        return __real_redis_send(redis, key, durable, argc, argv, fn, arg);
    if (stop.moment == MOMENT_BEFORE) {
        stop_here(stop.pauses);
    } else if (stop.moment == MOMENT_SENT) {
        struct bytes mark = argv[argc > 1 ? 1 : 0];
        snprintf(sending, sizeof sending, "%.*s", (int)(mark.len < 40 ? mark.len : 40), (const char *)mark.p);
        sending_pauses = stop.pauses;
    } else {
        struct stop *kept = mem_new(sizeof *kept);
        *kept = stop;
        fn = on_reply;
        arg = kept;
    }
    return __real_redis_send(redis, key, durable, argc, argv, fn, arg);
}

ssize_t __wrap_send(int fd, const void *p, size_t len, int flags)
{
    ssize_t n = __real_send(fd, p, len, flags);
    if (sending[0] && n > 0 && memmem(p, (size_t)n, sending, strlen(sending))) {
        sending[0] = '\0';
        stop_here(sending_pauses);
    }
    return n;
}
