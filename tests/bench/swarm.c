/*
 * swarm: simulated phones and portals, to load a broker with. One process of several, each on one loop; commands come
 * on standard input, one a line, and each is answered by one line of JSON on standard output when it is done. A line
 * "progress" goes out each second meanwhile. tests/bench/swarm.mjs drives it; by hand:
 *
 *     swarm fleet FILE COUNT ORGANISATION CREDENTIAL ANCHOR    make a fleet's file (anchor: SHA-256 in hex)
 *     swarm enrol FILE DEVICE-ADDRESS PORTAL-ADDRESS           enrol N FROM, ...
 *     swarm phones PROTOCOL ADDRESS SOURCE FIRST COUNT [FILE]  connect, cut, ping, ...
 *     swarm portals PROTOCOL ADDRESS AT-ONCE PHONES [FILE]     logins, ...
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "commands.h"
#include "link.h"

#define EVENTS_MAX     256
#define LINE_MAX_BYTES 256
#define PROGRESS_MS    1000

static const struct mode *mode;
static const struct command *running;
static bool ended;

static void fail(const char *what)
{
    fprintf(stderr, "swarm: %s\n", what);
    exit(2);
}

/* ---- commands ---- */

static void start_command(char *line)
{
    unsigned long numbers[COMMAND_NUMBERS_MAX] = {0};
    char *rest = line, *word = strsep(&rest, " "), *text;
    if (strcmp(word, "quit") == 0) {
        ended = true;
        return;
    }
    for (size_t i = 0; i < COMMAND_NUMBERS_MAX && (text = strsep(&rest, " ")); i++)
        numbers[i] = strtoul(text, NULL, 10);
    for (const struct command *command = mode->commands; command->name; command++)
        if (strcmp(command->name, word) == 0) {
            command->start(numbers);
            running = command;
            return;
        }
    fail("unknown command");
}

static void report(const char *event)
{
    printf("{\"event\":\"%s\",\"command\":\"%s\",", event, running ? running->name : "");
    mode->report();
    printf("}\n");
    fflush(stdout);
}

static void look_at_command(void)
{
    static int64_t progress_ms;
    int64_t now_ms = clock_mono_ms();
    if (running && running->is_done()) {
        report("done");
        running = NULL;
    } else if (running && now_ms - progress_ms >= PROGRESS_MS) {
        report("progress");
        progress_ms = now_ms;
    }
}

/* Commands come one at a time: the next is sent when the last one is done. */
static void read_commands(void)
{
    static char line[LINE_MAX_BYTES];
    static size_t len;
    ssize_t n = read(STDIN_FILENO, line + len, sizeof line - 1 - len);
    if (n <= 0) {
        ended = true; /* whoever drives it is gone */
        return;
    }
    len += (size_t)n;
    line[len] = '\0';
    char *end = strchr(line, '\n');
    if (!end) {
        if (len == sizeof line - 1)
            fail("command too long");
        return;
    }
    *end = '\0';
    len = 0;
    start_command(line);
}

/* ---- the loop ---- */

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void run(void)
{
    struct epoll_event events[EVENTS_MAX], command = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(link_epoll, EPOLL_CTL_ADD, STDIN_FILENO, &command) != 0)
        fail("standard input must be a pipe");
    while (!ended) {
        int wait_ms = mode->tick();
        look_at_command();
        int n = epoll_wait(link_epoll, events, EVENTS_MAX, wait_ms);
        for (int i = 0; i < n; i++)
            if (events[i].data.ptr)
                link_on_event(events[i].data.ptr, events[i].events);
            else
                read_commands();
    }
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    srandom((unsigned)(clock_unix_ms() ^ getpid()));
    link_epoll = epoll_create1(EPOLL_CLOEXEC);
    mode = argc > 1 ? mode_find(argv[1]) : NULL;
    if (!mode || link_epoll < 0)
        fail("usage: swarm fleet|enrol|phones|portals ..., see tests/bench/swarm.c");
    const char *why = mode->init(argc - 2, argv + 2);
    if (why)
        fail(why);
    if (!mode->commands)
        return 0;
    printf("{\"event\":\"ready\"}\n");
    fflush(stdout);
    run();
    return 0;
}
