#include "core/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <libconfig.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "core/config_check.h"
#include "core/log.h"

enum option_type {
    INT,
    TEXT,
    LISTEN,
    DIAL,
    HOST_PORT,
    FORMAT,
    LEVEL,
    PORTS,
    PROXY,
    SECRETS,
    NAMES,
    DIALS,
    DURABILITY
};

static bool is_any(const char *s)
{
    return s != NULL;
}

static bool is_level(const char *s)
{
    enum log_level level;
    return log_level_parse(s, &level) == ERR_OK;
}

/* The form of a value, for messages and the reference, and its check; of lists, that of one. */
static const struct {
    const char *form;
    bool (*check)(const char *s);
} types[] = {
    [INT] = {"a whole number", NULL},
    [TEXT] = {"a text in quotes", is_any},
    [LISTEN] = {"\"127.0.0.1:7440\", \"[::1]:7440\" or \"unix:/path\"", config_is_listen},
    [DIAL] = {"\"host:port\" or \"unix:/path\"", config_is_dial},
    [HOST_PORT] = {"\"host:port\"", config_is_host_port},
    [FORMAT] = {"\"text\" or \"json\"", config_is_format},
    [LEVEL] = {"\"error\", \"warn\", \"info\" or \"debug\"", is_level},
    [PORTS] = {"\"device\", \"all\" or \"off\"", config_is_ports},
    [PROXY] = {"\"refused\" or \"required\"", config_is_proxy},
    [SECRETS] = {"\"kdf\" or \"keylog\"", config_is_secrets},
    [NAMES] = {"a list as [\"push.example.com\", \"192.0.2.7\"]", config_is_name},
    [DURABILITY] = {"\"fast\", \"replicated\" or \"always\"", config_is_durability},
    [DIALS] = {"a list as [\"192.0.2.7:6379\"]", config_is_dial},
};

static bool type_is_list(enum option_type type)
{
    return type == NAMES || type == DIALS;
}

struct option_row {
    enum option_type type;
    const char *key, *help;
    int min, max, default_number;
    const char *default_text;
    size_t offset; /* of the member in struct config */
};

#define DEFAULT_INT(value)  .default_number = (value)
#define DEFAULT_TEXT(value) .default_text = (value)
#define DEFAULT_LISTEN      DEFAULT_TEXT
#define DEFAULT_DIAL        DEFAULT_TEXT
#define DEFAULT_HOST_PORT   DEFAULT_TEXT
#define DEFAULT_FORMAT      DEFAULT_TEXT
#define DEFAULT_LEVEL       DEFAULT_TEXT
#define DEFAULT_PORTS       DEFAULT_TEXT
#define DEFAULT_PROXY       DEFAULT_TEXT
#define DEFAULT_SECRETS     DEFAULT_TEXT
#define DEFAULT_NAMES       DEFAULT_TEXT
#define DEFAULT_DURABILITY  DEFAULT_TEXT
#define DEFAULT_DIALS       DEFAULT_TEXT

static const struct option_row rows[] = {
#define OPTION(type, key, default_value, min, max, help)                                                     \
    {type, #key, help, min, max, .offset = offsetof(struct config, key), DEFAULT_##type(default_value)},
#include "core/option.def"
#undef OPTION
};

#define ROW_COUNT (sizeof rows / sizeof rows[0])

/* One reading of one file. */
struct reading {
    struct config *config;
    const char *path;
    struct buf *why;
    enum config_source source;
};

#define REFUSE(why, ...) (buf_printf((why), __VA_ARGS__) == ERR_OK ? ERR_CONFIG : ERR_NOMEM)

static void *member(struct config *c, const struct option_row *row)
{
    return (char *)c + row->offset;
}

static enum err describe(const struct option_row *row, struct buf *out)
{
    const char *form = types[row->type].form;
    switch (row->type) {
    case INT:
        return buf_printf(out, "%s from %d to %d", form, row->min, row->max);
    case NAMES:
        return buf_printf(out, "%s of %d to %d names", form, row->min, row->max);
    case DIALS:
        return buf_printf(out, "%s of %d to %d addresses", form, row->min, row->max);
    case TEXT:
        return buf_printf(out, "%s of %d to %d bytes", form, row->min, row->max);
    default:
        return buf_printf(out, "%s%s", form, row->min == 0 ? ", or empty" : "");
    }
}

/* "nanopush.conf:3: workers: expected a whole number from 0 to 64, not 65" */
static enum err refuse_value(struct reading *r, const struct option_row *row, unsigned line,
                             const char *found)
{
    TRY(buf_printf(r->why, "%s:%u: %s: expected ", r->path, line, row->key));
    TRY(describe(row, r->why));
    return REFUSE(r->why, ", not %s", found);
}

static const char *type_name(const config_setting_t *s)
{
    static const char *const names[] = {"nothing",  "a group",  "a number", "a number", "a fraction",
                                        "a string", "a yes/no", "a list",   "a list"};
    return names[config_setting_type(s)];
}

static enum err set_text(char **text, const char *value)
{
    char *copy = strdup(value);
    if (!copy)
        return ERR_NOMEM;
    free(*text);
    *text = copy;
    return ERR_OK;
}

static void free_strings(struct config_strings *strings)
{
    for (size_t i = 0; i < strings->count; i++)
        free(strings->at[i]);
    free(strings->at);
    *strings = (struct config_strings){0};
}

static enum err add_string(struct config_strings *strings, const char *value)
{
    char **at = reallocarray(strings->at, strings->count + 1, sizeof *at);
    if (!at)
        return ERR_NOMEM;
    strings->at = at;
    at[strings->count] = NULL;
    TRY(set_text(&at[strings->count], value));
    strings->count++;
    return ERR_OK;
}

static enum err read_number(struct reading *r, const struct option_row *row, const config_setting_t *s)
{
    unsigned line = config_setting_source_line(s);
    int type = config_setting_type(s);
    if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64)
        return refuse_value(r, row, line, type_name(s));
    long long number = config_setting_get_int64(s);
    if (number < row->min || number > row->max) {
        char found[32];
        snprintf(found, sizeof found, "%lld", number);
        return refuse_value(r, row, line, found);
    }
    *(int *)member(r->config, row) = (int)number;
    return ERR_OK;
}

static enum err read_text(struct reading *r, const struct option_row *row, const config_setting_t *s)
{
    unsigned line = config_setting_source_line(s);
    if (config_setting_type(s) != CONFIG_TYPE_STRING)
        return refuse_value(r, row, line, type_name(s));
    const char *text = config_setting_get_string(s);
    size_t len = strlen(text);
    bool length_allowed = len >= (size_t)row->min && len <= (size_t)row->max;
    if (!length_allowed || (len > 0 && !types[row->type].check(text)))
        return refuse_value(r, row, line, LOG_STR(text));
    return set_text(member(r->config, row), text);
}

static enum err read_list(struct reading *r, const struct option_row *row, const config_setting_t *s)
{
    unsigned line = config_setting_source_line(s);
    struct config_strings *strings = member(r->config, row);
    if (!config_setting_is_array(s) && !config_setting_is_list(s))
        return refuse_value(r, row, line, type_name(s));
    int count = config_setting_length(s);
    if (count < row->min || count > row->max)
        return refuse_value(r, row, line, count == 0 ? "an empty one" : "a longer one");
    free_strings(strings);
    for (int i = 0; i < count; i++) {
        const config_setting_t *element = config_setting_get_elem(s, (unsigned)i);
        if (config_setting_type(element) != CONFIG_TYPE_STRING)
            return refuse_value(r, row, line, type_name(element));
        const char *text = config_setting_get_string(element);
        if (!types[row->type].check(text))
            return refuse_value(r, row, line, LOG_STR(text));
        TRY(add_string(strings, text));
    }
    return ERR_OK;
}

/* Says which option was meant, behind the place and what was found there. */
static enum err suggest(struct reading *r, const char *key)
{
    const struct option_row *nearest = rows;
    for (const struct option_row *row = rows; row < rows + ROW_COUNT; row++)
        if (config_edit_distance(key, row->key) < config_edit_distance(key, nearest->key))
            nearest = row;
    if (config_edit_distance(key, nearest->key) > strlen(nearest->key) / 2)
        return ERR_CONFIG; /* no likeness at all: a suggestion would mislead */
    return REFUSE(r->why, "; did you mean %s?", nearest->key);
}

static enum err refuse_key(struct reading *r, unsigned line, const char *key)
{
    TRY(buf_printf(r->why, "%s:%u: unknown option %s", r->path, line, LOG_STR(key)));
    return suggest(r, key);
}

static enum err read_setting(struct reading *r, const config_setting_t *s)
{
    const char *key = config_setting_name(s);
    for (const struct option_row *row = rows; row < rows + ROW_COUNT; row++) {
        if (strcmp(row->key, key) != 0)
            continue;
        r->config->sources[row - rows] = r->source;
        switch (row->type) {
        case INT:
            return read_number(r, row, s);
        case NAMES:
        case DIALS:
            return read_list(r, row, s);
        default:
            return read_text(r, row, s);
        }
    }
    return refuse_key(r, config_setting_source_line(s), key);
}

/* The end of a string or comment that begins at @p at, NULL if it has none; @p at where none begins. */
static const char *skip_quoted(const char *at)
{
    if (*at == '"') {
        for (at++; *at && *at != '"'; at++)
            if (*at == '\\' && at[1])
                at++;
        return *at ? at + 1 : NULL;
    }
    if (*at == '#' || strncmp(at, "//", 2) == 0)
        return at + strcspn(at, "\n");
    if (strncmp(at, "/*", 2) == 0) {
        const char *end = strstr(at + 2, "*/");
        return end ? end + 2 : NULL;
    }
    return at;
}

static unsigned count_lines(const char *from, const char *to)
{
    unsigned count = 0;
    for (; from < to; from++)
        count += *from == '\n';
    return count;
}

/* libconfig 1.5 cuts a whole number to 32 bits without a word, takes a comment without an end, and ends the
   process on an @include of a directory. */
static enum err refuse_traps(struct reading *r, const char *text)
{
    for (const char *at = text; *at;) {
        const char *next = skip_quoted(at);
        if (!next)
            return REFUSE(r->why, "%s:%u: string or comment has no end", r->path, 1 + count_lines(text, at));
        if (*at == '@')
            return REFUSE(r->why, "%s:%u: @include is not supported", r->path, 1 + count_lines(text, at));
        if (isalpha((unsigned char)*at)) {
            next = at + strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-*");
        } else if (isdigit((unsigned char)*at)) {
            char *end;
            bool hex = at[0] == '0' && (at[1] | 0x20) == 'x';
            if (strtoll(at, &end, hex ? 16 : 10) > INT_MAX)
                return REFUSE(r->why, "%s:%u: number is too large", r->path, 1 + count_lines(text, at));
            next = end;
        }
        at = next > at ? next : at + 1;
    }
    return ERR_OK;
}

static enum err read_text_of_file(struct reading *r, char *text)
{
    int fd = open(r->path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 0;
    size_t len = 0;
    while (fd >= 0 && len <= CONFIG_FILE_MAX_BYTES &&
           (got = read(fd, text + len, CONFIG_FILE_MAX_BYTES + 1 - len)) > 0)
        len += (size_t)got;
    int failure = fd < 0 || got < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    if (failure)
        return REFUSE(r->why, "%s: %s", r->path, strerror(failure));
    if (len > CONFIG_FILE_MAX_BYTES)
        return REFUSE(r->why, "%s: larger than %d bytes", r->path, CONFIG_FILE_MAX_BYTES);
    if (memchr(text, '\0', len))
        return REFUSE(r->why, "%s: not a text file", r->path);
    text[len] = '\0';
    return refuse_traps(r, text);
}

static enum err read_settings(struct reading *r, const char *text)
{
    config_t file;
    enum err e = ERR_OK;
    config_init(&file);
    if (!config_read_string(&file, text))
        e = REFUSE(r->why, "%s:%d: %s", r->path, config_error_line(&file), config_error_text(&file));
    const config_setting_t *root = config_root_setting(&file);
    for (int i = 0; e == ERR_OK && i < config_setting_length(root); i++)
        e = read_setting(r, config_setting_get_elem(root, (unsigned)i));
    config_destroy(&file);
    return e;
}

static enum err read_file(struct reading *r)
{
    char *text = malloc(CONFIG_FILE_MAX_BYTES + 2);
    if (!text)
        return ERR_NOMEM;
    enum err e = read_text_of_file(r, text);
    if (e == ERR_OK)
        e = read_settings(r, text);
    free(text);
    return e;
}

/* ---- the environment ---- */

#define VARIABLE_PREFIX "NANOPUSH_"

/* As the file would have it: a number bare, everything else in quotes, a list by its commas. */
static enum err quote_value(const struct option_row *row, const char *value, struct buf *out)
{
    bool list = type_is_list(row->type);
    if (row->type == INT)
        return buf_printf(out, "%s = %s;", row->key, value);
    if (list && !*value)
        return buf_printf(out, "%s = [];", row->key);
    TRY(buf_printf(out, "%s = %s\"", row->key, list ? "[" : ""));
    for (; *value; value++) {
        if (list && *value == ',')
            TRY(buf_printf(out, "\",\""));
        else if (*value == '"' || *value == '\\')
            TRY(buf_printf(out, "\\%c", *value));
        else
            TRY(buf_append_byte(out, (uint8_t)*value));
    }
    return buf_printf(out, list ? "\"];" : "\";");
}

static enum err read_variable(struct config *c, const struct option_row *row, struct buf *why)
{
    char name[64] = VARIABLE_PREFIX;
    for (size_t i = strlen(name), k = 0; row->key[k] && i < sizeof name - 1; i++, k++)
        name[i] = (char)toupper((unsigned char)row->key[k]);
    const char *value = getenv(name);
    if (!value)
        return ERR_OK;
    struct reading r = {.config = c, .path = name, .why = why, .source = CONFIG_ENVIRONMENT};
    if (row->type == INT && (!*value || value[strspn(value, "0123456789")]))
        return refuse_value(&r, row, 1, LOG_STR(value));
    struct buf text = {0};
    enum err e = quote_value(row, value, &text);
    if (e == ERR_OK)
        e = buf_append_byte(&text, '\0');
    if (e == ERR_OK)
        e = refuse_traps(&r, (const char *)buf_view(&text).p);
    if (e == ERR_OK)
        e = read_settings(&r, (const char *)buf_view(&text).p);
    buf_done(&text);
    return e;
}

static bool is_foreign(const char *name)
{
    static const char *const names[] = {
#define ENVIRONMENT(name) name,
#include "core/environment.def"
#undef ENVIRONMENT
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (fnmatch(names[i], name, 0) == 0)
            return true;
    return false;
}

static bool is_option(const char *key)
{
    for (const struct option_row *row = rows; row < rows + ROW_COUNT; row++)
        if (strcmp(key, row->key) == 0)
            return true;
    return false;
}

/* Its value is not said: it may be a secret that was put there by mistake. */
static enum err check_variable(const char *variable, struct buf *why)
{
    char name[64], key[sizeof name];
    size_t len = strcspn(variable, "=");
    struct reading r = {.path = "environment", .why = why};
    snprintf(name, sizeof name, "%.*s", (int)len, variable);
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (char)tolower((unsigned char)name[i]);
    if (is_option(key) || is_foreign(name))
        return ERR_OK;
    TRY(buf_printf(why, "environment: unknown option " VARIABLE_PREFIX "%s", LOG_STR(name)));
    return suggest(&r, key);
}

static enum err check_variables(struct buf *why)
{
    const size_t prefix_len = sizeof VARIABLE_PREFIX - 1;
    for (char **variable = environ; variable && *variable; variable++)
        if (strncmp(*variable, VARIABLE_PREFIX, prefix_len) == 0)
            TRY(check_variable(*variable + prefix_len, why));
    return ERR_OK;
}

static enum err set_default(struct config *c, const struct option_row *row)
{
    switch (row->type) {
    case INT:
        *(int *)member(c, row) = row->default_number;
        return ERR_OK;
    case NAMES:
        return add_string(member(c, row), row->default_text);
    case DIALS:
        return ERR_OK;
    default:
        return set_text(member(c, row), row->default_text);
    }
}

/* What each option allows by itself, and not with the others. */
static enum err check_together(const struct config *c, struct buf *why)
{
    if (c->handshakes_max &&
        (c->unauthenticated_max >= c->handshakes_max || c->strangers_max >= c->handshakes_max))
        return REFUSE(
            why, "handshakes_max must be above unauthenticated_max and strangers_max, or one address could "
                 "hold all of a worker's handshakes");
    return ERR_OK;
}

enum err config_load(const char *path, struct config **ret, struct buf *why)
{
    struct config *c = calloc(1, sizeof *c);
    enum err e = c ? ERR_OK : ERR_NOMEM;
    for (size_t i = 0; e == ERR_OK && i < ROW_COUNT; i++)
        e = set_default(c, &rows[i]);
    if (e == ERR_OK && path)
        e = read_file(&(struct reading){.config = c, .path = path, .why = why, .source = CONFIG_FILE});
    for (size_t i = 0; e == ERR_OK && i < ROW_COUNT; i++)
        e = read_variable(c, &rows[i], why);
    if (e == ERR_OK)
        e = check_variables(why);
    if (e == ERR_OK)
        e = check_together(c, why);
    if (e != ERR_OK) {
        config_free(c);
        return e;
    }
    *ret = c;
    return ERR_OK;
}

void config_set_data_dir(struct config *c, const char *data_dir)
{
    free(c->data_dir);
    c->data_dir = mem_copy_string(data_dir);
    c->sources[CONFIG_OPTION_data_dir] = CONFIG_COMMAND_LINE;
}

void config_free(struct config *c)
{
    for (size_t i = 0; c && i < ROW_COUNT; i++) {
        if (rows[i].type == NAMES || rows[i].type == DIALS)
            free_strings(member(c, &rows[i]));
        else if (rows[i].type != INT)
            free(*(char **)member(c, &rows[i]));
    }
    free(c);
}

/* ---- what counts ---- */

static void print_quoted(const char *text, FILE *out)
{
    putc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putc('\\', out);
        putc(*text, out);
    }
    putc('"', out);
}

static void print_value(const struct config *c, const struct option_row *row, FILE *out)
{
    const void *value = (const char *)c + row->offset;
    if (row->type == INT) {
        fprintf(out, "%d", *(const int *)value);
    } else if (type_is_list(row->type)) {
        const struct config_strings *strings = value;
        putc('[', out);
        for (size_t i = 0; i < strings->count; i++) {
            fputs(i ? ", " : "", out);
            print_quoted(strings->at[i], out);
        }
        putc(']', out);
    } else {
        print_quoted(*(char *const *)value, out);
    }
}

void config_print(const struct config *c, FILE *out)
{
    static const char *const sources[] = {"default", "file", "environment", "command line"};
    for (size_t i = 0; i < ROW_COUNT; i++) {
        fprintf(out, "%s = ", rows[i].key);
        print_value(c, &rows[i], out);
        fprintf(out, "; # %s\n", sources[c->sources[i]]);
    }
}

/* ---- reloading ---- */

static bool is_same(const struct config *a, const struct config *b, const struct option_row *row)
{
    const void *of_a = (const char *)a + row->offset, *of_b = (const char *)b + row->offset;
    if (row->type == INT)
        return *(const int *)of_a == *(const int *)of_b;
    if (!type_is_list(row->type))
        return strcmp(*(char *const *)of_a, *(char *const *)of_b) == 0;
    const struct config_strings *list_a = of_a, *list_b = of_b;
    bool same = list_a->count == list_b->count;
    for (size_t i = 0; same && i < list_a->count; i++)
        same = strcmp(list_a->at[i], list_b->at[i]) == 0;
    return same;
}

static const bool reloadable[CONFIG_OPTION_COUNT] = {
#define RELOADABLE(key) [CONFIG_OPTION_##key] = true,
#include "core/option_reload.def"
#undef RELOADABLE
};

enum err config_fixed_differences(const struct config *a, const struct config *b, struct buf *out)
{
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (!reloadable[i] && !is_same(a, b, &rows[i]))
            TRY(buf_printf(out, "%s%s", buf_len(out) ? "," : "", rows[i].key));
    return ERR_OK;
}

static void swap_bytes(void *a, void *b, size_t len)
{
    uint8_t *of_a = a, *of_b = b;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = of_a[i];
        of_a[i] = of_b[i];
        of_b[i] = byte;
    }
}

void config_take_reloadable(struct config *c, struct config *from)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        enum option_type type = rows[i].type;
        size_t size = type == INT          ? sizeof(int)
                      : type_is_list(type) ? sizeof(struct config_strings)
                                           : sizeof(char *);
        if (!reloadable[i])
            continue;
        swap_bytes(member(c, &rows[i]), member(from, &rows[i]), size);
        c->sources[i] = from->sources[i];
    }
}

void config_print_reference(FILE *out)
{
    for (const struct option_row *row = rows; row < rows + ROW_COUNT; row++) {
        struct buf form = {0};
        if (describe(row, &form) == ERR_OK)
            fprintf(out, "# %s\n# %.*s\n", row->help, (int)buf_len(&form), (const char *)buf_view(&form).p);
        buf_done(&form);
        if (row->type == INT)
            fprintf(out, "%s = %d;\n\n", row->key, row->default_number);
        else
            fprintf(out,
                    row->type == NAMES   ? "%s = [\"%s\"];\n\n"
                    : row->type == DIALS ? "%s = [%s];\n\n"
                                         : "%s = \"%s\";\n\n",
                    row->key, row->default_text);
    }
}
