/* cli/args.h: the command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/args.h"

#define WORDS_MAX 64

static struct args args;
static char problem[ARGS_PROBLEM_MAX];
static char line_copy[2048];

/* Words are separated by single spaces. */
static enum err parse(const char *line)
{
    char *argv[WORDS_MAX] = {"nanopush"};
    int argc = 1;
    snprintf(line_copy, sizeof line_copy, "%s", line);
    char *rest = line_copy;
    for (char *word = strsep(&rest, " "); word && *line; word = strsep(&rest, " "))
        argv[argc++] = word;
    problem[0] = '\0';
    return args_parse(argc, argv, &args, problem);
}

static void assert_refused(const char *line, enum err e, const char *why)
{
    assert_int_equal(parse(line), e);
    if (!strstr(problem, why))
        fail_msg("%s: \"%s\" does not say \"%s\"", line, problem, why);
}

static void finds_command_operand_and_options(void **state)
{
    (void)state;
    assert_int_equal(parse("challenge create ada --life 90 --place=Here --watch"), ERR_OK);
    assert_int_equal(args.command, COMMAND_challenge_create);
    assert_int_equal(args.operand_count, 1);
    assert_string_equal(args.operands[0], "ada");
    assert_int_equal(args.numbers[OPTION_LIFE], 90);
    assert_string_equal(args.texts[OPTION_PLACE], "Here");
    assert_true(args_given(&args, OPTION_WATCH));
    assert_false(args_given(&args, OPTION_JSON));
    assert_null(args.texts[OPTION_BROWSER]);
}

static void takes_options_in_any_place(void **state)
{
    (void)state;
    assert_int_equal(parse("--json --data /d challenge --json watch --pins p id"), ERR_OK);
    assert_int_equal(args.command, COMMAND_challenge_watch);
    assert_string_equal(args.texts[OPTION_DATA], "/d");
    assert_string_equal(args.texts[OPTION_PINS], "p");
    assert_string_equal(args.operands[0], "id");
    assert_int_equal(parse("enrol confirm id --credential=c 123456"), ERR_OK);
    assert_string_equal(args.operands[1], "123456");
    assert_int_equal(parse("stats"), ERR_OK);
    assert_int_equal(args.command, COMMAND_stats);
}

static void same_name_means_what_the_command_says(void **state)
{
    (void)state;
    assert_int_equal(parse("portal add p --credential f --mode tap,code"), ERR_OK);
    assert_string_equal(args.texts[OPTION_CREDENTIAL_OUT], "f");
    assert_null(args.texts[OPTION_CREDENTIAL]);
    assert_string_equal(args.texts[OPTION_MODES], "tap,code");
    assert_int_equal(parse("user show u --credential f"), ERR_OK);
    assert_string_equal(args.texts[OPTION_CREDENTIAL], "f");
    assert_null(args.texts[OPTION_CREDENTIAL_OUT]);
    assert_int_equal(parse("enrol create u --platform ios --confirm"), ERR_OK);
    assert_string_equal(args.texts[OPTION_EXPECTED_PLATFORM], "ios");
    assert_null(args.texts[OPTION_PLATFORM]);
    assert_int_equal(parse("user unlock u --org o"), ERR_OK);
    assert_string_equal(args.texts[OPTION_USER_ORG], "o");
}

static void no_command_has_two_options_of_one_name(void **state)
{
    (void)state;
    for (size_t c = 0; c < COMMAND_COUNT; c++) {
        uint64_t options = command_rows[c].options | OPTIONS_OF_ALL;
        for (size_t i = 0; i < OPTION_COUNT; i++) {
            for (size_t j = 0; j < i; j++) {
                if (options >> i & options >> j & 1)
                    assert_string_not_equal(option_rows[i].name, option_rows[j].name);
            }
        }
    }
}

static void every_option_belongs_to_a_command(void **state)
{
    (void)state;
    uint64_t used = OPTIONS_OF_ALL;
    for (size_t c = 0; c < COMMAND_COUNT; c++)
        used |= command_rows[c].options;
    assert_true(used == (UINT64_C(1) << OPTION_COUNT) - 1);
}

static void lists_keep_their_order_and_their_limit(void **state)
{
    (void)state;
    char line[1024] = "challenge create ada";
    for (int i = 0; i < LIST_MAX; i++) {
        char field[32];
        snprintf(field, sizeof field, " --field=l%d=v", i);
        strcat(line, field);
    }
    assert_int_equal(parse(line), ERR_OK);
    assert_int_equal(args.list_count, LIST_MAX);
    assert_string_equal(args.list[0], "l0=v");
    assert_string_equal(args.list[LIST_MAX - 1], "l15=v");
    strcat(line, " --field x=y");
    assert_refused(line, ERR_INVALID, "--field is given more than 16 times");
}

static void last_of_two_counts(void **state)
{
    (void)state;
    assert_int_equal(parse("stats --data a --data b"), ERR_OK);
    assert_string_equal(args.texts[OPTION_DATA], "b");
}

static void dash_and_what_follows_two_dashes_are_operands(void **state)
{
    (void)state;
    assert_int_equal(parse("phone enrol - --state d"), ERR_OK);
    assert_string_equal(args.operands[0], "-");
    assert_int_equal(parse("user show -- --json"), ERR_OK);
    assert_string_equal(args.operands[0], "--json");
    assert_false(args_given(&args, OPTION_JSON));
}

static void numbers_have_bounds(void **state)
{
    (void)state;
    assert_int_equal(parse("phone run --delay-ms 0"), ERR_OK);
    assert_int_equal(parse("phone run --delay-ms 600000"), ERR_OK);
    assert_refused("phone run --delay-ms 600001", ERR_INVALID, "no number from 0 to 600000");
    assert_refused("phone run --delay-ms -1", ERR_INVALID, "no number from 0");
    assert_refused("phone run --delay-ms=", ERR_INVALID, "no number");
    assert_refused("phone run --delay-ms 5s", ERR_INVALID, "no number");
    assert_refused("phone run --delay-ms 99999999999999999999", ERR_INVALID, "no number");
    assert_refused("challenge create a --life 0", ERR_INVALID, "no number from 1");
}

static void refuses_what_is_missing_or_too_much(void **state)
{
    (void)state;
    assert_refused("", ERR_INVALID, "no command");
    assert_refused("user show", ERR_INVALID, "needs USER");
    assert_refused("user show a b", ERR_INVALID, "\"b\" is one too many");
    assert_refused("enrol confirm e", ERR_INVALID, "needs ID CODE");
    assert_refused("enrol confirm e 123456 x", ERR_INVALID, "\"x\" is one too many");
    assert_refused("phone unlock x", ERR_INVALID, "\"x\" is one too many");
    assert_refused("user show a --portal", ERR_INVALID, "--portal needs an argument: URL");
    assert_refused("user show a --json=1", ERR_INVALID, "--json takes no argument");
    assert_refused("stats -v", ERR_NOT_FOUND, "options begin with --");
}

static void suggests_the_nearest_command(void **state)
{
    (void)state;
    assert_refused("chalenge create ada", ERR_NOT_FOUND, "did you mean \"challenge create\"");
    assert_refused("challenge crate ada", ERR_NOT_FOUND, "did you mean \"challenge create\"");
    assert_refused("stat", ERR_NOT_FOUND, "did you mean \"stats\"");
    assert_refused("challenge", ERR_NOT_FOUND, "`nanopush help challenge` lists them");
    assert_refused("something different", ERR_NOT_FOUND, "`nanopush help` lists them");
}

static void suggests_the_nearest_option_of_the_command(void **state)
{
    (void)state;
    assert_refused("challenge create ada --aplication x", ERR_NOT_FOUND, "did you mean --application");
    assert_refused("user show ada --portl x", ERR_NOT_FOUND, "did you mean --portal");
    assert_refused("user show ada --answer x", ERR_NOT_FOUND, "no option --answer of user show");
    assert_refused("--pins x user show ada", ERR_NOT_FOUND, "no option --pins");
}

static void over_long_words_are_refused_and_cut(void **state)
{
    (void)state;
    char line[1500];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    assert_refused(line, ERR_NOT_FOUND, "no command");
    memcpy(line, "--", 2);
    assert_refused(line, ERR_NOT_FOUND, "no option");
    assert_true(strlen(problem) < ARGS_PROBLEM_MAX);
}

static void help_and_version_excuse_the_rest(void **state)
{
    (void)state;
    assert_int_equal(parse("--version"), ERR_OK);
    assert_int_equal(args.command, COMMAND_COUNT);
    assert_int_equal(parse("user show -h"), ERR_OK);
    assert_true(args_given(&args, OPTION_HELP));
    assert_int_equal(args.command, COMMAND_user_show);
}

static void nearest_name_has_a_bound(void **state)
{
    (void)state;
    const char *const names[] = {"alpha", NULL, "beta"};
    assert_string_equal(name_nearest("alpah", names, 3), "alpha");
    assert_string_equal(name_nearest("beta", names, 3), "beta");
    assert_string_equal(name_nearest("bet", names, 3), "beta");
    assert_null(name_nearest("gamma ray", names, 3));
    assert_null(name_nearest("", names, 3));
}

static void every_command_is_found_by_its_name(void **state)
{
    (void)state;
    for (size_t c = 0; c < COMMAND_COUNT; c++) {
        char name[64];
        size_t used;
        snprintf(name, sizeof name, "%s", command_rows[c].name);
        char *second = strchr(name, ' ');
        if (second)
            *second++ = '\0';
        const char *const words[] = {name, second};
        assert_int_equal(command_find(second ? 2 : 1, words, &used), c);
        assert_int_equal(used, second ? 2 : 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_command_operand_and_options),
        cmocka_unit_test(takes_options_in_any_place),
        cmocka_unit_test(same_name_means_what_the_command_says),
        cmocka_unit_test(no_command_has_two_options_of_one_name),
        cmocka_unit_test(every_option_belongs_to_a_command),
        cmocka_unit_test(lists_keep_their_order_and_their_limit),
        cmocka_unit_test(last_of_two_counts),
        cmocka_unit_test(dash_and_what_follows_two_dashes_are_operands),
        cmocka_unit_test(numbers_have_bounds),
        cmocka_unit_test(refuses_what_is_missing_or_too_much),
        cmocka_unit_test(suggests_the_nearest_command),
        cmocka_unit_test(suggests_the_nearest_option_of_the_command),
        cmocka_unit_test(over_long_words_are_refused_and_cut),
        cmocka_unit_test(help_and_version_excuse_the_rest),
        cmocka_unit_test(nearest_name_has_a_bound),
        cmocka_unit_test(every_command_is_found_by_its_name),
    };
    return cmocka_run_group_tests_name("cli_args", tests, NULL, NULL);
}
