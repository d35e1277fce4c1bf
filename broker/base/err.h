/**
 * The one error type. A function that can fail returns it; ERR_OK is 0; out-parameters stay untouched on error.
 */
#ifndef NANOPUSH_BASE_ERR_H
#define NANOPUSH_BASE_ERR_H

#define ERR(name, text) ERR_##name,
enum err {
#include "base/err.def"
    ERR_COUNT
};
#undef ERR

#define MUST_CHECK   __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

/** The error's text, for a log line. Never NULL, static. */
const char *err_text(enum err e);

/** The error's name without its prefix, "TOO_BIG". Never NULL, static. */
const char *err_name(enum err e);

/**
 * Return from the calling function when @p expr fails. For functions that own nothing yet; those that do go to
 * their one clean-up label instead.
 */
#define TRY(expr)                                                                                            \
    do {                                                                                                     \
        enum err try_err_ = (expr);                                                                          \
        if (try_err_ != ERR_OK)                                                                              \
            return try_err_;                                                                                 \
    } while (0)

#endif
