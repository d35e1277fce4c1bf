/**
 * What nanopush prints: lines for a person or JSON for a program on standard output, one line for each error
 * on standard error.
 */
#ifndef NANOPUSH_CLI_SAY_H
#define NANOPUSH_CLI_SAY_H

#include <protobuf-c/protobuf-c.h>
#include <stdio.h>

#include "base/bytes.h"
#include "cli/connect_problem.h"
#include "cli/exit_status.h"

/**
 * Print text that came from elsewhere. Control characters and those that change the direction of writing
 * become '?': a broker, a phone or a user's name must not be able to repaint the terminal.
 */
void say_text(FILE *to, const char *text);

/** One line of an error: "nanopush: <what>: <reason>". Both may be from elsewhere. */
void say_error(const char *what, const char *reason);

/** One line of a failed call: "nanopush: <what>: <code>: <message>". */
void say_problem(const char *what, const struct connect_problem *problem);

/** One line of an error at a file: "nanopush: <what> <path>: <reason>", with errno's text for ERR_IO. */
void say_file_error(const char *what, const char *path, enum err e);

/** One line "<label>  <text>", aligned; nothing if @p text is empty. */
void say_row(const char *label, const char *text);

/** One line of proto3 JSON. @return EXIT_STATUS_OK; EXIT_STATUS_ERROR, said on standard error. */
MUST_CHECK enum exit_status say_json(const ProtobufCMessage *message);

/** say_error() with the error's text. @return EXIT_STATUS_ERROR. */
enum exit_status say_failure(const char *what, enum err e);

#endif
