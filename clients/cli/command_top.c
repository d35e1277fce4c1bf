/* top: the figures of the stats port, again and again, on the whole terminal. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/figures_sheet.h"
#include "cli/say.h"
#include "cli/stats_port.h"
#include "cli/terminal.h"

#define ASK_EACH_MS 1000
#define TIMEOUT_MS  2000
#define LOOKS       60 /* latency is that of the last minute */

struct top {
    struct stats_port *port;
    struct figures looks[LOOKS]; /* a ring */
    size_t count;                /* of all looks that there were */
    int64_t next_ask_mono_ms;
    char problem[STATS_PORT_PROBLEM_SIZE]; /* of the last time; empty: there was none */
};

static const struct figures *newest(const struct top *top)
{
    return top->count ? &top->looks[(top->count - 1) % LOOKS] : NULL;
}

static const struct figures *oldest(const struct top *top)
{
    return top->count < 2 ? NULL : &top->looks[top->count < LOOKS ? 0 : top->count % LOOKS];
}

static void compose(const struct top *top, struct sheet *sheet)
{
    if (top->problem[0]) {
        sheet_put(sheet, SHEET_BAD, "the stats port does not answer: %s", top->problem);
        sheet_end_line(sheet);
    }
    if (newest(top))
        figures_sheet(newest(top), oldest(top), sheet);
    else
        sheet_put(sheet, SHEET_SOFT, "looking ...");
}

static enum err paint(const struct top *top)
{
    struct sheet sheet = {.colour = sheet_wants_colour(), .line_end = "\033[K\r\n"};
    terminal_size(&sheet.width, &sheet.height);
    compose(top, &sheet);
    enum err e = sheet.failed ? ERR_NOMEM : buf_append(&sheet.out, bytes_of("\033[K\033[J"));
    if (e == ERR_OK)
        e = terminal_paint(buf_view(&sheet.out));
    buf_done(&sheet.out);
    return e;
}

/* What a broker says that was started anew is not compared with what the one before it said. */
static void take_answer(struct top *top)
{
    struct figures *look = mem_new(sizeof *look);
    if (figures_parse(stats_port_answer(top->port), look) == ERR_OK) {
        const struct figures *before = newest(top);
        if (before && look->outcomes[OUTCOME_APPROVED] < before->outcomes[OUTCOME_APPROVED])
            top->count = 0;
        top->looks[top->count++ % LOOKS] = *look;
        top->problem[0] = '\0';
    } else {
        snprintf(top->problem, sizeof top->problem, "its answer is not understood");
    }
    free(look);
}

/* Wait for an answer, a key or a signal. @return true if there is something new to paint. */
static bool turn(struct top *top)
{
    int fds[2];
    int64_t now_mono_ms = clock_mono_ms();
    if (now_mono_ms >= top->next_ask_mono_ms) {
        top->next_ask_mono_ms = now_mono_ms + TIMEOUT_MS; /* unless it answers earlier */
        if (stats_port_ask(top->port, TIMEOUT_MS) != ERR_OK)
            snprintf(top->problem, sizeof top->problem, "%s", err_text(ERR_NOMEM));
    }
    terminal_descriptors(fds);
    enum stats_port_state state =
        stats_port_turn(top->port, fds, 2, (int)(top->next_ask_mono_ms - now_mono_ms));
    if (state == STATS_PORT_ANSWERED)
        take_answer(top);
    if (state == STATS_PORT_FAILED)
        snprintf(top->problem, sizeof top->problem, "%s", stats_port_problem(top->port));
    if (state != STATS_PORT_ANSWERED && state != STATS_PORT_FAILED)
        return false;
    top->next_ask_mono_ms = clock_mono_ms() + ASK_EACH_MS;
    return true;
}

static enum exit_status run(struct top *top)
{
    enum err e = paint(top);
    while (e == ERR_OK) {
        char key = '\0';
        bool repaint = turn(top);
        enum terminal_event event = terminal_next(&key);
        if (event == TERMINAL_KEY && (key == 'q' || key == 'Q'))
            return EXIT_STATUS_OK;
        if (event == TERMINAL_GONE)
            return EXIT_STATUS_ERROR;
        if (repaint || event == TERMINAL_REPAINT)
            e = paint(top);
    }
    return EXIT_STATUS_ERROR;
}

enum exit_status command_top(const struct args *args)
{
    struct top *top = mem_new(sizeof *top);
    enum exit_status status = stats_port_open(args, &top->port);
    enum err e = status == EXIT_STATUS_OK ? terminal_open() : ERR_OK;
    if (e == ERR_UNSUPPORTED) {
        say_error("top", "needs a terminal that can be painted; `nanopush stats` prints the same once");
        status = EXIT_STATUS_USAGE;
    } else if (e != ERR_OK) {
        status = say_failure("the terminal", e);
    } else if (status == EXIT_STATUS_OK) {
        status = run(top);
        terminal_close();
    }
    stats_port_close(top->port);
    free(top);
    return status;
}
