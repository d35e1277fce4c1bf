/**
 * What the soft phone says on stdout: lines for a person, or one JSON object a line. Each ends with a flush.
 */
#ifndef NANOPUSH_DEVICE_SOFT_PHONE_PRINT_H
#define NANOPUSH_DEVICE_SOFT_PHONE_PRINT_H

#include "nanopush_device.h"
#include "soft_phone.h"

void soft_phone_print_enrolled(const struct soft_phone_options *o, const struct np_enrolled *enrolled);
void soft_phone_print_waiting(const struct soft_phone_options *o, const struct np_enrolled *enrolled);
void soft_phone_print_welcome(const struct soft_phone_options *o, const char *device_id,
                              const struct np_welcome *welcome);
void soft_phone_print_challenge(const struct soft_phone_options *o, const struct np_challenge *challenge);
void soft_phone_print_answered(const struct soft_phone_options *o, const char *challenge_id,
                               enum np_decision decision);
void soft_phone_print_resolved(const struct soft_phone_options *o, const char *challenge_id,
                               enum np_challenge_state state, bool by_this_phone);
void soft_phone_print_locked(const struct soft_phone_options *o, const char *device_id,
                             int64_t until_unix_ms);
void soft_phone_print_accepted(const struct soft_phone_options *o, const char *device_id, enum np_act act,
                               uint32_t generation);
void soft_phone_print_notice(const struct soft_phone_options *o, const char *device_id,
                             const struct np_notice *notice);
void soft_phone_print_go_away(const struct soft_phone_options *o, enum np_go_away reason,
                              uint32_t return_after_ms);

/** Text goes to stderr. */
void soft_phone_print_error(const struct soft_phone_options *o, enum np_error error, const char *subject,
                            const char *text);

/** @p retry_ms: when it comes back; negative: not. */
void soft_phone_print_closed(const struct soft_phone_options *o, enum np_error why, const char *text,
                             int64_t retry_ms);

#endif
