#include "base/err.h"

#include <stddef.h>

static const char *const texts[] = {
#define ERR(name, text) text,
#include "base/err.def"
#undef ERR
};

static const char *const names[] = {
#define ERR(name, text) #name,
#include "base/err.def"
#undef ERR
};

const char *err_text(enum err e)
{
    return (size_t)e < ERR_COUNT ? texts[e] : "unknown error";
}

const char *err_name(enum err e)
{
    return (size_t)e < ERR_COUNT ? names[e] : "UNKNOWN";
}
