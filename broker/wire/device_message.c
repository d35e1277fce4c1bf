#include "wire/device_message.h"

#include "nanopush/v1/device.pb-c.h"
#include "wire/frame.h"

enum err device_message_push(const struct push_message *push, struct buf *out)
{
    Nanopush__V1__ChallengePush challenge = NANOPUSH__V1__CHALLENGE_PUSH__INIT;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    challenge.challenge_id = (char *)push->challenge_id;
    challenge.device_id = (char *)push->device_id;
    challenge.portal_id = (char *)push->portal_id;
    challenge.attempt = push->attempt;
    challenge.display = (ProtobufCBinaryData){.data = (uint8_t *)push->display.p, .len = push->display.len};
    challenge.nonce = (ProtobufCBinaryData){.data = (uint8_t *)push->nonce.p, .len = push->nonce.len};
    challenge.mode = (Nanopush__V1__Mode)push->mode;
    challenge.user_verification = (Nanopush__V1__UserVerification)push->user_verification;
    challenge.expire_unix_s = (uint64_t)push->expire_unix_ms / 1000;
    challenge.broker_unix_ms = (uint64_t)push->broker_unix_ms;
    challenge.options = (char **)push->options;
    challenge.n_options = push->option_count;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_CHALLENGE;
    message.challenge = &challenge;
    return frame_append(out, &message.base);
}

enum err device_message_resolved(const char *challenge_id, int state, const char *device_id, struct buf *out)
{
    Nanopush__V1__Resolved resolved = NANOPUSH__V1__RESOLVED__INIT;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    resolved.challenge_id = (char *)challenge_id;
    resolved.state = (Nanopush__V1__ChallengeState)state;
    resolved.device_id = (char *)device_id;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_RESOLVED;
    message.resolved = &resolved;
    return frame_append(out, &message.base);
}

enum err device_message_notice(const char *device_id, int kind, const char *phone_name, int64_t until_unix_ms,
                               struct buf *out)
{
    Nanopush__V1__Notice notice = NANOPUSH__V1__NOTICE__INIT;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    notice.device_id = (char *)device_id;
    notice.kind = (Nanopush__V1__Notice__Kind)kind;
    notice.phone_name = (char *)phone_name;
    notice.until_unix_ms = (uint64_t)until_unix_ms;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_NOTICE;
    message.notice = &notice;
    return frame_append(out, &message.base);
}
