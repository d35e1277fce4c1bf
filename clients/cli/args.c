#include "cli/args.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 64 /* of a word that is compared with names; longer ones are near to none */

_Static_assert(OPTION_COUNT <= 64, "a set of options is a 64-bit word");

const struct option_row option_rows[OPTION_COUNT] = {
#define OPTION(ident, name, argument, kind, min, max, help)                                                  \
    [OPTION_##ident] = {name, argument, OPTION_##kind, min, max, help},
#include "cli/option.def"
#undef OPTION
};

const struct command_row command_rows[COMMAND_COUNT] = {
#define COMMAND(ident, name, operands, min, max, options, summary, detail)                                   \
    [COMMAND_##ident] = {name, operands, min, max, options, summary, detail},
#include "cli/command.def"
#undef COMMAND
};

/** One pass over the command line. */
struct parse {
    struct args *args;
    char *problem;
    const char *words[2]; /* until they make a command's name */
    size_t word_count;
};

bool args_given(const struct args *args, enum option option)
{
    return args->given >> option & 1;
}

static enum err refuse(struct parse *parse, enum err e, const char *format, ...) PRINTF(3, 4);

static enum err refuse(struct parse *parse, enum err e, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(parse->problem, ARGS_PROBLEM_MAX, format, list);
    va_end(list);
    return e;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance, one row kept. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_BYTES + 1];
    size_t b_len = strlen(b);
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b_len; j++) {
            size_t replaced = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = least(replaced, least(row[j], row[j + 1]) + 1);
        }
    }
    return row[b_len];
}

const char *name_nearest(const char *word, const char *const *names, size_t count)
{
    if (strlen(word) > NAME_MAX_BYTES)
        return NULL;
    const char *nearest = NULL;
    size_t best = strlen(word) / 3 + 2; /* beyond that a suggestion puzzles more than it helps */
    for (size_t i = 0; i < count; i++) {
        size_t distance = names[i] ? edit_distance(word, names[i]) : best;
        if (distance < best) {
            best = distance;
            nearest = names[i];
        }
    }
    return nearest;
}

enum command command_find(size_t count, const char *const *words, size_t *used)
{
    char pair[NAME_MAX_BYTES];
    int len = snprintf(pair, sizeof pair, "%s %s", words[0], count > 1 ? words[1] : "");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        bool one = strcmp(words[0], command_rows[i].name) == 0;
        bool two = count > 1 && len < NAME_MAX_BYTES && strcmp(pair, command_rows[i].name) == 0;
        if (one || two) {
            *used = two ? 2 : 1;
            return (enum command)i;
        }
    }
    return COMMAND_COUNT;
}

static bool is_group(const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strncmp(command_rows[i].name, word, len) == 0 && command_rows[i].name[len] == ' ')
            return true;
    }
    return false;
}

static enum err refuse_command(struct parse *parse)
{
    const char *names[COMMAND_COUNT];
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        names[i] = command_rows[i].name;
    char word[2 * NAME_MAX_BYTES];
    bool two = parse->word_count > 1;
    bool group = is_group(parse->words[0]);
    snprintf(word, sizeof word, "%.60s%s%.60s", parse->words[0], two ? " " : "", two ? parse->words[1] : "");
    const char *nearest = name_nearest(word, names, COMMAND_COUNT);
    if (!nearest && !group)
        nearest = name_nearest(parse->words[0], names, COMMAND_COUNT);
    if (nearest)
        return refuse(parse, ERR_NOT_FOUND, "no command \"%s\"; did you mean \"%s\"?", word, nearest);
    return refuse(parse, ERR_NOT_FOUND, "no command \"%s\"; `nanopush help%s%s` lists them", word,
                  group ? " " : "", group ? parse->words[0] : "");
}

static bool name_is(const char *name, struct bytes in)
{
    return bytes_equal(bytes_of(name), in);
}

static enum err refuse_option(struct parse *parse, struct bytes name, uint64_t allowed)
{
    const char *names[OPTION_COUNT];
    bool known = false;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        names[i] = allowed >> i & 1 ? option_rows[i].name : NULL;
        known = known || name_is(option_rows[i].name, name);
    }
    char word[NAME_MAX_BYTES];
    snprintf(word, sizeof word, "%.*s", (int)least(name.len, NAME_MAX_BYTES), (const char *)name.p);
    const char *nearest = name_nearest(word, names, OPTION_COUNT);
    const char *of =
        parse->args->command < COMMAND_COUNT ? command_rows[parse->args->command].name : "nanopush";
    if (nearest)
        return refuse(parse, ERR_NOT_FOUND, "no option --%s; did you mean --%s?", word, nearest);
    return refuse(parse, ERR_NOT_FOUND, "no option --%s%s%s; `nanopush help %s` lists them", word,
                  known ? " of " : "", known ? of : "", known ? of : "");
}

static enum err take_argument(struct parse *parse, enum option option, const char *text)
{
    const struct option_row *row = &option_rows[option];
    struct args *args = parse->args;
    if (row->kind == OPTION_LIST) {
        if (args->list_count == LIST_MAX)
            return refuse(parse, ERR_INVALID, "--%s is given more than %d times", row->name, LIST_MAX);
        args->list[args->list_count++] = text;
        return ERR_OK;
    }
    if (row->kind == OPTION_NUMBER) {
        char *end;
        errno = 0;
        long number = strtol(text, &end, 10);
        if (errno || end == text || *end || number < row->min || number > row->max)
            return refuse(parse, ERR_INVALID, "--%s: \"%.40s\" is no number from %ld to %ld", row->name, text,
                          row->min, row->max);
        args->numbers[option] = number;
    }
    args->texts[option] = text;
    return ERR_OK;
}

/* @p at is the option's place in argv; moved on when its argument stands in the next one. */
static enum err take_option(struct parse *parse, int argc, char *const *argv, int *at)
{
    struct args *args = parse->args;
    uint64_t allowed = OPTIONS_OF_ALL;
    if (args->command < COMMAND_COUNT)
        allowed |= command_rows[args->command].options;
    const char *text = strcmp(argv[*at], "-h") == 0 ? "--help" : argv[*at];
    if (text[1] != '-')
        return refuse(parse, ERR_NOT_FOUND, "no option \"%.40s\"; options begin with --", text);
    const char *equals = strchr(text, '=');
    struct bytes name = bytes_make(text + 2, equals ? (size_t)(equals - text) - 2 : strlen(text) - 2);
    size_t option = 0;
    while (option < OPTION_COUNT && !(allowed >> option & 1 && name_is(option_rows[option].name, name)))
        option++;
    if (option == OPTION_COUNT)
        return refuse_option(parse, name, allowed);
    const struct option_row *row = &option_rows[option];
    args->given |= UINT64_C(1) << option;
    if (row->kind == OPTION_FLAG)
        return equals ? refuse(parse, ERR_INVALID, "--%s takes no argument", row->name) : ERR_OK;
    if (!equals && *at + 1 >= argc)
        return refuse(parse, ERR_INVALID, "--%s needs an argument: %s", row->name, row->argument);
    return take_argument(parse, (enum option)option, equals ? equals + 1 : argv[++*at]);
}

/* The command is known as soon as its words are there, so that its options may follow at once. */
static enum err take_word(struct parse *parse, const char *word)
{
    struct args *args = parse->args;
    if (args->command < COMMAND_COUNT) {
        const struct command_row *row = &command_rows[args->command];
        if (args->operand_count == row->operands_max)
            return refuse(parse, ERR_INVALID, "%s: \"%.60s\" is one too many", row->name, word);
        args->operands[args->operand_count++] = word;
        return ERR_OK;
    }
    size_t used;
    parse->words[parse->word_count++] = word;
    args->command = command_find(parse->word_count, parse->words, &used);
    if (args->command == COMMAND_COUNT && parse->word_count == 2)
        return refuse_command(parse);
    return ERR_OK;
}

static enum err check_complete(struct parse *parse)
{
    const struct args *args = parse->args;
    if (args->given & (OPTION_BIT(HELP) | OPTION_BIT(VERSION)))
        return ERR_OK;
    if (args->command == COMMAND_COUNT && parse->word_count == 0)
        return refuse(parse, ERR_INVALID, "no command; `nanopush help` lists them");
    if (args->command == COMMAND_COUNT)
        return refuse_command(parse);
    const struct command_row *row = &command_rows[args->command];
    if (args->operand_count < row->operands_min)
        return refuse(parse, ERR_INVALID, "%s needs %s", row->name, row->operands);
    return ERR_OK;
}

enum err args_parse(int argc, char *const *argv, struct args *ret, char problem[ARGS_PROBLEM_MAX])
{
    *ret = (struct args){.command = COMMAND_COUNT};
    struct parse parse = {.args = ret, .problem = problem};
    bool options_over = false;
    for (int at = 1; at < argc; at++) {
        const char *text = argv[at];
        if (!options_over && strcmp(text, "--") == 0)
            options_over = true;
        else if (!options_over && text[0] == '-' && text[1])
            TRY(take_option(&parse, argc, argv, &at));
        else
            TRY(take_word(&parse, text));
    }
    return check_complete(&parse);
}
