#include "portal/challenge_context.h"

#include "domain/enrolment.h"
#include "domain/text.h"
#include "wire/message.h"

static enum err check(const char *value, const char *name, const char **field)
{
    enum err e = text_check(bytes_of(value), CONTEXT_VALUE_MAX_BYTES);
    if (e != ERR_OK)
        *field = name;
    return e;
}

static enum err check_context(const Nanopush__V1__ChallengeContext *context, const char **field)
{
    TRY(check(context->application, "context.application", field));
    TRY(check(context->address, "context.address", field));
    TRY(check(context->place, "context.place", field));
    TRY(check(context->browser, "context.browser", field));
    TRY(check(context->operating_system, "context.operatingSystem", field));
    TRY(check(context->message, "context.message", field));
    *field = "context.fields";
    if (context->n_fields > CONTEXT_FIELDS_MAX)
        return ERR_TOO_BIG;
    for (size_t i = 0; i < context->n_fields; i++) {
        TRY(check(context->fields[i]->label, "context.fields.label", field));
        TRY(check(context->fields[i]->value, "context.fields.value", field));
    }
    return ERR_OK;
}

enum err challenge_context_display(const Record__Portal *portal, const char *user,
                                   const Nanopush__V1__ChallengeContext *context, bool other_sign_in,
                                   struct buf *ret, const char **field)
{
    Nanopush__V1__Display display = NANOPUSH__V1__DISPLAY__INIT;
    display.organisation = portal->organisation_name[0] ? portal->organisation_name : portal->organisation;
    display.portal = portal->name[0] ? portal->name : portal->id;
    display.user = (char *)user;
    display.occasion = NANOPUSH__V1__OCCASION__OCCASION_SIGN_IN;
    display.other_sign_in = other_sign_in;
    if (context) {
        TRY(check_context(context, field));
        display.application = context->application;
        display.address = context->address;
        display.place = context->place;
        display.browser = context->browser;
        display.operating_system = context->operating_system;
        display.message = context->message;
        display.n_fields = context->n_fields;
        display.fields = context->fields;
    }
    *field = "context";
    if (nanopush__v1__display__get_packed_size(&display) > DISPLAY_MAX_BYTES)
        return ERR_TOO_BIG;
    return message_pack(&display.base, ret);
}
