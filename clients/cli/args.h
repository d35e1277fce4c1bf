/**
 * The command line: which command, its operands, its options. One table of options (option.def), one of
 * commands (command.def); everything that parses, explains or suggests is made from them.
 *
 *     nanopush [OPTION]... COMMAND [OPERAND]... [OPTION]...
 *
 * Options are long only, `--name value` or `--name=value`, in any place; `--` ends them; `-` is an operand.
 * Those of every command (--data, --json, --help, --version) may also stand before the command. -h is --help.
 */
#ifndef NANOPUSH_CLI_ARGS_H
#define NANOPUSH_CLI_ARGS_H

#include "base/bytes.h"

enum option {
#define OPTION(ident, name, argument, kind, min, max, help) OPTION_##ident,
#include "cli/option.def"
#undef OPTION
    OPTION_COUNT
};

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_NUMBER, OPTION_LIST };

struct option_row {
    const char *name, *argument; /* argument: what the help calls it; NULL for a FLAG */
    enum option_kind kind;
    long min, max;
    const char *help;
};

#define OPTION_BIT(ident) (UINT64_C(1) << OPTION_##ident)
#define OPTIONS_OF_ALL    (OPTION_BIT(DATA) | OPTION_BIT(JSON) | OPTION_BIT(HELP) | OPTION_BIT(VERSION))

enum command {
#define COMMAND(ident, name, operands, min, max, options, summary, detail) COMMAND_##ident,
#include "cli/command.def"
#undef COMMAND
    COMMAND_COUNT
};

struct command_row {
    const char *name, *operands;
    size_t operands_min, operands_max;
    uint64_t options; /* OPTION_BIT()s, without those of all commands */
    const char *summary, *detail;
};

extern const struct option_row option_rows[OPTION_COUNT];
extern const struct command_row command_rows[COMMAND_COUNT];

#define OPERANDS_MAX     2
#define LIST_MAX         16
#define ARGS_PROBLEM_MAX 256

/** What was given; the texts are those of argv. Fill with args_parse(). */
struct args {
    enum command command; /* COMMAND_COUNT: none was named, which only --help and --version excuse */
    const char *operands[OPERANDS_MAX];
    size_t operand_count;
    const char *texts[OPTION_COUNT]; /* of a TEXT or NUMBER that was given; else NULL */
    long numbers[OPTION_COUNT];      /* of a NUMBER that was given */
    const char *list[LIST_MAX];      /* of the one LIST option, in order */
    size_t list_count;
    uint64_t given; /* OPTION_BIT()s */
};

/** True if the option was given. */
bool args_given(const struct args *args, enum option option);

/**
 * Parse a command line.
 *
 * @param      argc, argv  as main() has them; argv[0] is skipped. The strings must outlive @p ret.
 * @param[out] ret         what was given; on error of no use. An option given twice counts as given last, but
 * for LIST.
 * @param[out] problem     one line without end of line, with a suggestion where one is near; set on error.
 * @return ERR_OK; ERR_NOT_FOUND for an unknown command or option; ERR_INVALID for an argument or operand that
 * is missing, too many, no number or out of bounds.
 */
MUST_CHECK enum err args_parse(int argc, char *const *argv, struct args *ret, char problem[ARGS_PROBLEM_MAX]);

/**
 * The command that the first words name.
 *
 * @param      words  not empty. One or two of them make a command's name.
 * @param[out] used   how many of them do.
 * @return the command, or COMMAND_COUNT.
 */
enum command command_find(size_t count, const char *const *words, size_t *used);

/**
 * The entry of @p names that a person most likely meant by @p word, by edit distance.
 *
 * @param names  @p count names; NULL entries are passed over.
 * @return one of @p names; NULL when none is near.
 */
const char *name_nearest(const char *word, const char *const *names, size_t count);

#endif
