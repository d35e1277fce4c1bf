#include "portal/support.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "google/rpc/error_details.pb-c.h"

#define SUPPORT_ERROR_MAX 512

struct failing {
    struct rpc_call *call;
    struct store_call *read;
    enum rpc_code code;
    char text[SUPPORT_ERROR_MAX];
};

static void failing_end(void *state)
{
    struct failing *failing = state;
    store_cancel(failing->read);
    free(failing);
}

static void add_support_text(struct rpc_call *call, const char *text)
{
    Google__Rpc__LocalizedMessage support = GOOGLE__RPC__LOCALIZED_MESSAGE__INIT;
    support.locale = (char *)"und"; /* whichever the organisation wrote it in */
    support.message = (char *)text;
    rpc_add_detail(call, &support.base);
}

static void on_organisation(enum err e, const Record__Organisation *organisation, struct bytes fence,
                            void *arg)
{
    struct failing *failing = arg;
    struct rpc_call *call = failing->call;
    (void)fence;
    rpc_on_end(call, NULL, NULL);
    if (e == ERR_OK && organisation->support_text[0])
        add_support_text(call, organisation->support_text);
    rpc_fail(call, failing->code, "%s", failing->text);
    free(failing);
}

void support_fail(struct rpc_call *call, enum rpc_code code, const char *text, ...)
{
    const Record__Portal *portal = rpc_portal(call);
    char line[SUPPORT_ERROR_MAX];
    va_list args;
    va_start(args, text);
    vsnprintf(line, sizeof line, text, args);
    va_end(args);
    if (!portal) { /* who administrates needs none */
        rpc_fail(call, code, "%s", line);
        return;
    }
    struct failing *failing = mem_new(sizeof *failing);
    failing->call = call;
    failing->code = code;
    snprintf(failing->text, sizeof failing->text, "%s", line);
    rpc_on_end(call, failing_end, failing);
    failing->read =
        store_organisation_get(rpc_domain(call)->store, portal->organisation, on_organisation, failing);
}
