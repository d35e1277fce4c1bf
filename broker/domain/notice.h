/**
 * Notices: what the owner of an account should know (proto/nanopush/v1/device.proto, Notice).
 */
#ifndef NANOPUSH_DOMAIN_NOTICE_H
#define NANOPUSH_DOMAIN_NOTICE_H

#include "domain/domain.h"

/** To all devices of @p routes; parameters as device_message_notice(). One that hangs nowhere is not told later. */
void notice_send(struct domain *domain, const struct routes *routes, int kind, const char *phone_name,
                 int64_t until_unix_ms);

#endif
