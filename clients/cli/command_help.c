/* help: made from the tables of args.h and exit_status.def. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/say.h"

#define COMMAND_WIDTH 24
#define OPTION_WIDTH  28

static void print_options(uint64_t options)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        if (!(options >> i & 1))
            continue;
        int len = printf("  --%s %s", row->name, row->argument ? row->argument : "");
        printf("%*s%s\n", len < OPTION_WIDTH ? OPTION_WIDTH - len : 1, "", row->help);
    }
}

static void print_statuses(void)
{
    puts("\nIt ends with:");
#define EXIT_STATUS(ident, number, text) printf("  %2d  %s\n", number, text);
#include "cli/exit_status.def"
#undef EXIT_STATUS
}

/* @return false if there is none in @p group; NULL is every group. */
static bool print_commands(const char *group)
{
    bool any = false;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const struct command_row *row = &command_rows[i];
        size_t len = group ? strlen(group) : 0;
        if (group && (strncmp(row->name, group, len) != 0 || row->name[len] != ' '))
            continue;
        any = true;
        int width = printf("  %s %s", row->name, row->operands);
        printf("%*s%s\n", width < COMMAND_WIDTH + 4 ? COMMAND_WIDTH + 4 - width : 1, "", row->summary);
    }
    return any;
}

static void print_all(void)
{
    puts("nanopush: the command line of the push-approval broker.\n\n"
         "Usage: nanopush COMMAND [OPERAND] [OPTION]...\n\nCommands:");
    print_commands(NULL);
    puts("\nOptions of every command:");
    print_options(OPTIONS_OF_ALL);
    print_statuses();
    puts("\n`nanopush help COMMAND` says more.");
}

static void print_command(enum command command)
{
    const struct command_row *row = &command_rows[command];
    printf("Usage: nanopush %s%s%s [OPTION]...\n\n%s\n", row->name, *row->operands ? " " : "", row->operands,
           row->summary);
    if (*row->detail)
        printf("\n%s", row->detail);
    puts("\nOptions:");
    print_options(row->options | OPTIONS_OF_ALL);
    print_statuses();
}

/* `nanopush help COMMAND`, and with --help the command itself. */
enum exit_status command_help(const struct args *args)
{
    size_t used = 0;
    enum command command = args->command;
    if (command == COMMAND_help && args->operand_count > 0)
        command = command_find(args->operand_count, args->operands, &used);
    if (command == COMMAND_COUNT && args->operand_count == 1 && print_commands(args->operands[0]))
        return EXIT_STATUS_OK;
    if (command == COMMAND_COUNT && args->operand_count > 0) {
        say_error("help", "no such command; `nanopush help` lists them");
        return EXIT_STATUS_USAGE;
    }
    if (command == COMMAND_COUNT || command == COMMAND_help)
        print_all();
    else
        print_command(command);
    return EXIT_STATUS_OK;
}
