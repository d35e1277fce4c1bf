/**
 * Reading an audit (audit/writer.h) as somebody who does not believe it: each line's seal, and that each chain is whole
 * from its first line on.
 *
 * What that proves, and what only a head proves that was kept elsewhere, says audit/chain.h.
 */
#ifndef NANOPUSH_AUDIT_VERIFY_H
#define NANOPUSH_AUDIT_VERIFY_H

#include "audit/chain.h"

#define AUDIT_FINDING(ident, text) AUDIT_##ident,
enum audit_finding {
#include "audit/finding.def"
    AUDIT_FINDING_COUNT
};
#undef AUDIT_FINDING

/** A line, or what is wrong at a place; valid during the callback. */
struct audit_line {
    enum audit_finding finding;
    const char *file;   /* its name in the directory; of a head that does not hold: "" */
    unsigned long line; /* from 1 */
    struct bytes entry; /* JSON object; empty where the line is not a sealed one */
};

typedef void (*audit_line_fn)(const struct audit_line *line, void *arg);

struct audit_summary {
    size_t chains, lines, findings; /* lines: sealed ones */
    uint64_t lost;                  /* entries that the broker says it could not write */
};

/** What is wrong, in words: "its seal is wrong". Static. */
const char *audit_finding_text(enum audit_finding finding);

/**
 * Read all files of an audit, in the order in which they were written.
 *
 * @param      head  id, seq and mac that a chain had once; NULL: none is known.
 * @param      fn    called with each line, and once more for a head that does not hold.
 * @param[out] ret   set with ERR_OK.
 * @return ERR_OK, whatever was found; ERR_NOT_FOUND: no such directory; ERR_DENIED; ERR_IO.
 */
MUST_CHECK enum err audit_verify(const char *directory, const struct secret *secret, const struct chain *head,
                                 audit_line_fn fn, void *arg, struct audit_summary *ret);

struct audit_follower;

/** Read an audit as it grows, also into new files and new chains. @param secret  kept. Never NULL. */
struct audit_follower *audit_follow(const char *directory, const struct secret *secret, audit_line_fn fn,
                                    void *arg);

/** Call fn with each line that is there and was not yet told; half a line is waited for. @return as audit_verify(). */
MUST_CHECK enum err audit_follower_turn(struct audit_follower *follower);

/** NULL is allowed. */
void audit_follower_free(struct audit_follower *follower);

/** Read "CHAIN:SEQ:MAC". @return false if it is not one. */
bool audit_head_parse(const char *text, struct chain *ret);

#endif
