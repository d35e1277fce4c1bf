#include "store/challenge_state.h"

#include <string.h>

static const char *const names[CHALLENGE_STATE_COUNT] = {
    "none",
#define STATE(ident, name) #name,
#define MOVE(from, to)
#include "store/challenge_state.def"
#undef STATE
#undef MOVE
};

static const struct {
    const char *from, *to;
} moves[] = {
#define STATE(ident, name)
#define MOVE(from, to) {#from, #to},
#include "store/challenge_state.def"
#undef STATE
#undef MOVE
};

const char *challenge_state_name(enum challenge_state state)
{
    return names[(size_t)state < CHALLENGE_STATE_COUNT ? state : CHALLENGE_NONE];
}

enum challenge_state challenge_state_parse(struct bytes name)
{
    for (size_t i = CHALLENGE_NONE + 1; i < CHALLENGE_STATE_COUNT; i++)
        if (bytes_equal(name, bytes_of(names[i])))
            return (enum challenge_state)i;
    return CHALLENGE_NONE;
}

bool challenge_state_may_move(enum challenge_state from, enum challenge_state to)
{
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++)
        if (strcmp(moves[i].from, challenge_state_name(from)) == 0 &&
            strcmp(moves[i].to, challenge_state_name(to)) == 0)
            return true;
    return false;
}

bool challenge_state_final(enum challenge_state state)
{
    for (size_t to = 0; to < CHALLENGE_STATE_COUNT; to++)
        if (challenge_state_may_move(state, (enum challenge_state)to))
            return false;
    return true;
}
