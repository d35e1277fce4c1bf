/**
 * Users and devices of the store as messages of the contract. Internal to portal/.
 */
#ifndef NANOPUSH_PORTAL_USER_MESSAGE_H
#define NANOPUSH_PORTAL_USER_MESSAGE_H

#include "nanopush/v1/user.pb-c.h"
#include "store/store.h"

#define USER_MODES_MAX 3

/** A Device and what it points to; strings are the record's, so it must not outlive that. */
struct device_message {
    Nanopush__V1__Device message;
    Google__Protobuf__Timestamp enrolled;
};

void device_message_fill(const struct user_device *device, struct device_message *ret);
void device_message_done(struct device_message *device);

/** Likewise a User. */
struct user_message {
    Nanopush__V1__User message;
    Google__Protobuf__Timestamp locked_until;
    Nanopush__V1__Mode modes[USER_MODES_MAX];
    struct device_message *devices;
};

/** @p portal: whose allowed modes count; NULL for an administrator, who sees all. */
void user_message_fill(const Record__Portal *portal, const char *name, const struct user_view *view,
                       struct user_message *ret);
void user_message_done(struct user_message *user);

#endif
