/**
 * /stats.json of the stats port that <data>/ports names, read without standing still: who looks at it again and again
 * hears of keys and signals meanwhile.
 */
#ifndef NANOPUSH_CLI_STATS_PORT_H
#define NANOPUSH_CLI_STATS_PORT_H

#include "base/buf.h"
#include "cli/args.h"
#include "cli/exit_status.h"

#define STATS_PORT_PROBLEM_SIZE 256

struct stats_port;

enum stats_port_state { STATS_PORT_IDLE, STATS_PORT_ASKED, STATS_PORT_ANSWERED, STATS_PORT_FAILED };

/** Nothing is sent yet. @return EXIT_STATUS_OK; EXIT_STATUS_ERROR, said on standard error. */
MUST_CHECK enum exit_status stats_port_open(const struct args *args, struct stats_port **ret);

/** NULL is allowed. */
void stats_port_close(struct stats_port *port);

/** Ask anew; what is under way is given up. @param timeout_ms  for the whole answer. @return ERR_OK; ERR_NOMEM. */
MUST_CHECK enum err stats_port_ask(struct stats_port *port, long timeout_ms);

/**
 * Go on with what was asked, for @p wait_ms at most, and return earlier when it has ended or a descriptor can be read.
 *
 * @param fds, count  descriptors to be heard of; may be none.
 * @return ANSWERED and FAILED once, with stats_port_answer() and stats_port_problem(); then IDLE until the next
 * stats_port_ask(): it has waited all the same.
 */
enum stats_port_state stats_port_turn(struct stats_port *port, const int *fds, size_t count, int wait_ms);

/** The answer; valid until the next stats_port_ask(). */
struct bytes stats_port_answer(const struct stats_port *port);

/** Why it failed, in words. */
const char *stats_port_problem(const struct stats_port *port);

#endif
