#include "cli/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"

static struct {
    struct termios before;
    sigset_t signals;
    int signal_fd;
    bool painted; /* it is ours now */
} terminal = {.signal_fd = -1};

static enum err write_all(struct bytes text)
{
    while (text.len > 0) {
        ssize_t written = write(STDOUT_FILENO, text.p, text.len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return ERR_IO;
        text = bytes_make(text.p + written, text.len - (size_t)written);
    }
    return ERR_OK;
}

/* Ctrl-C and Ctrl-Z keep making signals; Ctrl-S must not make us stand still. */
static enum err enter(void)
{
    struct termios raw = terminal.before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_iflag &= ~(tcflag_t)IXON;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    terminal.painted = true;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0)
        return ERR_IO;
    return write_all(bytes_of(ENTER));
}

static void leave(void)
{
    if (!terminal.painted)
        return;
    terminal.painted = false;
    (void)!write(STDOUT_FILENO, LEAVE, sizeof LEAVE - 1);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal.before);
}

enum err terminal_open(void)
{
    static const int handled[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH};
    const char *term = getenv("TERM");
    if (!term || !*term || strcmp(term, "dumb") == 0 || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
        return ERR_UNSUPPORTED;
    sigemptyset(&terminal.signals);
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        sigaddset(&terminal.signals, handled[i]);
    if (tcgetattr(STDIN_FILENO, &terminal.before) != 0 ||
        sigprocmask(SIG_BLOCK, &terminal.signals, NULL) != 0 || atexit(leave) != 0)
        return ERR_IO;
    terminal.signal_fd = signalfd(-1, &terminal.signals, SFD_CLOEXEC | SFD_NONBLOCK);
    return terminal.signal_fd < 0 ? ERR_IO : enter();
}

void terminal_close(void)
{
    leave();
    close(terminal.signal_fd);
    sigprocmask(SIG_UNBLOCK, &terminal.signals, NULL);
}

void terminal_descriptors(int ret[2])
{
    ret[0] = terminal.signal_fd;
    ret[1] = STDIN_FILENO;
}

/* Does what the signal does by default, with the terminal as it was; returns where that is no end. */
static void give_way(int number)
{
    sigset_t one;
    leave();
    sigemptyset(&one);
    sigaddset(&one, number);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &one, NULL); /* here it takes effect */
    sigprocmask(SIG_BLOCK, &one, NULL);
}

static enum terminal_event on_signal(int number)
{
    if (number == SIGWINCH)
        return TERMINAL_REPAINT;
    if (number != SIGCONT)
        give_way(number);
    return enter() == ERR_OK ? TERMINAL_REPAINT : TERMINAL_GONE;
}

enum terminal_event terminal_next(char *key)
{
    struct signalfd_siginfo signal_info;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (read(terminal.signal_fd, &signal_info, sizeof signal_info) == sizeof signal_info)
        return on_signal((int)signal_info.ssi_signo);
    if (poll(&input, 1, 0) <= 0)
        return TERMINAL_NOTHING;
    return read(STDIN_FILENO, key, 1) == 1 ? TERMINAL_KEY : TERMINAL_GONE;
}

void terminal_size(size_t *columns, size_t *rows)
{
    struct winsize size = {0};
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
    *columns = known ? size.ws_col : 80;
    *rows = known ? size.ws_row : 24;
}

enum err terminal_paint(struct bytes frame)
{
    TRY(write_all(bytes_of("\033[H")));
    return write_all(frame);
}
