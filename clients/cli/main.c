/* nanopush: parse the command line, run the command. */
#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/args.h"
#include "cli/commands.h"
#include "cli/say.h"

#ifndef NANOPUSH_VERSION
#define NANOPUSH_VERSION "unversioned"
#endif

typedef enum exit_status (*command_fn)(const struct args *args);

static const command_fn functions[COMMAND_COUNT] = {
#define COMMAND(ident, name, operands, min, max, options, summary, detail)                                   \
    [COMMAND_##ident] = command_##ident,
#include "cli/command.def"
#undef COMMAND
};

static enum exit_status run(const struct args *args)
{
    if (args_given(args, OPTION_VERSION)) {
        puts("nanopush " NANOPUSH_VERSION);
        return EXIT_STATUS_OK;
    }
    if (args_given(args, OPTION_HELP))
        return command_help(args);
    return functions[args->command](args);
}

int main(int argc, char **argv)
{
    struct args args;
    char problem[ARGS_PROBLEM_MAX];
    if (args_parse(argc, argv, &args, problem) != ERR_OK) {
        fputs("nanopush: ", stderr);
        say_text(stderr, problem);
        fputc('\n', stderr);
        return EXIT_STATUS_USAGE;
    }
    /*
     * Ctrl-C keeps its default action: what must be whole is replaced atomically, so ending at any moment is
     * clean, and the shell sees why. A peer that goes away must not look like that.
     */
    signal(SIGPIPE, SIG_IGN);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return say_failure("the HTTP library", ERR_UNAVAILABLE);
    enum exit_status status = run(&args);
    curl_global_cleanup();
    if (fflush(stdout) != 0 && status == EXIT_STATUS_OK)
        status = say_failure("standard output", ERR_IO);
    return (int)status;
}
