/* stats: the figures of the stats port, once. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/figures_sheet.h"
#include "cli/say.h"
#include "cli/stats_port.h"

#define TIMEOUT_MS 10000

static enum exit_status print_figures(struct bytes answer)
{
    struct figures *figures = mem_new(sizeof *figures);
    struct sheet sheet = {.colour = sheet_wants_colour(), .line_end = "\n"};
    enum err e = figures_parse(answer, figures);
    if (e == ERR_OK) {
        figures_sheet(figures, NULL, &sheet);
        e = sheet.failed ? ERR_NOMEM : ERR_OK;
    }
    if (e == ERR_OK)
        fwrite(buf_view(&sheet.out).p, 1, buf_len(&sheet.out), stdout);
    buf_done(&sheet.out);
    free(figures);
    return e == ERR_OK ? EXIT_STATUS_OK : say_failure("the stats port's answer", e);
}

static enum exit_status print_json(struct bytes answer)
{
    fwrite(answer.p, 1, answer.len, stdout);
    putchar('\n');
    return EXIT_STATUS_OK;
}

enum exit_status command_stats(const struct args *args)
{
    struct stats_port *port;
    enum exit_status status = stats_port_open(args, &port);
    if (status != EXIT_STATUS_OK)
        return status;
    enum stats_port_state state =
        stats_port_ask(port, TIMEOUT_MS) == ERR_OK ? STATS_PORT_ASKED : STATS_PORT_FAILED;
    while (state == STATS_PORT_ASKED)
        state = stats_port_turn(port, NULL, 0, TIMEOUT_MS);
    if (state == STATS_PORT_ANSWERED) {
        status = args_given(args, OPTION_JSON) ? print_json(stats_port_answer(port))
                                               : print_figures(stats_port_answer(port));
    } else {
        say_error("the stats port", stats_port_problem(port));
        status = EXIT_STATUS_ERROR;
    }
    stats_port_close(port);
    return status;
}
