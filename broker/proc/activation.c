#include "proc/activation.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_FD 3

static const char *const names[ACTIVATION_COUNT] = {
    [ACTIVATION_DEVICE] = "device", [ACTIVATION_PORTAL] = "portal", [ACTIVATION_STATS] = "stats"};

static long number_of(const char *variable)
{
    const char *text = getenv(variable);
    char *end = NULL;
    long number = text ? strtol(text, &end, 10) : 0;
    return end && end != text && *end == '\0' ? number : 0;
}

static enum activation_socket socket_named(const char *name, size_t len)
{
    enum activation_socket socket = 0;
    while (socket < ACTIVATION_COUNT && (strlen(names[socket]) != len || memcmp(names[socket], name, len)))
        socket++;
    return socket;
}

static bool listens(int fd)
{
    int value = 0;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len) == 0 && value == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 && value == 1;
}

static bool set_up(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* a unix socket has no such thing */
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0;
}

static enum err refuse(struct buf *why, int fd, const char *name, size_t len, const char *text)
{
    return buf_printf(why, "LISTEN_FDNAMES: descriptor %d, \"%.*s\": %s", fd, (int)len, name, text) == ERR_OK
               ? ERR_CONFIG
               : ERR_NOMEM;
}

static enum err take_each(long count, const char *name, struct activation *ret, struct buf *why)
{
    for (int fd = FIRST_FD; fd < FIRST_FD + count; fd++) {
        size_t len = strcspn(name, ":");
        enum activation_socket socket = socket_named(name, len);
        if (socket == ACTIVATION_COUNT)
            return refuse(why, fd, name, len, "must be device, portal or stats");
        if (ret->fds[socket] >= 0)
            return refuse(why, fd, name, len, "is there twice");
        if (!listens(fd) || !set_up(fd))
            return refuse(why, fd, name, len, "is no listening stream socket");
        ret->fds[socket] = fd;
        name += len + (name[len] == ':');
    }
    return ERR_OK;
}

enum err activation_take(struct activation *ret, struct buf *why)
{
    struct activation found = {.fds = {-1, -1, -1}};
    const char *given = getenv("LISTEN_FDNAMES");
    bool ours = number_of("LISTEN_PID") == getpid();
    enum err e = ours ? take_each(number_of("LISTEN_FDS"), given ? given : "", &found, why) : ERR_OK;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (e == ERR_OK)
        *ret = found;
    return e;
}

bool activation_is_whole(const struct activation *activation)
{
    return activation->fds[ACTIVATION_DEVICE] >= 0 && activation->fds[ACTIVATION_PORTAL] >= 0 &&
           activation->fds[ACTIVATION_STATS] >= 0;
}

_Noreturn void activation_exec(const struct activation *activation, const char *program, char *const *argv)
{
    char pid[16], count[16], all[64] = "";
    int out_of_the_way[ACTIVATION_COUNT];
    sigset_t none;
    for (int i = 0; i < ACTIVATION_COUNT; i++) {
        strcat(strcat(all, i ? ":" : ""), names[i]);
        out_of_the_way[i] = fcntl(activation->fds[i], F_DUPFD_CLOEXEC, FIRST_FD + ACTIVATION_COUNT);
    }
    for (int i = 0; i < ACTIVATION_COUNT; i++)
        if (dup2(out_of_the_way[i], FIRST_FD + i) < 0)
            _exit(127);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    snprintf(count, sizeof count, "%d", ACTIVATION_COUNT);
    sigemptyset(&none);
    if (setenv("LISTEN_PID", pid, 1) == 0 && setenv("LISTEN_FDS", count, 1) == 0 &&
        setenv("LISTEN_FDNAMES", all, 1) == 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0)
        execv(program, argv);
    _exit(127);
}
