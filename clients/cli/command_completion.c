/* completion: a script for bash, made from the tables of args.h. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/say.h"

static void print_options(uint64_t options)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (options >> i & 1)
            printf(" --%s", option_rows[i].name);
}

static size_t first_word_len(size_t command)
{
    return strcspn(command_rows[command].name, " ");
}

/* Whether no row before has the same first word: those of one group stand together in the table, or not. */
static bool leads(size_t command)
{
    size_t len = first_word_len(command);
    for (size_t i = 0; i < command; i++)
        if (first_word_len(i) == len && strncmp(command_rows[i].name, command_rows[command].name, len) == 0)
            return false;
    return true;
}

/* What may follow the first word of a group: `org` add, list. */
static void print_second_words(size_t first)
{
    const char *name = command_rows[first].name;
    size_t len = first_word_len(first) + 1;
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strncmp(command_rows[i].name, name, len) == 0)
            printf(" %s", command_rows[i].name + len);
}

static void print_script(void)
{
    puts("# bash completion of nanopush; eval \"$(nanopush completion bash)\"\n"
         "_nanopush() {\n"
         "  local words= line=\"${COMP_WORDS[*]:1:COMP_CWORD-1} \"\n"
         "  case $line in");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        printf("  '%s '*) words='", command_rows[i].name);
        print_options(command_rows[i].options | OPTIONS_OF_ALL);
        puts("' ;;");
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (!leads(i) || !command_rows[i].name[first_word_len(i)])
            continue;
        printf("  '%.*s ') words='", (int)first_word_len(i), command_rows[i].name);
        print_second_words(i);
        puts("' ;;");
    }
    fputs("  ' ') words='", stdout);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (leads(i))
            printf(" %.*s", (int)first_word_len(i), command_rows[i].name);
    print_options(OPTIONS_OF_ALL);
    puts("' ;;\n"
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
         "}\n"
         "complete -o default -F _nanopush nanopush");
}

enum exit_status command_completion(const struct args *args)
{
    if (strcmp(args->operands[0], "bash") != 0) {
        say_error("completion", "there is one for bash");
        return EXIT_STATUS_USAGE;
    }
    print_script();
    return EXIT_STATUS_OK;
}
