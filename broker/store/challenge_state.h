/**
 * The states of a challenge and the legal moves between them, from one table (challenge_state.def) that the Lua
 * scripts are built with too. Numbers are those of nanopush.v1.ChallengeState, so the two convert by assignment.
 */
#ifndef NANOPUSH_STORE_CHALLENGE_STATE_H
#define NANOPUSH_STORE_CHALLENGE_STATE_H

#include <stdbool.h>

#include "base/bytes.h"

enum challenge_state {
    CHALLENGE_NONE, /* not a state: what an unknown name gives */
#define STATE(ident, name) CHALLENGE_##ident,
#define MOVE(from, to)
#include "store/challenge_state.def"
#undef STATE
#undef MOVE
    CHALLENGE_STATE_COUNT
};

/** Its name in Redis and in logs, "pending". Never NULL, static; "none" for what is no state. */
const char *challenge_state_name(enum challenge_state state);

/** The state of that name, or CHALLENGE_NONE. */
enum challenge_state challenge_state_parse(struct bytes name);

/** True for every state but PENDING; a final one never changes again. */
bool challenge_state_final(enum challenge_state state);

/** True if @p from may become @p to. */
bool challenge_state_may_move(enum challenge_state from, enum challenge_state to);

#endif
