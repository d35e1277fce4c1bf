/* nanopushd: the broker's command line. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/config.h"
#include "core/metrics.h"
#include "crypto/openssl_memory.h"
#include "proc/master.h"

enum { OPTION_CHECK = 256, OPTION_PRINT_CONFIG, OPTION_PRINT_METRICS, OPTION_VERSION, OPTION_HELP };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"data", required_argument, NULL, 'd'},
    {"check", no_argument, NULL, OPTION_CHECK},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, OPTION_HELP},
    {"print-config", no_argument, NULL, OPTION_PRINT_CONFIG},
    {"print-metrics", no_argument, NULL, OPTION_PRINT_METRICS},
    {0},
};

static void print_help(void)
{
    printf("usage: nanopushd [--config FILE] [--data DIR] [--check]\n"
           "\n"
           "Runs the nanopush broker in the foreground, until SIGTERM or SIGINT. Without a configuration it "
           "listens\n"
           "on loopback only and keeps everything, its own Redis included, in /var/lib/nanopush.\n"
           "\n"
           "  --config FILE  read the options below from FILE\n"
           "  --data DIR     the data directory, over the option data_dir\n"
           "  --check        read the configuration, say what is wrong with it, and exit\n"
           "  --print-config   print what counts, each option with where it comes from, and exit\n"
           "  --print-metrics  print the table of all metrics, in Markdown\n"
           "  --version      print the version\n"
           "  --help         print this\n"
           "\n"
           "Options of the configuration file, each with its default. The environment goes over the file: "
           "WORKERS as\n"
           "NANOPUSH_WORKERS, texts without quotes, lists with commas. SIGHUP reads file and certificates "
           "again.\n\n");
    config_print_reference(stdout);
}

static int print_metrics(void)
{
    struct buf out = {0};
    enum err e = metrics_render_reference(&out);
    if (e == ERR_OK)
        fwrite(buf_view(&out).p, 1, buf_len(&out), stdout);
    buf_done(&out);
    return e == ERR_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *file = NULL, *data_dir = NULL;
    bool check = false, print = false;
    struct config *config = NULL;
    struct buf why = {0};
    for (int c; (c = getopt_long(argc, argv, "c:d:", options, NULL)) != -1;)
        switch (c) {
        case 'c':
            file = optarg;
            break;
        case 'd':
            data_dir = optarg;
            break;
        case OPTION_CHECK:
            check = true;
            break;
        case OPTION_PRINT_CONFIG:
            print = true;
            break;
        case OPTION_PRINT_METRICS:
            return print_metrics();
        case OPTION_VERSION:
            printf("nanopushd %s\n", NANOPUSH_VERSION);
            return 0;
        case OPTION_HELP:
            print_help();
            return 0;
        default:
            fprintf(stderr, "try nanopushd --help\n");
            return 2;
        }
    if (optind < argc) {
        fprintf(stderr, "nanopushd: %s: no such argument; try nanopushd --help\n", argv[optind]);
        return 2;
    }
    enum err e = openssl_memory_cleanse();
    if (e == ERR_OK)
        e = config_load(file, &config, &why);
    if (e != ERR_OK) {
        struct bytes text = buf_view(&why);
        fprintf(stderr, "nanopushd: %.*s\n", text.len ? (int)text.len : (int)strlen(err_text(e)),
                text.len ? (const char *)text.p : err_text(e));
        buf_done(&why);
        return 1;
    }
    if (data_dir)
        config_set_data_dir(config, data_dir);
    int status = 0;
    if (print)
        config_print(config, stdout);
    else if (check)
        printf("nanopushd: the configuration is good\n");
    else
        status = master_run(config, file, argv);
    config_free(config);
    return status;
}
