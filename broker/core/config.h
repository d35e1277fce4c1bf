/**
 * The configuration: the options of core/option.def, read from one libconfig file.
 *
 *     workers = 4;
 *     server_names = ["push.example.com", "192.0.2.7"];
 *
 * An option that neither the file nor the environment names has its default. A file with a mistake is refused as a whole, with
 * one line that says where it is and what would be right. @include is refused too, since libconfig ends the
 * process on one that it cannot read, which a reload must not.
 */
#ifndef NANOPUSH_CORE_CONFIG_H
#define NANOPUSH_CORE_CONFIG_H

#include <stdio.h>

#include "base/buf.h"

#define CONFIG_FILE_MAX_BYTES 65536

/** A list of strings; owned by the configuration. */
struct config_strings {
    char **at;
    size_t count;
};

#define CONFIG_FIELD_INT(key)   int key;
#define CONFIG_FIELD_TEXT(key)  char *key;
#define CONFIG_FIELD_NAMES(key) struct config_strings key;
#define CONFIG_FIELD_DIALS      CONFIG_FIELD_NAMES
#define CONFIG_FIELD_DURABILITY CONFIG_FIELD_TEXT
#define CONFIG_FIELD_LISTEN     CONFIG_FIELD_TEXT
#define CONFIG_FIELD_DIAL       CONFIG_FIELD_TEXT
#define CONFIG_FIELD_HOST_PORT  CONFIG_FIELD_TEXT
#define CONFIG_FIELD_FORMAT     CONFIG_FIELD_TEXT
#define CONFIG_FIELD_LEVEL      CONFIG_FIELD_TEXT
#define CONFIG_FIELD_PORTS      CONFIG_FIELD_TEXT
#define CONFIG_FIELD_PROXY      CONFIG_FIELD_TEXT
#define CONFIG_FIELD_SECRETS    CONFIG_FIELD_TEXT

enum config_option {
#define OPTION(type, key, default_value, min, max, help) CONFIG_OPTION_##key,
#include "core/option.def"
#undef OPTION
    CONFIG_OPTION_COUNT
};

enum config_source { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENVIRONMENT, CONFIG_COMMAND_LINE };

/** One member an option, named like it. Strings are on the heap and never NULL. */
struct config {
#define OPTION(type, key, default_value, min, max, help) CONFIG_FIELD_##type(key)
#include "core/option.def"
#undef OPTION
    enum config_source sources[CONFIG_OPTION_COUNT];
};

/**
 * Read the configuration: the file, and over it the environment, NANOPUSH_<OPTION> in capitals. There a text stands
 * without quotes, and a list is separated by commas.
 *
 * @param      path  the file; NULL: none.
 * @param[out] ret   freed with config_free().
 * @param      why   gets one line on ERR_CONFIG, "nanopush.conf:3: unknown option worker; did you mean ...",
 *                   without a line feed.
 * @return ERR_OK; ERR_CONFIG if the file cannot be read, is above CONFIG_FILE_MAX_BYTES, or has a syntax
 * error, an unknown option, a wrong type or a value that is not allowed; ERR_NOMEM.
 */
MUST_CHECK enum err config_load(const char *path, struct config **ret, struct buf *why);

/** What the command line says goes over everything else. */
void config_set_data_dir(struct config *c, const char *data_dir);

/** NULL is allowed. */
void config_free(struct config *c);

/** Print what counts, each option with where it comes from: a configuration file again. */
void config_print(const struct config *c, FILE *out);

/** Append the names of the options in which @p a and @p b differ, and that a reload cannot change (option_reload.def), each
 * behind a comma but the first. @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err config_fixed_differences(const struct config *a, const struct config *b, struct buf *out);

/** Take from @p from what a reload can change; the rest stays, so that all processes go on alike. */
void config_take_reloadable(struct config *c, struct config *from);

/** Print all options with help and bounds: a configuration file of the defaults. */
void config_print_reference(FILE *out);

#endif
