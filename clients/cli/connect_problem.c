#include "cli/connect_problem.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const codes[] = {
    "canceled",        "unknown",           "invalid_argument",   "deadline_exceeded",   "not_found",
    "already_exists",  "permission_denied", "resource_exhausted", "failed_precondition", "aborted",
    "out_of_range",    "unimplemented",     "internal",           "unavailable",         "data_loss",
    "unauthenticated",
};

void connect_problem_set(struct connect_problem *problem, const char *code, const char *format, ...)
{
    va_list list;
    problem->support[0] = '\0';
    va_start(list, format);
    snprintf(problem->code, sizeof problem->code, "%s", code);
    vsnprintf(problem->message, sizeof problem->message, format, list);
    va_end(list);
}

static const char *known_code(const char *code)
{
    for (size_t i = 0; code && i < sizeof codes / sizeof *codes; i++) {
        if (strcmp(codes[i], code) == 0)
            return codes[i];
    }
    return NULL;
}

static const char *implied_code(long status)
{
    switch (status) {
    case 400:
        return "internal";
    case 401:
        return "unauthenticated";
    case 403:
        return "permission_denied";
    case 404:
        return "unimplemented";
    case 429:
    case 502:
    case 503:
    case 504:
        return "unavailable";
    default:
        return "unknown";
    }
}

/* Details are optional: what is not as it should be is passed over. */
static void read_support(const json_t *details, struct connect_problem *ret)
{
    size_t i;
    const json_t *detail;
    json_array_foreach(details, i, detail)
    {
        const char *type = json_string_value(json_object_get(detail, "type"));
        const char *text = json_string_value(json_object_get(json_object_get(detail, "debug"), "message"));
        if (type && text && strcmp(type, "google.rpc.LocalizedMessage") == 0)
            snprintf(ret->support, sizeof ret->support, "%s", text);
    }
}

/* @return false when @p error is no Connect error. */
static bool read_error(const json_t *error, struct connect_problem *ret)
{
    const char *code = known_code(json_string_value(json_object_get(error, "code")));
    const char *message = json_string_value(json_object_get(error, "message"));
    if (!code)
        return false;
    connect_problem_set(ret, code, "%s", message ? message : "no reason given");
    read_support(json_object_get(error, "details"), ret);
    return true;
}

void connect_problem_of_status(long status, struct bytes body, struct connect_problem *ret)
{
    json_t *error = json_loadb((const char *)body.p, body.len, JSON_REJECT_DUPLICATES, NULL);
    if (!read_error(error, ret))
        connect_problem_set(ret, implied_code(status), "HTTP status %ld", status);
    json_decref(error);
}

enum err connect_problem_of_end(struct bytes payload, struct connect_problem *ret)
{
    json_t *end = json_loadb((const char *)payload.p, payload.len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *error = json_object_get(end, "error");
    enum err e = !json_is_object(end) ? ERR_MALFORMED : !error ? ERR_OK : ERR_DENIED;
    if (e == ERR_DENIED && !read_error(error, ret))
        e = ERR_MALFORMED;
    if (e == ERR_MALFORMED)
        connect_problem_set(ret, "unknown", "the stream's end cannot be read");
    json_decref(end);
    return e;
}

bool connect_problem_passes(const struct connect_problem *problem)
{
    static const char *const passing[] = {"unavailable", "aborted", "deadline_exceeded",
                                          "resource_exhausted"};
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        if (strcmp(passing[i], problem->code) == 0)
            return true;
    }
    return false;
}
