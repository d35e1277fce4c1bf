#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/config.h"
#include "core/config_check.h"

static char path[] = "/tmp/test_config.XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_file(const void *text, size_t len)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    fclose(file);
}

static struct config *load(const char *text)
{
    struct config *c = NULL;
    struct buf why = {0};
    write_file(text, strlen(text));
    enum err e = config_load(path, &c, &why);
    if (e != ERR_OK)
        fail_msg("%.*s", (int)buf_len(&why), (const char *)buf_view(&why).p);
    assert_int_equal(buf_len(&why), 0);
    return c;
}

/* @p expected is all of the message after the path. */
static void assert_refused(const void *text, size_t len, const char *expected)
{
    struct config *c = NULL;
    struct buf why = {0};
    write_file(text, len);
    assert_int_equal(config_load(path, &c, &why), ERR_CONFIG);
    assert_null(c);
    assert_int_equal(buf_append_byte(&why, '\0'), ERR_OK);
    const char *message = (const char *)buf_view(&why).p;
    assert_memory_equal(message, path, strlen(path));
    assert_string_equal(message + strlen(path), expected);
    buf_done(&why);
}

#define REFUSED(text, expected) assert_refused(text, strlen(text), expected)

static void without_a_file_all_is_default(void **state)
{
    (void)state;
    struct config *c = NULL;
    struct buf why = {0};
    assert_int_equal(config_load(NULL, &c, &why), ERR_OK);
    assert_string_equal(c->data_dir, "/var/lib/nanopush");
    assert_int_equal(c->workers, 0);
    assert_string_equal(c->device_listen, "127.0.0.1:7440");
    assert_string_equal(c->redis, "");
    assert_int_equal(c->server_names.count, 1);
    assert_string_equal(c->server_names.at[0], "localhost");
    assert_int_equal(c->connections_max, 15000);
    assert_string_equal(c->log_level, "info");
    config_free(c);
    config_free(NULL);
}

static void a_file_overrides_what_it_names(void **state)
{
    (void)state;
    struct config *c = load("# comment with @include and 99999999999\n"
                            "workers = 3;\n"
                            "redis = \"unix:/run/redis.sock\"; // another \"\n"
                            "server_names = [\"push.example.com\", \"192.0.2.7\", \"2001:db8::7\"];\n"
                            "stats_listen: \"[::1]:0\"\n"
                            "heartbeat_s = 0x10; /* 99999999999\n @include */\n"
                            "data_dir = \"/srv/\" \"a@b\\\"99999999999\";\n"
                            "log_level = \"debug\"");
    assert_int_equal(c->workers, 3);
    assert_string_equal(c->redis, "unix:/run/redis.sock");
    assert_int_equal(c->server_names.count, 3);
    assert_string_equal(c->server_names.at[2], "2001:db8::7");
    assert_string_equal(c->stats_listen, "[::1]:0");
    assert_int_equal(c->heartbeat_s, 16);
    assert_string_equal(c->data_dir, "/srv/a@b\"99999999999");
    assert_string_equal(c->log_level, "debug");
    assert_int_equal(c->drain_s, 5);
    config_free(c);
}

static void an_unknown_option_names_the_nearest(void **state)
{
    (void)state;
    REFUSED("workers = 1;\nworker = 2;\n", ":2: unknown option worker; did you mean workers?");
    REFUSED("\n\nheartbeat_ms = 2;", ":3: unknown option heartbeat_ms; did you mean heartbeat_s?");
    REFUSED("zzz = 1;", ":1: unknown option zzz");
    REFUSED("wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww = 1;",
            ":1: unknown option wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww");
}

static void a_number_is_one_and_within_its_bounds(void **state)
{
    (void)state;
    REFUSED("workers = 65;", ":1: workers: expected a whole number from 0 to 64, not 65");
    REFUSED("\nworkers = -1;", ":2: workers: expected a whole number from 0 to 64, not -1");
    REFUSED("heartbeat_s = 9;", ":1: heartbeat_s: expected a whole number from 10 to 3600, not 9");
    REFUSED("workers = \"2\";", ":1: workers: expected a whole number from 0 to 64, not a string");
    REFUSED("workers = true;", ":1: workers: expected a whole number from 0 to 64, not a yes/no");
    REFUSED("workers = 1.5;", ":1: workers: expected a whole number from 0 to 64, not a fraction");
    REFUSED("workers = { a = 1; };", ":1: workers: expected a whole number from 0 to 64, not a group");
    struct config *c = load("workers = 64L; drain_s = 0;");
    assert_int_equal(c->workers, 64);
    config_free(c);
}

static void a_number_beyond_32_bits_is_not_cut_silently(void **state)
{
    (void)state;
    REFUSED("workers = 4297;\nworkers = 4294967297;", ":2: number is too large");
    REFUSED("workers = 0x100000001;", ":1: number is too large");
    REFUSED("workers = 00000000004294967297;", ":1: number is too large");
    REFUSED("workers = 99999999999999999999999;", ":1: number is too large");
}

static void a_text_is_one_and_has_its_form(void **state)
{
    (void)state;
    static const char listen[] = "expected \"127.0.0.1:7440\", \"[::1]:7440\" or \"unix:/path\"";
    char expected[256];
    snprintf(expected, sizeof expected, ":1: device_listen: %s, not localhost:7440", listen);
    REFUSED("device_listen = \"localhost:7440\";", expected);
    snprintf(expected, sizeof expected, ":1: device_listen: %s, not \"\"", listen);
    REFUSED("device_listen = \"\";", expected);
    snprintf(expected, sizeof expected, ":1: device_listen: %s, not a number", listen);
    REFUSED("device_listen = 7440;", expected);
    REFUSED("redis = \"a b:1\";",
            ":1: redis: expected \"host:port\" or \"unix:/path\", or empty, not \"a b:1\"");
    REFUSED("device_address = \"unix:/x\";",
            ":1: device_address: expected \"host:port\", or empty, not unix:/x");
    REFUSED("log_level = \"loud\";",
            ":1: log_level: expected \"error\", \"warn\", \"info\" or \"debug\", not loud");
    REFUSED("data_dir = \"\";", ":1: data_dir: expected a text in quotes of 1 to 1024 bytes, not \"\"");
}

static void a_list_of_names_is_one(void **state)
{
    (void)state;
#define NAMES_EXPECTED                                                                                       \
    ":1: server_names: expected a list as [\"push.example.com\", \"192.0.2.7\"] of 1 to 32 names, not "
    REFUSED("server_names = \"localhost\";", NAMES_EXPECTED "a string");
    REFUSED("server_names = [];", NAMES_EXPECTED "an empty one");
    REFUSED("server_names = [1];", NAMES_EXPECTED "a number");
    REFUSED("server_names = (\"a\", \"b c\");", NAMES_EXPECTED "\"b c\"");
    char many[512] = "server_names = [";
    for (int i = 0; i < 32; i++)
        strcat(many, "\"a\",");
    strcat(many, "\"a\"];");
    REFUSED(many, NAMES_EXPECTED "a longer one");
    memmove(strstr(many, "\"a\","), strstr(many, "\"a\",") + 4, strlen(strstr(many, "\"a\",") + 4) + 1);
    struct config *c = load(many);
    assert_int_equal(c->server_names.count, 32);
    config_free(c);
}

static void what_is_no_configuration_is_refused(void **state)
{
    (void)state;
    REFUSED("workers = 1;\ndrain_s = ;\n", ":2: syntax error");
    REFUSED("workers = 1;\nworkers = 2;\n", ":2: duplicate setting name");
    REFUSED("\ndata_dir = \"unterminated\n", ":2: string or comment has no end");
    REFUSED("data_dir = \"x\\", ":1: string or comment has no end");
    REFUSED("/* unterminated *", ":1: string or comment has no end");
    REFUSED("\n@include \"/tmp\"\n", ":2: @include is not supported");
    assert_refused("workers = 1;\0workers = 2;", 25, ": not a text file");
}

static void a_file_is_read_up_to_its_limit(void **state)
{
    (void)state;
    char *text = malloc(CONFIG_FILE_MAX_BYTES + 2);
    memset(text, '\n', CONFIG_FILE_MAX_BYTES + 1);
    text[CONFIG_FILE_MAX_BYTES] = '\0';
    config_free(load(text));
    text[CONFIG_FILE_MAX_BYTES] = '\n';
    assert_refused(text, CONFIG_FILE_MAX_BYTES + 1, ": larger than 65536 bytes");
    free(text);
}

static void a_file_that_cannot_be_read_says_why(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"/nonexistent/nanopush.conf", "/nonexistent/nanopush.conf: No such file or directory"},
        {"/", "/: Is a directory"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct config *c = NULL;
        struct buf why = {0};
        assert_int_equal(config_load(rows[i][0], &c, &why), ERR_CONFIG);
        assert_true(bytes_equal(buf_view(&why), bytes_of(rows[i][1])));
        buf_done(&why);
    }
}

static void a_file_cut_anywhere_is_read_or_refused(void **state)
{
    (void)state;
    static const char whole[] =
        "workers = 0x2; # c\nserver_names = (\"a\", \"b\\\"\"); /* d */ redis = \"\"\"\"; // e\nx@";
    for (size_t len = 0; len < sizeof whole; len++) {
        struct config *c = NULL;
        struct buf why = {0};
        write_file(whole, len);
        enum err e = config_load(path, &c, &why);
        assert_true(e == ERR_OK ? c != NULL && buf_len(&why) == 0 : e == ERR_CONFIG && buf_len(&why) > 0);
        config_free(c);
        buf_done(&why);
    }
}

static void the_reference_is_a_file_of_the_defaults(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    config_print_reference(out);
    fclose(out);
    struct config *c = load(text);
    assert_string_equal(c->server_names.at[0], "localhost");
    assert_int_equal(c->request_max_bytes, 65536);
    config_free(c);
    assert_non_null(strstr(text, "# Worker processes; 0: one for each processor core.\n"
                                 "# a whole number from 0 to 64\nworkers = 0;\n"));
#define OPTION(type, key, default_value, min, max, help) assert_non_null(strstr(text, "\n" #key " = "));
#include "core/option.def"
#undef OPTION
    free(text);
}

static void a_variable_that_is_no_option_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *why; /* NULL: it is none of ours */
    } cases[] = {
        {"NANOPUSH_WORKER", "environment: unknown option NANOPUSH_WORKER; did you mean workers?"},
        {"NANOPUSH_QQQQQQQQQQQQ", "environment: unknown option NANOPUSH_QQQQQQQQQQQQ"},
        {"NANOPUSH_", "environment: unknown option NANOPUSH_"},
        {"NANOPUSH_DATA", NULL},
        {"NANOPUSH_CREDENTIAL", NULL},
        {"NANOPUSH_PORT_7441_TCP_ADDR", NULL},
        {"NANOPUSH_SERVICE_HOST", NULL},
        {"NANOPUSHD", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config *c = NULL;
        struct buf why = {0};
        setenv(cases[i].name, "Canary", 1);
        assert_int_equal(config_load(NULL, &c, &why), cases[i].why ? ERR_CONFIG : ERR_OK);
        if (cases[i].why) {
            assert_int_equal(buf_append_byte(&why, 0), ERR_OK);
            assert_non_null(strstr((char *)buf_view(&why).p, cases[i].why));
            assert_null(strstr((char *)buf_view(&why).p, "Canary"));
        } else {
            config_free(c);
        }
        buf_done(&why);
        unsetenv(cases[i].name);
    }
}

static void the_environment_goes_over_the_file(void **state)
{
    (void)state;
    setenv("NANOPUSH_WORKERS", "3", 1);
    setenv("NANOPUSH_DATA_DIR", "/a \"b\" \\c; workers = 9", 1);
    setenv("NANOPUSH_SERVER_NAMES", "a.example,192.0.2.7", 1);
    struct config *c = load("workers = 5; drain_s = 7;");
    assert_int_equal(c->workers, 3);
    assert_string_equal(c->data_dir, "/a \"b\" \\c; workers = 9");
    assert_int_equal(c->server_names.count, 2);
    assert_string_equal(c->server_names.at[1], "192.0.2.7");
    assert_int_equal(c->drain_s, 7);
    assert_int_equal(c->sources[CONFIG_OPTION_workers], CONFIG_ENVIRONMENT);
    assert_int_equal(c->sources[CONFIG_OPTION_drain_s], CONFIG_FILE);
    assert_int_equal(c->sources[CONFIG_OPTION_log_level], CONFIG_DEFAULT);
    config_free(c);
    unsetenv("NANOPUSH_DATA_DIR");
    unsetenv("NANOPUSH_SERVER_NAMES");
    static const char *const wrong[] = {"", "65", "-1", "3;", "0x3", "3 ", "99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct buf why = {0};
        setenv("NANOPUSH_WORKERS", wrong[i], 1);
        assert_int_equal(config_load(NULL, &c, &why), ERR_CONFIG);
        assert_memory_equal(buf_view(&why).p, "NANOPUSH_WORKERS:1:", 19);
        buf_done(&why);
    }
    unsetenv("NANOPUSH_WORKERS");
}

static void what_is_printed_is_a_file_that_says_the_same(void **state)
{
    (void)state;
    char *text = NULL, *again = NULL;
    size_t len = 0;
    struct config *c = load(
        "data_dir = \"/a \\\"b\\\" \\\\c\"; server_names = [\"a.example\", \"b.example\"]; workers = 2;");
    FILE *out = open_memstream(&text, &len);
    config_print(c, out);
    fclose(out);
    assert_non_null(strstr(text, "workers = 2; # file\n"));
    assert_non_null(strstr(text, "drain_s = 5; # default\n"));
    struct config *same = load(text);
    config_set_data_dir(same, c->data_dir);
    out = open_memstream(&again, &len);
    config_print(same, out);
    fclose(out);
    assert_non_null(strstr(again, "data_dir = \"/a \\\"b\\\" \\\\c\"; # command line\n"));
    assert_non_null(strstr(again, "server_names = [\"a.example\", \"b.example\"]; # file\n"));
    struct buf differences = {0};
    assert_int_equal(config_fixed_differences(c, same, &differences), ERR_OK);
    assert_int_equal(buf_len(&differences), 0);
    config_free(c);
    config_free(same);
    free(text);
    free(again);
}

static void a_reload_takes_what_it_can_and_names_the_rest(void **state)
{
    (void)state;
    struct config *now =
        load("workers = 2; drain_s = 5; log_level = \"info\"; server_names = [\"a.example\"];");
    struct config *next =
        load("workers = 3; drain_s = 9; log_level = \"warn\"; server_names = [\"b.example\"];");
    struct buf differences = {0};
    assert_int_equal(config_fixed_differences(now, next, &differences), ERR_OK);
    assert_true(bytes_equal(buf_view(&differences), bytes_of("workers,server_names")));
    config_take_reloadable(now, next);
    config_free(next);
    assert_int_equal(now->workers, 2);
    assert_int_equal(now->drain_s, 9);
    assert_string_equal(now->log_level, "warn");
    assert_string_equal(now->server_names.at[0], "a.example");
    config_free(now);
    buf_done(&differences);
}

struct syntax_row {
    const char *text;
    bool listen, dial, host_port, name;
};

static void addresses_and_names_have_exact_forms(void **state)
{
    (void)state;
    static const struct syntax_row rows[] = {
        {"127.0.0.1:7440", true, true, true, false},
        {"127.0.0.1:0", true, false, false, false},
        {"[::1]:65535", true, true, true, false},
        {"push.example.com:443", false, true, true, false},
        {"unix:/run/x", true, true, false, false},
        {"unix:run/x", false, false, false, false},
        {"unix:", false, false, false, false},
        {"127.0.0.1", false, false, false, true},
        {"::1", false, false, false, true},
        {"::1:80", false, false, false, true},
        {"[::1]", false, false, false, false},
        {"[127.0.0.1]:80", false, false, false, false},
        {"[::1:80", false, false, false, false},
        {"]:80", false, false, false, false},
        {":80", false, false, false, false},
        {"127.0.0.1:", false, false, false, false},
        {"127.0.0.1:65536", false, false, false, false},
        {"127.0.0.1:080", false, false, false, false},
        {"127.0.0.1:+80", false, false, false, false},
        {"127.0.0.1:100000", false, false, false, false},
        {"127.0.0.256:80", false, false, false, false},
        {"999.1.1.1", false, false, false, false},
        {"localhost", false, false, false, true},
        {"xn--bcher-kva.example", false, false, false, true},
        {"a..b", false, false, false, false},
        {"a.", false, false, false, false},
        {"-a", false, false, false, false},
        {"a-", false, false, false, false},
        {"a_b", false, false, false, false},
        {"*.example.com", false, false, false, false},
        {"", false, false, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct syntax_row *row = &rows[i];
        if (config_is_listen(row->text) != row->listen || config_is_dial(row->text) != row->dial ||
            config_is_host_port(row->text) != row->host_port || config_is_name(row->text) != row->name)
            fail_msg("%s", row->text);
    }
    char long_path[5 + 108 + 1] = "unix:/";
    memset(long_path + 6, 'p', 106);
    assert_true(config_is_listen(long_path));
    long_path[5 + 107] = 'p';
    assert_false(config_is_listen(long_path));
}

static void a_name_has_at_most_253_characters(void **state)
{
    (void)state;
    char name[300] = "";
    while (strlen(name) < 250)
        strcat(name, "a.");
    strcat(name, "bcd");
    assert_int_equal(strlen(name), 253);
    assert_true(config_is_name(name));
    strcat(name, "e");
    assert_false(config_is_name(name));
    strcat(name, ":80");
    assert_false(config_is_host_port(name));
    char label[65];
    memset(label, 'a', 64);
    label[64] = '\0';
    assert_false(config_is_name(label));
    label[63] = '\0';
    assert_true(config_is_name(label));
}

static void edit_distances_are_levenshteins(void **state)
{
    (void)state;
    assert_int_equal(config_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(config_edit_distance("", "abc"), 3);
    assert_int_equal(config_edit_distance("abc", ""), 3);
    assert_int_equal(config_edit_distance("abc", "abc"), 0);
    char a[65];
    memset(a, 'a', 64);
    a[64] = '\0';
    assert_true(config_edit_distance(a, "a") > 1000);
    assert_true(config_edit_distance("a", a) > 1000);
    assert_int_equal(config_edit_distance("a", a + 1), 62);
}

int main(void)
{
    const struct CMUnitTest config_tests[] = {
        cmocka_unit_test(without_a_file_all_is_default),
        cmocka_unit_test(a_file_overrides_what_it_names),
        cmocka_unit_test(an_unknown_option_names_the_nearest),
        cmocka_unit_test(a_number_is_one_and_within_its_bounds),
        cmocka_unit_test(a_number_beyond_32_bits_is_not_cut_silently),
        cmocka_unit_test(a_text_is_one_and_has_its_form),
        cmocka_unit_test(a_list_of_names_is_one),
        cmocka_unit_test(what_is_no_configuration_is_refused),
        cmocka_unit_test(a_file_is_read_up_to_its_limit),
        cmocka_unit_test(a_file_that_cannot_be_read_says_why),
        cmocka_unit_test(a_file_cut_anywhere_is_read_or_refused),
        cmocka_unit_test(the_reference_is_a_file_of_the_defaults),
        cmocka_unit_test(a_variable_that_is_no_option_is_refused),
        cmocka_unit_test(the_environment_goes_over_the_file),
        cmocka_unit_test(what_is_printed_is_a_file_that_says_the_same),
        cmocka_unit_test(a_reload_takes_what_it_can_and_names_the_rest),
        cmocka_unit_test(addresses_and_names_have_exact_forms),
        cmocka_unit_test(a_name_has_at_most_253_characters),
        cmocka_unit_test(edit_distances_are_levenshteins),
    };
    return cmocka_run_group_tests_name("config", config_tests, make_file, remove_file);
}
