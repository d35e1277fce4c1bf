#include "proc/child.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "audit/writer.h"
#include "core/log.h"

enum err child_audit_open(const struct child_setup *setup, struct loop *loop, const char *process,
                          struct audit **ret)
{
    char directory[DATADIR_PATH_SIZE];
    datadir_file(setup->dir, "audit", directory);
    const struct audit_options options = {
        .directory = directory,
        .process = process,
        .file_bytes = (size_t)setup->config->audit_file_max_bytes,
    };
    return audit_open(loop, setup->secret, &options, ret);
}

static void end_now(struct child_end *end, const char *why)
{
    if (end->ending)
        return;
    end->ending = true;
    LOG(INFO, PROC, "ending", "why=%s", why);
    end->on_end(end->arg);
}

static void on_signal(unsigned events, void *arg)
{
    struct child_end *end = arg;
    struct signalfd_siginfo signal;
    (void)events;
    while (read(end->signal_fd, &signal, sizeof signal) == sizeof signal)
        if (signal.ssi_signo == SIGTERM)
            end_now(end, "sigterm");
        else if (end->on_reload)
            end->on_reload(end->arg);
}

static void on_lifeline(unsigned events, void *arg)
{
    struct child_end *end = arg;
    (void)events;
    io_done(&end->lifeline);
    end_now(end, "master-gone");
}

enum err child_end_watch(struct child_end *end, struct loop *loop, int lifeline_fd, loop_fn on_end,
                         loop_fn on_reload, void *arg)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    end->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (end->signal_fd < 0)
        return ERR_IO;
    end->on_end = on_end;
    end->on_reload = on_reload;
    end->arg = arg;
    end->ending = false;
    io_init(&end->signals, loop, end->signal_fd, on_signal, end);
    io_init(&end->lifeline, loop, lifeline_fd, on_lifeline, end);
    TRY(io_want(&end->signals, true, false));
    return io_want(&end->lifeline, true, false);
}

void child_end_done(struct child_end *end)
{
    io_done(&end->signals);
    io_done(&end->lifeline);
    close(end->signal_fd);
}
