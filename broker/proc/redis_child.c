#include "proc/redis_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/log.h"

#define POLL_MS       20
#define REDIS_STOP_MS 5000 /* one that hangs loses what `everysec` had not written, as when it is killed */
#define SOCKET_NAME   "redis/redis.sock"

/* Somebody answers PING on the socket. @return its pid, or 0. */
static int ping(const struct datadir *dir)
{
    char text[ADDRESS_TEXT_SIZE], reply[8] = {0};
    struct address address;
    struct ucred peer = {0};
    socklen_t len = sizeof peer;
    int fd;
    datadir_socket(dir, SOCKET_NAME, text);
    if (address_parse(text, &address) != ERR_OK || address_connect(&address, &fd) != ERR_OK)
        return 0;
    struct pollfd answer = {.fd = fd, .events = POLLIN};
    bool pong = send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6 && poll(&answer, 1, 1000) == 1 &&
                recv(fd, reply, sizeof reply - 1, 0) >= 5 && memcmp(reply, "+PONG", 5) == 0;
    if (!pong || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        peer.pid = 0;
    close(fd);
    return peer.pid;
}

/* Search PATH; redis-check-rdb is the server's program under another name (Debian's redis-tools has that one). */
static bool find_program(const char *wanted, char *out, size_t size)
{
    static const char *const names[] = {"redis-server", "redis-check-rdb"};
    const char *path = getenv("PATH");
    if (wanted[0]) {
        snprintf(out, size, "%s", wanted);
        return access(out, X_OK) == 0;
    }
    for (size_t i = 0; i < 2; i++)
        for (const char *at = path ? path : "/usr/bin:/bin"; at;
             at = strchr(at, ':') ? strchr(at, ':') + 1 : NULL) {
            snprintf(out, size, "%.*s/%s", (int)strcspn(at, ":"), at, names[i]);
            if (access(out, X_OK) == 0)
                return true;
        }
    return false;
}

static void run_program(const struct redis_child *redis, const char *program)
{
    char *const argv[] = {
        "redis-server",
        "--port",
        "0",
        "--unixsocket",
        "redis.sock",
        "--unixsocketperm",
        "700",
        "--dir",
        ".",
        "--appendonly",
        "yes",
        "--appendfsync",
        redis->always ? "always" : "everysec",
        "--save",
        "",
        "--maxmemory-policy",
        "noeviction",
        "--hash-max-listpack-value",
        "512",
        "--logfile",
        "redis.log",
        NULL,
    };
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(077);
    setpgid(0, 0); /* a terminal's interrupt is the master's to handle */
    int null = open("/dev/null", O_RDWR);
    if (fchdir(redis->dir->fd) == 0 && chdir("redis") == 0 && null >= 0 && dup2(null, 0) == 0 &&
        dup2(null, 1) == 1)
        execv(program, argv);
    _exit(127);
}

static enum err adopt(struct redis_child *redis, int pid)
{
    redis->pid = pid;
    redis->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    return redis->pidfd < 0 ? ERR_IO : ERR_OK;
}

/* Wait until the process answers. One that is alive and does not yet (LOADING a large file) is left alone. */
static enum err wait_for_answer(struct redis_child *redis, struct buf *why)
{
    int64_t until_mono_ms = clock_mono_ms() + REDIS_START_MS;
    struct pollfd ended = {.fd = redis->pidfd, .events = POLLIN};
    while (ping(redis->dir) != redis->pid) {
        if (poll(&ended, 1, POLL_MS) == 1)
            return buf_printf(why, "redis-server ended at once; see %s/redis/redis.log", redis->dir->path) ==
                           ERR_OK
                       ? ERR_IO
                       : ERR_NOMEM;
        if (clock_mono_ms() > until_mono_ms)
            return buf_printf(why, "redis-server does not answer yet; see %s/redis/redis.log",
                              redis->dir->path) == ERR_OK
                       ? ERR_TIMEOUT
                       : ERR_NOMEM;
    }
    return ERR_OK;
}

enum err redis_child_start(struct redis_child *redis, struct buf *why)
{
    char program[DATADIR_PATH_SIZE];
    int left_over = redis->pidfd < 0 ? ping(redis->dir) : 0;
    if (redis->pidfd >= 0)
        return wait_for_answer(redis, why);
    if (left_over) {
        LOG(INFO, PROC, "redis-taken-over", "pid=%d", left_over);
        return adopt(redis, left_over);
    }
    if (!find_program(redis->program, program, sizeof program))
        return buf_printf(why,
                          "no redis-server found%s%s; install it, or name a running Redis by option redis",
                          redis->program[0] ? ": " : " in PATH", redis->program) == ERR_OK
                   ? ERR_NOT_FOUND
                   : ERR_NOMEM;
    int pid = fork();
    if (pid == 0)
        run_program(redis, program);
    if (pid < 0 || adopt(redis, pid) != ERR_OK)
        return buf_printf(why, "redis-server could not be started: %s", strerror(errno)) == ERR_OK
                   ? ERR_IO
                   : ERR_NOMEM;
    LOG(INFO, PROC, "redis-started", "pid=%d", pid);
    return wait_for_answer(redis, why);
}

void redis_child_reap(struct redis_child *redis)
{
    int status = 0;
    if (redis->pidfd < 0)
        return;
    waitpid(redis->pid, &status, WNOHANG); /* not our child where it was taken over: nothing to reap then */
    close(redis->pidfd);
    redis->pidfd = -1;
}

void redis_child_release(struct redis_child *redis)
{
    if (redis->pidfd >= 0)
        close(redis->pidfd);
    redis->pidfd = -1;
}

void redis_child_stop(struct redis_child *redis)
{
    if (redis->pidfd < 0)
        return;
    struct pollfd ended = {.fd = redis->pidfd, .events = POLLIN};
    syscall(SYS_pidfd_send_signal, redis->pidfd, SIGTERM, NULL, 0);
    if (poll(&ended, 1, REDIS_STOP_MS) != 1) {
        LOG(ERROR, PROC, "redis-killed", "pid=%d waited_ms=%d", redis->pid, REDIS_STOP_MS);
        syscall(SYS_pidfd_send_signal, redis->pidfd, SIGKILL, NULL, 0);
        poll(&ended, 1, REDIS_STOP_MS);
    }
    redis_child_reap(redis);
}
