/* phone enrol, run, rotate, unlock, remove: the soft phone. */
#include <string.h>

#include "cli/commands.h"
#include "cli/file.h"
#include "cli/say.h"
#include "cli/words.h"
#include "device/nanopush_device.h"
#include "device/soft_phone.h"

#define PASSCODE_MAX_BYTES 1024
#define DEFAULT_NAME       "Soft phone"

static bool parse_answer(const char *text, enum soft_phone_answer *ret)
{
    static const char *const words[] = {
        [SOFT_PHONE_ASK] = "ask",       [SOFT_PHONE_APPROVE] = "approve", [SOFT_PHONE_DENY] = "deny",
        [SOFT_PHONE_NOT_ME] = "not-me", [SOFT_PHONE_IGNORE] = "ignore",
    };
    for (size_t i = 0; text && i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret = (enum soft_phone_answer)i;
            return true;
        }
    }
    if (text)
        say_error("--answer", "must be ask, approve, deny, not-me or ignore");
    return !text;
}

/* @param[out] passcode  the caller ends with line_free(); NULL where no file is named. */
static enum exit_status read_passcode(const struct args *args, char **passcode)
{
    const char *path = args->texts[OPTION_PASSCODE_FILE];
    bool open_to_others = false;
    if (!path)
        return EXIT_STATUS_OK;
    enum err e = file_read_line(path, PASSCODE_MAX_BYTES, &open_to_others, passcode);
    if (e != ERR_OK) {
        say_file_error("the passcode", path, e);
        return EXIT_STATUS_ERROR;
    }
    if (open_to_others)
        say_error(path, "warning: others can read this passcode; chmod 600 keeps it yours");
    return EXIT_STATUS_OK;
}

static enum exit_status status_of(int soft_phone_exit)
{
    switch (soft_phone_exit) {
    case SOFT_PHONE_OK:
        return EXIT_STATUS_OK;
    case SOFT_PHONE_TIMED_OUT:
        return EXIT_STATUS_EXPIRED;
    default:
        return EXIT_STATUS_ERROR;
    }
}

enum exit_status command_phone_enrol(const struct args *args)
{
    struct soft_phone_options options = {.state_dir = args->texts[OPTION_STATE],
                                         .json = args_given(args, OPTION_JSON)};
    const char *name = args->texts[OPTION_PHONE_NAME] ? args->texts[OPTION_PHONE_NAME] : DEFAULT_NAME;
    Nanopush__V1__Platform platform = NANOPUSH__V1__PLATFORM__PLATFORM_OTHER;
    char *passcode = NULL, *read_uri = NULL;
    if (!options.state_dir || !args->texts[OPTION_PASSCODE_FILE]) {
        say_error("phone enrol", "needs --state DIR and --passcode-file FILE");
        return EXIT_STATUS_USAGE;
    }
    if (args->texts[OPTION_PLATFORM] && !words_parse_platform(args->texts[OPTION_PLATFORM], &platform))
        return EXIT_STATUS_USAGE;
    enum exit_status status = read_passcode(args, &passcode);
    const char *uri = args->operands[0];
    if (status == EXIT_STATUS_OK && strcmp(uri, "-") == 0) {
        enum err e = file_read_line("-", NP_URI_BYTES_MAX + 2, NULL, &read_uri);
        uri = read_uri;
        if (e != ERR_OK)
            status = say_failure("the URI on the standard input", e);
    }
    options.passcode = passcode;
    if (status == EXIT_STATUS_OK)
        status = status_of(soft_phone_enrol(uri, name, (int)platform, &options));
    line_free(read_uri);
    line_free(passcode);
    return status;
}

enum exit_status command_phone_run(const struct args *args)
{
    struct soft_phone_options options = {.state_dir = args->texts[OPTION_STATE],
                                         .code = args->texts[OPTION_CODE],
                                         .answer_delay_ms = (unsigned)args->numbers[OPTION_DELAY_MS],
                                         .json = args_given(args, OPTION_JSON),
                                         .once = args_given(args, OPTION_ONCE),
                                         .max_seconds = (int)args->numbers[OPTION_MAX_SECONDS]};
    char *passcode = NULL;
    if (!options.state_dir) {
        say_error("phone run", "needs --state DIR");
        return EXIT_STATUS_USAGE;
    }
    if (!parse_answer(args->texts[OPTION_ANSWER], &options.answer))
        return EXIT_STATUS_USAGE;
    enum exit_status status = read_passcode(args, &passcode);
    options.passcode = passcode;
    if (status == EXIT_STATUS_OK)
        status = status_of(soft_phone_run(&options));
    line_free(passcode);
    return status;
}

static enum exit_status act(const struct args *args, enum np_act what, bool needs_passcode)
{
    struct soft_phone_options options = {.state_dir = args->texts[OPTION_STATE],
                                         .json = args_given(args, OPTION_JSON),
                                         .max_seconds = (int)args->numbers[OPTION_MAX_SECONDS]};
    char *passcode = NULL;
    if (!options.state_dir || (needs_passcode && !args->texts[OPTION_PASSCODE_FILE])) {
        say_error(command_rows[args->command].name,
                  needs_passcode ? "needs --state DIR and --passcode-file FILE" : "needs --state DIR");
        return EXIT_STATUS_USAGE;
    }
    enum exit_status status = read_passcode(args, &passcode);
    options.passcode = passcode;
    if (status == EXIT_STATUS_OK)
        status = status_of(soft_phone_act((int)what, &options));
    line_free(passcode);
    return status;
}

enum exit_status command_phone_rotate(const struct args *args)
{
    return act(args, NP_ACT_ROTATED, true);
}

enum exit_status command_phone_unlock(const struct args *args)
{
    return act(args, NP_ACT_UNLOCKED, true);
}

enum exit_status command_phone_remove(const struct args *args)
{
    return act(args, NP_ACT_REMOVED, false);
}
