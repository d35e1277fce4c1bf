/**
 * Lines of Prometheus' text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/),
 * read.
 */
#ifndef NANOPUSH_CLI_EXPOSITION_H
#define NANOPUSH_CLI_EXPOSITION_H

#include "base/bytes.h"

#define SAMPLE_TEXT_SIZE  128 /* NUL included, of each text */
#define SAMPLE_LABELS_MAX 4

struct sample {
    char name[SAMPLE_TEXT_SIZE];
    struct {
        char name[SAMPLE_TEXT_SIZE], value[SAMPLE_TEXT_SIZE];
    } labels[SAMPLE_LABELS_MAX];
    size_t label_count;
    double value;
};

/**
 * Read one line, without its end.
 * @return ERR_OK; ERR_NOT_FOUND for a comment or an empty line; ERR_MALFORMED; ERR_TOO_BIG above a limit of
 * this file.
 */
MUST_CHECK enum err sample_parse(const char *line, struct sample *ret);

#endif
