/**
 * The Lua scripts, built in. The table is made at build time (store/embed.sh) from script.def and lua/: each script is
 * the prelude, the table of moves where it names it, and its own file.
 */
#ifndef NANOPUSH_STORE_SCRIPT_H
#define NANOPUSH_STORE_SCRIPT_H

#include <stdbool.h>

#define SCRIPT(ident, durable) SCRIPT_##ident,
enum script_id {
#include "store/script.def"
    SCRIPT_COUNT
};
#undef SCRIPT

struct script {
    const char *name;
    const char *sha1; /* hex, as EVALSHA names it */
    const char *text;
    bool durable;
};

extern const struct script scripts[SCRIPT_COUNT];

#endif
